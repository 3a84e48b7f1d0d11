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
