package join_test

import (
	"math"
	"slices"
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
		{"nothing", nil, join.Verdict{Class: -1, Gathering: true}},
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
				m.Join(told(o))
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

// told is a window of a device that says what it is: it may be named at once.
func told(probs []float32) join.Window {
	return join.Window{Probs: probs, Named: slices.Repeat([]bool{true}, len(probs))}
}

// A name, and a level, rest on three flows that are not alike, or on a fact; a repeat of one
// counts for nothing, but what a device says with it.
func TestEvidence(t *testing.T) {
	l := join.NewLevels([][]string{{"A", "a"}, {"A", "b"}}, -1, func(int) float64 { return .8 }, .8)
	flow := func(p float32, again bool, named ...bool) join.Window {
		return join.Window{Probs: []float32{p, 1 - p}, Again: again, Named: named}
	}
	for _, tt := range []struct {
		name        string
		windows     []join.Window
		gathering   bool
		level       int
		probability float64
	}{
		{"one flow", []join.Window{flow(1, false)}, true, 0, 1},
		{"two flows", []join.Window{flow(1, false), flow(.5, false)}, true, 0, .75},
		{"three flows", []join.Window{flow(1, false), flow(.5, false), flow(1, false)}, false, 2, 2.5 / 3},
		{"one flow again and again", []join.Window{flow(1, false), flow(.5, true), flow(.5, true)}, true, 0, 1},
		{"three flows, one of them again", []join.Window{flow(1, false), flow(.5, false), flow(.5, true), flow(1, false)}, false, 2, 2.5 / 3},
		{"a fact of the class", []join.Window{flow(1, false, true, false)}, false, 2, 1},
		{"a fact heard with a repeat", []join.Window{flow(1, false, false, false), flow(0, true, true, false)}, false, 2, 1},
		{"a fact of the other", []join.Window{flow(1, false, false, true)}, false, 1, 1},
		{"facts of no class", []join.Window{flow(1, false, false, false), flow(1, false, false, false)}, true, 0, 1},
		{"facts of no class, three flows", slices.Repeat([]join.Window{flow(1, false, false, false)}, 3), false, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m join.Mean
			for _, w := range tt.windows {
				m.Join(w)
			}
			v := l.Verdict(&m)
			if v.Gathering != tt.gathering || v.Level != tt.level || v.Known != (tt.level == 2) || v.Class != 0 || math.Abs(v.Probability-tt.probability) > 1e-6 {
				t.Errorf("%+v, want gathering %v, level %d, %v", v, tt.gathering, tt.level, tt.probability)
			}
		})
	}
}

// The maker of a MAC lets its level be said of few flows, and of what may be named as no class.
func TestMaker(t *testing.T) {
	l := join.NewLevels([][]string{{"A", "x", "a"}, {"A", "y", "b"}, {"B"}, {"none"}}, 3, func(int) float64 { return .8 }, .8)
	for _, tt := range []struct {
		name      string
		probs     []float32
		maker     string
		named     []bool
		windows   int
		gathering bool
		path      string
	}{
		{"of one flow", []float32{.9, .1, 0, 0}, "A", make([]bool, 4), 1, false, "A"},
		{"another's", []float32{.9, .1, 0, 0}, "B", make([]bool, 4), 1, true, ""},
		{"of no class", []float32{.9, .1, 0, 0}, "A", make([]bool, 4), 3, false, "A"},
		{"of no class, another's", []float32{.9, .1, 0, 0}, "B", make([]bool, 4), 3, false, ""},
		{"a fact says more", []float32{.9, .1, 0, 0}, "A", []bool{true, false, false, false}, 1, false, "A/x/a"},
		{"too little", []float32{.4, .3, .3, 0}, "A", make([]bool, 4), 1, true, ""},
		{"none of them", []float32{.1, 0, 0, .9}, "A", make([]bool, 4), 3, false, ""},
		{"a class is no maker", []float32{0, 0, 1, 0}, "B", make([]bool, 4), 1, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var earlier, later join.Mean
			for range tt.windows {
				later.Join(join.Window{Probs: tt.probs, Named: tt.named, Maker: tt.maker})
			}
			earlier.Merge(later)
			for _, m := range []*join.Mean{&later, &earlier} {
				if v := l.Verdict(m); v.Gathering != tt.gathering || v.Path != tt.path || v.Known != (tt.path == "A/x/a") {
					t.Errorf("%+v, want gathering %v, path %q", v, tt.gathering, tt.path)
				}
			}
			later.Hold(1)
			if v := l.Verdict(&later); v.Level != 0 {
				t.Errorf("held: %+v", v)
			}
		})
	}
}

// What a device has said by now is enough for its MAC's maker where it tells a class of that, whatever
// windows before say.
func TestToldMaker(t *testing.T) {
	l := join.NewLevels([][]string{{"A", "x", "a"}, {"A", "y", "b"}, {"B", "x", "c"}, {"none"}}, 3, func(int) float64 { return .8 }, .8)
	tells := func(class int) []bool { n := make([]bool, 4); n[class] = true; return n }
	for _, tt := range []struct {
		name  string
		probs []float32
		maker string
		told  float64
		named []bool
		want  join.Verdict // but for the class and its own probability
	}{
		{"enough", []float32{.4, .2, .1, .3}, "A", .9, tells(0), join.Verdict{Level: 1, Path: "A", Sum: .9}},
		{"enough, whatever none of them had", []float32{.3, 0, .1, .6}, "A", .9, tells(1), join.Verdict{Level: 1, Path: "A", Sum: .9}},
		{"none of them still has more", []float32{.1, 0, 0, .9}, "A", .85, tells(0), join.Verdict{}},
		{"too little", []float32{.4, .2, .1, .3}, "A", .7, tells(0), join.Verdict{}},
		{"what tells no class", []float32{.4, .2, .1, .3}, "A", .9, make([]bool, 4), join.Verdict{Gathering: true}},
		{"what tells another's", []float32{.4, .2, .1, .3}, "A", .9, tells(2), join.Verdict{}},
		{"another's MAC", []float32{.4, .2, .1, .3}, "B", .9, tells(0), join.Verdict{}},
		{"the best guess is another's", []float32{.2, .1, .4, .3}, "A", .9, tells(0), join.Verdict{}},
		{"the windows are sure themselves", []float32{.5, .4, .1, 0}, "A", .99, tells(0), join.Verdict{Level: 1, Path: "A", Sum: .9}},
	} {
		var earlier, later join.Mean
		later.Join(join.Window{Probs: tt.probs, Named: tt.named, Maker: tt.maker, Told: tt.told})
		earlier.Merge(later)
		for _, m := range []*join.Mean{&later, &earlier} {
			v := l.Verdict(m)
			if math.Abs(v.Sum-tt.want.Sum) > 1e-6 || v.Gathering != tt.want.Gathering || v.Level != tt.want.Level || v.Path != tt.want.Path || v.Known {
				t.Errorf("%s: %+v, want %+v", tt.name, v, tt.want)
			}
		}
	}
}

// A level that is presumed is said until there is an output, unless it is held.
func TestPresume(t *testing.T) {
	l := join.NewLevels([][]string{{"A", "a"}, {"A", "b"}}, -1, func(int) float64 { return .8 }, .8)
	var m join.Mean
	m.Presume("A", .6)
	c := m.Clone()
	if v, want := l.Verdict(&c), (join.Verdict{Class: -1, Level: 1, Path: "A", Sum: .6}); v != want {
		t.Errorf("%+v, want %+v", v, want)
	}
	if c.Hold(1); l.Verdict(&c).Level != 0 {
		t.Error("a level that is held is said")
	}
	if m.Join(told([]float32{.7, .1})); l.Verdict(&m).Class != 0 {
		t.Errorf("after an output %+v", l.Verdict(&m))
	}
	m = join.Mean{}
	m.Presume("A", .6)
	if m.Join(join.Window{Probs: []float32{.5, .5}}); l.Verdict(&m).Level != 0 {
		t.Errorf("after an output of a device that says nothing %+v", l.Verdict(&m))
	}
}

// What is far from all that is known, in the mean of what counts, is named by what it says
// of itself alone.
func TestBeyond(t *testing.T) {
	l := join.NewLevels([][]string{{"A", "a"}, {"A", "b"}}, -1, func(int) float64 { return .8 }, .8)
	for _, tt := range []struct {
		name      string
		distances []float64 // -1: not measured; the first and the last are of the same flow
		named     []bool
		mean      float64
		level     int
	}{
		{"not measured", []float64{-1, -1, -1, -1}, nil, -1, 2},
		{"near", []float64{.5, 1, 1.5, 9}, nil, 1, 2},
		{"far", []float64{.5, 1, 1.6, .1}, nil, 3.1 / 3, 0},
		{"far, but it says what it is", []float64{.5, 1, 1.6, .1}, []bool{true, false}, 3.1 / 3, 2},
		{"partly measured", []float64{2, -1, -1, 0}, nil, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var first, second join.Mean
			for i, d := range tt.distances {
				w := join.Window{Probs: []float32{1, 0}, Named: tt.named, Again: i == 3, Distance: d, Measured: d >= 0}
				if i < 2 {
					first.Join(w)
				} else {
					second.Join(w)
				}
			}
			first.Merge(second)
			d, ok := first.Distance()
			if ok != (tt.mean >= 0) || ok && math.Abs(d-tt.mean) > 1e-9 {
				t.Errorf("distance %v, %v, want %v", d, ok, tt.mean)
			}
			if v := l.Verdict(&first); v.Level != tt.level || v.Known != (tt.level == 2) {
				t.Errorf("%+v, want level %d", v, tt.level)
			}
		})
	}
}
