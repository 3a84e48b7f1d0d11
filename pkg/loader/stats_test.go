package loader

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Each counter of the kernel half reaches the answer of the same name.
func TestFill(t *testing.T) {
	inside := []string{"RingBytes", "Opened"} // that only this package reads
	kernel := reflect.ValueOf(&gen.IotsenseCounters{}).Elem()
	for i := range kernel.NumField() {
		if kernel.Field(i).Kind() != reflect.Uint64 {
			continue
		}
		kernel.SetZero()
		kernel.Field(i).SetUint(70_000)
		var stats Stats
		stats.fill(kernel.Interface().(gen.IotsenseCounters))
		got := stats.Packets.Seen + stats.Packets.Counted + stats.Packets.NotIP + stats.Packets.Malformed + stats.Packets.TableFull +
			stats.Packets.Duplicate + stats.Packets.Truncated + stats.Packets.Fragment + stats.Packets.Late +
			stats.Samples.Sent + stats.Samples.RingFull + stats.Flows.Refused + stats.Flows.OverShare + stats.Flows.OverReserve + stats.Flows.Collided
		name := kernel.Type().Field(i).Name
		if want := map[bool]uint64{false: 70_000}[slices.Contains(inside, name)]; got != want {
			t.Errorf("of %s %d reach the answer, want %d", name, got, want)
		}
	}
}

// What is counted of a life is found by its name, wherever the programs have put it.
func TestCounted(t *testing.T) {
	for name, cfg := range map[string]Config{"bi": {}, "uni": {Direction: flows.Uni}, "few fingerprints": {secret: weakSecret(16)}} {
		t.Run(name, func(t *testing.T) {
			cfg.Packets, cfg.Prefix, cfg.Lifetime = 2, 64, math.MaxInt32*1000
			k := newKernel(t, cfg, gen.IotsenseProgIotsenseIn)
			for _, f := range append(everyCut(), mutated(3, 2000)...) {
				if runnable(f) {
					k.run(gen.IotsenseProgIotsenseIn, f)
				}
			}
			open, _, err := k.OpenFlows(math.MaxInt)
			k.must(err)
			want, six := map[flows.Life]flows.Close{}, 0
			for _, f := range open {
				f.Interface.Name = ""
				want[f.Life] = f
				if f.Life.Key.A.Addr.Is6() {
					six++
				}
			}
			if six == 0 || six == len(open) {
				t.Fatalf("%d of %d lives are IPv6", six, len(open))
			}
			got := map[flows.Life]flows.Close{}
			k.must(k.Counted(maps.Keys(want), func(c *flows.Close) { got[c.Life] = *c }))
			if !maps.Equal(got, want) {
				t.Errorf("%d lives found, want %d", len(got), len(want))
			}
			after := open[0].Life
			after.Generation += uint64(gen.IotsensePlacePLACES)
			k.must(k.Counted(slices.Values([]flows.Life{after}), func(*flows.Close) { t.Error("another life of the flow is given for it") }))
		})
	}
}

// Losses are those of Stats.
func TestLosses(t *testing.T) {
	k := newKernel(t, Config{MaxFlows: 16, RingSize: 64 << 10, Packets: 10, Prefix: 1000}, gen.IotsenseProgIotsenseIn)
	for _, f := range mutated(3, 2000) {
		if runnable(f) {
			k.run(gen.IotsenseProgIotsenseIn, f)
		}
	}
	ringFull, tableFull, err := k.Losses()
	k.must(err)
	if s := k.count(); tableFull == 0 || ringFull != s.Samples.RingFull || tableFull != s.Packets.TableFull {
		t.Errorf("%d samples and %d packets, want %d and %d, some packets", ringFull, tableFull, s.Samples.RingFull, s.Packets.TableFull)
	}
}
