package learn

import (
	"math/rand/v2"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// BenchmarkStep is one training step of 64 real windows, drawn at random as in a
// run. cpu-us/window is what counts where cores are shared.
func BenchmarkStep(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	m := modeltest.Model(r, cnn.DefaultArchitecture(5), 27)
	d := modeltest.Dims(m)
	n, err := newNetwork(newBatch(shape{modeltest.Net(m).Arch, d}, m.Record, m.Scaling, 64, 1, 1), modeltest.Net(m).Weights)
	if err != nil {
		b.Fatal(err)
	}
	all := modeltest.RealWindows(b, flows.StreamSpec{}, 5)
	windows, labels := make([][]flows.Row, 64), make([]int, 64)
	adam := train.NewAdam(1e-3, 0, n.Values())
	before := workers.CPUTime()
	for b.Loop() {
		for i := range windows {
			windows[i], labels[i] = all[r.IntN(len(all))], r.IntN(27)
		}
		if _, err := n.gradients(windows, labels, 1); err != nil {
			b.Fatal(err)
		}
		step(b, n, adam)
	}
	b.ReportMetric((workers.CPUTime()-before).Seconds()*1e6/64/float64(b.N), "cpu-us/window")
}
