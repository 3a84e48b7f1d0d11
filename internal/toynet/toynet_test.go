package toynet_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/toynet"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/learn"
	"github.com/iotsense/iotsense/pkg/model/train"
)

func init() { toynet.Register() }

// Networks whose memories are nothing like a window are trained, kept in a file, and run
// as live traffic is, by the code that does so for the paper's. Validation, which runs
// streams out of a store, and the classifier, which runs records as they come, say the
// same to the bit.
func TestAnotherNetwork(t *testing.T) {
	toy, flow := train.DefaultOptions(), learn.Options()
	toy.Epochs, toy.Batch, toy.LearningRate, toy.EMA = 60, 8, 0.05, 0
	flow.Epochs = 20
	for _, c := range []struct {
		kind    string
		design  train.Design
		options train.Options
		least   float64 // accuracy, of twelve kinds
	}{
		{toynet.Kind, toynet.Design{}, toy, 0.4},
		{stream.Kind, learn.Design{Arch: stream.DefaultArchitecture()}, flow, 0.5},
	} {
		t.Run(c.kind, func(t *testing.T) {
			set, store := labStore(t)
			training, held := dataset.Holdout(store, store.All(), c.design.Span(), 0.5)
			c.options.Threads = 1
			m, report, err := train.Train(t.Context(), train.Config{Design: c.design, Record: model.DefaultRecordSpec()}, store, training, held, c.options, nil)
			if err != nil {
				t.Fatal(err)
			}
			if best := report.Epochs[report.Best-1]; best.ValAccuracy < c.least {
				t.Errorf("accuracy %.2f: nothing was learnt", best.ValAccuracy)
			}
			var file bytes.Buffer
			if err := m.Write(&file); err != nil {
				t.Fatal(err)
			}
			back, err := model.Read(&file)
			if err != nil {
				t.Fatal(err)
			}
			if back.Net.Kind() != c.kind || back.Parameters() != m.Parameters() {
				t.Errorf("read back: %s of %d parameters", back.Net.Kind(), back.Parameters())
			}
			sameLive(t, back, set, store)
		})
	}
}

// labStore is a small data set of the lab.
func labStore(t *testing.T) (*dataset.Set, *dataset.Store) {
	t.Helper()
	dir := t.TempDir()
	if err := lab.WriteDataset(t.Context(), dir, 2, 2, 1); err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(dir, "manifest.csv")})
	if err != nil {
		t.Fatal(err)
	}
	store := dataset.NewStore(dataset.DefaultMemory)
	t.Cleanup(func() { _ = store.Close() })
	if err := set.Fill(t.Context(), flows.StreamSpec{}, 0, store, nil, nil); err != nil {
		t.Fatal(err)
	}
	return set, store
}

// sameLive compares what the classifier says of each row of a set with what the same
// model says of the store's.
func sameLive(t *testing.T, m *model.Model, set *dataset.Set, store *dataset.Store) {
	t.Helper()
	stored := map[dataset.Source][][]float32{}
	all := make([][]float32, store.Len())
	if err := train.Predict(m, store, store.All(), 1, func(i int, _, probs []float32) { all[i] = slices.Clone(probs) }); err != nil {
		t.Fatal(err)
	}
	for i, probs := range all {
		stored[*store.Source(i)] = append(stored[*store.Source(i)], probs)
	}
	classifiers, rows := map[string]*classify.Classifier{}, 0
	source := dataset.Source{}
	err := set.Records(t.Context(), func(r flows.LabelledRecord) error {
		source = dataset.Source{Device: dataset.Device{Name: r.Device, Label: r.Label, Unit: r.Unit, Split: r.Split}, Capture: r.Capture}
		c := classifiers[r.Capture]
		if c == nil {
			var err error
			if c, err = classify.New(model.Bundle{"": m}, classify.Options{CacheBytes: 1, Judged: func(j classify.Judged) {
				rows++
				if want := stored[source][j.Number]; !slices.Equal(j.Probs, want) {
					t.Fatalf("row %d of %v: %v live, %v stored", j.Number, source, j.Probs, want)
				}
			}}); err != nil {
				return err
			}
			classifiers[r.Capture] = c
		}
		return c.Record(r.Record)
	}, func(dataset.CaptureSummary) error { return nil })
	if err != nil || rows != store.Len() {
		t.Errorf("%d rows judged live of %d, %v", rows, store.Len(), err)
	}
}
