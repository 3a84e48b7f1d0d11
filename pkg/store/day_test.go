package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/registry"
)

const (
	dayDevices = 50
	dayClasses = 27
	dayMost    = 20e6 // bytes
)

// A day of 50 devices, all of them active in each minute and with as many facts as there may
// be, three of them others each hour, is written in 20 MB.
func TestBytesOfADay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	d := newDisk(t)
	d.quiet = true
	var writes, rows int
	synctest.Test(t, func(t *testing.T) {
		s, o := d.store(t, path)
		home := newHome()
		k := NewKeeper(s, o, Source{Registry: home.registry, Facts: home.facts}, slog.New(slog.DiscardHandler))
		home.noted = k.Noted
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		time.Sleep(30 * time.Second) // between its turns: who is asked for facts here has no lock
		for range 24 * 60 {
			home.minute(time.Now())
			time.Sleep(time.Minute)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		writes = int(k.Stats().Writes)
		home.registry.Resave()
		saved, _ := home.registry.Changed(dayDevices)
		for i := range saved {
			values, err := deviceRow(&saved[i])
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				rows += len(fmt.Sprint(v))
				if b, ok := v.([]byte); ok {
					rows += len(b) - len(fmt.Sprint(v))
				}
			}
		}
	})
	snapshot, err := os.Stat(path + SnapshotSuffix)
	if err != nil {
		t.Fatal(err)
	}
	d.written += 2 * snapshot.Size() // is copied: at the beginning, where it is small, and at the end
	t.Logf("%.1f MB in %d writes, %d syncs; a device has some %d bytes", float64(d.written)/1e6, writes, d.syncs, rows/dayDevices)
	if d.written > dayMost {
		t.Errorf("%d bytes were written", d.written)
	}
	if o := opened(t, path); len(o.Devices) != dayDevices || len(o.Facts) != dayDevices {
		t.Errorf("%d devices, %d with facts", len(o.Devices), len(o.Facts))
	}
}

// home has devices that are always active.
type home struct {
	registry *registry.Registry
	noted    func()
	random   *rand.Rand
	n        int
	known    map[string][]facts.Fact
	changes  map[string]uint32
}

func newHome() *home {
	h := &home{noted: func() {}, random: rand.New(rand.NewPCG(1, 2)), known: map[string][]facts.Fact{}, changes: map[string]uint32{}}
	labels, paths := make([]string, dayClasses), make([][]string, dayClasses)
	for i := range labels {
		labels[i] = fmt.Sprint("TP-LinkPlugHS", i)
		paths[i] = []string{"TP-Link", fmt.Sprint("plug", i/2), labels[i]}
	}
	h.registry = registry.New(registry.Config{
		Labels: labels, Levels: join.NewLevels(paths, -1, func(int) float64 { return .8 }, .8), Model: "0123456789abcdef", Noted: func(v1.Event) { h.noted() },
	})
	return h
}

func (h *home) facts(device string) (uint32, []facts.Fact) { return h.changes[device], h.known[device] }

// minute is one of all devices: a window each, now and then another fact.
func (h *home) minute(now time.Time) {
	h.n++
	for i := range dayDevices {
		name := fmt.Sprintf("50:c7:bf:00:00:%02x", i)
		at := now.UnixMicro() + int64(i)
		r := &flows.Record{Device: name, FirstSeen: at, LastSeen: at + 5e7, PacketCount: 20, TotalBytes: 4000, DeviceAddr: netip.AddrFrom4([4]byte{192, 168, 0, byte(i)})}
		if h.n%3 == 0 {
			r.DeviceAddr = netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(i)})
		}
		h.registry.Record(r)
		probs := make([]float32, dayClasses)
		rest := float32(1)
		for c := range probs {
			probs[c] = rest * h.random.Float32() / 20
			rest -= probs[c]
		}
		probs[i%dayClasses] += rest
		h.registry.Window(r, &registry.Window{Window: join.Window{Probs: probs, Again: h.random.IntN(3) > 0, Distance: .5, Measured: true}, Network: probs, Facts: probs})
		for len(h.known[name]) < facts.MaxFacts {
			h.fact(name, len(h.known[name]), at)
		}
		if h.random.IntN(20) == 0 {
			h.fact(name, h.random.IntN(facts.MaxFacts), at)
		}
	}
}

// fact has a device say something new, in place of something else.
func (h *home) fact(device string, place int, at int64) {
	h.changes[device]++
	f := facts.Fact{Kind: facts.DNSName, Source: facts.Sent, Count: uint32(place), Value: fmt.Sprintf("%d.%s.example.com", h.random.Uint64(), strings.Repeat("x", h.random.IntN(20))), First: at, Last: at}
	if place == len(h.known[device]) {
		h.known[device] = append(h.known[device], f)
	} else {
		h.known[device][place] = f
	}
}
