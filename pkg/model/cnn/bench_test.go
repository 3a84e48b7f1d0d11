package cnn_test

// Benchmarks over the windows of the data set's test captures. `iotsense bench
// inference` gives the figures of docs/BENCHMARKS.md; these are for work on the
// engine: go test -run '^$' -bench Real -benchtime 2s ./pkg/model

import (
	"slices"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// realWindows are the windows of the test captures, in the order of their
// devices' streams, and the embedded model.
func realWindows(b *testing.B) (*model.Model, [][]flows.Row) {
	b.Helper()
	bundle, err := embedded.Paper()
	if err != nil {
		b.Fatal(err)
	}
	m := bundle[""]
	return m, modeltest.RealWindows(b, m.Record.Stream(), m.Net.Span())
}

// benchmarkReal times each window and reports percentiles: of the time, and of
// the length of the windows' newest rows.
func benchmarkReal(b *testing.B, predict func(e engine, w []flows.Row, probs []float32) error) {
	m, windows := realWindows(b)
	e := newEngine(b, m)
	probs := make([]float32, e.Classes())
	spent := make([]time.Duration, 0, 1<<20)
	i := 0
	for b.Loop() {
		start := time.Now()
		if err := predict(e, windows[i%len(windows)], probs); err != nil {
			b.Fatal(err)
		}
		spent = append(spent, time.Since(start))
		i++
	}
	slices.Sort(spent)
	for _, q := range []struct {
		name  string
		share int
	}{{"p50-us", 50}, {"p99-us", 99}} {
		b.ReportMetric(float64(spent[len(spent)*q.share/100].Nanoseconds())/1e3, q.name)
	}
	var lengths []int
	for _, w := range windows {
		lengths = append(lengths, flows.MetaValues+len(w[len(w)-1].Tokens(nil, flows.PayloadTokens)))
	}
	slices.Sort(lengths)
	b.ReportMetric(float64(lengths[len(lengths)/2]), "row-p50")
	b.ReportMetric(float64(lengths[len(lengths)*90/100]), "row-p90")
}

// Successive windows of devices, as live: one row of five is new.
func BenchmarkRealSliding(b *testing.B) {
	var m cnn.Memory
	benchmarkReal(b, func(e engine, w []flows.Row, probs []float32) error { return e.Next(&m, w[len(w)-1], probs) })
}

// Independent windows: all rows are new.
func BenchmarkRealCold(b *testing.B) {
	benchmarkReal(b, func(e engine, w []flows.Row, probs []float32) error { return e.Predict(w, probs) })
}

// Successive windows of 256 devices in turn: their states do not stay in the
// CPU's caches.
func BenchmarkRealSliding256(b *testing.B) {
	const devices = 256
	_, windows := realWindows(b)
	memories := make([]cnn.Memory, devices)
	step := len(windows) / devices
	order := make([]flows.Row, 0, devices*step)
	for i := range step {
		for d := range devices {
			w := windows[d*step+i]
			order = append(order, w[len(w)-1])
		}
	}
	i := 0
	benchmarkReal(b, func(e engine, _ []flows.Row, probs []float32) error {
		i++
		return e.Next(&memories[i%devices], order[i%len(order)], probs)
	})
}
