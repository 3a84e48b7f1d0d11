package sensor

import (
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// A device is said to be another one only where it may have changed its MAC.
func TestSuggestSame(t *testing.T) {
	device := func(name, host string, random bool, first, last int64) v1.DeviceVerdict {
		return v1.DeviceVerdict{
			Verdict: v1.Verdict{Device: name, Facts: v1.Facts{"dhcp_host": host}}, RandomMAC: random, FirstSeen: v1.UnixMicro(first), LastSeen: v1.UnixMicro(last),
		}
	}
	list := []v1.DeviceVerdict{
		device("c", "phone", true, 300, 400), device("a", "phone", true, 1, 99), device("b", "phone", true, 100, 250),
		device("twin", "phone", true, 50, 500),     // there at the same time
		device("fixed", "plug", false, 1, 9),       // its MAC stays
		device("fixed too", "plug", false, 10, 20), // another unit
		device("nameless", "", true, 1, 2), device("nameless too", "", true, 3, 4),
	}
	suggestSame(list)
	for i, want := range []string{"a b", "b c", "a c", "", "", "", "", ""} {
		if got := strings.Join(list[i].SameAs, " "); got != want {
			t.Errorf("%s: same as %q, want %q", list[i].Device, got, want)
		}
	}
}
