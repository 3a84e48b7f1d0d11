package train

import (
	"math"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// loss64 is the mean cross-entropy in float64, by the network's definition.
func loss64(t testing.TB, m *model.Model, windows []flows.Window, labels []int) float64 {
	t.Helper()
	d, _ := m.Dims()
	input := make([]float32, m.Arch.K*d.Width)
	scaler := model.NewScaler(m.Record, m.Scaling)
	sum := 0.0
	for i, w := range windows {
		if err := scaler.Window(input, m.Arch.K, w); err != nil {
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
	arch := model.Architecture{K: 5, Filters: [2]int{3, 4}, Kernel1: 11, Kernel2: [2]int{2, 7}, Pool: [2]int{2, 2}, Hidden: 12}
	m, b, windows, labels := fixture(t, arch, 3, 1)
	n, err := newNetwork(b, m.Weights, 1e-3, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.gradients(windows, labels); err != nil {
		t.Fatal(err)
	}
	const h = 1.0 / (1 << 14)
	each(m.Weights, gradientsOf(t, n), func(name string, w, g []float32) {
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
