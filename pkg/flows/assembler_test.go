package flows

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/iotsense/iotsense/internal/packet"
)

// life is the n-th life of a flow between two ends; its events follow from it.
func life(n uint64, a, b End) Life {
	a.Port, b.Port = uint16(1000+n), 53
	return Life{Key: Key{A: a, B: b, Proto: 17, HasPorts: true}, Generation: n}
}

// assemble runs events through an Assembler with default locals.
func assemble(dir Direction, events ...any) (records []*Record, stats AssemblerStats) {
	return assembleAs(AssemblerConfig{Spec: RecordSpec{Direction: dir}}, events...)
}

// assembleAs is assemble with an Assembler of another kind.
func assembleAs(cfg AssemblerConfig, events ...any) (records []*Record, stats AssemblerStats) {
	cfg.Locals, cfg.Emit = NewLocals(nil), func(r *Record) { records = append(records, r) }
	a := NewAssembler(cfg)
	for _, e := range events {
		switch e := e.(type) {
		case *Sample:
			a.Sample(e)
		case *Close:
			a.Close(e)
		}
	}
	return records, a.Stats()
}

// A sample whose life never ends holds its device's records up for MaxAge.
func TestAssemblerGivesUp(t *testing.T) {
	orphan, first, second := life(1, endA, endR), life(2, endA, endR), life(3, endA, endR)
	for _, tt := range []struct {
		maxAge  int64
		after   int64 // the second life begins so much after the orphan
		records int
	}{{0, 1000, 0}, {100, 100, 0}, {100, 101, 2}} {
		n := 0
		a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil), MaxAge: tt.maxAge, Emit: func(*Record) { n++ }})
		a.Sample(&Sample{Life: orphan, Order: 10})
		a.Close(&Close{Life: first, Order: 20})
		a.Close(&Close{Life: second, Order: 10 + tt.after})
		if n != tt.records || a.Stats().Records != 2 {
			t.Errorf("max age %d, after %d: %d records emitted of %d, want %d of 2", tt.maxAge, tt.after, n, a.Stats().Records, tt.records)
		}
	}
}

// Each sample is observed whole, once for each device end, on the records' clock.
func TestAssemblerObserves(t *testing.T) {
	var got []string
	a := NewAssembler(AssemblerConfig{
		Spec: RecordSpec{Prefix: 1}, Locals: NewLocals(nil), Epoch: func(stamp int64) int64 { return stamp + 1000 },
		Observe: func(device string, sent bool, at int64, s *Sample) {
			got = append(got, fmt.Sprintf("%c %v %d %s", device[len(device)-1], sent, at, s.Payload))
		},
	})
	a.Sample(&Sample{Life: life(1, endA, endB), Stamp: 1, FromA: true, Payload: []byte("asks")})
	a.Sample(&Sample{Life: life(1, endA, endB), Stamp: 2, Index: 1, Payload: []byte("answers")})
	a.Sample(&Sample{Life: life(2, endA, endR), Stamp: 3, FromA: true, Payload: []byte("leaves")})
	a.Sample(&Sample{Life: life(3, endR, endR), Stamp: 4, Payload: []byte("passes")})
	want := []string{"a true 1001 asks", "b false 1001 asks", "a false 1002 answers", "b true 1002 answers", "a true 1003 leaves"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A life between two devices that one of them has given up still ends for both, and
// holds neither of them up afterwards.
func TestAssemblerGivenUpByOne(t *testing.T) {
	var got []string
	a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil), MaxAge: 100, Emit: func(r *Record) {
		got = append(got, fmt.Sprintf("%c%d %v", r.Device[len(r.Device)-1], r.FirstSeen, r.Incomplete))
	}})
	both := life(1, endA, endB)
	a.Sample(&Sample{Life: both, Order: 10})
	for _, c := range []*Close{
		{Life: life(2, endA, endR), Order: 111, First: 111}, // A gives up
		{Life: both, Order: 10, First: 10, Samples: 1},
		{Life: life(3, endB, endR), Order: 20, First: 20},
	} {
		a.Close(c)
	}
	want := []string{"a111 false", "a10 false", "b10 false", "b20 false"}
	if !slices.Equal(got, want) || len(a.lives) != 0 || len(a.devices) != 0 {
		t.Errorf("%q, %d lives and %d devices left, want %q and none", got, len(a.lives), len(a.devices), want)
	}
}

// What a device's open lives would give if they ended now is what they give when they do,
// for as many as are asked for; with nothing counted it is what samples tell. Nothing
// changes by it.
func TestAssemblerPreview(t *testing.T) {
	var got []*Record
	a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil), Emit: func(r *Record) { got = append(got, r) }})
	table := NewTable(RecordSpec{}, NewLocals(nil), a)
	counted := func(l Life) *Close {
		if c := table.lives[l.Key]; c != nil && c.Life == l {
			return c
		}
		return nil
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range int64(400) {
		p := datagram("10.0.0.1", "8.8.8.8", macA, macR, r.IntN(1200))
		if p.SrcPort = uint16(r.IntN(12)); r.IntN(2) == 0 {
			p = datagram("8.8.8.8", "10.0.0.1", macR, macA, r.IntN(1200))
			p.DstPort = uint16(r.IntN(12))
		}
		table.Add(p, i*minute/150) // some lives end, and wait for earlier ones
	}
	device, before := macA.String(), a.Stats()
	want := a.Preview(device, 1000, counted)
	bare := a.Preview(device, 1000, nothingCounted)
	if few := a.Preview(device, 3, counted); !cmp.Equal(few, want[:3], sameAddr) {
		t.Error("the first three are not those of all")
	}
	if a.Preview(macB.String(), 9, counted) != nil || a.Stats() != before {
		t.Error("a device without lives has records, or they were counted")
	}
	var open []OpenDevice
	for d := range a.OpenDevices {
		open = append(open, d)
	}
	if len(open) != 1 || open[0].Name != device || open[0].First != want[0].FirstSeen || open[0].Records != len(want) || open[0].Sampled == 0 || !a.IsOpen(device) || a.IsOpen(macB.String()) {
		t.Errorf("open devices: %+v", open)
	}
	got = nil
	table.Flush()
	if d := cmp.Diff(got, want, sameAddr); d != "" {
		t.Error(d)
	}
	for i, r := range bare {
		if r.PacketCount < uint64(len(r.Packets)) || r.PacketCount > want[i].PacketCount || r.LastSeen < r.LastDescribed() || r.Incomplete {
			t.Errorf("record %d of samples alone: %+v", i, r)
		}
	}
}

// A life of which a sample is missing is incomplete as long as it is open, too.
func TestAssemblerPreviewOfLost(t *testing.T) {
	l := life(1, endA, endR)
	a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil)})
	a.Sample(&Sample{Life: l, Index: 2, Stamp: 9})
	a.Sample(&Sample{Life: l, Index: 0, Stamp: 5})
	if r := a.Preview(macA.String(), 1, nothingCounted)[0]; !r.Incomplete || r.FirstSeen != 5 || r.LastSeen != 9 {
		t.Errorf("%+v, want it incomplete", r)
	}
	a.Sample(&Sample{Life: l, Index: 1, Stamp: 7})
	if r := a.Preview(macA.String(), 1, nothingCounted)[0]; r.Incomplete || r.PacketCount != 3 {
		t.Errorf("%+v, want it complete", r)
	}
}

func nothingCounted(Life) *Close { return nil }

var sameAddr = cmp.Comparer(func(x, y netip.Addr) bool { return x == y })

var (
	endA, endB = end(macA, "10.0.0.1"), end(macB, "10.0.0.2")
	endR       = end(MAC{}, "8.8.8.8")
)

// Every field of a record, seen from both of its devices.
// lost gives an Assembler n open lives of one device, then the ends of n earlier ones
// whose samples were all lost, then the ends of the rest: the ring ran full.
func lost(a *Assembler, n int) {
	nth := func(i int) Life {
		l := life(1, endA, endR)
		l.Generation = uint64(i)
		return l
	}
	for i := range n {
		a.Sample(&Sample{Life: nth(n + i), Order: int64(n + i), Stamp: int64(n + i), FromA: true})
	}
	for i := range 2 * n {
		at := int64(i)
		a.Close(&Close{Life: nth(i), Order: at, First: at, Last: at, Packets: [2]uint64{1}, Samples: 1})
	}
}

// Lives that are first heard of when they close find their place among those that
// are open without a walk past all of these.
func TestAssemblerPlacesLostLives(t *testing.T) {
	const n = 1 << 12
	var order []int64
	a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil), Emit: func(r *Record) { order = append(order, r.FirstSeen) }})
	a.Sample(&Sample{Life: life(2, endA, endR), Order: -1}) // holds all of them up
	queue := a.devices[macA.String()]
	lost(a, n)
	a.Close(&Close{Life: life(2, endA, endR), Order: -1, First: -1, Last: -1, Samples: 1})
	if len(order) != 2*n+1 || !slices.IsSorted(order) {
		t.Errorf("%d records, sorted: %v, want %d in order", len(order), slices.IsSorted(order), 2*n+1)
	}
	if most := uint64(2*n+1) * 3 * 13; queue.compared > most { // log2(2n) = 13: up once, down once by two a level
		t.Errorf("%d comparisons for %d records, want at most %d", queue.compared, 2*n+1, most)
	}
}

func BenchmarkAssemblerPlacesLostLives(b *testing.B) {
	for b.Loop() {
		lost(NewAssembler(AssemblerConfig{Locals: NewLocals(nil), Emit: func(*Record) {}}), 1<<16)
	}
}

func TestAssemblerRecord(t *testing.T) {
	l := life(1, endA, endB)
	body := packet.Payload(3)
	records, stats := assemble(Bi,
		&Sample{Life: l, Index: 0, Order: 5, Stamp: 1000, FromA: true, Size: 60, Payload: body},
		&Sample{Life: l, Index: 1, Order: 5, Stamp: 918, Size: 70}, // a backward step
		&Sample{Life: l, Index: 2, Order: 5, Stamp: 1700, FromA: true, Size: 80, Payload: body[:1]},
		&Close{Life: l, Order: 5, First: 1000, Last: 9000, Packets: [2]uint64{20, 30}, Bytes: [2]uint64{2000, 3000}, Samples: 3},
	)
	want := &Record{
		Device: macA.String(), FirstSeen: 1000, LastSeen: 9000, Remote: netip.IPv4Unspecified(), Proto: 17, DevPort: 1001, RemPort: 53,
		TotalBytes: 5000, SentBytes: 2000, PacketCount: 50, SentPackets: 20,
		Packets:    []RowPacket{{0, 60, true, body}, {0, 70, false, nil}, {700, 80, true, body[:1]}},
		DeviceAddr: endA.Addr, RemoteAddr: endB.Addr,
	}
	other := *want
	other.Device, other.DevPort, other.RemPort, other.DeviceAddr, other.RemoteAddr = macB.String(), 53, 1001, endB.Addr, endA.Addr
	other.SentPackets, other.SentBytes = 30, 3000
	other.Packets = slices.Clone(want.Packets)
	for i := range other.Packets {
		other.Packets[i].Sent = !other.Packets[i].Sent
	}
	if diff := cmp.Diff([]*Record{want, &other}, records, sameAddr); diff != "" {
		t.Error(diff)
	}
	if want := (AssemblerStats{WithDevice: 50, Records: 2}); stats != want {
		t.Errorf("%+v, want %+v: a packet between two devices counts once", stats, want)
	}
}

func TestAssemblerEnds(t *testing.T) {
	group := end(allMAC, "255.255.255.255")
	for _, tt := range []struct {
		name string
		dir  Direction
		a, b End
		want []string // devices of the records
	}{
		{"device and remote", Bi, endA, endR, []string{macA.String()}},
		{"remote and device", Bi, endR, endA, []string{macA.String()}},
		{"two devices", Bi, endA, endB, []string{macA.String(), macB.String()}},
		{"device and broadcast", Bi, endA, group, []string{macA.String()}},
		{"no device", Bi, endR, end(MAC{}, "9.9.9.9"), nil},
		{"remote to broadcast", Bi, endR, group, nil},
		{"uni, sent by the device", Uni, endA, endR, []string{macA.String()}},
		{"uni, sent to the device", Uni, endR, endA, nil},
		{"uni, between devices: the sender's", Uni, endB, endA, []string{macB.String()}},
		{"links without MACs", Bi, end(MAC{}, "10.0.0.1"), end(MAC{}, "10.0.0.2"), []string{"ip:10.0.0.1", "ip:10.0.0.2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := life(1, tt.a, tt.b)
			records, stats := assemble(tt.dir,
				&Sample{Life: l, FromA: true, Size: 28},
				&Close{Life: l, Packets: [2]uint64{3, 4}, Bytes: [2]uint64{300, 400}, Samples: 1})
			var got []string
			for _, r := range records {
				got = append(got, r.Device)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("records of %v, want %v", got, tt.want)
			}
			want := AssemblerStats{NoDevice: 7}
			if len(tt.want) > 0 {
				want = AssemblerStats{WithDevice: 7, Records: uint64(len(tt.want))}
			}
			if stats != want {
				t.Errorf("%+v, want %+v", stats, want)
			}
		})
	}
}

// A flow without ports has none in its record, whatever its key's port fields hold.
func TestAssemblerNoPorts(t *testing.T) {
	l := life(1, endA, endR)
	l.Key.Proto, l.Key.HasPorts = 1, false
	records, _ := assemble(Bi, &Close{Life: l, Packets: [2]uint64{1, 0}, Bytes: [2]uint64{84, 0}})
	if r := records[0]; r.DevPort != Missing || r.RemPort != Missing {
		t.Errorf("ports %d, %d", r.DevPort, r.RemPort)
	}
}

// A record is complete when as many samples came as were taken.
func TestAssemblerIncomplete(t *testing.T) {
	for _, tt := range []struct {
		name      string
		delivered []uint8 // indexes, in order of delivery
		taken     uint8
		want      bool
	}{
		{"all", []uint8{0, 1, 2}, 3, false},
		{"out of order", []uint8{2, 0, 1}, 3, false},
		{"first lost", []uint8{1, 2}, 3, true},
		{"last lost", []uint8{0, 1}, 3, true},
		{"all lost", nil, 3, true},
		{"none taken", nil, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := life(1, endA, endR)
			var events []any
			for _, i := range tt.delivered {
				events = append(events, &Sample{Life: l, Index: i, Stamp: int64(i), Size: 100 + uint32(i)})
			}
			events = append(events, &Close{Life: l, Packets: [2]uint64{9, 0}, Bytes: [2]uint64{900, 0}, Samples: tt.taken})
			records, stats := assemble(Bi, events...)
			r := records[0]
			if r.Incomplete != tt.want || stats.Incomplete != map[bool]uint64{true: 1}[tt.want] {
				t.Errorf("incomplete %v, counted %d, want %v", r.Incomplete, stats.Incomplete, tt.want)
			}
			if r.TotalBytes != 900 || r.PacketCount != 9 || len(r.Packets) != len(tt.delivered) {
				t.Errorf("%+v", r)
			}
			if !slices.IsSortedFunc(r.Packets, func(x, y RowPacket) int { return int(x.Size) - int(y.Size) }) {
				t.Error("samples are not in order of their index")
			}
		})
	}
}

// A device's records come out in the order of their first packets, each as soon
// as none with an earlier first packet is open, and no device waits for another.
func TestAssemblerOrder(t *testing.T) {
	l := []Life{life(0, endA, endR), life(1, endA, endR), life(2, endA, endB), life(3, endB, endR), life(4, endA, endR)}
	begin := func(i int) *Sample { return &Sample{Life: l[i], Order: int64(i)} }
	finish := func(i int) *Close {
		return &Close{Life: l[i], Order: int64(i), First: int64(i), Packets: [2]uint64{1, 0}, Samples: 1}
	}
	for _, tt := range []struct {
		name   string
		events []any
		want   string // device and first stamp of each record, in order
	}{
		{"closed in order", []any{begin(0), begin(1), finish(0), finish(1)}, "A0 A1 "},
		{"closed in reverse", []any{begin(0), begin(1), begin(4), finish(4), finish(1), finish(0)}, "A0 A1 A4 "},
		{"the earlier is open", []any{begin(0), begin(1), finish(1)}, ""},
		{"of another device", []any{begin(0), begin(3), finish(3)}, "B3 "},
		{"between devices, held back for one", []any{begin(0), begin(2), begin(3), finish(2), finish(3), finish(0)}, "B2 B3 A0 A2 "},
		{"first sample delivered late", []any{begin(1), begin(0), finish(1), finish(0)}, "A0 A1 "},
		{"close without samples", []any{begin(1), finish(0), finish(1)}, "A0 A1 "},
		{"close without samples, behind an open one", []any{begin(0), finish(1), finish(0)}, "A0 A1 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, _ := assemble(Bi, tt.events...)
			got := ""
			for _, r := range records {
				got += fmt.Sprintf("%c%d ", r.Device[len(r.Device)-1]-'a'+'A', r.FirstSeen)
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// What a row's payload section can hold is kept, no more, and the same whatever
// the order in which samples come.
func TestAssemblerPayload(t *testing.T) {
	l := life(1, endA, endR)
	var samples []any
	var want []int16
	for i := range RowPackets {
		body := packet.Payload([]int{1200, 900, 0, 800, 1000, 10, 0, 5, 1000, 3}[i])
		samples = append(samples, &Sample{Life: l, Index: uint8(i), Size: uint32(28 + len(body)), Payload: body})
		want = append(want, PayloadStart)
		for _, b := range body[:min(len(body), PayloadPrefix)] {
			want = append(want, int16(b))
		}
		want = append(want, PayloadEnd)
	}
	want = want[:PayloadTokens]
	closing := &Close{Life: l, Packets: [2]uint64{10, 0}, Samples: RowPackets}
	random := rand.New(rand.NewPCG(1, 2))
	for try := range 50 {
		records, _ := assemble(Bi, append(slices.Clone(samples), closing)...)
		if got := records[0].Tokens(nil, PayloadTokens); !slices.Equal(got, want) {
			t.Fatalf("order %d: payload section differs", try)
		}
		kept := 0
		for _, p := range records[0].Packets {
			kept += len(p.Payload)
		}
		if try == 0 && kept > PayloadTokens {
			t.Errorf("%d payload bytes kept", kept)
		}
		whole, _ := assembleAs(AssemblerConfig{Spec: RecordSpec{Payload: MaxPayload}}, append(slices.Clone(samples), closing)...)
		for i, p := range whole[0].Packets {
			if want := min(PayloadPrefix, int(p.Size)-28); len(p.Payload) != want {
				t.Errorf("order %d: packet %d has %d of %d bytes of its whole payload", try, i, len(p.Payload), want)
			}
		}
		if diff := cmp.Diff(records[0].RowPayload(), whole[0].RowPayload(), cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("order %d: the row's part of whole payloads (-without, +with): %s", try, diff)
		}
		if try == 0 && records[0].RowPayload() != records[0] {
			t.Error("a record without more than a row holds is copied")
		}
		random.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
	}
}

// The payload a Sample points to is its sender's again once the call returns.
func TestAssemblerCopiesPayload(t *testing.T) {
	l := life(1, endA, endR)
	s := &Sample{Life: l, Payload: []byte{1, 2, 3}}
	var records []*Record
	a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil), Emit: func(r *Record) { records = append(records, r) },
		Epoch: func(stamp int64) int64 { return stamp + 7_000_000 }})
	a.Sample(s)
	s.Payload[0] = 99
	a.Close(&Close{Life: l, First: 5, Last: 6, Packets: [2]uint64{1, 0}, Samples: 1})
	if got := records[0].Packets[0].Payload[0]; got != 1 {
		t.Errorf("payload begins with %d, want 1", got)
	}
	if r := records[0]; r.FirstSeen != 7_000_005 || r.LastSeen != 7_000_006 {
		t.Errorf("times %d, %d are not of the epoch", r.FirstSeen, r.LastSeen)
	}
}

// Nothing is kept once every life has closed.
func TestAssemblerForgets(t *testing.T) {
	a := NewAssembler(AssemblerConfig{Locals: NewLocals(nil), Emit: func(*Record) {}})
	for i := range 1000 {
		l := life(uint64(i), end(MAC{0x02, byte(i), byte(i >> 8)}, "10.0.0.1"), endB)
		a.Sample(&Sample{Life: l, Order: int64(i)})
		a.Close(&Close{Life: l, Order: int64(i)})
	}
	if len(a.lives) != 0 || len(a.devices) != 0 {
		t.Errorf("%d lives and %d devices left", len(a.lives), len(a.devices))
	}
}

// An Assembler that takes over from another in the middle goes on as if it had been that
// one, though their state went through JSON.
func TestAssemblerHandsOver(t *testing.T) {
	const lives = 40
	random := rand.New(rand.NewPCG(1, 2))
	var events []any
	due := make([][]any, lives)
	for n := range due {
		ends := []End{endA, endB, endR}
		random.Shuffle(3, func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
		l := life(uint64(n), ends[0], ends[1])
		for i := range 3 {
			due[n] = append(due[n], &Sample{Life: l, Index: uint8(i), Order: int64(n), Stamp: int64(n), FromA: i%2 == 0, Size: 100, Payload: []byte{1, byte(n), byte(i)}})
		}
		due[n] = append(due[n], &Close{Life: l, Order: int64(n), First: int64(n), Last: int64(n + 5), Packets: [2]uint64{2, uint64(n)}, Samples: 3})
	}
	for len(due) > 0 { // a few lives at once
		i := random.IntN(min(5, len(due)))
		events, due[i] = append(events, due[i][0]), due[i][1:]
		if len(due[i]) == 0 {
			due = slices.Delete(due, i, i+1)
		}
	}
	want, stats := assemble(Bi, events...)
	var got []*Record
	cfg := AssemblerConfig{Locals: NewLocals(nil), Emit: func(r *Record) { got = append(got, r) }}
	a := NewAssembler(cfg)
	for _, e := range events {
		text, err := json.Marshal(a.Save(1 << 20))
		if err != nil {
			t.Fatal(err)
		}
		var h Handover
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatal(err)
		}
		a = NewAssembler(cfg)
		a.Restore(&h)
		switch e := e.(type) {
		case *Sample:
			a.Sample(e)
		case *Close:
			a.Close(e)
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" || a.Stats() != stats || len(want) < lives {
		t.Errorf("%d records, %+v, want %+v: %s", len(got), a.Stats(), stats, diff)
	}
}

// Where payloads are too many to hand over, records that rest on the others are incomplete.
func TestAssemblerHandsOverNoMore(t *testing.T) {
	var got []*Record
	cfg := AssemblerConfig{Locals: NewLocals(nil), Emit: func(r *Record) { got = append(got, r) }}
	a := NewAssembler(cfg)
	for n := range uint64(3) {
		a.Sample(&Sample{Life: life(n, endA, endR), Order: int64(n), Payload: make([]byte, 40)})
	}
	b := NewAssembler(cfg)
	b.Restore(a.Save(100))
	for range b.OpenDevices {
	}
	for n := range uint64(3) {
		b.Close(&Close{Life: life(n, endA, endR), Order: int64(n), Samples: 1})
	}
	if len(got) != 3 || got[0].Incomplete || got[1].Incomplete || !got[2].Incomplete {
		t.Errorf("%+v", got)
	}
}

// Of a device that is forgotten nothing comes that began before, by whoever takes over neither;
// the other end of its flows, and what begins later, has its records.
func TestAssemblerForgetsDevice(t *testing.T) {
	var got []string
	cfg := AssemblerConfig{Locals: NewLocals(nil), Emit: func(r *Record) { got = append(got, fmt.Sprint(r.Device, " ", r.FirstSeen)) }}
	a := NewAssembler(cfg)
	ends := func(n int64, b End) {
		l := life(uint64(n), endA, b)
		a.Sample(&Sample{Life: l, Order: n, Stamp: n, FromA: true, Size: 60})
		if n != 1 {
			a.Close(&Close{Life: l, Order: n, First: n, Last: n, Packets: [2]uint64{1}, Samples: 1})
		}
	}
	ends(1, endR)
	ends(2, endB) // waits for the first
	first := a.lives[life(1, endA, endR)].records[0].Name
	a.Forget(first)
	if n := len(a.Preview(first, 10, func(Life) *Close { return nil })); n > 0 {
		t.Errorf("%d records to come of it", n)
	}
	h := a.Save(1 << 20)
	a = NewAssembler(cfg)
	a.Restore(h)
	ends(3, endR)
	a.Close(&Close{Life: life(1, endA, endR), Order: 1, First: 1, Last: 1, Packets: [2]uint64{1}, Samples: 1})
	slices.Sort(got)
	if len(got) != 2 || got[0] != first+" 3" && got[1] != first+" 3" {
		t.Errorf("%q", got)
	}
	if s := a.Stats(); s.Records != 4 || s.WithDevice != 3 {
		t.Errorf("%+v", s)
	}
}
