package learn

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// logitsOf are a model's outputs after each of a device's rows.
func logitsOf(t *testing.T, m *model.Model, rows []flows.Row) (all [][]float32) {
	t.Helper()
	engine, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	memory, probs := engine.Memory(), make([]float32, engine.Classes())
	for _, row := range rows {
		if err := engine.Next(memory, row, probs); err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(engine.Logits()))
	}
	return all
}

// What the engine computes of rows follows from their entries alone; outputs more, trained
// on entries, tell what they were shown apart and leave the others every bit.
func TestGrow(t *testing.T) {
	a := small()
	r := rand.New(rand.NewPCG(7, 8))
	m := streamtest.Model(r, a, classes)
	m.Record.Payload = 100
	d := Design{Arch: a}
	rows := modeltest.Stream(r, 60)
	before, entries := logitsOf(t, m, rows), logitsOf(t, d.Entries(m), rows)
	for i, entry := range entries {
		for j, l := range d.Logits(m.Net, entry) {
			if math.Abs(float64(l-before[i][j])) > 1e-5 {
				t.Fatalf("row %d: output %d is %v by its entry, %v by the engine", i, j, l, before[i][j])
			}
		}
	}
	added := []int{0, 3} // of five: b and e are new beside what were 0, 1, 2
	draw := func(rng *rand.Rand) ([]float32, int) {
		i := rng.IntN(len(entries))
		return entries[i], []int{1, 2, 4, 0, 3}[i%5]
	}
	net, err := d.Grow(m.Net, added, draw, 1)
	if err != nil {
		t.Fatal(err)
	}
	wide := modeltest.Bare(classes + len(added))
	wide.Record, wide.Scaling, wide.Net = m.Record, m.Scaling, net
	right := 0
	for i, l := range logitsOf(t, wide, rows) {
		if old := []float32{l[1], l[2], l[4]}; !slices.Equal(old, before[i]) {
			t.Fatalf("row %d: the outputs that were there are %v, %v before", i, old, before[i])
		}
		if i%5 >= 3 && slices.Index(l, slices.Max(l)) == added[i%5-3] {
			right++
		}
	}
	if right < 18 {
		t.Errorf("%d of 24 rows of the classes added are named so", right)
	}
	full := streamtest.Net(m)
	full.Arch.Hidden = 1020
	if _, err := (Design{}).Grow(full, added, draw, 1); err == nil || !strings.Contains(err.Error(), "hidden is 1052") {
		t.Errorf("more units than a file may have: %v", err)
	}
}
