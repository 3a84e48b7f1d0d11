package learn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// loss64 is the mean cross-entropy in float64, by the network's definition.
func loss64(t testing.TB, m *model.Model, windows [][]flows.Row, labels []int) float64 {
	t.Helper()
	d := modeltest.Dims(m)
	input := make([]float32, m.Net.Span()*d.Width)
	scaler := cnn.NewScaler(m.Record, m.Scaling)
	sum := 0.0
	for i, w := range windows {
		if err := scaler.Window(input, m.Net.Span(), w); err != nil {
			t.Fatal(err)
		}
		logits := modeltest.Logits(m, input)
		all := 0.0
		for _, l := range logits {
			all += math.Exp(l)
		}
		sum += math.Log(all) - logits[labels[i]]
	}
	return sum / float64(len(windows))
}

// The gradients are the slopes of the definition: samples of every tensor.
func TestGradientsAreSlopes(t *testing.T) {
	arch := cnn.Architecture{K: 5, Filters: [2]int{3, 4}, Kernel1: 11, Kernel2: [2]int{2, 7}, Pool: [2]int{2, 2}, Hidden: 12}
	m, b, windows, labels := fixture(t, arch, 3, 1)
	n, err := newNetwork(b, modeltest.Net(m).Weights)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.gradients(windows, labels, 1); err != nil {
		t.Fatal(err)
	}
	const h = 1.0 / (1 << 14)
	each(modeltest.Net(m).Weights, gradientsOf(t, n), func(name string, w, g []float32) {
		size := farthest(g, make([]float32, len(g)))
		for _, i := range []int{0, len(w) / 2, len(w) - 1} {
			old := w[i]
			w[i] = old + h
			up := loss64(t, m, windows, labels)
			w[i] = old - h
			down := loss64(t, m, windows, labels)
			w[i] = old
			slope := (up - down) / (2 * h)
			if math.Abs(slope-float64(g[i])) > 0.01*size {
				t.Errorf("%s[%d]: gradient %g, slope %g, largest %g", name, i, g[i], slope, size)
			}
		}
	})
}

// The last pool of a window's head reaches past its longest row. Its gradient is
// that of the same values if none of them is known to be padding, and holds nothing
// of the windows that were computed before in the same memory.
func TestGradientAtTheEndOfTheHead(t *testing.T) {
	m := modeltest.Model(rand.New(rand.NewPCG(1, 1)), cnn.DefaultArchitecture(5), 2)
	d := modeltest.Dims(m)
	s := shape{modeltest.Net(m).Arch, d}
	w := &modeltest.Net(m).Weights
	for _, v := range [][]float32{w.Conv1, w.Conv2} { // every value behind the rows is above 0
		for i := range v {
			v[i] = float32(math.Abs(float64(v[i])))
		}
	}
	for i := range w.Conv1 {
		w.Conv1[i] *= cnn.Missing
	}
	theta := slices.Concat(w.Conv1, w.Conv1Bias, w.Conv2, w.Conv2Bias)
	k := s.kernels(theta)
	gradient := func(known, longest, column int) []float32 {
		in, c := s.instance(), s.scratch(m.Record, m.Scaling)
		for r, row := range in.rows {
			for i := range longest {
				row[i] = float32((i+r)%7) / 7
			}
			in.lengths[r] = known
		}
		conv.Fill(in.conv1.data, 1000) // of other windows
		weight := make([]float32, s.Flat)
		s.forward(in, c, k, 0, weight)
		clear(weight)
		at := column / s.Pool[1] * s.Filters[1]
		weight[at], in.source[at] = 1, int32(column) // as dropout could choose
		grad := make([]float32, s.parameters())
		s.backward(in, c, k, 0, weight, grad)
		return grad
	}
	for longest := 96; longest < 120; longest++ { // every place in a pool and in a vector
		for column := longest / s.Pool[1] * s.Pool[1]; column < longest+s.Pool[1]-longest%s.Pool[1]; column++ {
			got, want := gradient(longest, longest, column), gradient(longest+48, longest, column)
			if far := farthest(got, want); far > 1e-5 {
				t.Errorf("rows of %d values, maximum in column %d: a gradient is %g off", longest, column, far)
			}
		}
	}
}
