package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// words are what the devices of the synthetic classes say.
var words = []string{"GET /plug HTTP/1.1", "M-SEARCH * camera", "\x30\x1e\x02\x01hub", "ping"}

// names are their classes.
var names = []string{"plug", "camera", "hub", "clock"}

// examples are windows of n flows of each class; a class shows in its payload,
// port and sizes, in noise.
func examples(seed uint64, n int) []dataset.Example {
	r := rand.New(rand.NewPCG(seed, 9))
	var out []dataset.Example
	for class, word := range words {
		rows := make([]flows.Row, n)
		for i := range rows {
			rec := modeltest.Record(r, 30, 20, 0)
			rec.DevPort, rec.Device = int32(1000*class), fmt.Sprint(class)
			copy(rec.Packets[0].Payload, word)
			rows[i] = flows.Row{Record: rec, Since: r.Int64N(60e6)}
		}
		for i, row := range rows {
			out = append(out, dataset.Example{
				Step:   flows.Step{Row: row, Number: i},
				Device: dataset.Device{Name: fmt.Sprint(class), Label: names[class]}, Capture: fmt.Sprint(seed),
			})
		}
	}
	return out
}

// stored puts the parts into one store and says which windows are whose.
func stored(t testing.TB, parts ...[]dataset.Example) (*dataset.Store, [][]int) {
	t.Helper()
	s := dataset.NewStore(dataset.DefaultMemory)
	var numbers [][]int
	for _, part := range parts {
		var n []int
		for _, e := range part {
			n = append(n, s.Len())
			if err := s.Add(e, true); err != nil {
				t.Fatal(err)
			}
		}
		numbers = append(numbers, n)
	}
	return s, numbers
}

// trainOn is Train on made examples.
func trainOn(t testing.TB, ctx context.Context, o Options, training, validation []dataset.Example, progress func(Progress)) (*model.Model, *Report, error) {
	t.Helper()
	s, n := stored(t, training, validation)
	return Train(ctx, config(), s, n[0], n[1], o, progress)
}

func config() Config {
	return Config{
		Design: PaperDesign(40),
		Record: model.DefaultRecordSpec(),
		Flags:  map[string]string{"epochs": "4"},
	}
}

func options() Options {
	o := DefaultOptions()
	o.Epochs, o.Batch, o.Seed, o.Threads = 4, 16, 7, 1
	return o
}

func mustTrain(t *testing.T, o Options) (*model.Model, *Report) {
	t.Helper()
	m, report, err := trainOn(t, context.Background(), o, examples(1, 30), examples(2, 10), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, report
}

func TestTrainLearns(t *testing.T) {
	var last Progress
	calls := 0
	o := options()
	o.Epochs, o.LearningRate = 15, 3e-3
	m, report, err := trainOn(t, context.Background(), o, examples(1, 80), examples(2, 20), func(p Progress) {
		calls++
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(m.Labels, " "); got != "camera clock hub plug" {
		t.Errorf("labels %q, want them sorted", got)
	}
	best := report.Epochs[report.Best-1]
	if best.ValAccuracy < 0.8 || best.Loss > report.Epochs[0].Loss {
		t.Errorf("best epoch %+v of %d, first %+v: nothing learned", best, len(report.Epochs), report.Epochs[0])
	}
	if !last.Ended || last.Batch != 20 || last.Batches != 20 || calls != len(report.Epochs)*21 {
		t.Errorf("%d progress calls, last %+v: want 21 an epoch", calls, last)
	}
	one := m.Net.(model.Explainable).Reference(m.Record)
	if references, err := m.References(); err != nil || len(references) != 4*one.Size() {
		t.Errorf("%d values of references (%v), want one of %v for each class", len(references), err, one.Shape)
	}
	engine, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	probs, right := make([]float32, 4), 0
	test := examples(3, 20)
	memories := map[string]model.Memory{}
	for _, e := range test {
		if memories[e.Name] == nil {
			memories[e.Name] = engine.Memory()
		}
		if err := engine.Next(memories[e.Name], e.Row, probs); err != nil {
			t.Fatal(err)
		}
		for i, p := range probs {
			if p > 0.5 && m.Labels[i] == e.Label {
				right++
			}
		}
	}
	if share := float64(right) / float64(len(test)); share < 0.8 {
		t.Errorf("%.2f of new windows named rightly, want 0.8", share)
	}
}

func TestTrainIsReproducible(t *testing.T) {
	text := func(o Options) []byte {
		m, _ := mustTrain(t, o)
		m.Training.Threads = 0 // the one difference there may be
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	o := options()
	o.Epochs = 2
	first := text(o)
	if !bytes.Equal(first, text(o)) {
		t.Error("the same run again gives other bytes")
	}
	o.Threads = 3
	if !bytes.Equal(first, text(o)) {
		t.Error("three threads give other bytes than one")
	}
	o.Seed = 8
	if bytes.Equal(first, text(o)) {
		t.Error("another seed gives the same bytes")
	}
}

func TestTrainKeepsTheBestEpoch(t *testing.T) {
	o := options()
	o.Epochs, o.Patience, o.LearningRate, o.EMA = 30, 2, 0.02, 0 // restless
	m, report := mustTrain(t, o)
	best, at := math.Inf(1), 0
	for i, e := range report.Epochs {
		if e.ValLoss < best-o.MinDelta {
			best, at = e.ValLoss, i+1
		}
	}
	if at != report.Best {
		t.Errorf("best epoch %d, want %d", report.Best, at)
	}
	if report.Stopped == StoppedEarly && len(report.Epochs)-report.Best != o.Patience {
		t.Errorf("stopped after epoch %d with the best at %d, want %d later", len(report.Epochs), report.Best, o.Patience)
	}
	if loss := validationLoss(t, m, o); math.Abs(loss-best) > 1e-9 {
		t.Errorf("the model's validation loss is %v, the best epoch's %v", loss, best)
	}
}

// The fixed number of epochs of the paper's Table VI.
func TestTrainWithoutPatienceKeepsTheLastEpoch(t *testing.T) {
	o := options()
	o.Epochs, o.Patience, o.LearningRate = 6, 0, 0.02
	m, report := mustTrain(t, o)
	if len(report.Epochs) != o.Epochs || report.Best != o.Epochs || report.Stopped != StoppedAtLimit {
		t.Errorf("%d epochs, the weights of epoch %d, %s", len(report.Epochs), report.Best, report.Stopped)
	}
	if got, want := validationLoss(t, m, o), report.Epochs[o.Epochs-1].ValLoss; math.Abs(got-want) > 1e-9 {
		t.Errorf("the model's validation loss is %v, the last epoch's %v", got, want)
	}
}

// validationLoss is that of the validation windows of mustTrain.
func validationLoss(t *testing.T, m *model.Model, o Options) float64 {
	t.Helper()
	store, n := stored(t, examples(1, 30), examples(2, 10))
	set, err := choose(store, 5, 1, n[0], n[1], o, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := evaluate(m, set, set.validation, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s.loss(1)
}

func TestTrainStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := trainOn(t, ctx, options(), examples(1, 30), examples(2, 10), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	_, report, err := trainOn(t, ctx, options(), examples(1, 30), examples(2, 10), func(p Progress) {
		if p.Epoch == 2 {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Stopped != StoppedByContext || len(report.Epochs) != 1 || report.Best != 1 {
		t.Errorf("cancelled in the second epoch: %+v, want the first one's weights", report)
	}
}

func TestTrainRefuses(t *testing.T) {
	good := options()
	for _, c := range []struct {
		name   string
		change func(c *Config, o *Options, training, validation *[]dataset.Example)
		want   string
	}{
		{"no validation", func(_ *Config, _ *Options, _, v *[]dataset.Example) { *v = nil }, "validation"},
		{"one class", func(_ *Config, _ *Options, tr, _ *[]dataset.Example) { *tr = (*tr)[:20] }, "1 classes"},
		{"only other classes to validate on", func(_ *Config, _ *Options, _, v *[]dataset.Example) {
			*v = (*v)[:1]
			(*v)[0].Label = "lamp"
		}, "no validation window"},
		{"no epoch", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.Epochs = 0 }, "epochs"},
		{"no batch", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.Batch = 0 }, "batch"},
		{"no rate", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.LearningRate = math.NaN() }, "learning rate"},
		{"a wild rate", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.LearningRate = 1e30 }, "learning rate"},
		{"a negative decay", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.WeightDecay = -1 }, "weight decay"},
		{"a decay of everything", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.WeightDecay = 1 / o.LearningRate }, "weight decay"},
		{"an endless warm-up", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.WarmUp = math.Inf(1) }, "warm-up"},
		{"a fall below nothing", func(_ *Config, o *Options, _, _ *[]dataset.Example) { o.Fall = 1.1 }, "fall"},
		{"an absurd kernel", func(c *Config, _ *Options, _, _ *[]dataset.Example) { c.Design = PaperDesign(4000) }, "kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, o, training, validation := config(), good, examples(1, 20), examples(2, 5)
			c.change(&cfg, &o, &training, &validation)
			s, n := stored(t, training, validation)
			_, _, err := Train(context.Background(), cfg, s, n[0], n[1], o, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestChooseAppliesTheLimits(t *testing.T) {
	var training []dataset.Example
	for label, n := range map[string]int{"z": 50, "m": 3, "a": 10} {
		for range n {
			training = append(training, dataset.Example{Step: flows.Step{Row: flows.Row{Record: &flows.Record{}}}, Device: dataset.Device{Label: label}})
		}
	}
	store, n := stored(t, training)
	o := DefaultOptions()
	o.MinPerClass, o.MaxPerClass = 4, 20
	s, err := choose(store, 5, 1, n[0], n[0], o, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := []Class{{"a", 10, 10}, {"m", 3, 0}, {"z", 50, 20}}
	if fmt.Sprint(s.classes) != fmt.Sprint(want) {
		t.Errorf("classes %v, want %v", s.classes, want)
	}
	if len(s.training) != 30 || len(s.validation) != 60 || s.skipped != 3 {
		t.Errorf("%d training, %d validation, %d skipped, want 30, 60, 3", len(s.training), len(s.validation), s.skipped)
	}
	chosen := map[string]int{}
	for _, i := range s.training {
		chosen[store.Label(i)]++
	}
	if chosen["a"] != 10 || chosen["z"] != 20 {
		t.Errorf("examples by class %v, want 10 of a and 20 of z", chosen)
	}
	o.MinPerClass, o.MaxPerClass = 1, 0
	if s, err = choose(store, 5, 1, n[0], n[0], o, rand.New(rand.NewPCG(1, 1))); err != nil || len(s.training) != 63 {
		t.Errorf("without limits: %d windows, %v; want all 63", len(s.training), err)
	}
}

func TestTemperatureIsFound(t *testing.T) {
	// Three times too sure: logits drawn so that the truth follows softmax(l/3).
	r := rand.New(rand.NewPCG(4, 4))
	s := &scores{}
	for range 20_000 {
		l := []float32{float32(r.NormFloat64() * 6), float32(r.NormFloat64() * 6), float32(r.NormFloat64() * 6)}
		p := make([]float64, 3)
		sum := 0.0
		for i, v := range l {
			p[i] = math.Exp(float64(v) / 3)
			sum += p[i]
		}
		u, label := r.Float64()*sum, 0
		for u > p[label] && label < 2 {
			u -= p[label]
			label++
		}
		s.logits, s.labels, s.weights = append(s.logits, l), append(s.labels, label), append(s.weights, 1)
	}
	if got := s.temperature(); math.Abs(got-3) > 0.15 {
		t.Errorf("temperature %v, want 3", got)
	}
}

// What is named rightly asks for a temperature below 1, and gets 1: the strangers
// that it would name with certainty are in no validation, unless one of the classes is
// theirs.
func TestTemperatureIsNeverTooLow(t *testing.T) {
	for _, tt := range []struct {
		label string // of the last class
		least float64
	}{{"zebra", 1}, {model.NoneLabel, 0.8}} {
		testLeastTemperature(t, tt.label, tt.least)
	}
}

func testLeastTemperature(t *testing.T, label string, least float64) {
	o := options()
	o.Epochs, o.LearningRate = 8, 3e-3
	training, validation := examples(1, 60), examples(2, 20)
	for _, part := range [][]dataset.Example{training, validation} {
		for i := range part {
			if part[i].Label == "plug" {
				part[i].Label = label
			}
		}
	}
	s, n := stored(t, training, validation)
	m, report, err := Train(context.Background(), config(), s, n[0], n[1], o, nil)
	if err != nil {
		t.Fatal(err)
	}
	class := map[string]int{}
	for i, l := range m.Labels {
		class[l] = i
	}
	sure, err := evaluate(m, &set{store: s, class: class}, n[1], 1)
	if err != nil {
		t.Fatal(err)
	}
	if fitted := sure.temperature(); fitted >= least {
		t.Fatalf("the windows ask for a temperature of %v: they show nothing", fitted)
	}
	if m.Temperature() != least || report.Temperature != least || m.Calibration.Least != least {
		t.Errorf("%s: temperature %v, reported %v, want %v", label, m.Temperature(), report.Temperature, least)
	}
}

// Captures that fit the temperature chose no epoch, where there are enough of both.
func TestCalibrationCaptures(t *testing.T) {
	for _, tt := range []struct {
		name     string
		captures map[string]int // of each class, 3 windows each
		fitting  int            // windows; 0: all do both
	}{
		{"enough of each", map[string]int{"a": 4, "b": 5}, 3 * 4},
		{"enough of half", map[string]int{"a": 8, "b": 1}, 3 * 4},
		{"enough of fewer", map[string]int{"a": 40, "b": 1, "c": 1}, 0},
		{"two of each", map[string]int{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2, "f": 2, "g": 2}, 3 * 4},
		{"three captures would decide", map[string]int{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2, "f": 2}, 0},
		{"one each", map[string]int{"a": 1, "b": 1}, 0},
		{"what is made is no capture", map[string]int{"a": 2, "b": 1, model.NoneLabel: 40}, 0},
		{"what is made is no class", map[string]int{"a": 9, "b": 9, "c": 1, "d": 1, "e": 1, model.NoneLabel: 3}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []dataset.Example
			for label, captures := range tt.captures {
				for i := range 3 * captures {
					all = append(all, dataset.Example{
						Step:    flows.Step{Row: flows.Row{Record: &flows.Record{}}},
						Device:  dataset.Device{Label: label},
						Capture: fmt.Sprint("capture ", i%captures), // the classes share names of captures
					})
				}
			}
			store, n := stored(t, all)
			o := DefaultOptions()
			s, err := choose(store, 5, 1, n[0], n[0], o, rand.New(rand.NewPCG(1, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if tt.fitting == 0 {
				if len(s.choosing) != len(all) || len(s.fitting) != len(all) {
					t.Errorf("%d choose and %d fit, want all %d for both", len(s.choosing), len(s.fitting), len(all))
				}
				return
			}
			if len(s.fitting) != tt.fitting || len(s.choosing)+len(s.fitting) != len(all) {
				t.Errorf("%d choose and %d fit, want %d of %d to fit", len(s.choosing), len(s.fitting), tt.fitting, len(all))
			}
			o.Patience = 0 // the last epoch is kept: nothing is chosen
			if all, err := choose(store, 5, 1, n[0], n[0], o, rand.New(rand.NewPCG(1, 1))); err != nil || len(all.fitting) != len(n[0]) {
				t.Errorf("without patience %d fit of %d, %v", len(all.fitting), len(n[0]), err)
			}
			chose := map[string]bool{}
			for _, i := range s.choosing {
				chose[store.Label(i)+store.Source(i).Capture] = true
			}
			for _, i := range s.fitting {
				if chose[store.Label(i)+store.Source(i).Capture] {
					t.Errorf("%s of %s does both", store.Source(i).Capture, store.Label(i))
				}
			}
		})
	}
}

// A window counts by its class and capture, not by how many there are.
func TestValidationWeights(t *testing.T) {
	var all []dataset.Example
	for _, part := range []struct {
		label, capture string
		windows        int
	}{{"a", "long", 8}, {"a", "short", 2}, {"b", "long", 4}} { // of one recording both classes
		for range part.windows {
			all = append(all, dataset.Example{
				Step: flows.Step{Row: flows.Row{Record: &flows.Record{}}}, Device: dataset.Device{Name: part.label, Label: part.label}, Capture: part.capture,
			})
		}
	}
	store, n := stored(t, all)
	o := DefaultOptions()
	for _, byWindow := range []bool{false, true} {
		o.ByWindow = byWindow
		s, err := choose(store, 5, 1, n[0], n[0], o, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		got := &scores{weights: s.weights(n[0])}
		for i := range all { // right in the short capture alone
			got.logits, got.labels = append(got.logits, []float32{0, 1}), append(got.labels, 0)
			if all[i].Capture == "short" {
				got.labels[i] = 1
			}
		}
		want := 0.25 // of class a one of two captures, of class b none
		if byWindow {
			want = 2.0 / 14
		}
		if a := got.accuracy(); math.Abs(a-want) > 1e-12 {
			t.Errorf("by windows %v: accuracy %v, want %v", byWindow, a, want)
		}
		if l, right, wrong := got.loss(1), math.Log1p(math.Exp(-1)), math.Log1p(math.E); math.Abs(l-want*right-(1-want)*wrong) > 1e-12 {
			t.Errorf("by windows %v: loss %v, want %v", byWindow, l, want*right+(1-want)*wrong)
		}
	}
}

// Windows of a network that learns from several rows at once are thinned out in whole
// pieces, all but the last.
func TestThinningKeepsPieces(t *testing.T) {
	var all []dataset.Example
	for _, label := range []string{"a", "b"} {
		for stream := range 10 {
			for row := range 60 {
				all = append(all, dataset.Example{
					Step:   flows.Step{Row: flows.Row{Record: &flows.Record{}}, Number: row},
					Device: dataset.Device{Name: fmt.Sprint(label, stream), Label: label}, Capture: "c",
				})
			}
		}
	}
	store, n := stored(t, all)
	o := DefaultOptions()
	o.MaxPerClass = 130
	for judged, most := range map[int]int{1: 2 * 130, 24: 2 * 8} { // 130 are 6 pieces of 24 or, at a stream's end, 12; to 2 more parts
		s, err := choose(store, 20, judged, n[0], n[0], o, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if pieces := len(cut(store, s.training, judged)); len(s.training) != 2*130 || pieces > most || !slices.IsSorted(s.training) {
			t.Errorf("%d rows at once: %d windows in %d pieces, in order %v", judged, len(s.training), pieces, slices.IsSorted(s.training))
		}
	}
}

// An example that is in the list twice has its output twice.
func TestPredictTwice(t *testing.T) {
	m, _ := mustTrain(t, options())
	store, n := stored(t, examples(1, 8))
	list := []int{n[0][5], n[0][2], n[0][5]}
	var got [3][]float32
	if err := Predict(m, store, list, 1, func(i int, _, probs []float32) { got[i] = slices.Clone(probs) }); err != nil {
		t.Fatal(err)
	}
	if got[0] == nil || !slices.Equal(got[0], got[2]) || slices.Equal(got[0], got[1]) {
		t.Errorf("outputs %v: want the first and the last alike", got)
	}
}
