package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/registry"
	"github.com/iotsense/iotsense/pkg/report"
)

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name:      "evaluate",
		Usage:     "score a model on labelled captures or records",
		ArgsUsage: "[DATA...]",
		Flags: append(append(dataFlags(), foldFlags()...), jsonFlag,
			&cli.GenericFlag{Name: "merge", Value: &classGroups{}, Usage: "count classes `A,B` as one (repeatable; a name with a comma in \"quotes\")"},
			&cli.GenericFlag{Name: "leave-out", Value: &classNames{}, Usage: "leave devices of the true classes `A,B` out (repeatable)"},
			&cli.IntFlag{Name: "bootstrap", Value: 1000, Usage: "`N` resamples of captures for the intervals, 0: none"},
			&cli.BoolFlag{Name: "draws", Usage: "keep the macro-F1 of each resample in the JSON: those of two models on the same captures pair"},
			&cli.StringFlag{Name: "report", Usage: "write `DIR`/evaluate.json, evaluate.html and its pictures"}),
		Action: evaluate,
	}
}

// classGroups are the values of --merge, each a list.
type classGroups [][]string

func (g *classGroups) String() string { return "" }

func (g *classGroups) Set(list string) error {
	group, err := parseClasses(list)
	if err == nil && len(group) < 2 {
		err = fmt.Errorf("%q: want two classes or more, like A,B", list)
	}
	*g = append(*g, group)
	return err
}

// classNames are the values of --leave-out, one list.
type classNames []string

func (n *classNames) String() string { return "" }

func (n *classNames) Set(list string) error {
	names, err := parseClasses(list)
	*n = append(*n, names...)
	return err
}

// parseClasses reads a line of CSV (RFC 4180).
func parseClasses(list string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(list))
	r.TrimLeadingSpace, r.LazyQuotes = true, true // a quote in a name is only that
	names, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%q: want classes like A,B: %w", list, err)
	}
	for i := range names {
		if names[i] = strings.TrimSpace(names[i]); names[i] == "" {
			return nil, fmt.Errorf("%q: want classes like A,B, none without a name", list)
		}
		if err := plaintext.Check(names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func evaluate(c *cli.Context) error {
	bundle, err := loadModel(c)
	if err != nil {
		return err
	}
	e, err := newEvaluation(c, bundle)
	if err != nil {
		return err
	}
	padded := model.Padded // the strict windows are among them
	_, damaged := classifyData(c, classify.Options{WindowMode: &padded, Judged: e.judged}, e.record, e.capture)
	switch {
	case c.Context.Err() != nil:
		return c.Context.Err() // a part of the data is no score of it
	case e.err != nil:
		return errors.Join(e.err, damaged)
	case e.devices == 0 && damaged == nil:
		return errors.New("no device to score: the data holds no packet of one (see --manifest and --local)")
	case e.devices == 0 || dataset.Refused(damaged):
		return damaged
	}
	if !e.known {
		logger().Warn("the model knows none of the data's classes: is it the right --model?", "model", modelName(c))
	}
	result, err := e.scorer.Result()
	if err != nil {
		return errors.Join(damaged, err)
	}
	if dir := c.String("report"); dir != "" {
		if err = writeReport(dir, "evaluate.json", result); err == nil {
			err = report.WriteEvaluation(dir, result)
		}
	}
	if c.Bool("json") {
		return errors.Join(damaged, err, printJSON(c.App.Writer, result))
	}
	printScore(c, result)
	return errors.Join(damaged, err)
}

// evaluation carries windows from the classifier to the scorer.
type evaluation struct {
	scorer  *score.Scorer
	labels  []string             // classes of all models
	rows    int                  // K
	truth   flows.LabelledRecord // the record being classified
	reading map[string]*reading  // by capture
	devices int                  // of captures that have been read
	known   bool                 // one of them is of a class that a model has
	err     error                // of scorer
}

func newEvaluation(c *cli.Context, bundle model.Bundle) (*evaluation, error) {
	cfg := score.Config{
		Labels: classify.Labels(bundle), Resamples: c.Int("bootstrap"), Draws: c.Bool("draws"),
		Merge: *c.Generic("merge").(*classGroups), LeaveOut: *c.Generic("leave-out").(*classNames),
	}
	e := &evaluation{labels: cfg.Labels, reading: map[string]*reading{}}
	cfg.Thresholds.PerClass = map[string]float64{}
	for _, m := range bundle {
		cfg.Mode, e.rows = m.Record.WindowMode, model.Strict.First(m.Net.Span())+1
		cfg.Thresholds.Default = max(cfg.Thresholds.Default, m.Thresholds.Default)
		for _, l := range m.Labels {
			cfg.Thresholds.PerClass[l] = max(cfg.Thresholds.PerClass[l], m.Thresholds.For(l))
		}
	}
	mode, err := parseWindowMode(c)
	if err != nil {
		return nil, err
	}
	if mode != nil {
		cfg.Mode = *mode
	}
	if e.scorer, err = score.New(cfg); err != nil {
		return nil, usageError{err}
	}
	return e, nil
}

// record takes each record before its window.
func (e *evaluation) record(r flows.LabelledRecord) error {
	if e.err != nil {
		return e.err
	}
	if r.Label == "" {
		return fmt.Errorf("%s: device %s has no label: give it one in a --manifest, or leave it out there", r.Capture, r.Device)
	}
	e.truth = r
	capture := e.reading[r.Capture]
	if capture == nil {
		capture = &reading{map[string]int64{}, map[streamName][]flows.Row{}}
		e.reading[r.Capture] = capture
	}
	if _, known := capture.first[r.Device]; !known {
		capture.first[r.Device] = r.FirstSeen
	}
	return nil
}

// reading is what is kept of a capture while it is read.
type reading struct {
	first  map[string]int64           // of each device: when its first packet was seen, us
	recent map[streamName][]flows.Row // the newest rows, as many as a window has
}

// streamName tells a capture's streams apart.
type streamName struct {
	device  string
	service flows.Service
}

// judged takes the model's output for the row that the record made.
func (e *evaluation) judged(j classify.Judged) {
	capture, name := e.reading[e.truth.Capture], streamName{j.Device, j.Service}
	rows := append(capture.recent[name], j.Row)
	rows = rows[max(0, len(rows)-e.rows):]
	capture.recent[name] = rows
	last, local := int64(0), 0
	for _, r := range rows {
		last = max(last, r.LastDescribed())
		if r.IsLocal() {
			local++
		}
	}
	err := e.scorer.Add(score.Output{
		Device: j.Device, Capture: e.truth.Capture, Label: e.truth.Label, Probs: j.Probs,
		Padded: j.Number < e.rows-1, Local: local,
		Since: time.Duration(last-capture.first[j.Device]) * time.Microsecond,
	})
	e.err = errors.Join(e.err, err)
}

// capture takes a capture that has been read.
func (e *evaluation) capture(s dataset.CaptureSummary, _ []registry.DeviceVerdict) error {
	delete(e.reading, s.Name)
	var devices []score.Device
	for _, d := range s.Devices {
		devices = append(devices, score.Device{Name: d.Name, Capture: s.Name, Label: d.Label})
		e.known = e.known || slices.Contains(e.labels, d.Label)
	}
	e.devices += len(devices)
	e.scorer.Capture(devices, s.Duration.Hours())
	return nil
}

func printScore(c *cli.Context, r *score.Result) {
	number := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf("%.4f", *v)
	}
	t := newTable(c.App.Writer, "Class", "Precision", "Recall", "F1", "Windows")
	for _, k := range r.Classes {
		t.AppendRow(table.Row{k.Label, fmt.Sprintf("%.3f", k.Precision), fmt.Sprintf("%.3f", k.Recall), fmt.Sprintf("%.3f", k.F1), k.Support})
	}
	t.Render()
	printWorst(c, r)
	m := newTable(c.App.Writer, "Seconds since first packet", "Devices with a window", "Device accuracy", "Windows", "Accuracy")
	for _, s := range r.BySeconds {
		m.AppendRow(table.Row{s.Seconds, s.Devices, number(s.Accuracy), s.Windows, number(s.WindowAccuracy)})
	}
	m.Render()

	var none score.Intervals
	in := r.Intervals
	if in == nil {
		in = &none
	}
	interval := func(i *score.Interval) string {
		if i == nil {
			return ""
		}
		return fmt.Sprintf("%.3f to %.3f", i.Low, i.High)
	}
	s := newTable(c.App.Writer, "Figure", "Value", "95 % interval", "Of")
	s.AppendRows([]table.Row{
		{"macro F1", number(r.MacroF1), interval(in.MacroF1), fmt.Sprintf("%d windows, %s", r.Windows, r.WindowMode)},
		{"accuracy", number(r.Accuracy), interval(in.Accuracy), ""},
		{"coverage", number(r.Coverage), "", "classes with a true window"},
		{"device accuracy", number(r.Devices.Accuracy), interval(in.DevicesAccuracy), fmt.Sprintf("%d devices in captures, %d of %d captures with a window", r.Devices.Count, r.CapturesCovered, r.Captures)},
		{"device macro F1", number(r.Devices.MacroF1), interval(in.DevicesMacroF1), ""},
	})
	for _, mode := range sortedKeys(r.Modes) {
		if k := r.Modes[mode]; mode != r.WindowMode {
			s.AppendRows([]table.Row{
				{"macro F1, " + mode, number(k.MacroF1), "", fmt.Sprintf("%d windows, %s", k.Windows, mode)},
				{"device accuracy, " + mode, number(k.Devices.Accuracy), "", fmt.Sprintf("%d devices, %d of them with a window: %s of these", k.Devices.Count, k.Devices.WithWindow, number(k.Devices.AccuracyWithWindow))},
			})
		}
	}
	s.AppendRows([]table.Row{
		{"confidence, right", number(r.Confidence.MeanCorrect), "", "mean"},
		{"confidence, wrong", number(r.Confidence.MeanWrong), "", "mean"},
		{"unknown", number(r.Confidence.LowFraction), "", fmt.Sprintf("windows of a confidence below %.2f", r.Confidence.Threshold)},
		{"unknown, with 3 local flows", number(r.Confidence.LowLocal), "", "unknown windows"},
		{"confident errors", number(r.Confidence.HighWrong), "", fmt.Sprintf("%d of the windows at or over it", r.Confidence.HighWrongCount)},
		{"errors that are confident", number(r.Confidence.WrongHigh), "", "wrong windows"},
		{"calibration error", number(r.Confidence.ECE), "", ""},
		{"workload", number(r.WorkloadPerHour), "", "inferences per hour"},
	})
	s.Render()
	d := r.Devices
	fmt.Fprintf(c.App.Writer, "%d devices in captures: %d named right, %d named wrong, %d unknown, %d without a window\n",
		d.Count, d.NamedRight, d.NamedWrong, d.Refused, d.WithoutWindow)
}

// shownWorst is how many of the worst captures the text shows.
const shownWorst = 10

func printWorst(c *cli.Context, r *score.Result) {
	t := newTable(c.App.Writer, "Worst captures", "Class", "Given", "Probability of class", "Windows", "Right")
	for _, v := range r.Worst[:min(shownWorst, len(r.Worst))] {
		given, probability := "-", "-"
		if v.Given != nil {
			given, probability = *v.Given, fmt.Sprintf("%.3f", *v.Probability)
		}
		t.AppendRow(table.Row{v.Capture, v.Label, given, probability, v.Windows, v.Right})
	}
	t.Render()
}
