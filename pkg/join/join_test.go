package join_test

import (
	"math"
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
