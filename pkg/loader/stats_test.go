package loader

import (
	"reflect"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/gen"
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
