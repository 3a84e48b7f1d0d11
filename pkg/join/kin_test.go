package join_test

import (
	"math"
	"testing"

	"github.com/iotsense/iotsense/pkg/join"
)

func TestKin(t *testing.T) {
	const no = join.Lacking
	l := join.NewLevels([][]string{{"A", "plug", "a"}, {"A", "plug", "b"}, {"A", "camera", "c"}, {"d"}, {"none"}}, 4, func(int) float64 { return .8 }, .8)
	for _, tt := range []struct {
		a, b int
		kin  bool
	}{{0, 1, true}, {1, 0, true}, {0, 2, false}, {3, 3, true}, {0, 3, false}, {4, 0, false}, {4, 4, false}} {
		if got := l.Kin(tt.a, tt.b); got != tt.kin {
			t.Errorf("%d and %d: %v", tt.a, tt.b, got)
		}
	}
	for _, tt := range []struct {
		probs []float32
		class int
		p     float64
		ok    bool
	}{
		{[]float32{.25, .5, .125, .125, 0}, 0, .75, true},
		{[]float32{.25, .5, .125, .125, 0}, 2, .125, true},
		{[]float32{.25, no, .625, .125, 0}, 1, .25, true},
		{[]float32{no, no, .875, .125, 0}, 1, 0, false},
		{[]float32{0, 0, 0, 0, 1}, 4, 0, false},
	} {
		p, ok := l.KindOf(tt.probs, tt.class)
		var m join.Mean
		m.Add(tt.probs)
		if p != tt.p || ok != tt.ok || math.Abs(l.Kind(&m, tt.class)-p) > 1e-9 {
			t.Errorf("%v of %v: %v, %v, joined %v", tt.class, tt.probs, p, ok, l.Kind(&m, tt.class))
		}
	}
}

// A level that is held is not said, nor are those below it; the newest window decides.
func TestHeld(t *testing.T) {
	l := join.NewLevels([][]string{{"A", "plug", "a"}, {"b"}}, -1, func(int) float64 { return .8 }, .8)
	sure := func(held int) join.Window {
		return join.Window{Probs: []float32{1, 0}, Named: []bool{true, true}, Held: held}
	}
	for _, tt := range []struct {
		held, level int
		path        string
	}{{0, 3, "A/plug/a"}, {4, 3, "A/plug/a"}, {3, 2, "A/plug"}, {2, 1, "A"}, {1, 0, ""}} {
		var m, earlier, later join.Mean
		m.Join(sure(tt.held))
		earlier.Join(sure(1))
		again := sure(tt.held)
		again.Again = true
		later.Join(again)
		earlier.Merge(later)
		earlier.Merge(join.Mean{})
		for _, m := range []*join.Mean{&m, &earlier} {
			if v := l.Verdict(m); v.Level != tt.level || v.Path != tt.path || v.Known != (tt.level == 3) || v.Class != 0 {
				t.Errorf("held from %d: %+v", tt.held, v)
			}
		}
	}
}
