package model_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// sameBits reports whether two predictions are equal to the last bit.
func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// batch is the arguments of a call.
type batch struct {
	states  []*model.State
	windows []flows.Window
	probs   [][]float32
}

func (b *batch) add(s *model.State, w flows.Window, classes int) {
	b.states, b.windows, b.probs = append(b.states, s), append(b.windows, w), append(b.probs, make([]float32, classes))
}

// Whatever windows share a batch, each comes out as it does alone: as the next of
// its device, though the device is there twice, and as one of no device.
func TestBatchEqualsOneByOne(t *testing.T) {
	onEach(t, func(t *testing.T, arch model.Architecture, path conv.Path) {
		r := rand.New(rand.NewPCG(21, 22))
		m := modeltest.Model(r, arch, 9)
		one, many := newEngineOn(t, m, path), newEngineOn(t, m, path)
		type device struct {
			windows   []flows.Window
			one, many model.State
		}
		devices := make([]device, 7)
		for i := range devices {
			devices[i].windows = modeltest.Windows(stream(r, 24), arch.K)
		}
		next, cold := make([]float32, 9), make([]float32, 9)
		sizes := []int{1, 8, 9, 33}
		switch {
		case testing.Short():
			sizes = []int{9}
		case arch == model.DefaultArchitecture(5):
			sizes = nil
			for size := range 34 {
				sizes = append(sizes, size)
			}
		}
		for _, size := range sizes {
			var sliding, passing batch
			var want [][2][]float32
			for range size {
				d := &devices[r.IntN(len(devices))]
				w := d.windows[0]
				d.windows = append(d.windows[1:], w) // some time it starts again, from nothing
				if err := one.Next(&d.one, w, next); err != nil {
					t.Fatal(err)
				}
				if err := one.Predict(w, cold); err != nil {
					t.Fatal(err)
				}
				want = append(want, [2][]float32{slices.Clone(next), slices.Clone(cold)})
				sliding.add(&d.many, w, 9)
				passing.add(nil, w, 9)
			}
			if err := many.NextBatch(sliding.states, sliding.windows, sliding.probs); err != nil {
				t.Fatal(err)
			}
			if err := many.PredictBatch(passing.windows, passing.probs); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if !sameBits(sliding.probs[i], want[i][0]) || !sameBits(passing.probs[i], want[i][1]) {
					t.Fatalf("window %d of %d: %v and %v, want the bits of %v", i, size, sliding.probs[i], passing.probs[i], want[i])
				}
			}
		}
	})
}

// A window that fails is named; the others come out, and all states go on.
func TestBatchWithFailures(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	m := modeltest.Model(r, model.DefaultArchitecture(5), 3)
	one, many := newEngine(t, m), newEngine(t, m)
	const devices = 20
	windows := make([][]flows.Window, devices)
	states, alone := make([]*model.State, devices), make([]model.State, devices)
	for i := range windows {
		windows[i], states[i] = modeltest.Windows(modeltest.Stream(r, 8), 5), &model.State{}
	}
	want := make([]float32, 3)
	for step := range 8 {
		var b batch
		for i, w := range windows {
			b.add(states[i], w[step], 3)
		}
		bad := map[int]string{}
		if step == 6 {
			b.windows[3].Rows = slices.Clone(b.windows[3].Rows)
			b.windows[3].Rows[4].Record = nil
			b.windows[8].Rows = nil
			b.probs[19] = b.probs[19][:2]
			bad = map[int]string{3: "no record", 8: "0 rows", 19: "room for 2 probabilities"}
		}
		err := many.NextBatch(b.states, b.windows, b.probs)
		if (err != nil) != (len(bad) > 0) {
			t.Fatalf("step %d: error %v", step, err)
		}
		for i, what := range bad {
			if line := lineWith(err, what); !strings.Contains(line, fmt.Sprintf("window %d of the batch", i)) {
				t.Errorf("%q is not said of window %d: %v", what, i, err)
			}
		}
		for i, w := range windows {
			if err := one.Next(&alone[i], w[step], want); err != nil {
				t.Fatal(err)
			}
			if _, failed := bad[i]; !failed && !sameBits(b.probs[i], want) {
				t.Fatalf("step %d, window %d: %v, want %v", step, i, b.probs[i], want)
			}
		}
	}
	for name, call := range map[string]func() error{
		"states":        func() error { return many.NextBatch(states[:1], windows[0][:2], make([][]float32, 2)) },
		"probabilities": func() error { return many.NextBatch(states[:2], windows[0][:2], make([][]float32, 1)) },
		"no device":     func() error { return many.PredictBatch(windows[0][:2], make([][]float32, 1)) },
	} {
		if call() == nil {
			t.Errorf("%s: one for two windows, and no error", name)
		}
	}
}

// A window whose outputs overflow fails alone as well.
func TestBatchRefusesWeightsThatOverflow(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	m := modeltest.Model(r, model.DefaultArchitecture(5), 3)
	for i := range m.Weights.Dense2 {
		m.Weights.Dense2[i] = 3e38
	}
	w := modeltest.Windows(modeltest.Stream(r, 2), 5)
	err := newEngine(t, m).PredictBatch(w, [][]float32{make([]float32, 3), make([]float32, 3)})
	if err == nil || !strings.Contains(err.Error(), "window 1 of the batch: output 0") {
		t.Errorf("error %v", err)
	}
}

func lineWith(err error, what string) string {
	for line := range strings.Lines(err.Error()) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}
