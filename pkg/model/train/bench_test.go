package train

import (
	"math/rand/v2"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// BenchmarkStep is one training step of 64 real windows, drawn at random as in a
// run. cpu-us/window is what counts where cores are shared.
func BenchmarkStep(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	m := modeltest.Model(r, model.DefaultArchitecture(5), 27)
	d, err := m.Dims()
	if err != nil {
		b.Fatal(err)
	}
	n, err := newNetwork(newBatch(shape{m.Arch, d}, m.Record, m.Scaling, 64, 1, 1), m.Weights, 1e-3, 0)
	if err != nil {
		b.Fatal(err)
	}
	all := modeltest.RealWindows(b, flows.StreamSpec{}, 5)
	windows, labels := make([][]flows.Row, 64), make([]int, 64)
	before := cpuTime()
	for b.Loop() {
		for i := range windows {
			windows[i], labels[i] = all[r.IntN(len(all))], r.IntN(27)
		}
		if _, err := n.train(windows, labels); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime()-before).Seconds()*1e6/64/float64(b.N), "cpu-us/window")
}
