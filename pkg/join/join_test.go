package join_test

import (
	"math"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/join"
)

func TestMean(t *testing.T) {
	const no = join.Lacking
	for _, tt := range []struct {
		name        string
		outputs     [][]float32
		class       int
		probability float64
	}{
		{"nothing", nil, -1, 0},
		{"no class of any model", [][]float32{{no, no}}, -1, 0},
		{"the mean", [][]float32{{.5, .25, .25}, {0, .75, .25}}, 1, .5},
		{"the first of equals", [][]float32{{.25, .375, .375}}, 1, .375},
		{"a class lacking in one", [][]float32{{.75, .25, 0}, {no, .25, .75}}, 0, .75 / (.75 + .25 + .375)},
		{"a class lacking in all", [][]float32{{no, .25, .75}}, 2, .75},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var whole, first, rest, merged join.Mean
			for i, o := range tt.outputs {
				whole.Add(o)
				if i == 0 {
					first.Add(o)
				} else {
					rest.Add(o)
				}
			}
			merged.Merge(first)
			merged.Merge(rest)
			for _, m := range []join.Mean{whole, merged} {
				if class, p := m.Best(); class != tt.class || math.Abs(p-tt.probability) > 1e-12 || m.Probability(class) != p {
					t.Errorf("class %d, %v, want %d, %v", class, p, tt.class, tt.probability)
				}
			}
		})
	}
}

// What revises earlier outputs counts wherever they are merged with it, even before them; what
// rounding leaves below 0 is 0, kept beyond the process too.
func TestRevise(t *testing.T) {
	var first, later join.Mean
	first.Add([]float32{.5, .25, .25})
	first.Add([]float32{.5, .5, 0})
	again := join.Window{Probs: []float32{0, 0, 1}, Again: true, Revised: []float64{-.9, .9, -.25 - 1e-12}}
	later.Join(again)
	for _, means := range [][]join.Mean{{first, later}, {later, first}} {
		var m join.Mean
		for _, part := range means {
			m.Merge(part.Clone())
		}
		want := []float64{.05, .825, 0}
		for c, p := range want {
			if got := m.Probability(c); math.Abs(got-p/.875) > 1e-9 || got < 0 {
				t.Errorf("class %d: %v, want %v", c, got, p/.875)
			}
		}
		if _, ok := new(join.Mean).Unpack(m.Append(nil), 3); !ok || m.Flows() != 2 {
			t.Errorf("of %d flows, kept: %v", m.Flows(), ok)
		}
	}
	later.Join(again)
	if c, p := later.Best(); c >= 0 || p != 0 {
		t.Errorf("no output, and class %d with %v", c, p)
	}
}

// The newest outputs say what a device may be named as, merged too.
func TestGate(t *testing.T) {
	names := func(m *join.Mean) (may []bool) {
		for class := range 3 {
			may = append(may, m.Names(class))
		}
		return may
	}
	var m, later join.Mean
	m.Add([]float32{.5, .25, .25})
	if got := names(&m); !slices.Equal(got, []bool{true, true, true}) {
		t.Errorf("no gate: %v", got)
	}
	gate := []bool{true, false, false}
	m.Join(join.Window{Named: gate, Again: true})
	gate[1] = true // the caller's to change
	if got := names(&m); !slices.Equal(got, []bool{true, false, false}) {
		t.Errorf("a gate: %v", got)
	}
	later.Add([]float32{.5, .25, .25})
	later.Join(join.Window{Named: []bool{false, true, false}, Again: true})
	var all join.Mean
	all.Merge(m)
	all.Merge(later)
	all.Merge(join.Mean{}) // a moment without outputs
	if got := names(&all); !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("merged: %v", got)
	}
	m.Join(join.Window{Again: true})
	if got := names(&m); !slices.Equal(got, []bool{true, true, true}) {
		t.Errorf("no gate any more: %v", got)
	}
}
