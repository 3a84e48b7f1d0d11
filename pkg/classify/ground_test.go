package classify

import (
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// What an output rests on is its model's span of rows up to the newest, whatever comes
// later, and the facts of their time; nothing of it stays of a device that is forgotten.
func TestGround(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	known := facts.NewCollector(10)
	list := records(90, 3) // 30 of each
	device := list[0].Device
	say := func(at int64, port uint16) { // it sends something to a port
		key := flows.Key{Proto: 17, HasPorts: true, A: flows.End{Port: 40000}, B: flows.End{Port: port}}
		known.Sample(device, true, at, &flows.Sample{Life: flows.Life{Key: key}, FromA: true, Payload: []byte("x")})
	}
	strict := model.Strict
	var seen []*Ground
	var heard [][]facts.Fact
	c, err := New(bundle, Options{Ground: true, WindowMode: &strict, Facts: known.Of, Judged: func(j Judged) {
		if j.Device == device {
			seen, heard = append(seen, j.Ground), append(heard, j.Ground.Facts())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	say(list[0].FirstSeen, 7001)
	for _, r := range list {
		if r == list[60] {
			say(r.FirstSeen+1, 7002) // just after what this row describes
		}
		if err := c.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	m := bundle[""]
	first := m.Net.Strict() - 1
	if len(seen) != 30-first || c.Ground(device) != seen[len(seen)-1] {
		t.Fatalf("%d windows", len(seen))
	}
	for i, g := range seen {
		newest := first + i
		if g.Window != i || len(g.Rows) != min(newest+1, m.Net.Span()) {
			t.Errorf("window %d of %d rows, want %d of %d", g.Window, len(g.Rows), i, min(newest+1, m.Net.Span()))
		}
		for k, row := range g.Rows {
			if row.Record != list[3*(newest+1-len(g.Rows)+k)] {
				t.Errorf("window %d has another row in place %d", i, k)
			}
		}
		if b := slices.ContainsFunc(heard[i], func(f facts.Fact) bool { return f.Value == "udp/7002" }); b != (newest > 20) {
			t.Errorf("window %d, of the row %d: heard %v", i, newest, heard[i])
		}
	}
	c.forget(device)
	if c.Ground(device) != nil {
		t.Error("a forgotten device has a ground")
	}
}

// What is kept for explanations is bounded with what engines keep, and says what it has
// lost to other devices, until as many rows have come again.
func TestGroundsAreBounded(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	const devices, limit = 12, 150_000
	span, worst := bundle[""].Net.Span(), 0
	lost := map[string]bool{}
	c, err := New(bundle, Options{Ground: true, CacheBytes: limit, Judged: func(j Judged) {
		g := j.Ground
		if want := min(j.Number+1, span); len(g.Rows)+g.Missing != want {
			t.Errorf("%s, row %d: %d rows and %d missing, want %d", j.Device, j.Number, len(g.Rows), g.Missing, want)
		}
		lost[j.Device] = lost[j.Device] || g.Missing > 0
		if lost[j.Device] && g.Missing == 0 {
			delete(lost, j.Device) // it has all rows again
			lost["again"] = true
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	list := records(40*devices, devices) // in turn, then one after the other
	for i := range list {
		list = append(list, list[i/40+i%40*devices])
	}
	for _, r := range list {
		if err := c.Record(r); err != nil {
			t.Fatal(err)
		}
		_, bytes := c.Grounds()
		worst = max(worst, bytes)
	}
	if worst > limit || worst < limit/2 {
		t.Errorf("%d bytes at most, want up to %d", worst, limit)
	}
	if c.ForgottenGrounds() == 0 || !lost["again"] {
		t.Errorf("%d forgotten; some had all rows again: %v", c.ForgottenGrounds(), lost["again"])
	}
	if g := c.Ground(list[len(list)-1].Device); g.Missing != 0 || len(g.Rows) != span {
		t.Errorf("the active device has %d rows, %d missing", len(g.Rows), g.Missing)
	}
	if g := c.Ground(list[0].Device); g.Missing != span || g.Rows != nil || g.Window != 79 {
		t.Errorf("a silent device has %d rows of window %d, %d missing", len(g.Rows), g.Window, g.Missing)
	}
}

// A device's rows take no more than is said (docs/BENCHMARKS.md), however long its packets.
func TestGroundOfADevice(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(bundle, Options{Ground: true})
	if err != nil {
		t.Fatal(err)
	}
	list := records(100, 1)
	for _, r := range list {
		r.Packets = make([]flows.RowPacket, 0, flows.RowPackets)
		left := flows.PayloadTokens - 1 // as the assembler has them
		for range flows.RowPackets {
			n := min(flows.PayloadPrefix, max(0, left))
			left -= n + 2
			r.Packets = append(r.Packets, flows.RowPacket{Size: 1500, Payload: make([]byte, n)})
		}
		if err := c.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	const most = 74_000
	if count, bytes := c.Grounds(); count != 1 || bytes > most || bytes < most*9/10 {
		t.Errorf("%d devices with %d bytes, want 1 with up to %d", count, bytes, most)
	}
}
