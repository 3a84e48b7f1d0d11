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
	"github.com/iotsense/iotsense/pkg/model/train"
)

func init() { toynet.Register() }

// A network whose memory is nothing like a window is trained, kept in a file, and run
// as live traffic is, by the code that does so for the paper's. Validation, which runs
// streams out of a store, and the classifier, which runs records as they come, say the
// same to the bit.
func TestAnotherNetwork(t *testing.T) {
	dir := t.TempDir()
	if err := lab.WriteDataset(t.Context(), dir, 2, 2, 1); err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(dir, "manifest.csv")})
	if err != nil {
		t.Fatal(err)
	}
	store := dataset.NewStore(dataset.DefaultMemory)
	defer store.Close()
	if err := set.Fill(t.Context(), flows.StreamSpec{}, 0, store, nil, nil); err != nil {
		t.Fatal(err)
	}
	learn, held := dataset.Holdout(store, store.All(), 0, 0.5)
	o := train.DefaultOptions()
	o.Epochs, o.Batch, o.LearningRate, o.EMA, o.Threads = 60, 8, 0.05, 0, 1
	m, report, err := train.Train(t.Context(), train.Config{Design: toynet.Design{}, Record: model.DefaultRecordSpec()}, store, learn, held, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if best := report.Epochs[report.Best-1]; best.ValAccuracy < 0.4 { // of twelve kinds
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
	if back.Net.Kind() != toynet.Kind || back.Parameters() != m.Parameters() {
		t.Errorf("read back: %s of %d parameters", back.Net.Kind(), back.Parameters())
	}
	sameLive(t, back, set, store)
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
