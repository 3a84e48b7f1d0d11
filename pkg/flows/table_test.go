package flows

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/internal/packet"
)

// recorder keeps a Table's events; it is the caller's job not to.
type recorder struct {
	samples []Sample
	closes  []Close
}

func (r *recorder) Sample(s *Sample) {
	c := *s
	c.Payload = slices.Clone(s.Payload)
	r.samples = append(r.samples, c)
}
func (r *recorder) Close(c *Close) { r.closes = append(r.closes, *c) }

const minute = 60_000_000 // us

// datagram is a UDP packet with n bytes of payload.
func datagram(src, dst string, srcMAC, dstMAC MAC, n int) *Packet {
	return &Packet{
		HasMAC: true, SrcMAC: srcMAC, DstMAC: dstMAC, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst),
		Proto: 17, HasPorts: true, SrcPort: 1, DstPort: 2,
		Size: uint32(28 + n), HeaderLen: 28, PayloadLen: uint32(n), Payload: packet.Payload(n),
	}
}

// The first packet a minute or more after a life's first begins the next life,
// whatever came between; packets that seem to come before it do only when they are
// a minute or more before.
func TestTableRollover(t *testing.T) {
	type life struct {
		first, last int64
		packets     uint64
	}
	for _, tt := range []struct {
		name   string
		config RecordSpec
		stamps []int64
		want   []life
	}{
		{"just before the minute", RecordSpec{}, []int64{100, 100 + minute - 1}, []life{{100, 100 + minute - 1, 2}}},
		{"at the minute", RecordSpec{}, []int64{100, 100 + minute}, []life{{100, 100, 1}, {100 + minute, 100 + minute, 1}}},
		{"counted from the first packet", RecordSpec{}, []int64{0, minute - 1, 2*minute - 2, 2*minute - 1},
			[]life{{0, minute - 1, 2}, {2*minute - 2, 2*minute - 1, 2}}},
		{"no idle expiry", RecordSpec{}, []int64{0, 59_000_000}, []life{{0, 59_000_000, 2}}},
		{"backward step", RecordSpec{}, []int64{1000, 918, 1500}, []life{{1000, 1500, 3}}},
		{"backward step over a rollover", RecordSpec{}, []int64{0, minute, minute - 82}, []life{{0, 0, 1}, {minute, minute, 2}}},
		{"backward by just less than a minute", RecordSpec{}, []int64{minute, 1, 2}, []life{{minute, minute, 3}}},
		{"backward by a minute", RecordSpec{}, []int64{minute, 0, 2}, []life{{minute, minute, 1}, {0, 2, 2}}},
		{"a clock set back by a day", RecordSpec{}, []int64{1440 * minute, 0, 59, minute}, []life{{1440 * minute, 1440 * minute, 1}, {0, 59, 2}, {minute, minute, 1}}},
		{"a clock set back and forward again", RecordSpec{}, []int64{1440 * minute, 0, 1440*minute + 5}, []life{{1440 * minute, 1440 * minute, 1}, {0, 0, 1}, {1440*minute + 5, 1440*minute + 5, 1}}},
		{"shorter lifetime", RecordSpec{Lifetime: time.Second}, []int64{0, 999_999, 1_000_000}, []life{{0, 999_999, 2}, {1_000_000, 1_000_000, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events recorder
			table := NewTable(tt.config, NewLocals(nil), &events)
			p := datagram("10.0.0.1", "8.8.8.8", macA, macR, 10)
			for _, stamp := range tt.stamps {
				table.Add(p, stamp)
			}
			table.Flush()
			var got []life
			generations := map[uint64]bool{}
			for _, c := range events.closes {
				got = append(got, life{c.First, c.Last, c.Packets[0] + c.Packets[1]})
				generations[c.Life.Generation] = true
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(life{})); diff != "" {
				t.Error(diff)
			}
			if len(generations) != len(got) {
				t.Error("two lives with one generation")
			}
			back := uint64(0)
			for i := range got[1:] {
				if got[i+1].first < got[i].first {
					back++
				}
			}
			if table.Stats().SetBack != back {
				t.Errorf("%d lives ended by a step back counted, want %d", table.Stats().SetBack, back)
			}
		})
	}
}

// Both directions of a bidirectional flow share a life, its minute, its totals
// and its ten samples; unidirectional ones share nothing.
func TestTableDirections(t *testing.T) {
	out := datagram("10.0.0.1", "8.8.8.8", macA, macR, 1200)
	in := datagram("8.8.8.8", "10.0.0.1", macR, macA, 5)
	in.SrcPort, in.DstPort = out.DstPort, out.SrcPort
	run := func(dir Direction) recorder {
		var events recorder
		table := NewTable(RecordSpec{Direction: dir}, NewLocals(nil), &events)
		table.Add(in, 0) // an inbound packet starts no minute of a unidirectional record
		for i := range int64(7) {
			table.Add(out, 10+i)
			table.Add(in, minute-10+i)
		}
		table.Add(out, minute)
		table.Flush()
		return events
	}

	bi := run(Bi)
	if len(bi.closes) != 2 {
		t.Fatalf("%d lives, want 2", len(bi.closes))
	}
	c := bi.closes[0]
	a, b := 0, 1
	if c.Life.Key.A.Addr != out.Src {
		a, b = 1, 0
	}
	if c.Packets[a] != 7 || c.Packets[b] != 8 || c.Bytes[a] != 7*1228 || c.Bytes[b] != 8*33 || c.Samples != RowPackets {
		t.Errorf("%+v", c)
	}
	if n := len(bi.samples); n != RowPackets+1 {
		t.Errorf("%d samples, want 10 and 1", n)
	}
	for i, s := range bi.samples[:RowPackets] {
		if int(s.Index) != i || s.Order != c.Order || s.Life != c.Life {
			t.Errorf("sample %d: %+v", i, s)
		}
		if want := min(s.Size-28, PayloadPrefix); len(s.Payload) != int(want) {
			t.Errorf("sample %d: %d payload bytes, want %d", i, len(s.Payload), want)
		}
	}

	uni := run(Uni)
	var first []int64
	for _, c := range uni.closes {
		if c.Life.Key.A.Addr == out.Src {
			first = append(first, c.First)
			if c.Packets[1] != 0 {
				t.Errorf("inbound packets in %+v", c)
			}
		}
	}
	if !slices.Equal(first, []int64{10}) {
		t.Errorf("lives of what the device sent begin at %v, want one, at its first packet", first)
	}
}

// A super-packet gives as many samples as it has segments, up to what is left.
func TestTableSegments(t *testing.T) {
	super := datagram("10.0.0.1", "8.8.8.8", macA, macR, 0)
	super.Proto, super.HeaderLen, super.PayloadLen, super.Size = 6, 40, 4*1460+7, 40+4*1460+7
	super.Payload, super.SegmentSize = packet.Payload(int(super.PayloadLen)), 1460
	var events recorder
	table := NewTable(RecordSpec{Prefix: 500}, NewLocals(nil), &events)
	for i := range int64(3) {
		table.Add(super, i)
	}
	table.Flush()
	c := events.closes[0]
	if c.Packets != [2]uint64{0, 15} || c.Bytes != [2]uint64{0, 3 * (4*1500 + 47)} || c.Samples != RowPackets || len(events.samples) != RowPackets {
		t.Fatalf("%+v, %d samples", c, len(events.samples))
	}
	for i, s := range events.samples {
		size, payload := uint32(1500), 500
		if i%5 == 4 {
			size, payload = 47, 7
		}
		if s.Size != size || len(s.Payload) != payload || s.Stamp != int64(i/5) || int(s.Index) != i {
			t.Errorf("sample %d: size %d, payload %d, stamp %d, index %d", i, s.Size, len(s.Payload), s.Stamp, s.Index)
		}
		if payload > 0 && s.Payload[0] != super.Payload[1460*(i%5)] {
			t.Errorf("sample %d begins with %d", i, s.Payload[0])
		}
	}
}

// A long capture does not keep lives that ended long ago, and loses none.
func TestTableSweep(t *testing.T) {
	var events recorder
	table := NewTable(RecordSpec{Packets: 1, Prefix: 1}, NewLocals(nil), &events)
	const flows = 10 * sweepEvery
	p := datagram("10.0.0.1", "8.8.8.8", macA, macR, 1)
	most := 0
	for i := range int64(flows) {
		p.SrcPort, p.DstPort = uint16(i), uint16(i>>16)
		table.Add(p, i*10_000) // 12,000 lives in two minutes
		most = max(most, len(table.lives))
		// The first sweep closes what is two minutes old when the packet before came, to
		// the microsecond.
		if want := sweepEvery - 12_001; i == sweepEvery-1 && len(events.closes) != want {
			t.Errorf("%d lives closed at the first sweep, want %d", len(events.closes), want)
		}
	}
	if limit := sweepEvery + 12_000 + sweepEvery; most > limit {
		t.Errorf("%d lives open at once, want at most %d", most, limit)
	}
	table.Flush()
	if len(events.closes) != flows || len(events.samples) != flows {
		t.Errorf("%d lives, %d samples, want %d", len(events.closes), len(events.samples), flows)
	}
	for i, c := range events.closes {
		if c.Order != int64(i) {
			t.Fatalf("life %d closed in place %d", c.Order, i)
		}
	}
}

// fill adds n lives of one packet, one a stamp.
func fill(table *Table, n int, stamp func(i int) int64) {
	p := datagram("10.0.0.1", "8.8.8.8", macA, macR, 1)
	for i := range n {
		p.SrcPort, p.DstPort = uint16(i), uint16(i>>16)
		table.Add(p, stamp(i))
	}
}

// A life whose own packet ends it just when a sweep is due is closed once.
func TestTableSweepAtRollover(t *testing.T) {
	var events recorder
	table := NewTable(RecordSpec{}, NewLocals(nil), &events)
	again := datagram("10.0.0.2", "8.8.4.4", macA, macR, 1)
	table.Add(again, 0)
	fill(table, sweepEvery-2, func(i int) int64 { return int64(i) })
	table.Add(again, 2*minute+1)
	table.Flush()
	closed := map[Life]int{}
	for _, c := range events.closes {
		if closed[c.Life]++; closed[c.Life] > 1 {
			t.Fatalf("%+v closed twice", c)
		}
	}
	if len(events.closes) != sweepEvery || table.Stats().InClosed != sweepEvery || table.Stats().InOpen != 0 {
		t.Errorf("%d lives of %d packets closed, want %d of one packet", len(events.closes), table.Stats().InClosed, sweepEvery)
	}
}

// A stamp of years ahead does not keep its life, and with it the records of its
// device, until the end; and does not end any other life.
func TestTableFutureStamp(t *testing.T) {
	const ahead = 80 * 365 * 1440 * minute
	for _, tt := range []struct {
		name string
		at   int // index of the packet with the odd stamp
		want int // lives that the first sweep closes
	}{
		{"first", 0, 1},
		{"just before the sweep", sweepEvery - 2, 1},
		{"the one that makes the sweep", sweepEvery - 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events recorder
			table := NewTable(RecordSpec{}, NewLocals(nil), &events)
			fill(table, sweepEvery, func(i int) int64 {
				if i == tt.at {
					return ahead
				}
				return int64(i)
			})
			if len(events.closes) != tt.want || tt.want > 0 && events.closes[0].First != ahead {
				t.Errorf("%d lives closed by the sweep, want %d", len(events.closes), tt.want)
			}
		})
	}
}
