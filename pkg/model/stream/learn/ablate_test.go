package learn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// ablated is a network without these parts after a few steps, and rows for it.
func ablated(t *testing.T, parts ...string) (*model.Model, []flows.Row) {
	t.Helper()
	a, err := Ablated(small(), parts)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	m := streamtest.Model(r, a, classes)
	m.Record.Payload = 100
	n, err := Design{Arch: a, Ablate: parts}.Learner(m, 4, 1, r)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	rows := modeltest.Stream(r, 100)
	adam := train.NewAdam(3e-3, 1e-3, n.Values())
	for step := range uint64(5) {
		_, g, err := n.Gradients([]train.Piece{{Rows: rows[:9], Judged: 9, Class: 1}, {Rows: rows[20:30], Judged: 7, Class: 2}}, step)
		if err != nil {
			t.Fatal(err)
		}
		adam.Step(n.Values(), g, 1)
	}
	m.Net = n.Net(n.Values())
	return m, rows
}

// A network without a part says the same whatever that part is, and another one does not.
func TestAblated(t *testing.T) {
	scramble := func(of func(w *stream.Weights) []float32) func(*model.Model, []flows.Row) []flows.Row {
		return func(m *model.Model, rows []flows.Row) []flows.Row {
			for i, v := range of(&m.Net.(*stream.Net).Weights) {
				of(&m.Net.(*stream.Net).Weights)[i] = -v + 0.1
			}
			return rows
		}
	}
	for _, tt := range []struct {
		parts  []string
		change func(m *model.Model, rows []flows.Row) []flows.Row
	}{
		{[]string{"bytes"}, scramble(func(w *stream.Weights) []float32 { return w.Kernel })},
		{[]string{"numbers"}, scramble(func(w *stream.Weights) []float32 { return w.Numbers })},
		{[]string{"tokens"}, scramble(func(w *stream.Weights) []float32 { return w.Tokens })},
		{[]string{"last"}, func(_ *model.Model, rows []flows.Row) []flows.Row { return []flows.Row{rows[2], rows[1], rows[0]} }},
		{[]string{"mean", "maximum"}, func(_ *model.Model, rows []flows.Row) []flows.Row { return rows[2:] }},
		{[]string{"last", "mean"}, func(_ *model.Model, rows []flows.Row) []flows.Row { return append(rows[:1:1], rows...) }},
	} {
		for _, parts := range [][]string{tt.parts, {"dropout"}} {
			m, rows := ablated(t, parts...)
			rows = rows[:3]
			before := streamtest.Logits(m, rows)
			after := streamtest.Logits(m, tt.change(m, rows))
			apart := 0.0
			for i := range before {
				apart = max(apart, math.Abs(before[i]-after[i]))
			}
			if same := apart < 1e-6; same != slices.Equal(parts, tt.parts) {
				t.Errorf("without %v, what is changed of %v: outputs %g apart", parts, tt.parts, apart)
			}
		}
	}
}

// What is never trained is not counted, and something must be left.
func TestAblatedValues(t *testing.T) {
	a := small()
	flow := a.Flow()
	for _, tt := range []struct {
		parts []string
		fixed int
	}{
		{nil, 0},
		{[]string{"dropout"}, 0},
		{[]string{"mean", "maximum"}, 2 * flow * a.Hidden},
		{[]string{"numbers"}, 3*a.Units*a.Hidden + (stream.Numbers+1)*a.Units},
		{[]string{"tokens", "last"}, (2*a.Width+flow)*a.Hidden + (a.Buckets+1)*a.Width},
	} {
		if got := (Design{Arch: a, Ablate: tt.parts}).Fixed(); got != tt.fixed {
			t.Errorf("without %v: %d values fixed, want %d", tt.parts, got, tt.fixed)
		}
	}
	if b, err := Ablated(streamtest.Architecture(), []string{"dropout"}); err != nil || b.Dropout != 0 {
		t.Errorf("dropout %v, %v", b.Dropout, err)
	}
	for _, parts := range [][]string{{"conv1"}, {"bytes", "numbers", "tokens"}, {"last", "mean", "maximum"}} {
		if _, err := Ablated(a, parts); err == nil {
			t.Errorf("no error without %v", parts)
		}
	}
}
