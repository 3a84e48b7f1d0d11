package main

import (
	"errors"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/score"
)

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name:      "evaluate",
		Usage:     "score a model on labelled captures or records",
		ArgsUsage: "[DATA...]",
		Flags: append(dataFlags(), jsonFlag,
			&cli.StringFlag{Name: "report", Usage: "write the figures to `DIR`/evaluate.json"}),
		Action: evaluate,
	}
}

func evaluate(c *cli.Context) error {
	var (
		in    score.Input
		truth flows.LabelledRecord // of the record being classified
	)
	window := func(r *flows.Record, probs []float32, index []int) {
		all := make([]float32, len(in.Labels))
		for i := range all {
			all[i] = -1 // a class that this service's model lacks
		}
		for i, p := range probs {
			all[index[i]] = p
		}
		in.Windows = append(in.Windows, score.Window{Device: r.Device, Capture: truth.Capture, Label: truth.Label, Probs: all})
	}
	bundle, err := loadModel(c)
	if err != nil {
		return err
	}
	in.Labels = classify.Labels(bundle)
	for _, m := range bundle {
		in.Mode, in.Thresholds = m.Record.WindowMode, m.Thresholds
	}
	if c.IsSet("window-mode") {
		in.Mode = c.String("window-mode")
	}
	_, damaged := classifyData(c, classify.Options{Window: window}, func(r flows.LabelledRecord) error {
		if r.Label == "" {
			return fmt.Errorf("%s: device %s has no label: name the devices in a --manifest", r.Capture, r.Device)
		}
		truth = r
		return nil
	}, func(s dataset.CaptureSummary, _ *classify.Classifier) error {
		in.Hours += s.Duration.Hours()
		for _, d := range s.Devices {
			in.Devices = append(in.Devices, score.Device{Name: d.Name, Capture: s.Name, Label: d.Label})
		}
		return nil
	})
	if len(in.Devices) == 0 {
		return damaged
	}
	result, err := score.Evaluate(in)
	if err != nil {
		return errors.Join(damaged, err)
	}
	if dir := c.String("report"); dir != "" {
		err = writeReport(dir, "evaluate.json", result)
	}
	if c.Bool("json") {
		return errors.Join(damaged, err, printJSON(c.App.Writer, result))
	}
	printScore(c, result)
	return errors.Join(damaged, err)
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
	s := newTable(c.App.Writer, "Figure", "Value", "Of")
	s.AppendRows([]table.Row{
		{"macro F1", number(r.MacroF1), fmt.Sprintf("%d windows, %s", r.Windows, r.WindowMode)},
		{"accuracy", number(r.Accuracy), ""},
		{"coverage", number(r.Coverage), "classes with a true window"},
		{"device accuracy", number(r.Devices.Accuracy), fmt.Sprintf("%d devices in captures, %d of %d captures with a window", r.Devices.Count, r.CapturesCovered, r.Captures)},
		{"device macro F1", number(r.Devices.MacroF1), ""},
		{"confidence, right", number(r.Confidence.MeanCorrect), "mean"},
		{"confidence, wrong", number(r.Confidence.MeanWrong), "mean"},
		{"low confidence", number(r.Confidence.LowFraction), fmt.Sprintf("windows under the threshold of %.2f", r.Confidence.Threshold)},
		{"confident errors", number(r.Confidence.HighWrong), fmt.Sprintf("%d of the windows at or over it", r.Confidence.HighWrongCount)},
		{"calibration error", number(r.Confidence.ECE), ""},
		{"workload", number(r.WorkloadPerHour), "inferences per hour"},
	})
	s.Render()
}
