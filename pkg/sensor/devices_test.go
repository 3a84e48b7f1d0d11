package sensor

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/registry"
)

// A device is listed from its first packet on, and was seen when its open flows say.
func TestListingOfOpenFlows(t *testing.T) {
	known := v1.DeviceVerdict{
		Verdict:   v1.Verdict{Device: "00:17:88:0a:0b:0c", State: v1.Known, Flows: 3},
		Addresses: []string{"10.0.0.5"}, FirstSeen: v1.UnixMicro(1e6), LastSeen: v1.UnixMicro(60e6),
	}
	gateway := netip.MustParseAddr("10.0.0.1")
	l := listing{
		list: []v1.DeviceVerdict{known}, at: map[string]int{known.Device: 0}, most: 3,
		ignored: func(r *flows.Record) bool { return r.DeviceAddr == gateway },
	}
	l.seen(known.Device, netip.MustParseAddr("10.0.0.5"), 50e6, 90e6)
	l.seen(known.Device, netip.MustParseAddr("fe80::5"), 50e6, 70e6) // does not set it back
	l.seen(known.Device, netip.IPv4Unspecified(), 50e6, 70e6)
	l.seen("02:00:00:00:00:07", netip.MustParseAddr("10.0.0.7"), 80e6, 85e6)
	l.seen("02:00:00:00:00:07", netip.MustParseAddr("10.0.0.7"), 79e6, 79e6)
	l.seen("00:1d:aa:01:02:03", gateway, 81e6, 82e6)
	l.seen("00:1d:aa:01:02:04", netip.MustParseAddr("10.0.0.8"), 81e6, 82e6) // one more than there may be
	type line struct {
		device      string
		state       v1.State
		first, last int64
		addresses   int
		random      bool
	}
	var got []line
	for _, d := range l.list {
		got = append(got, line{d.Device, d.State, d.FirstSeen.UnixMicro(), d.LastSeen.UnixMicro(), len(d.Addresses), d.RandomMAC})
	}
	want := []line{
		{known.Device, v1.Known, 1e6, 90e6, 2, false},
		{"02:00:00:00:00:07", v1.Gathering, 79e6, 85e6, 1, true},
		{"00:1d:aa:01:02:03", v1.Ignored, 81e6, 82e6, 1, false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// A device that had a label before it was seen is seen for the first time by an open flow.
func TestListingOfOneNotSeenBefore(t *testing.T) {
	const name = "00:1d:aa:01:02:03"
	l := listing{list: []v1.DeviceVerdict{{Verdict: v1.Verdict{Device: name}}}, at: map[string]int{name: 0}, most: 1}
	l.seen(name, netip.MustParseAddr("10.0.0.1"), 5e6, 6e6)
	if d := l.list[0]; d.FirstSeen.IsZero() || d.FirstSeen.UnixMicro() != 5e6 || d.LastSeen.UnixMicro() != 6e6 {
		t.Errorf("first seen %v, last %v", d.FirstSeen, d.LastSeen)
	}
}

// A MAC with open flows of thousands of addresses is listed with the last few.
func TestListingBoundsAddresses(t *testing.T) {
	l := listing{at: map[string]int{}, most: 1}
	addr := netip.MustParseAddr("10.0.0.1")
	for range 1000 {
		addr = addr.Next()
		l.seen("00:1d:aa:01:02:03", addr, 0, 1)
	}
	if got := l.list[0].Addresses; len(got) != registry.MaxAddresses || got[0] != addr.String() {
		t.Errorf("%d addresses, %s first, want %d and %v", len(got), got[0], registry.MaxAddresses, addr)
	}
}
