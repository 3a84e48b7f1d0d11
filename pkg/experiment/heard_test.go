package experiment

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// heardPlan is a short training on captures of three kinds.
func heardPlan(t *testing.T) Plan {
	t.Helper()
	p := kindsPlan(t, "hub", "printer", "camera")
	p.Train.Epochs, p.Train.Patience = 2, 0
	return p
}

// bytesOfModel are those of its file.
func bytesOfModel(t *testing.T, p Plan) (model.Bundle, []byte) {
	t.Helper()
	bundle, _, err := p.Bundle(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := bundle.Write(&text); err != nil {
		t.Fatal(err)
	}
	return bundle, text.Bytes()
}

// Devices of captures are judged by what they say of themselves too, alone and with the
// network: the same seed gives the same bytes, and a plan without facts those of a network
// alone.
func TestFactsAreTrainedAndScored(t *testing.T) {
	p := heardPlan(t)
	bundle, text := bytesOfModel(t, p)
	if _, again := bytesOfModel(t, p); !bytes.Equal(text, again) {
		t.Error("the same plan gives other bytes")
	}
	m := bundle[""]
	if m.Facts == nil || !slices.Contains(m.Facts.Tokens, "oui:random") {
		t.Fatalf("facts %+v", m.Facts)
	}
	e := Evaluation{Data: p.Data}
	e.Data.Splits, e.Data.Capture.RecordSpec = []string{"test"}, m.Record.RecordSpec
	both, err := e.Run(t.Context(), bundle, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	if alone := both.Alone[FactsAlone]; alone.Windows != both.Windows || alone.Devices.Accuracy == nil || *alone.Devices.Accuracy != 1 {
		t.Errorf("facts alone: %+v", alone)
	}
	e.NoFacts = true
	network, err := e.Run(t.Context(), bundle, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	if alone := both.Alone[NetworkAlone]; network.Alone != nil || *network.MacroF1 != *alone.MacroF1 || network.Devices.NamedRight != alone.Devices.NamedRight {
		t.Errorf("the network alone is %v, without facts %v", *alone.MacroF1, *network.MacroF1)
	}
	p.NoFacts = true
	without, _ := bytesOfModel(t, p)
	if without[""].Facts != nil || without[""].Training.Options["no-facts"] != "true" {
		t.Errorf("without facts: %v", without[""].Training.Options)
	}
	p.NoFacts, p.Arch = false, PaperArch
	if paper, _ := bytesOfModel(t, p); paper[""].Facts != nil {
		t.Error("the paper's network has facts beside it")
	}
}

// What a verdict's window says is the same live, from a file, and where a
// cross-validation joins it from what it keeps.
func TestFactsOfflineAreThoseOfVerdicts(t *testing.T) {
	p := heardPlan(t)
	p.Negatives = true
	bundle, _ := bytesOfModel(t, p)
	m := bundle[""]
	type window struct {
		probs   []float32
		named   []bool
		revised []float64
	}
	verdicts := map[string][]window{} // by capture
	name := ""
	opts := classify.Options{Judged: func(j classify.Judged) {
		verdicts[name] = append(verdicts[name], window{slices.Clone(j.Probs), slices.Clone(j.Named), slices.Clone(j.Revised)})
	}}
	data := p.Data
	data.Splits, data.Capture.RecordSpec = []string{"test"}, m.Record.RecordSpec
	set, err := dataset.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	each := func(r flows.LabelledRecord) error {
		name = r.Capture
		return nil
	}
	if err := classify.Captures(t.Context(), set, bundle, opts, each, func(dataset.CaptureSummary, *classify.Classifier) error { return nil }); err != nil {
		t.Fatal(err)
	}
	// Live, samples come before the records that they are of, some later ones too: here all.
	known := facts.NewCollector(0)
	set.Observe(func() {}, known.Sample)
	var records []flows.LabelledRecord
	keep := func(r flows.LabelledRecord) error {
		records = append(records, r)
		return nil
	}
	if err := set.Records(t.Context(), keep, func(dataset.CaptureSummary) error { return nil }); err != nil {
		t.Fatal(err)
	}
	live := map[string][]window{}
	opts.Facts = known.Of
	opts.Judged = func(j classify.Judged) {
		live[name] = append(live[name], window{slices.Clone(j.Probs), slices.Clone(j.Named), slices.Clone(j.Revised)})
	}
	k, err := classify.New(bundle, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records { // no device is in two captures
		if name = r.Capture; k.Record(r.Record) != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(live, verdicts) {
		t.Error("what is heard later changes what is said of a window")
	}

	streams, err := p.streams()
	if err != nil {
		t.Fatal(err)
	}
	store := dataset.NewStore(p.Memory)
	defer store.Close()
	q := p
	q.Negatives = false
	said := q.hear(store)
	windows, err := q.read(t.Context(), streams[""], store, said, dataset.Part{Splits: []string{"test"}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	network := make([][]float32, len(windows))
	if err := train.Predict(m, store, windows, 1, func(i int, _, probs []float32) { network[i] = slices.Clone(probs) }); err != nil {
		t.Fatal(err)
	}
	joined, again, changed, revised := said.Judge(m), train.Repeats(m, store), 0, 0
	for at, i := range windows {
		w := join.Window{Probs: network[at]}
		if w.Again, err = again(i); err != nil {
			t.Fatal(err)
		}
		both := joined(i, w)
		probs, named := both.Probs, both.Named
		from := store.Source(i).Capture
		if len(verdicts[from]) == 0 {
			t.Fatalf("%s: more windows than verdicts", from)
		}
		v := verdicts[from][0]
		verdicts[from] = verdicts[from][1:]
		for c := range probs { // batches may round otherwise
			if math.Abs(float64(probs[c]-v.probs[c])) > 1e-5 {
				t.Fatalf("window %d of %s: %v, its verdict's %v", at, from, probs, v.probs)
			}
		}
		if !slices.Equal(named, v.named) {
			t.Fatalf("window %d of %s may be named %v, its verdict's %v", at, from, named, v.named)
		}
		if !slices.Equal(probs, network[at]) {
			changed++
		}
		if (both.Revised == nil) != (v.revised == nil) {
			t.Fatalf("window %d of %s revises %v, its verdict %v", at, from, both.Revised, v.revised)
		}
		for c, more := range both.Revised {
			if math.Abs(more-v.revised[c]) > 1e-4 {
				t.Fatalf("window %d of %s revises %v, its verdict %v", at, from, both.Revised, v.revised)
			}
			revised++
		}
	}
	if changed == 0 || revised == 0 {
		t.Errorf("the facts change %d windows, and %d probabilities of earlier ones", changed, revised)
	}
}

// Records hold no samples: there is a warning, and a network alone.
func TestRecordsHaveNoFacts(t *testing.T) {
	p := heardPlan(t)
	path := filepath.Join(t.TempDir(), "all.parquet")
	set, err := dataset.Open(dataset.Options{Manifest: p.Data.Manifest, Splits: p.Data.Splits, Capture: capture.Config{RecordSpec: p.Record.RecordSpec}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := recordfile.NewWriter(f, nil)
	if err := set.Records(t.Context(), func(r flows.LabelledRecord) error { return w.Write(&r) }, func(dataset.CaptureSummary) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p.Data = dataset.Options{Data: []string{path}}
	told := &notes{}
	bundle, _, err := p.Bundle(t.Context(), told)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(told.warned, "\n")
	if bundle[""].Facts != nil || strings.Count(text, "records files hold nothing of what devices say") != 1 {
		t.Errorf("facts %v, warnings %q", bundle[""].Facts, text)
	}
}

// A cross-validation has facts in each fold.
func TestCrossvalWithFacts(t *testing.T) {
	p := heardPlan(t)
	x := Crossval{Plan: p, By: dataset.ByCapture, Folds: 2, Seeds: 1}
	both, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	x.Plan.NoFacts = true
	alone, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	if both.MacroF1 <= alone.MacroF1 && both.MacroF1 < 1 || both.Seeds[0].Windows != alone.Seeds[0].Windows {
		t.Errorf("macro-F1 %v with facts, %v without", both.MacroF1, alone.MacroF1)
	}
}

// From the predictions of a model with facts follows who is named.
func TestPredictionsSayWhoMayBeNamed(t *testing.T) {
	p := heardPlan(t)
	p.Train.Epochs = 10
	bundle, _ := bytesOfModel(t, p)
	var text bytes.Buffer
	e := Evaluation{Data: p.Data, Predictions: &text}
	e.Data.Splits, e.Data.Capture.RecordSpec = []string{"test"}, bundle[""].Record.RecordSpec
	for _, barred := range []bool{false, true} {
		if barred { // no fact tells anything, and the network alone is never sure enough
			for i := range bundle[""].Facts.Telling {
				bundle[""].Facts.Telling[i] = -1
			}
			bundle[""].Calibration.Temperature = 20
		}
		text.Reset()
		r, err := e.Run(t.Context(), bundle, &notes{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&text).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		sure, named := 0, 0
		for _, row := range rows[1:] {
			best, most := 0, -1.0
			for i, text := range row[10:] {
				if v, err := strconv.ParseFloat(text, 64); err == nil && v > most {
					best, most = i, v
				}
			}
			if row[4] == "0" && most >= model.DefaultThreshold {
				sure++
				named += count(row[6] == "" || slices.Contains(strings.Fields(row[6]), strconv.Itoa(best)))
			}
		}
		if got := r.Devices.NamedRight + r.Devices.NamedWrong; got != named || sure == 0 || barred != (named < sure) {
			t.Errorf("%d named, by the predictions %d of %d that are sure enough", got, named, sure)
		}
	}
}
