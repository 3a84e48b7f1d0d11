package loader

// This file sends random and mutated frames through both parsers.

import (
	"encoding/binary"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/replay"
)

// Frames of the fuzz test; all of them with make exact.
const (
	fuzzFrames     = 40_000
	fuzzFramesLong = 10_000_000
	// fuzzBatch frames of new flows fit the share of one MAC.
	fuzzBatch = 1000
)

// The two parsers agree on random frames and on mutations of both corpora, at
// every hook.
func TestParserAgreesWithGoOnMutations(t *testing.T) {
	testenv.Root(t)
	f := fuzzer{rng: rand.New(rand.NewPCG(2, 0)), seeds: append(everyCut(), corpusFrames(t)...)}
	type arm struct {
		*kernel
		program string
		link    flows.Link
	}
	var arms []arm
	for _, a := range []struct {
		cfg     Config
		program string
		link    flows.Link
	}{
		{Config{}, gen.IotsenseProgIotsenseIn, flows.LinkEthernet},
		{Config{Direction: flows.Uni}, gen.IotsenseProgIotsenseOut, flows.LinkEthernet},
		{Config{}, gen.IotsenseProgIotsenseInIp, flows.LinkIP},
		{Config{Hook: attach.HookXDP}, gen.IotsenseProgIotsenseXdp, flows.LinkEthernet},
	} {
		a.cfg.Packets, a.cfg.Prefix, a.cfg.Lifetime = object.MaxPackets, object.MaxPrefix, math.MaxInt32*1000
		arms = append(arms, arm{newKernel(t, a.cfg, a.program), a.program, a.link})
	}
	frames := long(fuzzFrames, fuzzFramesLong)
	for sent := 0; sent < frames; sent += fuzzBatch {
		a := arms[sent/fuzzBatch%len(arms)]
		batch := make([][]byte, fuzzBatch)
		for i := range batch {
			batch[i] = f.frame()
		}
		a.compare(a.program, a.link, batch)
	}
	t.Logf("%d frames from %d seeds", frames, len(f.seeds))
}

// corpusFrames are the first frames of each capture of the device data set and of
// tcpdump's test files; the short variant reads every tenth file.
func corpusFrames(t *testing.T) [][]byte {
	const perFile, maxLength = 300, 3000
	var list [][]byte
	files, read := 0, 0
	for _, dir := range []string{testenv.Data(t), testenv.ParserCorpus(t)} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if files++; files%long(10, 1) != 0 {
				return nil
			}
			frames, err := replay.ReadCapture(path)
			if err != nil {
				return nil // damaged, or not Ethernet: some of tcpdump's are
			}
			read++
			for _, f := range frames[:min(len(frames), perFile)] {
				list = append(list, f.Data[:min(len(f.Data), maxLength)])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < files/20 {
		t.Fatalf("%d captures of %d read", read, files)
	}
	return list
}

// fuzzer makes frames of minFrame to maxFrame bytes.
type fuzzer struct {
	rng   *rand.Rand
	seeds [][]byte
}

func (f *fuzzer) frame() []byte {
	var b []byte
	switch f.rng.IntN(8) {
	case 0:
		b = f.random()
	case 1: // the begin of one frame, the rest of another
		x, y := f.seed(), f.seed()
		b = slices.Concat(x[:f.rng.IntN(len(x)+1)], y[f.rng.IntN(len(y)):])
	default:
		b = slices.Clone(f.seed())
	}
	for range f.rng.IntN(6) {
		b = f.mutate(b)
	}
	for len(b) < minFrame {
		b = append(b, byte(f.rng.Uint32()))
	}
	return b[:min(len(b), maxFrame)]
}

func (f *fuzzer) seed() []byte { return f.seeds[f.rng.IntN(len(f.seeds))] }

// random is noise behind an EtherType that is looked into, more often than not.
func (f *fuzzer) random() []byte {
	b := make([]byte, minFrame+f.rng.IntN(maxFrame-minFrame))
	for i := range b {
		b[i] = byte(f.rng.Uint32())
	}
	types := []uint16{packet.IPv4Type, packet.IPv6Type, packet.VLANType, packet.QinQType, 0x9100, packet.PPPoEType, packet.MPLSType, 0x8848, 60}
	if n := f.rng.IntN(2 * len(types)); n < len(types) {
		b[12], b[13] = byte(types[n]>>8), byte(types[n])
		if len(b) > minFrame && f.rng.IntN(2) == 0 {
			b[14] = []byte{0x45, 0x46, 0x4f, 0x60, 0x11, 0xaa}[f.rng.IntN(6)]
		}
	}
	return b
}

// mutate changes one thing, mostly among the headers.
func (f *fuzzer) mutate(b []byte) []byte {
	if len(b) == 0 {
		return f.random()
	}
	at := f.rng.IntN(len(b))
	if f.rng.IntN(4) > 0 {
		at = f.rng.IntN(min(len(b), 90))
	}
	switch f.rng.IntN(7) {
	case 0:
		b[at] ^= 1 << f.rng.IntN(8)
	case 1:
		b[at] = []byte{0, 1, 4, 5, 6, 17, 33, 43, 44, 51, 58, 59, 60, 0x45, 0x57, 0x60, 0x7f, 0x80, 0xff}[f.rng.IntN(19)]
	case 2:
		b[at] = byte(f.rng.Uint32())
	case 3: // cut
		b = b[:at]
	case 4: // more
		b = append(b, make([]byte, f.rng.IntN(maxFrame))...)
	case 5: // another EtherType
		if len(b) > minFrame {
			types := []uint16{packet.IPv4Type, packet.IPv6Type, packet.VLANType, packet.PPPoEType, packet.MPLSType, 46}
			binary.BigEndian.PutUint16(b[12:], types[f.rng.IntN(len(types))])
		}
	case 6: // a piece again, or out
		if to := at + f.rng.IntN(len(b)-at); f.rng.IntN(2) == 0 {
			b = slices.Concat(b[:to], b[at:])
		} else {
			b = slices.Concat(b[:at], b[to:])
		}
	}
	return b
}
