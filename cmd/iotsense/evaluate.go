package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/report"
)

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name:      "evaluate",
		Usage:     "score a model on labelled captures or records",
		ArgsUsage: "[DATA...]",
		Flags: append(slices.Concat(box.DataFlags(), box.FoldFlags()), terminal.JSONFlag,
			&cli.GenericFlag{Name: "merge", Value: &classGroups{}, Usage: "count classes `A,B` as one (repeatable; a name with a comma in \"quotes\")"},
			&cli.GenericFlag{Name: "leave-out", Value: &classNames{}, Usage: "leave devices of the true classes `A,B` out (repeatable)"},
			&cli.IntFlag{Name: "bootstrap", Value: 1000, Usage: "`N` resamples of captures for the intervals, 0: none"},
			&cli.BoolFlag{Name: "draws", Usage: "keep the macro-F1 of each resample in the JSON: those of two models on the same captures pair"},
			&cli.BoolFlag{Name: "stress", Usage: "score the same captures changed as well: begun late, lost in part, seen twice or one way, in another home"},
			&cli.GenericFlag{Name: "first", Value: &moments{}, Usage: "score also what there is `TIME` after the first packet that each device sends, as 10s (repeatable)"},
			&cli.StringFlag{Name: "strangers", Usage: "count the names given to devices of the manifest `FILE`, which no class describes"},
			&cli.StringFlag{Name: "taxonomy", Usage: "CSV `FILE` of label,path for true classes that the model lacks, such as strangers: its own it has"},
			&cli.BoolFlag{Name: "no-facts", Usage: "judge by the models' networks alone, whatever devices say of themselves"},
			&cli.StringFlag{Name: "predictions", Usage: "write each window's probabilities, and each device's joined ones, to the CSV `FILE`"},
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

// moments are the values of --first.
type moments []time.Duration

func (t *moments) String() string { return "" }

func (t *moments) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%s: want a time from 0 on, as 10s", text)
	}
	*t = append(*t, d)
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
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	e, err := parseEvaluation(c, bundle)
	if err != nil {
		return err
	}
	var stressed *experiment.Stressed
	var damaged error // what could be read in part only
	run := func(predictions io.Writer) error {
		e.Predictions = predictions
		result, failed := e.Run(c.Context, bundle, watcher{})
		if result == nil {
			return asUsage(failed)
		}
		var err error
		if stressed, err = e.Stressed(c.Context, bundle, result, watcher{}); stressed == nil {
			return errors.Join(failed, asUsage(err))
		}
		damaged = errors.Join(failed, err)
		return nil
	}
	if path := c.String("predictions"); path != "" {
		err = wholefile.Write(path, run)
	} else {
		err = run(nil)
	}
	if err != nil {
		return err
	}
	var all any = stressed
	tables, states := stressed.Tables(), experiment.StatesTable("States", stressed.States)
	if len(tables) == 0 {
		all = stressed.Result
	}
	if dir := c.String("report"); dir != "" {
		if err = report.WriteJSON(dir, "evaluate.json", all); err == nil {
			err = report.WriteEvaluation(dir, stressed.Result, append([]report.Table{states}, tables...)...)
		}
	}
	if c.Bool("json") {
		return errors.Join(damaged, err, terminal.PrintJSON(c.App.Writer, all))
	}
	printScore(c, stressed.Result)
	printLevels(c.App.Writer, stressed.Result)
	printTable(c.App.Writer, states)
	for _, t := range tables {
		printTable(c.App.Writer, t)
	}
	return errors.Join(damaged, err)
}

// parseEvaluation reads what the bundle is to be scored on.
func parseEvaluation(c *cli.Context, bundle model.Bundle) (e experiment.Evaluation, err error) {
	if e.Score.Draws = c.Bool("draws"); e.Score.Draws && c.Int("bootstrap") == 0 {
		return e, terminal.Usagef("--draws: --bootstrap 0 draws nothing to keep")
	}
	e.NoFacts = c.Bool("no-facts")
	e.Stress, e.First, e.Strangers = c.Bool("stress"), *c.Generic("first").(*moments), c.String("strangers")
	e.Model, e.Score.Resamples = modelName(c), c.Int("bootstrap")
	e.Score.Merge, e.Score.LeaveOut = *c.Generic("merge").(*classGroups), *c.Generic("leave-out").(*classNames)
	spec, mode, err := box.ParseStream(c, bundle)
	if err != nil {
		return e, err
	}
	if e.Folds, err = box.ParseFolds(c); err != nil {
		return e, err
	}
	if e.Taxonomy, err = parseTaxonomy(c); err != nil {
		return e, err
	}
	if e.Data, err = box.DataOptions(c); err != nil {
		return e, err
	}
	e.WindowMode, e.Data.Capture.RecordSpec = mode, spec
	return e, nil
}

// aloneRows are what each part of models that have two says alone.
func aloneRows(r *score.Result) (rows []table.Row) {
	for _, part := range sortedKeys(r.Alone) {
		k := r.Alone[part]
		rows = append(rows,
			table.Row{"macro F1, " + part + " alone", number(k.MacroF1), "", fmt.Sprintf("calibration error %s", number(k.ECE))},
			table.Row{"device accuracy, " + part + " alone", number(k.Devices.Accuracy), "", fmt.Sprintf("%d named right, %d wrong, %d unknown", k.Devices.NamedRight, k.Devices.NamedWrong, k.Devices.Refused)})
	}
	return rows
}

func printScore(c *cli.Context, r *score.Result) {
	t := terminal.NewTable(c.App.Writer, "Class", "Precision", "Recall", "F1", "Windows")
	for _, k := range r.Classes {
		t.AppendRow(table.Row{k.Label, fmt.Sprintf("%.3f", k.Precision), fmt.Sprintf("%.3f", k.Recall), fmt.Sprintf("%.3f", k.F1), k.Support})
	}
	t.Render()
	printWorst(c, r)
	m := terminal.NewTable(c.App.Writer, "Seconds since first packet", "Devices with a window", "Device accuracy", "At a level", "Wrong", "Windows", "Accuracy")
	for _, s := range r.BySeconds {
		m.AppendRow(table.Row{s.Seconds, s.Devices, number(s.Accuracy), s.SafeRight + s.SafeWrong, s.SafeWrong, s.Windows, number(s.WindowAccuracy)})
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
	s := terminal.NewTable(c.App.Writer, "Figure", "Value", "95 % interval", "Of")
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
	s.AppendRows(aloneRows(r))
	s.AppendRows([]table.Row{
		{"confidence, right", number(r.Confidence.MeanCorrect), "", "mean"},
		{"confidence, wrong", number(r.Confidence.MeanWrong), "", "mean"},
		{"unknown", number(r.Confidence.LowFraction), "", fmt.Sprintf("windows of a confidence below %.2f", r.Confidence.Threshold)},
		{"unknown, with 3 local flows", number(r.Confidence.LowLocal), "", "unknown windows"},
		{"confident errors", number(r.Confidence.HighWrong), "", fmt.Sprintf("%d of the windows at or over it", r.Confidence.HighWrongCount)},
		{"errors that are confident", number(r.Confidence.WrongHigh), "", "wrong windows"},
		{"calibration error", number(r.Confidence.ECE), "", "windows"},
		{"calibration error, devices", number(r.Confidence.ECEDevice), "", "joined verdicts"},
		{"workload", number(r.WorkloadPerHour), "", "inferences per hour"},
	})
	s.Render()
	for _, service := range sortedKeys(r.Models) {
		made := r.Models[service]
		fmt.Fprintln(c.App.Writer, strings.TrimSpace(fmt.Sprintf("%s epoch %v; temperature %v", service, made.Choice, made.Calibration)))
	}
	d := r.Devices
	fmt.Fprintf(c.App.Writer, "%d devices in captures: %d named right, %d named wrong, %d unknown, %d without a window\n",
		d.Count, d.NamedRight, d.NamedWrong, d.Refused, d.WithoutWindow)
}

// printLevels prints the score by level, where classes have more than their own.
func printLevels(w io.Writer, r *score.Result) {
	if len(r.Levels) < 2 {
		return
	}
	t := terminal.NewTable(w, "Level", "Device accuracy", "Named", "Named wrong")
	for _, l := range r.Levels {
		t.AppendRow(table.Row{l.Level, number(l.Accuracy), l.Named, l.NamedWrong})
	}
	t.Render()
	fmt.Fprintf(w, "at the deepest level that is safe: %d right, %d wrong\n", r.Devices.SafeRight, r.Devices.SafeWrong)
}

// number is v with four digits, or a dash.
func number(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", *v)
}

// shownWorst is how many of the worst captures the text shows.
const shownWorst = 10

func printWorst(c *cli.Context, r *score.Result) {
	t := terminal.NewTable(c.App.Writer, "Worst captures", "Class", "Given", "Probability of class", "Windows", "Right")
	for _, v := range r.Worst[:min(shownWorst, len(r.Worst))] {
		given, probability := "-", "-"
		if v.Given != nil {
			given, probability = *v.Given, fmt.Sprintf("%.3f", *v.Probability)
		}
		t.AppendRow(table.Row{v.Capture, v.Label, given, probability, v.Windows, v.Right})
	}
	t.Render()
}
