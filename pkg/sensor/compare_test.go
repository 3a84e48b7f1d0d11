package sensor_test

import (
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
)

// TestDifference makes sure that the comparison of live and offline records sees
// what it is for.
func TestDifference(t *testing.T) {
	record := func(change func(*flows.Record)) *flows.Record {
		r := &flows.Record{
			Device: "02:00:00:00:00:0d", Proto: 17, DevPort: 4000, RemPort: 53, TotalBytes: 300, PacketCount: 2,
			Packets: []flows.RowPacket{{Offset: 0, Size: 100, Sent: true, Payload: []byte("ask")}, {Offset: 20000, Size: 200, Payload: []byte("answer")}},
		}
		if change != nil {
			change(r)
		}
		return r
	}
	tests := []struct {
		name   string
		change func(*flows.Record)
		since  int64
		speed  float64
		same   bool
	}{
		{"nothing", nil, 0, 1, true},
		{"offset within tolerance", func(r *flows.Record) { r.Packets[1].Offset += 1000 }, 0, 1, true},
		{"offset beyond it", func(r *flows.Record) { r.Packets[1].Offset += 1100 }, 0, 1, false},
		{"offset within tolerance at speed 5", func(r *flows.Record) { r.Packets[1].Offset -= 4900 }, 0, 5, true},
		{"offset beyond it at speed 5", func(r *flows.Record) { r.Packets[1].Offset -= 5100 }, 0, 5, false},
		{"first seen within tolerance", nil, 1900, 1, true},
		{"first seen beyond it", nil, -2100, 1, false},
		{"packets", func(r *flows.Record) { r.PacketCount++ }, 0, 1, false},
		{"bytes", func(r *flows.Record) { r.TotalBytes++ }, 0, 1, false},
		{"size", func(r *flows.Record) { r.Packets[0].Size++ }, 0, 1, false},
		{"direction", func(r *flows.Record) { r.Packets[0].Sent = false }, 0, 1, false},
		{"payload", func(r *flows.Record) { r.Packets[1].Payload = []byte("ANSWER") }, 0, 1, false},
		{"sample missing", func(r *flows.Record) { r.Packets = r.Packets[:1] }, 0, 1, false},
		{"incomplete", func(r *flows.Record) { r.Incomplete = true }, 0, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := difference(record(tt.change), record(nil), 50000+tt.since, 50000, tt.speed); (d == "") != tt.same {
				t.Errorf("difference %q, want none: %v", d, tt.same)
			}
		})
	}
}

// TestBrokenIdentities skips one counter after the other: each time an identity
// must break.
func TestBrokenIdentities(t *testing.T) {
	exact := flows.PacketStats{
		Seen: 100, Counted: 60, NotIP: 20, Malformed: 10, TableFull: 6, Duplicate: 4,
		InOpen: 15, InClosed: 45, WithDevice: 30, NoDevice: 15, Truncated: 1, Fragment: 2, Late: 3,
	}
	if broken := brokenIdentities(exact); len(broken) != 0 {
		t.Fatalf("broken without a fault: %v", broken)
	}
	for name, counter := range map[string]func(*flows.PacketStats) *uint64{
		"seen":        func(p *flows.PacketStats) *uint64 { return &p.Seen },
		"counted":     func(p *flows.PacketStats) *uint64 { return &p.Counted },
		"not_ip":      func(p *flows.PacketStats) *uint64 { return &p.NotIP },
		"malformed":   func(p *flows.PacketStats) *uint64 { return &p.Malformed },
		"table_full":  func(p *flows.PacketStats) *uint64 { return &p.TableFull },
		"duplicate":   func(p *flows.PacketStats) *uint64 { return &p.Duplicate },
		"in_open":     func(p *flows.PacketStats) *uint64 { return &p.InOpen },
		"in_closed":   func(p *flows.PacketStats) *uint64 { return &p.InClosed },
		"with_device": func(p *flows.PacketStats) *uint64 { return &p.WithDevice },
		"no_device":   func(p *flows.PacketStats) *uint64 { return &p.NoDevice },
	} {
		fault := exact
		*counter(&fault)--
		if len(brokenIdentities(fault)) == 0 {
			t.Errorf("a packet missing in %s breaks no identity", name)
		}
	}
}

// TestExactKeys checks which flows count as away from a rollover.
func TestExactKeys(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration // of the second packet
		speed float64
		exact bool
	}{
		{"a second before", flows.Lifetime - time.Second, 1, true},
		{"just before", flows.Lifetime - time.Millisecond, 1, false},
		{"just after", flows.Lifetime + time.Millisecond, 1, false},
		{"a second after", flows.Lifetime + time.Second, 1, true},
		{"8 ms before at speed 5", flows.Lifetime - 8*time.Millisecond, 5, false},
		{"12 ms before at speed 5", flows.Lifetime - 12*time.Millisecond, 5, true},
	}
	frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(4000, 53, nil)))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Date(2016, 9, 1, 0, 0, 0, 0, time.UTC)
			keys := exactKeys(t, []lab.Frame{{Time: start, Data: frame}, {Time: start.Add(tt.after), Data: frame}}, flows.Bi, tt.speed)
			if len(keys) != 1 {
				t.Fatalf("%d flows, want 1", len(keys))
			}
			for k, exact := range keys {
				if exact != tt.exact {
					t.Errorf("flow %v is exact: %v, want %v", k, exact, tt.exact)
				}
			}
		})
	}
}
