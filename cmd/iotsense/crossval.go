package main

// This file trains on some folds of the data and tests on the others, again and
// again.

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
)

func crossvalCommand() *cli.Command {
	return &cli.Command{
		Name:      "crossval",
		Usage:     "score a network by repeated k-fold cross-validation",
		ArgsUsage: "[DATA...]",
		Flags: slices.Concat(dataFlags(), learnFlags(), []cli.Flag{
			jsonFlag,
			&cli.StringFlag{Name: "split-by", Value: dataset.ByCapture, Usage: "what is dealt to the folds: `capture|unit`"},
			&cli.IntFlag{Name: "folds", Value: 5, Usage: "`N` parts, each tested once by a network that has learned from the others"},
			&cli.IntFlag{Name: "seeds", Value: 3, Usage: "`N` repetitions, each with folds, weights, order and dropout of its own"},
			&cli.IntFlag{Name: "bootstrap", Value: 1000, Usage: "`N` resamples of captures for the intervals, 0: none"},
			&cli.StringFlag{Name: "report", Usage: "write `DIR`/crossval.json, the folds as folds.csv and every window's verdict as predictions.csv"},
		}),
		Action: crossval,
	}
}

// crossRun is one training run and what it was tested on.
type crossRun struct {
	Seed       int64 `json:"seed"`
	Fold       int   `json:"fold"`
	Windows    int   `json:"windows"` // trained on
	Validation int   `json:"validation"`
	Tested     int   `json:"tested"`
	Classes    int   `json:"classes"`
	Best       int   `json:"best"` // epoch
}

// crossScore is one repetition: every window tested once.
type crossScore struct {
	Seed      int64            `json:"seed"`
	Windows   int              `json:"windows"`
	Captures  int              `json:"captures"` // with a window
	Accuracy  *float64         `json:"accuracy"`
	MacroF1   *float64         `json:"macro_f1"`
	Devices   score.Devices    `json:"devices"`
	Intervals *score.Intervals `json:"intervals"`
}

// crossResult is what crossval --json prints.
type crossResult struct {
	WindowMode string       `json:"window_mode"`
	Folds      int          `json:"folds"`
	MacroF1    float64      `json:"macro_f1"`    // mean over the repetitions
	Deviation  float64      `json:"macro_f1_sd"` // between them; 0 when there is one
	Seeds      []crossScore `json:"seeds"`
	Runs       []crossRun   `json:"runs"`
}

// validation is a cross-validation under way.
type validation struct {
	plan        *trainPlan
	cfg         train.Config
	set         *dataset.Set
	store       *dataset.Store
	labels      []string // of all windows
	resamples   int
	result      crossResult
	folds       [][]string // rows of folds.csv
	predictions [][]string // rows of predictions.csv
}

func crossval(c *cli.Context) (err error) {
	plan, err := planTraining(c)
	if err != nil {
		return err
	}
	stream, ok := plan.streams[""]
	if !ok {
		return usagef("crossval: --strategy specialized is several networks: name one service with --strategy mixed --services")
	}
	v := &validation{
		plan: plan, resamples: c.Int("bootstrap"), store: dataset.NewStore(plan.memory),
		cfg:         plan.config(stream, effectiveFlags(c)),
		result:      crossResult{WindowMode: plan.record.WindowMode.String(), Folds: c.Int("folds")},
		folds:       [][]string{{"seed", "capture", "device", "fold"}},
		predictions: [][]string{{"seed", "fold", "capture", "device", "label", "guess"}},
	}
	defer func() { err = errors.Join(err, v.store.Close()) }()
	folds := dataset.Folds{By: c.String("split-by"), Count: c.Int("folds"), Tested: 1}
	if folds.By == dataset.ByTime {
		return usagef("crossval: folds by time test the future once: use train and evaluate with --split-by time")
	}
	if err := folds.Validate(); err != nil {
		return usageError{err}
	}
	if c.Int("seeds") < 1 {
		return usagef("--seeds %d: want at least 1", c.Int("seeds"))
	}
	if err := checkReport(c); err != nil {
		return err
	}
	if err := v.read(c, stream); err != nil {
		return err
	}
	for seed := range int64(c.Int("seeds")) {
		folds.Seed = seed + 1
		if err := v.repeat(c, folds); err != nil {
			return err
		}
	}
	v.summarise()
	return v.print(c)
}

// read fills the store with all windows.
func (v *validation) read(c *cli.Context, stream flows.StreamSpec) error {
	show, end := progress("read")
	defer end()
	var err error
	if v.set, err = openData(c, v.plan.record.RecordSpec, show); err != nil {
		return err
	}
	if err := fill(c, v.set, stream, v.plan.first(), v.store); err != nil {
		return err
	}
	for i := range v.store.Len() {
		if l := v.store.Label(i); !slices.Contains(v.labels, l) {
			v.labels = append(v.labels, l)
		}
	}
	slices.Sort(v.labels)
	return nil
}

// repeat tests every fold once.
func (v *validation) repeat(c *cli.Context, folds dataset.Folds) error {
	scorer, err := score.New(score.Config{Mode: v.mode(), Labels: v.labels, Resamples: v.resamples})
	if err != nil {
		return err
	}
	dealt, err := v.set.Deal(c.Context, folds)
	if err != nil {
		return err
	}
	v.note(dealt)
	for dealt.Tested = 1; dealt.Tested <= dealt.Count; dealt.Tested++ {
		if err := v.fold(c, dealt, scorer); err != nil {
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
	v.result.Seeds = append(v.result.Seeds, crossScore{folds.Seed, r.Windows, r.CapturesCovered, r.Accuracy, r.MacroF1, r.Devices, r.Intervals})
	return nil
}

func (v *validation) mode() model.WindowMode {
	if v.result.WindowMode == model.Strict.String() {
		return model.Strict
	}
	return model.Padded
}

// note keeps the fold of every device and capture that has a window.
func (v *validation) note(d *dataset.Dealt) {
	seen := map[dataset.Source]bool{}
	for i := range v.store.Len() {
		s := *v.store.Source(i)
		if !seen[s] {
			seen[s] = true
			v.folds = append(v.folds, []string{strconv.FormatInt(d.Seed, 10), s.Capture, s.Name, strconv.Itoa(d.Fold(s.Capture, s.Name))})
		}
	}
}

// fold trains without one fold and tests on it.
func (v *validation) fold(c *cli.Context, d *dataset.Dealt, scorer *score.Scorer) error {
	for _, s := range d.TestedDevices() { // one without a window counts as wrong
		scorer.Capture([]score.Device{{Name: s.Name, Capture: s.Capture, Label: s.Label}}, 0)
	}
	var learn, test []int
	for i := range v.store.Len() {
		if s := v.store.Source(i); d.Tests(s.Capture, s.Name) {
			test = append(test, i)
		} else {
			learn = append(learn, i)
		}
	}
	if len(test) == 0 {
		return nil // more folds than captures
	}
	learn, held := dataset.Holdout(v.store, learn, v.plan.rows, v.plan.validation)
	options := v.plan.options
	options.Seed = d.Seed
	show, end := trainProgress(fmt.Sprintf("seed %d fold %d", d.Seed, d.Tested))
	m, report, err := train.Train(c.Context, v.cfg, v.store, learn, held, options, show)
	end()
	if err != nil {
		return err
	}
	if report.Stopped == train.StoppedByContext {
		return c.Context.Err()
	}
	v.result.Runs = append(v.result.Runs, crossRun{d.Seed, d.Tested, report.Windows, report.Validation, len(test), len(m.Labels), report.Best})
	return v.test(m, d, test, scorer)
}

// test scores a fold's windows.
func (v *validation) test(m *model.Model, d *dataset.Dealt, test []int, scorer *score.Scorer) error {
	place := make([]int, len(m.Labels)) // of the model's classes among all
	for i, l := range m.Labels {
		place[i] = slices.Index(v.labels, l)
	}
	all := make([][]float32, len(test))
	err := train.Predict(m, v.store, test, v.plan.options.Threads, func(i int, _, probs []float32) {
		all[i] = slices.Repeat([]float32{join.Lacking}, len(v.labels))
		for j, p := range probs {
			all[i][place[j]] = p
		}
	})
	if err != nil {
		return err
	}
	for i, probs := range all {
		s := v.store.Source(test[i])
		_, place := v.store.Stream(test[i])
		if err := scorer.Add(score.Output{
			Device: s.Name, Capture: s.Capture, Label: s.Label, Probs: probs,
			Padded: place < model.Strict.First(v.plan.rows),
		}); err != nil {
			return err
		}
		guess := v.labels[join.Best(probs)]
		v.predictions = append(v.predictions, []string{
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

func (v *validation) print(c *cli.Context) error {
	if dir := c.String("report"); dir != "" {
		if err := writeReport(dir, "crossval.json", v.result); err != nil {
			return err
		}
		for name, rows := range map[string][][]string{"folds.csv": v.folds, "predictions.csv": v.predictions} {
			if err := writeCSV(dir, name, rows); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, v.result)
	}
	t := newTable(c.App.Writer, "Seed", "Macro F1", "95 % interval", "Accuracy", "Device accuracy", "Windows")
	for _, s := range v.result.Seeds {
		interval := ""
		if s.Intervals != nil && s.Intervals.MacroF1 != nil {
			interval = fmt.Sprintf("%.3f to %.3f", s.Intervals.MacroF1.Low, s.Intervals.MacroF1.High)
		}
		t.AppendRow(table.Row{s.Seed, fmt.Sprintf("%.4f", *s.MacroF1), interval, fmt.Sprintf("%.4f", *s.Accuracy), fmt.Sprintf("%.4f", *s.Devices.Accuracy), s.Windows})
	}
	t.Render()
	_, err := fmt.Fprintf(c.App.Writer, "macro F1 %.4f, standard deviation %.4f between %d repetitions of %d folds, %s windows\n",
		v.result.MacroF1, v.result.Deviation, len(v.result.Seeds), v.result.Folds, v.result.WindowMode)
	return err
}

// writeCSV writes rows to dir/name.
func writeCSV(dir, name string, rows [][]string) error {
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	return report.WriteFile(dir, name, b.Bytes())
}
