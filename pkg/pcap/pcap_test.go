package pcap

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The builders of files, independent of the readers: by the drafts' figures.

type entry struct {
	seconds, fraction uint32
	captured, length  uint32 // in the order of the file
	data              []byte
}

// classicFile is a classic pcap file; extra bytes follow each packet's header.
func classicFile(order binary.AppendByteOrder, magic uint32, major, minor uint16, extra int, entries ...entry) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, major)
	b = order.AppendUint16(b, minor)
	for _, v := range []uint32{0, 0, 96, 1} {
		b = order.AppendUint32(b, v)
	}
	for _, e := range entries {
		for _, v := range []uint32{e.seconds, e.fraction, e.captured, e.length} {
			b = order.AppendUint32(b, v)
		}
		b = append(append(b, make([]byte, extra)...), e.data...)
	}
	return b
}

// block is a pcapng block.
func block(order binary.AppendByteOrder, kind uint32, body ...[]byte) []byte {
	joined := slices.Concat(body...)
	joined = append(joined, make([]byte, -len(joined)&3)...)
	length := uint32(len(joined) + 12)
	b := order.AppendUint32(nil, kind)
	b = order.AppendUint32(b, length)
	b = append(b, joined...)
	return order.AppendUint32(b, length)
}

func words(order binary.AppendByteOrder, values ...uint32) (b []byte) {
	for _, v := range values {
		b = order.AppendUint32(b, v)
	}
	return b
}

func section(order binary.AppendByteOrder) []byte {
	b := words(order, 0x1a2b3c4d)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, 0)
	return block(order, 0x0a0d0d0a, b, bytes.Repeat([]byte{0xff}, 8))
}

// iface describes an Ethernet interface.
func iface(order binary.AppendByteOrder, snap uint32, options ...[]byte) []byte {
	b := order.AppendUint16(nil, 1)
	b = order.AppendUint16(b, 0)
	return block(order, 1, order.AppendUint32(b, snap), slices.Concat(options...))
}

func option(order binary.AppendByteOrder, code uint16, value []byte) []byte {
	b := order.AppendUint16(nil, code)
	b = order.AppendUint16(b, uint16(len(value)))
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

// enhanced is a packet of interface id at units of its time.
func enhanced(order binary.AppendByteOrder, id uint32, units uint64, captured, length int, data []byte) []byte {
	return block(order, 6, words(order, id, uint32(units>>32), uint32(units), uint32(captured), uint32(length)), data)
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// got is what was read: each packet as "time length/captured byte", or the reason
// why it was passed over.
func got(t testing.TB, file io.Reader) (packets []string, r *Reader, err error) {
	t.Helper()
	if r, err = NewReader(file); err != nil {
		return nil, nil, err
	}
	for {
		p, err := r.Next()
		var odd *PacketError
		switch {
		case err == io.EOF:
			return packets, r, nil
		case errors.As(err, &odd):
			packets = append(packets, odd.Reason)
			continue
		case err != nil:
			return packets, r, err
		}
		at := "-"
		if p.Timed {
			at = fmt.Sprintf("%d.%09d", p.Time.Unix(), p.Time.Nanosecond())
		}
		first := byte('-')
		if len(p.Data) > 0 {
			first = p.Data[0]
		}
		text := fmt.Sprintf("%s %d/%d %c", at, p.Length, len(p.Data), first)
		if p.Overlong {
			text += " overlong"
		}
		packets = append(packets, text)
	}
}

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

func TestClassic(t *testing.T) {
	a, b := bytes.Repeat([]byte("a"), 60), bytes.Repeat([]byte("b"), 40)
	plain := []entry{{7, 250_000, 60, 60, a}, {8, 5, 40, 90, b}}
	want := []string{"7.250000000 60/60 a", "8.000005000 90/40 b"}
	swapped := []entry{{7, 250_000, 60, 60, a}, {8, 5, 90, 40, b}}
	for _, tt := range []struct {
		name string
		file []byte
		want []string
		err  string
	}{
		{"little-endian", classicFile(le, 0xa1b2c3d4, 2, 4, 0, plain...), want, ""},
		{"big-endian", classicFile(be, 0xa1b2c3d4, 2, 4, 0, plain...), want, ""},
		{"nanoseconds", classicFile(be, 0xa1b23c4d, 2, 4, 0, plain...), []string{"7.000250000 60/60 a", "8.000000005 90/40 b"}, ""},
		{"modified", classicFile(le, 0xa1b2cd34, 2, 4, 8, plain...), want, ""},
		{"modified, big-endian", classicFile(be, 0xa1b2cd34, 2, 4, 8, plain...), want, ""},
		{"modified, zipped", zipped(t, classicFile(be, 0xa1b2cd34, 2, 4, 8, plain...)), want, ""},
		{"2.3 as 2.4", classicFile(le, 0xa1b2c3d4, 2, 3, 0, plain...), want, ""},
		{"2.3 with the lengths swapped", classicFile(le, 0xa1b2c3d4, 2, 3, 0, swapped...), want, ""},
		{"2.2", classicFile(be, 0xa1b2c3d4, 2, 2, 0, swapped...), want, ""},
		{"2.1", classicFile(le, 0xa1b2c3d4, 2, 1, 0, swapped...), want, ""},
		{"2.0", classicFile(le, 0xa1b2c3d4, 2, 0, 0, swapped...), want, ""},
		{"543.0", classicFile(be, 0xa1b2c3d4, 543, 0, 0, swapped...), want, ""},
		{"1.4", classicFile(be, 0xa1b2c3d4, 1, 4, 0, plain...), nil, "version 1.4"},
		{"2.5", classicFile(be, 0xa1b2c3d4, 2, 5, 0, plain...), nil, "version 2.5"},
		{"more captured than was on the wire", classicFile(le, 0xa1b2c3d4, 2, 4, 0, entry{7, 250_000, 60, 56, a}, plain[1]),
			[]string{"7.250000000 56/56 a overlong", want[1]}, ""},
		{"no length on the wire", classicFile(le, 0xa1b2c3d4, 2, 4, 0, entry{7, 250_000, 60, 0, a}, plain[1]),
			[]string{want[0], want[1]}, ""},
		{"longer than the snap length", classicFile(le, 0xa1b2c3d4, 2, 4, 0, entry{1, 0, 300, 300, make([]byte, 300)}, plain[1]),
			[]string{"1.000000000 300/300 \x00", want[1]}, ""},
		{"no length of a packet", classicFile(le, 0xa1b2c3d4, 2, 4, 0, plain[0], entry{8, 0, maxPacket + 1, maxPacket + 1, b}),
			want[:1], "capture length exceeds"},
		{"microseconds of four seconds", classicFile(le, 0xa1b2c3d4, 2, 4, 0, entry{math.MaxUint32, 4_000_000, 60, 60, a}),
			[]string{"4294967299.000000000 60/60 a"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packets, _, err := got(t, bytes.NewReader(tt.file))
			if !slices.Equal(packets, tt.want) || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q, %v\nwant %q, %s", packets, err, tt.want, tt.err)
			}
		})
	}
}

func TestNG(t *testing.T) {
	data := bytes.Repeat([]byte("n"), 61)
	packet := func(order binary.AppendByteOrder) []byte { return enhanced(order, 0, 3_000_001, 61, 70, data) }
	const want = "3.000001000 70/61 n"
	start := slices.Concat(section(le), iface(le, 0))
	for _, tt := range []struct {
		name   string
		blocks [][]byte
		want   []string
		passed uint64
		err    string
		damage string
	}{
		{"little-endian", [][]byte{start, packet(le)}, []string{want}, 0, "", ""},
		{"big-endian", [][]byte{section(be), iface(be, 0), packet(be)}, []string{want}, 0, "", ""},
		{"sections of both byte orders", [][]byte{start, packet(le), section(be), packet(be), iface(be, 0), packet(be)},
			[]string{want, errInterface.Reason, want}, 0, "", ""},
		{"statistics of an interface that is not described", [][]byte{start, packet(le), block(le, 5, words(le, 3, 0, 0)), packet(le)}, []string{want, want}, 1, "", ""},
		{"statistics before any interface", [][]byte{section(le), block(le, 5, words(le, 0, 0, 0)), iface(le, 0), packet(le)}, []string{want}, 1, "", ""},
		{"statistics without content", [][]byte{start, block(le, 5), packet(le)}, []string{want}, 1, "", ""},
		{"names cut short", [][]byte{start, block(le, 4, words(le, 0x20001, 0xa8c0)), packet(le)}, []string{want}, 1, "", ""},
		{"a name longer than its block", [][]byte{start, block(le, 4, words(le, 0xffff0001)), packet(le)}, []string{want}, 1, "", ""},
		{"keys, custom blocks and unknown ones", [][]byte{start, block(le, 10, words(le, 1, 0xffffffff)), block(le, 0xbad), block(le, 0x80000001, data), packet(le)}, []string{want}, 3, "", ""},
		{"an interface without content is one of its number", [][]byte{section(le), block(le, 1), iface(le, 0), packet(le), enhanced(le, 1, 3_000_001, 61, 70, data)},
			[]string{errInterface.Reason, want}, 0, "", ""},
		{"an option longer than its block", [][]byte{section(le), iface(le, 0, []byte{2, 0, 0xff, 0xff, 'e', 't', 'h', '0'}), packet(le)}, []string{want}, 0, "", ""},
		{"a packet of an interface that is not described", [][]byte{start, enhanced(le, 7, 1, 61, 61, data), packet(le)}, []string{errInterface.Reason, want}, 0, "", ""},
		{"a packet longer than its block", [][]byte{start, enhanced(le, 0, 1, 99, 99, data), packet(le)}, []string{"they are longer than their blocks", want}, 0, "", ""},
		{"a packet block too short for its fields", [][]byte{start, block(le, 6, words(le, 0, 0)), block(le, 3), packet(le)},
			[]string{"their blocks are too short", "their blocks are too short", want}, 0, "", ""},
		{"more captured than was on the wire", [][]byte{start, enhanced(le, 0, 3_000_001, 61, 57, data), packet(le)}, []string{"3.000001000 57/57 n overlong", want}, 0, "", ""},
		{"obsolete packet", [][]byte{start, block(le, 2, words(le, 0x50000, 0, 3_000_001, 61, 70), data)}, []string{want}, 0, "", ""},
		{"simple packets", [][]byte{section(le), iface(le, 20), block(le, 3, words(le, 70), data), block(le, 3, words(le, 12), data[:12])}, []string{"- 70/20 n", "- 12/12 n"}, 0, "", ""},
		{"a simple packet of no interface", [][]byte{section(le), block(le, 3, words(le, 61), data), iface(le, 0), packet(le)}, []string{errInterface.Reason, want}, 0, "", ""},
		{"padding that the length does not count", [][]byte{start, {6, 0, 0, 0, 33, 0, 0, 0}, words(le, 0, 0, 5, 1, 1), {'x', 0, 0, 0}, {33, 0, 0, 0}, packet(le)},
			[]string{"0.000005000 1/1 x", want}, 0, "", ""},
		{"two lengths that differ", [][]byte{start, {6, 0, 0, 0, 36, 0, 0, 0}, words(le, 0, 0, 5, 1, 1), {'x', 0, 0, 0}, {40, 0, 0, 0}, packet(le)},
			[]string{"0.000005000 1/1 x", want}, 0, "", "length 36 ends as one of 40"},
		{"a length of nothing", [][]byte{start, packet(le), {6, 0, 0, 0, 8, 0, 0, 0}, packet(le)}, []string{want}, 0, "length is 8", ""},
		{"a section without a byte order", [][]byte{start, packet(le), block(le, 0x0a0d0d0a, words(le, 1, 2, 3, 4)), packet(le)}, []string{want}, 0, "without a byte order", ""},
		{"a section of version 2", [][]byte{start, packet(le), block(le, 0x0a0d0d0a, words(le, 0x1a2b3c4d, 2, 3, 4))}, []string{want}, 0, "version 2.0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packets, r, err := got(t, bytes.NewReader(slices.Concat(tt.blocks...)))
			if !slices.Equal(packets, tt.want) || r.Passed() != tt.passed {
				t.Errorf("%q, %d blocks passed over\nwant %q, %d", packets, r.Passed(), tt.want, tt.passed)
			}
			for what, e := range map[string]error{tt.err: err, tt.damage: r.Damage()} {
				if (e != nil) != (what != "") || e != nil && !strings.Contains(e.Error(), what) {
					t.Errorf("%v, want %q", e, what)
				}
			}
		})
	}
}

// Stamps mean what the interface says, in every resolution.
func TestNGTime(t *testing.T) {
	const s = 1_650_000_000 // some second
	offset := func(n int64) []byte { return option(le, 14, le.AppendUint64(nil, uint64(n))) }
	for _, tt := range []struct {
		name    string
		options []byte
		units   uint64
		want    string
	}{
		{"microseconds by default", nil, s*1e6 + 7, "1650000000.000007000"},
		{"seconds", option(le, 9, []byte{0}), s, "1650000000.000000000"},
		{"seconds as a power of two", option(le, 9, []byte{0x80}), s, "1650000000.000000000"},
		{"milliseconds", option(le, 9, []byte{3}), s*1e3 + 999, "1650000000.999000000"},
		{"nanoseconds", option(le, 9, []byte{9}), s*1e9 + 123_456_789, "1650000000.123456789"},
		{"10^-19", option(le, 9, []byte{19}), 12_345_678_901_234_567_890, "1.234567890"},
		{"10^-25", option(le, 9, []byte{25}), 12_345_678_901_234_567_890, "0.000001234"},
		{"10^-127", option(le, 9, []byte{127}), 12_345_678_901_234_567_890, "0.000000000"},
		{"2^-1", option(le, 9, []byte{0x81}), s*2 + 1, "1650000000.500000000"},
		{"2^-20", option(le, 9, []byte{0x80 | 20}), s<<20 + 1<<20 - 1, "1650000000.999999046"},
		{"2^-29", option(le, 9, []byte{0x80 | 29}), s<<29 + 3<<27, "1650000000.750000000"},
		{"2^-32", option(le, 9, []byte{0x80 | 32}), s<<32 + 1<<32 - 1, "1650000000.999999999"},
		{"2^-63", option(le, 9, []byte{0x80 | 63}), 3 << 62, "1.500000000"},
		{"2^-64", option(le, 9, []byte{0x80 | 64}), 1 << 63, "0.500000000"},
		{"2^-70", option(le, 9, []byte{0x80 | 70}), 1 << 63, "0.007812500"},
		{"2^-127", option(le, 9, []byte{0xff}), math.MaxUint64, "0.000000000"},
		{"after other options", slices.Concat(option(le, 2, []byte("eth0")), option(le, 1, make([]byte, 65_533)), option(le, 9, []byte{0x80 | 32})), s << 32, "1650000000.000000000"},
		{"an offset", slices.Concat(option(le, 9, []byte{3}), offset(s)), 1500, "1650000001.500000000"},
		{"an offset back", offset(-10), 4e6, "-6.000000000"},
		{"an empty resolution", option(le, 9, nil), 5e6, "5.000000000"},
		{"a short offset", option(le, 14, []byte{1, 0, 0, 0}), 5e6, "5.000000000"},
		{"after the end of the options", slices.Concat(option(le, 0, nil), option(le, 9, []byte{0})), 5e6, "5.000000000"},
		{"later than there are years", option(le, 9, []byte{0}), math.MaxUint64, "253402300799.000000000"},
		{"later by its offset", slices.Concat(option(le, 9, []byte{0}), offset(math.MaxInt64)), math.MaxUint64, "253402300799.000000000"},
		{"before there were years", offset(math.MinInt64), 1, "-62135596800.000001000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packets, _, err := got(t, bytes.NewReader(slices.Concat(section(le), iface(le, 0, tt.options), enhanced(le, 0, tt.units, 1, 1, []byte("t")))))
			if want := []string{tt.want + " 1/1 t"}; err != nil || !slices.Equal(packets, want) {
				t.Errorf("%q, %v, want %q", packets, err, want)
			}
		})
	}
}

// A file that is cut says so, wherever that is, but between two packets or blocks: a
// gzipped one even there.
func TestTruncated(t *testing.T) {
	data := bytes.Repeat([]byte("tru"), 9)
	header := classicFile(le, 0xa1b2c3d4, 2, 4, 0)
	first := classicFile(le, 0xa1b2c3d4, 2, 4, 0, entry{7, 0, 27, 27, data})
	modified := classicFile(be, 0xa1b2cd34, 2, 4, 8, entry{7, 0, 27, 27, data})
	ng := [][]byte{section(be), iface(be, 0, option(be, 2, []byte("eth0"))), enhanced(be, 0, 1, 27, 27, data), block(be, 5, words(be, 0, 0, 0)),
		block(be, 3, words(be, 27), data), section(le)}
	var ends []int
	for i := range ng {
		ends = append(ends, len(slices.Concat(ng[:i+1]...)))
	}
	for _, tt := range []struct {
		name string
		file []byte
		ends []int // where it may end
	}{
		{"pcap", slices.Concat(first, first[len(header):]), []int{len(header), len(first), 2*len(first) - len(header)}},
		{"modified pcap", modified, []int{len(header), len(modified)}},
		{"pcapng", slices.Concat(ng...), ends},
	} {
		for n := 1; n <= len(tt.file); n++ {
			_, _, err := got(t, bytes.NewReader(tt.file[:n]))
			if whole := slices.Contains(tt.ends, n); (err == nil) != whole || !whole && !strings.Contains(err.Error(), "truncated") {
				t.Errorf("%s, %d of %d bytes: %v, whole %v", tt.name, n, len(tt.file), err, whole)
			}
		}
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			var packed bytes.Buffer
			w, _ := gzip.NewWriterLevel(&packed, level)
			last := 0
			for _, end := range tt.ends { // a flush at each place where the content may end
				if _, err := w.Write(tt.file[last:end]); err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				last = end
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if _, _, err := got(t, bytes.NewReader(packed.Bytes())); err != nil {
				t.Errorf("%s, gzipped: %v", tt.name, err)
			}
			for n := 1; n < packed.Len(); n++ {
				if _, _, err := got(t, bytes.NewReader(packed.Bytes()[:n])); err == nil || !strings.Contains(err.Error(), "truncated") {
					t.Fatalf("%s, gzipped at level %d, %d of %d bytes: %v", tt.name, level, n, packed.Len(), err)
				}
			}
		}
	}
}

func TestNoCapture(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		kind Kind
		want string
	}{
		{"nothing", "", Empty, "file is empty"},
		{"text", "not what was asked for\n", Unknown, "not a pcap or pcapng file"},
		{"a few letters", "abc", Unknown, "not a pcap or pcapng file"},
		{"parquet", "PAR1\x15\x04", Parquet, "a parquet file, not a capture"},
		{"bzip2", "BZh91AY&SY", Bzip2, "compressed with bzip2: unpack it first"},
		{"xz", "\xfd7zXZ\x00\x00\x04", XZ, "compressed with xz: unpack it first"},
		{"zstd", "\x28\xb5\x2f\xfd\x24\x00", Zstd, "compressed with zstd: unpack it first"},
		{"lz4", "\x04\x22\x4d\x18\x64\x40", LZ4, "compressed with lz4: unpack it first"},
		{"zip", "PK\x03\x04\x14\x00", Zip, "compressed with zip: unpack it first"},
		{"7z", "7z\xbc\xaf\x27\x1c\x00", SevenZ, "compressed with 7z: unpack it first"},
		{"gzip of nothing", string(zipped(t, nil)), Empty, "gzip content is empty"},
		{"gzip of text", string(zipped(t, []byte("letters"))), Unknown, "not a pcap or pcapng file"},
		{"gzip of parquet", string(zipped(t, []byte("PAR1\x15\x04"))), Parquet, "a gzipped parquet file, not a capture: unpack it first"},
		{"gzip of gzip", string(zipped(t, zipped(t, section(le)))), Gzip, "compressed with gzip inside gzip: unpack it first"},
		{"a damaged gzip header", "\x1f\x8b\xff\x00\x00\x00\x00\x00\x00\x00", "", "gzip: "},
	} {
		if _, err := NewReader(strings.NewReader(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if kind, _, err := Identify(strings.NewReader(tt.file)); tt.kind != "" && (kind != tt.kind || err != nil) {
			t.Errorf("%s is of kind %s, %v", tt.name, kind, err)
		}
	}
	for _, file := range [][]byte{classicFile(be, 0xa1b2cd34, 2, 4, 8), zipped(t, section(be))} {
		if kind, _, err := Identify(bytes.NewReader(file)); !kind.IsCapture() || err != nil {
			t.Errorf("%s, %v, want a capture", kind, err)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := NewReader(io.MultiReader(bytes.NewReader(section(le)), failing{broken})); err != nil {
		t.Error(err)
	}
	if _, err := NewReader(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// repeated is a stream of many times the same bytes.
type repeated struct {
	piece []byte
	times int
	at    int
}

func (r *repeated) Read(b []byte) (int, error) {
	if r.times == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.piece[r.at:])
	if r.at += n; r.at == len(r.piece) {
		r.at, r.times = 0, r.times-1
	}
	return n, nil
}

// Whatever a stream claims to hold, and however much of it comes, memory stays small.
func TestMemory(t *testing.T) {
	const much = 64 << 20
	name := option(le, 2, bytes.Repeat([]byte("eth"), 20_000))
	huge := slices.Concat(words(le, 6, 0xfffffff0, 0, 0, 0, 0xffffff00, 0xffffff00))
	for _, tt := range []struct {
		name  string
		start []byte
		piece []byte
	}{
		{"classic packets", classicFile(le, 0xa1b2c3d4, 2, 4, 0), classicFile(le, 0xa1b2c3d4, 2, 4, 0, entry{0, 0, 1 << 20, 1 << 20, make([]byte, 1<<20)})[24:]},
		{"interfaces", section(le), iface(le, 0)},
		{"interfaces with long names", section(le), iface(le, 0, name, name)},
		{"names", section(le), block(le, 4, name, name, name)},
		{"keys", section(le), block(le, 10, words(le, 1, 50_000), make([]byte, 50_000))},
		{"section headers with long comments", section(le), slices.Concat(words(le, 0x0a0d0d0a, 28+60_004, 0x1a2b3c4d, 1, 0, 0), name, words(le, 28+60_004))},
		{"a block of 4 GB", slices.Concat(section(le), iface(le, 0), huge), make([]byte, 1<<16)},
		{"packets of 8 MB", slices.Concat(section(le), iface(le, 0)), enhanced(le, 0, 0, 8<<20, 8<<20, make([]byte, 8<<20))},
		{"packets of 1 MB", slices.Concat(section(le), iface(le, 0)), enhanced(le, 0, 0, 1<<20, 1<<20, make([]byte, 1<<20))},
		{"packets of no interface", section(le), enhanced(le, 0, 0, 4, 4, []byte("none"))},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := NewReader(io.MultiReader(bytes.NewReader(tt.start), &repeated{piece: tt.piece, times: much / len(tt.piece)}))
		if err != nil {
			t.Fatal(err)
		}
		for odd := new(PacketError); err == nil || errors.As(err, &odd); {
			_, err = r.Next()
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: %d MB allocated for %d MB", tt.name, took>>20, much>>20)
		}
	}
}

// FuzzReader: any stream ends, in packets that keep to what a Packet promises.
func FuzzReader(f *testing.F) {
	data := []byte("seven bytes, or more of them")
	ng := slices.Concat(section(be), iface(be, 5, option(be, 9, []byte{0x9d}), option(be, 14, make([]byte, 8))), enhanced(be, 0, 1<<60, 28, 28, data),
		block(be, 2, words(be, 0, 1, 2, 28, 30), data), block(be, 3, words(be, 28), data), block(be, 5, words(be, 9)))
	f.Add(ng)
	f.Add(zipped(f, ng[:len(ng)-3]))
	f.Add(classicFile(le, 0xa1b2cd34, 2, 3, 8, entry{1, 2, 28, 20, data}))
	f.Add(classicFile(be, 0xa1b23c4d, 2, 0, 0, entry{1, 2, 28, 20, data}))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for {
			p, err := r.Next()
			if errors.As(err, new(*PacketError)) {
				continue
			}
			if err != nil {
				return
			}
			if len(p.Data) > p.Length || len(p.Data) > maxPacket || p.Link < 0 {
				t.Fatalf("%d bytes of %d, link %d", len(p.Data), p.Length, p.Link)
			}
			if y := p.Time.Year(); p.Timed && (y < 1 || y > 9999 || p.Time.Location() != time.UTC) {
				t.Fatalf("at %v", p.Time)
			}
		}
	})
}
