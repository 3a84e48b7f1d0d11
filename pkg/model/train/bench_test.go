package train

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// BenchmarkStep is one training step of 64 windows with rows of about 900 values,
// as in the project's data. cpu-us/window is what counts where cores are shared.
func BenchmarkStep(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	m := modeltest.Model(r, model.DefaultArchitecture(5), 27)
	d, err := m.Dims()
	if err != nil {
		b.Fatal(err)
	}
	n, err := newNetwork(newBatch(shape{m.Arch, d}, m.Record, m.Scaling, 64, 1, 1), m.Weights, 1e-3)
	if err != nil {
		b.Fatal(err)
	}
	var rows []flows.Row
	for range 64 {
		rows = append(rows, flows.Row{Record: modeltest.Record(r, r.IntN(860), r.IntN(860)), Since: 1})
	}
	windows, labels := modeltest.Windows(rows, 5), make([]int, 64)
	for i := range labels {
		labels[i] = r.IntN(27)
	}
	before := cpu(b)
	for b.Loop() {
		if _, err := n.train(windows, labels); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/64/float64(b.N), "cpu-us/window")
}

// cpu is the process's CPU time in us.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (u.Utime.Sec+u.Stime.Sec)*1e6 + int64(u.Utime.Usec+u.Stime.Usec)
}
