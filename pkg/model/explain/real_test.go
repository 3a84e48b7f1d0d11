package explain_test

import (
	"math"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/explain"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

// embeddedModels are those of real devices, explained against windows of theirs.
func embeddedModels(t testing.TB) (models map[string]*model.Model, windows map[string][][]flows.Row) {
	t.Helper()
	models, windows = map[string]*model.Model{}, map[string][][]flows.Row{}
	for name, read := range map[string]func() (model.Bundle, error){"default": embedded.Default, "paper": embedded.Paper} {
		b, err := read()
		if err != nil {
			t.Fatal(err)
		}
		m := *b[""]
		all := modeltest.RealWindows(t, m.Record.Stream(), m.Net.Span())
		var references [][]flows.Row
		for i := range m.Labels {
			references = append(references, all[(i+1)*len(all)/len(m.Labels)-1])
		}
		refer(t, &m, references...)
		models[name], windows[name] = &m, all
	}
	return models, windows
}

// Windows of real devices are explained: shares add up to what the engine says.
func TestRealWindowsAddUp(t *testing.T) {
	models, windows := embeddedModels(t)
	for name, m := range models {
		e, err := explain.New(m)
		if err != nil {
			t.Fatal(err)
		}
		engine, err := model.NewEngine(m)
		if err != nil {
			t.Fatal(err)
		}
		probs := make([]float32, engine.Classes())
		for i := 0; i < len(windows[name]); i += 101 {
			rows := windows[name][i]
			if err := engine.Predict(rows, probs); err != nil {
				t.Fatal(err)
			}
			for _, output := range []explain.Output{explain.Logit, explain.Probability} {
				x, err := e.Explain(explain.Request{Rows: rows, Output: output, Label: m.Labels[i%len(m.Labels)]})
				if err != nil {
					t.Fatal(err)
				}
				want := float64(probs[i%len(m.Labels)])
				if output == explain.Logit {
					want = float64(engine.Logits()[i%len(m.Labels)])
				}
				if x.AdditivityError > 1e-8 || math.Abs(x.Value-want) > 2e-5*max(1, math.Abs(want)) {
					t.Errorf("%s, window %d: the %s is %v and off by %g, the engine says %v", name, i, x.Output, x.Value, x.AdditivityError, want)
				}
			}
		}
	}
}

func BenchmarkExplain(b *testing.B) {
	models, windows := embeddedModels(b)
	for name, m := range models {
		e, err := explain.New(m)
		if err != nil {
			b.Fatal(err)
		}
		i := 0
		b.Run(name, func(b *testing.B) {
			before := workers.CPUTime() // other work of the machine is no part of it
			for b.Loop() {
				i = (i + 37) % len(windows[name])
				if _, err := e.Explain(explain.Request{Rows: windows[name][i], Output: explain.Probability}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(workers.CPUTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
