package loader

import (
	"testing"

	"github.com/cilium/ebpf/features"

	"github.com/iotsense/iotsense/pkg/loader/object"
)

// What the kernel accounts for, all maps loaded, is within what README promises
// and what TableMemory computes.
func TestMemoryOfTheLoadedMaps(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name               string
		maxFlows, ringSize int
		most               uint64
	}{
		{"default", object.DefaultMaxFlows, object.DefaultRingSize, 32 * mib},
		{"small", 16384, mib, 8 * mib},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKernel(t, Config{MaxFlows: tt.maxFlows, RingSize: tt.ringSize})
			if code, err := features.LinuxVersionCode(); err != nil || code < 6<<16|4<<8 {
				t.Skipf("kernel %#x (%v): only 6.4 and newer report what maps really take", code, err)
			}
			var sum uint64
			for _, m := range k.maps {
				info, err := m.Info()
				k.must(err)
				bytes, _ := info.Memlock() // none for an empty trie
				sum += bytes
			}
			computed, err := object.TableMemory(tt.maxFlows, tt.ringSize)
			k.must(err)
			if sum > tt.most || float64(sum) > 1.05*float64(computed) || float64(sum) < 0.9*float64(computed) {
				t.Errorf("maps take %d bytes, computed %d, want at most %d", sum, computed, tt.most)
			}
			t.Logf("%.1f MB in the kernel, %.1f MB computed", float64(sum)/mib, float64(computed)/mib)
		})
	}
}
