package flows_test

import (
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Flows are alike whose protocol, ports, sizes in steps and directions are.
func TestLikeness(t *testing.T) {
	flow := func(change func(r *flows.Record)) uint64 {
		r := &flows.Record{Proto: 6, DevPort: 3000, RemPort: 443, TotalBytes: 200, PacketCount: 3, Packets: []flows.RowPacket{
			{Size: 64, Sent: true, Payload: []byte("a")}, {Offset: 5, Size: 1500}, {Offset: 9, Size: 40, Sent: true},
		}}
		change(r)
		return r.Likeness(min(r.DevPort, 1024), r.RemPort)
	}
	same := flow(func(*flows.Record) {})
	for _, tt := range []struct {
		name   string
		change func(r *flows.Record)
		alike  bool
	}{
		{"a port that is as good", func(r *flows.Record) { r.DevPort++ }, true},
		{"other times, totals and bytes", func(r *flows.Record) {
			r.FirstSeen, r.TotalBytes, r.PacketCount, r.Packets[0].Payload, r.Packets[1].Offset = 7, 900, 30, []byte("b"), 6
		}, true},
		{"a little longer", func(r *flows.Record) { r.Packets[0].Size += 15 }, true},
		{"longer", func(r *flows.Record) { r.Packets[0].Size += 16 }, false},
		{"another protocol", func(r *flows.Record) { r.Proto = 17 }, false},
		{"another remote port", func(r *flows.Record) { r.RemPort = 80 }, false},
		{"another own port", func(r *flows.Record) { r.DevPort = 80 }, false},
		{"ports the other way round", func(r *flows.Record) { r.DevPort, r.RemPort = 443, 1024 }, false},
		{"no ports", func(r *flows.Record) { r.DevPort, r.RemPort = flows.Missing, flows.Missing }, false},
		{"received", func(r *flows.Record) { r.Packets[2].Sent = false }, false},
		{"a packet less", func(r *flows.Record) { r.Packets = r.Packets[:2] }, false},
		{"in another order", func(r *flows.Record) { r.Packets[0], r.Packets[2] = r.Packets[2], r.Packets[0] }, false},
	} {
		if got := flow(tt.change) == same; got != tt.alike {
			t.Errorf("%s: alike %v, want %v", tt.name, got, tt.alike)
		}
	}
}
