package join_test

import (
	"math"
	"testing"

	"github.com/iotsense/iotsense/pkg/join"
)

func TestLevels(t *testing.T) {
	paths := [][]string{{"A", "plug", "a"}, {"A", "plug", "b"}, {"A", "camera", "c"}, {"d"}, {"none"}}
	l := join.NewLevels(paths, 4, func(class int) float64 { return []float64{.8, .8, .4, .8, 0}[class] }, 0.8)
	for _, tt := range []struct {
		name    string
		outputs [][]float32
		want    join.Verdict
	}{
		{"nothing", nil, join.Verdict{Class: -1}},
		{"a class", [][]float32{{.9, .1, 0, 0, 0}}, join.Verdict{Class: 0, Probability: .9, Known: true, Level: 3, Path: "A/plug/a", Sum: .9}},
		{"twins", [][]float32{{.9, .1, 0, 0, 0}, {.1, .9, 0, 0, 0}}, join.Verdict{Class: 0, Probability: .5, Level: 2, Path: "A/plug", Sum: 1}},
		{"a maker", [][]float32{{.35, .3, .25, .1, 0}}, join.Verdict{Class: 0, Probability: .35, Level: 1, Path: "A", Sum: .9}},
		{"a class that is safe where its kind is not", [][]float32{{.1, .2, .5, .2, 0}}, join.Verdict{Class: 2, Probability: .5, Known: true, Level: 3, Path: "A/camera/c", Sum: .5}},
		{"the other's maker is safe, not the best's", [][]float32{{.3, .3, .2, .2, 0}, {join.Lacking, join.Lacking, join.Lacking, 1, 0}}, join.Verdict{Class: 3, Probability: .6 / 1.4}},
		{"a class of one level", [][]float32{{0, 0, .1, .9, 0}}, join.Verdict{Class: 3, Probability: .9, Known: true, Level: 1, Path: "d", Sum: .9}},
		{"nothing is handed over", [][]float32{{.4, .35, 0, 0, .25}}, join.Verdict{Class: 0, Probability: .4}},
		{"none of them comes before a class, not before its maker", [][]float32{{0, .1, .42, 0, .48}}, join.Verdict{Class: 2, Probability: .42}},
		{"a class that one model lacks", [][]float32{{.9, .1, 0, 0, 0}, {join.Lacking, join.Lacking, .4, .6, 0}}, join.Verdict{Class: 0, Probability: .9 / 1.5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m join.Mean
			for _, o := range tt.outputs {
				m.Add(o)
			}
			got := l.Verdict(&m)
			if math.Abs(got.Probability-tt.want.Probability) > 1e-6 || math.Abs(got.Sum-tt.want.Sum) > 1e-6 {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			got.Probability, got.Sum = tt.want.Probability, tt.want.Sum
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if n := testing.AllocsPerRun(10, func() { l.Verdict(&m) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
