package experiment

// This file trains on some folds of the data and tests on the others, again and
// again.

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/hearing"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/negatives"
	"github.com/iotsense/iotsense/pkg/report"
)

// CrossRun is one training run and what it was tested on.
type CrossRun struct {
	Seed       int64 `json:"seed"`
	Fold       int   `json:"fold"`
	Windows    int   `json:"windows"` // trained on
	Validation int   `json:"validation"`
	Tested     int   `json:"tested"`
	Classes    int   `json:"classes"`
	Best       int   `json:"best"` // epoch
}

// CrossScore is one repetition: every window tested once.
type CrossScore struct {
	Seed      int64            `json:"seed"`
	Windows   int              `json:"windows"`
	Captures  int              `json:"captures"` // with a window
	Accuracy  *float64         `json:"accuracy"`
	MacroF1   *float64         `json:"macro_f1"`
	Devices   score.Devices    `json:"devices"`
	Levels    []score.Level    `json:"levels"`
	Intervals *score.Intervals `json:"intervals"`
}

// CrossResult is what `iotsense crossval --json` prints.
type CrossResult struct {
	WindowMode string       `json:"window_mode"`
	Folds      int          `json:"folds"`
	MacroF1    float64      `json:"macro_f1"`    // mean over the repetitions
	Deviation  float64      `json:"macro_f1_sd"` // between them; 0 when there is one
	Seeds      []CrossScore `json:"seeds"`
	Runs       []CrossRun   `json:"runs"`

	folds       [][]string // rows of folds.csv
	predictions [][]string // rows of predictions.csv
}

// Crossval is a repeated k-fold cross-validation.
type Crossval struct {
	Plan      Plan   // of one network, whose seed and folds it sets
	By        string // what is dealt to the folds: dataset.ByCapture or ByUnit
	Folds     int    // each is tested once by a network that has learned from the others
	Seeds     int    // repetitions, each with folds, weights, order and dropout of its own
	Resamples int    // of captures for the intervals, 0: none
}

// Validate names the first thing by which it cannot be carried out, whatever the data.
func (x *Crossval) Validate() error {
	if x.Plan.Strategy == Specialized {
		return errors.New("crossval: --strategy specialized is several networks: name one service with --strategy mixed --services")
	}
	if x.By == dataset.ByTime {
		return errors.New("crossval: folds by time test the future once: use train and evaluate with --split-by time")
	}
	if err := (dataset.Folds{By: x.By, Count: x.Folds, Tested: 1}).Validate(); err != nil {
		return err
	}
	if x.Seeds < 1 {
		return fmt.Errorf("--seeds %d: want at least 1", x.Seeds)
	}
	return x.Plan.Validate()
}

// Run trains on some folds and tests on the others, again and again.
func (x *Crossval) Run(ctx context.Context, w Watcher) (result *CrossResult, err error) {
	if err := x.Validate(); err != nil {
		return nil, &InvalidError{err}
	}
	streams, err := x.Plan.streams()
	if err != nil {
		return nil, err
	}
	v := &validation{
		Crossval: x, watch: w, store: dataset.NewStore(x.Plan.Memory),
		result: CrossResult{
			WindowMode: x.Plan.record().WindowMode.String(), Folds: x.Folds,
			folds:       [][]string{{"seed", "capture", "device", "fold"}},
			predictions: [][]string{{"seed", "fold", "capture", "device", "label", "guess"}},
		},
	}
	defer func() { err = errors.Join(err, v.store.Close()) }()
	v.said = x.Plan.hear(v.store)
	if v.cfg, err = x.Plan.config(streams[""]); err != nil {
		return nil, err
	}
	if err := v.read(ctx, streams[""]); err != nil {
		return nil, err
	}
	for seed := range int64(x.Seeds) {
		if err := v.repeat(ctx, dataset.Folds{By: x.By, Count: x.Folds, Tested: 1, Seed: seed + 1}); err != nil {
			return nil, err
		}
	}
	v.summarise()
	return &v.result, nil
}

// validation is a cross-validation under way.
type validation struct {
	*Crossval
	watch  Watcher
	cfg    train.Config
	set    *dataset.Set
	store  *dataset.Store
	said   *hearing.Listener
	tests  int      // first examples of the store, which may be tested; the others are copies
	all    int      // examples that were read; others are made for a fold
	labels []string // of all windows
	result CrossResult
}

// read fills the store with all windows.
func (v *validation) read(ctx context.Context, stream flows.StreamSpec) error {
	show, end := v.watch.Files("read")
	defer end()
	var err error
	if v.set, err = v.Plan.open(v.Plan.part(), show, v.watch); err != nil {
		return err
	}
	if err := v.Plan.fill(ctx, v.set, stream, v.store, v.said, v.watch); err != nil {
		return err
	}
	v.tests = v.store.Len()
	if err := v.Plan.augment(ctx, v.set, stream, v.store, v.said); err != nil {
		return err
	}
	v.all = v.store.Len()
	if v.Plan.Negatives {
		v.labels = append(v.labels, model.NoneLabel)
	}
	for i := range v.all {
		if l := v.store.Label(i); !slices.Contains(v.labels, l) {
			v.labels = append(v.labels, l)
		}
	}
	slices.Sort(v.labels)
	return v.Plan.Taxonomy.check(v.watch, "", v.store, v.store.All())
}

// repeat tests every fold once.
func (v *validation) repeat(ctx context.Context, folds dataset.Folds) error {
	scorer, err := score.New(score.Config{
		Mode: v.cfg.Record.WindowMode, Labels: v.labels, Resamples: v.Resamples,
		Thresholds: model.Thresholds{Default: model.DefaultThreshold}, Taxonomy: v.Plan.Taxonomy.Paths,
	})
	if err != nil {
		return err
	}
	dealt, err := v.set.Deal(ctx, folds)
	if err != nil {
		return err
	}
	v.note(dealt)
	for dealt.Tested = 1; dealt.Tested <= dealt.Count; dealt.Tested++ {
		if err := v.fold(ctx, dealt, scorer); err != nil {
			return fmt.Errorf("seed %d, fold %d: %w", dealt.Seed, dealt.Tested, err)
		}
	}
	r, err := scorer.Result()
	if err != nil {
		return err
	}
	if r.Windows == 0 {
		return fmt.Errorf("nothing was tested: every class has but one %s", folds.By)
	}
	v.result.Seeds = append(v.result.Seeds, CrossScore{folds.Seed, r.Windows, r.CapturesCovered, r.Accuracy, r.MacroF1, r.Devices, r.Levels, r.Intervals})
	return nil
}

// note keeps the fold of every device and capture that has a window.
func (v *validation) note(d *dataset.Dealt) {
	seen := map[dataset.Source]bool{}
	for i := range v.all {
		s := *v.store.Source(i)
		if !seen[s] && s.Label != model.NoneLabel {
			seen[s] = true
			v.result.folds = append(v.result.folds, []string{strconv.FormatInt(d.Seed, 10), s.Capture, s.Name, strconv.Itoa(d.Fold(s.Capture, s.Name))})
		}
	}
}

// fold trains without one fold and tests on it.
func (v *validation) fold(ctx context.Context, d *dataset.Dealt, scorer *score.Scorer) error {
	tested := map[string]bool{}
	for _, s := range d.TestedDevices() { // one without a window counts as wrong
		scorer.Capture([]score.Device{{Name: s.Name, Capture: s.Capture, Label: s.Label}}, 0)
		tested[s.Capture] = true
	}
	var learn, test []int
	for i := range v.all {
		switch s := v.store.Source(i); {
		case s.Label == model.NoneLabel: // it has heard what is tested, or has not
			if !tested[s.Capture] {
				learn = append(learn, i)
			}
		case !d.Tests(s.Capture, s.Name):
			learn = append(learn, i)
		case i < v.tests:
			test = append(test, i)
		}
	}
	if len(test) == 0 {
		return nil // more folds than captures
	}
	learn, held := negatives.Holdout(v.store, learn, v.cfg.Design.Span(), v.Plan.Share)
	plain, plainHeld := learn, held
	learn, held, err := v.Plan.negatives(v.store, v.cfg.Design, d.Seed, learn, held)
	if err != nil {
		return err
	}
	options := v.Plan.Train
	options.Seed = d.Seed
	show, end := v.watch.Training(fmt.Sprintf("seed %d fold %d", d.Seed, d.Tested))
	m, report, err := train.Train(ctx, v.cfg, v.store, learn, held, options, show)
	end()
	if err != nil {
		return err
	}
	if report.Stopped == train.StoppedByContext {
		return ctx.Err()
	}
	if err := heard(v.watch, v.said.Train(m, plain, plainHeld, d.Seed)); err != nil {
		return err
	}
	v.result.Runs = append(v.result.Runs, CrossRun{d.Seed, d.Tested, report.Windows, report.Validation, len(test), len(m.Classes()), report.Best})
	return v.test(m, d, test, scorer)
}

// test scores a fold's windows.
func (v *validation) test(m *model.Model, d *dataset.Dealt, test []int, scorer *score.Scorer) error {
	place := make([]int, len(m.Labels)) // of the model's classes among all
	for i, l := range m.Labels {
		place[i] = slices.Index(v.labels, l)
	}
	network := make([][]float32, len(test))
	err := train.Predict(m, v.store, test, v.Plan.Train.Threads, func(i int, _, probs []float32) {
		network[i] = slices.Clone(probs)
	})
	if err != nil {
		return err
	}
	joined, again := v.said.Judge(m), train.Repeats(m, v.store)
	for i := range test {
		s := v.store.Source(test[i])
		w := join.Window{Probs: slices.Repeat([]float32{join.Lacking}, len(v.labels))}
		if w.Again, err = again(test[i]); err != nil {
			return err
		}
		both := joined(test[i], join.Window{Probs: network[i], Again: w.Again})
		for j, p := range both.Probs {
			w.Probs[place[j]] = p
		}
		w.Maker, w.Told = both.Maker, both.Told
		if both.Revised != nil {
			w.Revised = make([]float64, len(v.labels))
			for j, p := range both.Revised {
				w.Revised[place[j]] = p
			}
		}
		if both.Named != nil {
			w.Named = make([]bool, len(v.labels))
			for j, yes := range both.Named {
				w.Named[place[j]] = yes
			}
		}
		_, place := v.store.Stream(test[i])
		if err := scorer.Add(score.Output{
			Device: s.Name, Capture: s.Capture, Label: s.Label, Window: w,
			Padded: place < model.Strict.First(v.cfg.Design.Strict()),
		}); err != nil {
			return err
		}
		guess := v.labels[join.Best(w.Probs)]
		v.result.predictions = append(v.result.predictions, []string{
			strconv.FormatInt(d.Seed, 10), strconv.Itoa(d.Tested), s.Capture, s.Name, s.Label, guess,
		})
	}
	return nil
}

// summarise sets the mean over the repetitions.
func (v *validation) summarise() {
	n, squares := float64(len(v.result.Seeds)), 0.0
	for _, s := range v.result.Seeds {
		v.result.MacroF1 += *s.MacroF1 / n
	}
	for _, s := range v.result.Seeds {
		squares += (*s.MacroF1 - v.result.MacroF1) * (*s.MacroF1 - v.result.MacroF1)
	}
	if n > 1 {
		v.result.Deviation = math.Sqrt(squares / (n - 1))
	}
}

// Write leaves crossval.json, the folds as folds.csv and every window's verdict as
// predictions.csv in a directory.
func (r *CrossResult) Write(dir string) error {
	if err := report.WriteJSON(dir, "crossval.json", r); err != nil {
		return err
	}
	if err := writeCSV(dir, "folds.csv", r.folds); err != nil {
		return err
	}
	return writeCSV(dir, "predictions.csv", r.predictions)
}

// writeCSV writes rows to dir/name.
func writeCSV(dir, name string, rows [][]string) error {
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	return report.WriteFile(dir, name, b.Bytes())
}
