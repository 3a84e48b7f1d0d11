package explain_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/explain"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// models are random ones of both networks, with references.
func models(t testing.TB, r *rand.Rand) map[string]*model.Model {
	t.Helper()
	direct := cnn.DefaultArchitecture(5)
	direct.Hidden = 0
	all := map[string]*model.Model{
		"paper":  modeltest.Model(r, cnn.DefaultArchitecture(5), 7),
		"direct": modeltest.Model(r, direct, 3),
		"stream": streamtest.Model(r, streamtest.Architecture(), 7),
	}
	all["stream"].Calibration.Temperature = 1.7
	for _, m := range all {
		refer(t, m, modeltest.Stream(r, 30), modeltest.Stream(r, 3), modeltest.Stream(r, 8))
	}
	return all
}

// refer gives a model references of streams.
func refer(t testing.TB, m *model.Model, streams ...[]flows.Row) {
	t.Helper()
	var all []float32
	for number, rows := range streams {
		reference, err := m.Net.(model.Explainable).Refer(m.Record, m.Scaling, rows, number)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, reference...)
	}
	if err := m.SetReferences(all); err != nil {
		t.Fatal(err)
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
}

// Shares add up to what the engine says, less what it says of the references, for every
// label, logit and probability, and one label against another.
func TestExplanationsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, m := range models(t, r) {
		e, err := explain.New(m)
		if err != nil {
			t.Fatal(err)
		}
		engine, err := model.NewEngine(m)
		if err != nil {
			t.Fatal(err)
		}
		probs := make([]float32, len(m.Labels))
		for _, rows := range [][]flows.Row{modeltest.Stream(r, 1), modeltest.Stream(r, 4), modeltest.Stream(r, 25)} {
			if err := engine.Predict(rows, probs); err != nil {
				t.Fatal(err)
			}
			for c, label := range m.Labels {
				for _, output := range []explain.Output{explain.Logit, explain.Probability} {
					x, err := e.Explain(explain.Request{Rows: rows, Label: label, Output: output})
					if err != nil {
						t.Fatal(err)
					}
					want := float64(engine.Logits()[c])
					if output == explain.Probability {
						want = float64(probs[c])
					}
					sum := x.BaseValue
					for _, row := range x.Phi {
						for _, v := range row {
							sum += v
						}
					}
					if math.Abs(sum-want) > 1e-5 || math.Abs(x.Value-want) > 1e-5 || x.AdditivityError > 1e-9 {
						t.Errorf("%s, %d rows: %s of %s: base and shares are %v, value %v, the engine says %v; %g off", name, len(rows), output, label, sum, x.Value, want, x.AdditivityError)
					}
				}
			}
		}
	}
}
