package learn

import (
	"math"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// The paper's Table VI, column of parameters: what we reproduce and what not.
func TestAblatedParameters(t *testing.T) {
	const baseline = 202_165
	for _, tt := range []struct {
		layers  []string
		percent float64
	}{
		{[]string{LayerConv1}, 1}, {[]string{LayerConv2}, 0}, {[]string{LayerMaxPool}, 791}, {[]string{LayerDropout}, 0},
		{[]string{LayerDense}, -79},             // the paper: -81
		{[]string{LayerConv1, LayerConv2}, -49}, // the paper: +1,416
	} {
		a, err := Ablated(cnn.DefaultArchitecture(5), tt.layers)
		if err != nil {
			t.Fatal(err)
		}
		d, err := a.Dims(model.DefaultRecordSpec().Width(), 21)
		if err != nil {
			t.Fatal(err)
		}
		s := shape{a, d}
		n := s.parameters() + d.Flat*a.Hidden + a.Hidden + a.Hidden*d.Classes + d.Classes - Fixed(a, tt.layers)
		if a.Hidden == 0 {
			n += d.Flat * d.Classes
		}
		if got := math.Round(100 * (float64(n)/baseline - 1)); got != tt.percent {
			t.Errorf("without %v: %d parameters, %+.0f %%, want %+.0f %%", tt.layers, n, got, tt.percent)
		}
	}
	if _, err := Ablated(cnn.DefaultArchitecture(5), []string{"softmax"}); err == nil {
		t.Error("no softmax: no error")
	}
}

// A network without a layer has the gradients of its loss: as measured by moving
// weights a little. What is fixed does not move.
func TestAblatedGradients(t *testing.T) {
	for _, layers := range [][]string{{LayerConv1}, {LayerConv2}, {LayerConv1, LayerConv2}, {LayerMaxPool}, {LayerDense}} {
		t.Run(layers[0], func(t *testing.T) {
			arch, err := Ablated(noDropout(cnn.DefaultArchitecture(5)), layers)
			if err != nil {
				t.Fatal(err)
			}
			m, b, windows, labels := fixture(t, arch, 4, 1)
			left, err := newAbsent(layers)
			if err != nil {
				t.Fatal(err)
			}
			left.initial(&modeltest.Net(m).Weights)
			n, err := newNetwork(b, modeltest.Net(m).Weights)
			if err != nil {
				t.Fatal(err)
			}
			n.absent = left
			if _, err := n.gradients(windows, labels, 1); err != nil {
				t.Fatal(err)
			}
			gradients, err := n.Slopes()
			if err != nil {
				t.Fatal(err)
			}
			for i, g := range gradients {
				gradients[i] = slices.Clone(g)
			}
			values := n.Values()
			left.uncentre(n.split, values, gradients) // both of the network as it is meant
			fixed := fixedValues(n, left)
			for i, v := range values {
				for _, at := range []int{0, len(v) / 2, len(v) - 1} {
					if i == 0 && fixed[at] {
						if gradients[i][at] != 0 {
							t.Errorf("parameter %d[%d] is fixed and has a gradient", i, at)
						}
						continue
					}
					const eps = 1e-3
					var loss [2]float64
					for side, by := range []float32{eps, -eps} {
						v[at] += by
						left.centre(n.split, values)
						loss[side], err = n.gradients(windows, labels, 1)
						if err != nil {
							t.Fatal(err)
						}
						left.uncentre(n.split, values, zeros(values))
						v[at] -= by
					}
					want := (loss[0] - loss[1]) / (2 * eps)
					if got := float64(gradients[i][at]); math.Abs(got-want) > 2e-3+0.05*math.Abs(want) {
						t.Errorf("parameter %d[%d]: gradient %g, measured %g", i, at, got, want)
					}
				}
			}
		})
	}
}

// fixedValues marks the trunk's parameters that are not trained.
func fixedValues(n *network, a absent) []bool {
	mark := make([]float32, n.parameters())
	w1, b1, w2, b2 := n.split(mark)
	for _, part := range [][]float32{w1, b1} {
		for i := range part {
			part[i] = map[bool]float32{true: 1}[a.conv1]
		}
	}
	for _, part := range [][]float32{w2, b2} {
		for i := range part {
			part[i] = map[bool]float32{true: 1}[a.conv2]
		}
	}
	fixed := make([]bool, len(mark))
	for i, v := range mark {
		fixed[i] = v == 1
	}
	return fixed
}

func zeros(like [][]float32) [][]float32 {
	z := make([][]float32, len(like))
	for i, v := range like {
		z[i] = make([]float32, len(v))
	}
	return z
}
