package experiment

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// kindsPlan is a plan on five captures of each kind to train on and two others to test on.
func kindsPlan(t *testing.T, kinds ...string) Plan {
	t.Helper()
	set := newLabSet(t)
	for _, kind := range kinds {
		set.add(kind, kind, "train", 0, 5, 3*time.Minute)
		set.add(kind, kind, "test", 5, 2, 3*time.Minute)
	}
	p, err := NewPlan("", "", StreamArch)
	if err != nil {
		t.Fatal(err)
	}
	p.Data.Manifest, p.Data.Splits = set.manifest(), []string{"train"}
	p.Train.Epochs, p.Train.LeastSteps, p.Train.Seed, p.Train.Threads = 15, 0, 3, 2
	p.Augment, p.Negatives = false, false
	return p
}

// outputs are the logits of a plan's test windows, with their labels.
func outputs(t *testing.T, p Plan, m *model.Model) (labels []string, logits [][]float32) {
	t.Helper()
	streams, err := p.streams()
	if err != nil {
		t.Fatal(err)
	}
	store := dataset.NewStore(p.Memory)
	defer store.Close()
	windows, err := p.read(t.Context(), streams[""], store, nil, dataset.Part{Splits: []string{"test"}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	logits = make([][]float32, len(windows))
	err = train.Predict(m, store, windows, 1, func(i int, l, _ []float32) { logits[i] = slices.Clone(l) })
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range windows {
		labels = append(labels, store.Label(i))
	}
	return labels, logits
}

// right is the share of outputs that name their label.
func right(m *model.Model, labels []string, logits [][]float32) float64 {
	n := 0.0
	for i, l := range logits {
		if m.Labels[slices.Index(l, slices.Max(l))] == labels[i] {
			n++
		}
	}
	return n / float64(len(logits))
}

// A class that a model never saw is added from five captures: it is named, the outputs of
// the others keep every bit, and the next class can be added to what came out. The same
// seed gives the same file.
func TestAddClass(t *testing.T) {
	p := kindsPlan(t, "hub", "light-bulb", "printer", "vacuum")
	bundle, _, err := p.Bundle(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	m := bundle[""]
	m.Taxonomy = taxonomy.Taxonomy{"hub": "box/hub", "printer": "box/printer"}
	for added, kind := range []string{"camera", "television"} {
		q := kindsPlan(t, kind)
		q.Taxonomy.Paths = taxonomy.Taxonomy{kind: "eye/" + kind}
		file := filepath.Join(t.TempDir(), "m")
		_, report, err := q.AddTo(t.Context(), m, file, &notes{})
		if err != nil {
			t.Fatal(err)
		}
		if report.Stopped != train.Added || len(report.Classes) != 1 || report.Calibration.Least < m.Temperature() {
			t.Errorf("report %+v", report)
		}
		kept, err := model.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join([]string{"camera", "television"}[:added+1], ","); kept.Training.Options["add-class"] != want || kept.Training.Digest == m.Training.Digest {
			t.Errorf("the file says %v", kept.Training)
		}
		if len(kept.Taxonomy) != 3+added || kept.Taxonomy[kind] != "eye/"+kind || len(m.Taxonomy) != 2+added {
			t.Errorf("the file has the paths %v, that before %v", kept.Taxonomy, m.Taxonomy)
		}
		if m.Facts == nil || kept.Facts == nil || len(kept.Facts.Bias) != len(kept.Labels) || len(kept.Facts.Tokens) < len(m.Facts.Tokens) {
			t.Errorf("what devices say of themselves tells %v of %v", kept.Facts, kept.Labels)
		}
		if was, err := m.References(); err != nil || !slices.Equal(was, kept.Compared) {
			t.Errorf("%s: explanations compare with something else than before: %v", kind, err)
		}
		labels, logits := outputs(t, q, kept)
		if share := right(kept, labels, logits); share < 0.9 {
			t.Errorf("%s: %.2f of its windows are named so", kind, share)
		}
		labels, before := outputs(t, p, m)
		_, after := outputs(t, p, kept)
		if was, is := right(m, labels, before), right(kept, labels, after); is < was-0.05 {
			t.Errorf("%.3f of the other classes' windows are right, %.3f before %s", is, was, kind)
		}
		at, _ := slices.BinarySearch(kept.Labels, kind)
		for i := range after {
			if !slices.Equal(slices.Delete(after[i], at, at+1), before[i]) {
				t.Fatalf("window %d: the outputs of the other classes are %v, %v before", i, after[i], before[i])
			}
		}
		again, _, err := q.AddTo(t.Context(), m, file, &notes{})
		var a, b bytes.Buffer
		if err != nil || kept.Write(&a) != nil || again.Write(&b) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("the same classes twice are two models, %v", err)
		}
		m = kept
	}
}

// A model gets no class that it has, and none without a background to tell it from.
func TestAddClassRefusals(t *testing.T) {
	p := kindsPlan(t, "hub", "vacuum")
	p.Train.Epochs = 1
	models := map[string]*model.Model{}
	for _, arch := range []string{PaperArch, StreamArch} {
		p.Arch = arch
		bundle, _, err := p.Bundle(t.Context(), &notes{})
		if err != nil {
			t.Fatal(err)
		}
		models[arch] = bundle[""]
	}
	bare := *models[StreamArch]
	bare.Background = nil
	other := kindsPlan(t, "camera")
	for _, c := range []struct {
		plan Plan
		to   *model.Model
		says string
	}{
		{p, models[StreamArch], "knows hub, vacuum already"},
		{other, models[PaperArch], "--arch paper keeps nothing"},
		{other, &bare, "background of 0 entries for 2 classes"},
	} {
		file := filepath.Join(t.TempDir(), "m")
		if _, _, err := c.plan.AddTo(t.Context(), c.to, file, &notes{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
		if _, err := model.Load(file); err == nil {
			t.Errorf("%s: a file is there", c.says)
		}
	}
}
