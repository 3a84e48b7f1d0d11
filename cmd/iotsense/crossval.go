package main

import (
	"fmt"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/report"
)

func crossvalCommand() *cli.Command {
	return &cli.Command{
		Name:      "crossval",
		Usage:     "score a network by repeated k-fold cross-validation",
		ArgsUsage: "[DATA...]",
		Flags: slices.Concat(box.SourceFlags(), box.StreamFlags(), learnFlags(), []cli.Flag{
			terminal.JSONFlag,
			&cli.StringFlag{Name: "split-by", Value: dataset.ByCapture, Usage: "what is dealt to the folds: `capture|unit`"},
			&cli.IntFlag{Name: "folds", Value: 5, Usage: "`N` parts, each tested once by a network that has learned from the others"},
			&cli.IntFlag{Name: "seeds", Value: 3, Usage: "`N` repetitions, each with folds, weights, order and dropout of its own"},
			&cli.IntFlag{Name: "bootstrap", Value: 1000, Usage: "`N` resamples of captures for the intervals, 0: none"},
			&cli.StringFlag{Name: "report", Usage: "write `DIR`/crossval.json, the folds as folds.csv and every window's verdict as predictions.csv"},
		}),
		Action: crossval,
	}
}

func crossval(c *cli.Context) error {
	plan, err := parsePlan(c, strategyOf(c))
	if err != nil {
		return err
	}
	x := &experiment.Crossval{Plan: plan, By: c.String("split-by"), Folds: c.Int("folds"), Seeds: c.Int("seeds"), Resamples: c.Int("bootstrap")}
	if err := checkPlan(x); err != nil {
		return err
	}
	if err := report.MakeDir(c.String("report")); err != nil {
		return err
	}
	result, err := x.Run(c.Context, watcher{})
	if err != nil {
		return err
	}
	if dir := c.String("report"); dir != "" {
		if err := result.Write(dir); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, result)
	}
	t := terminal.NewTable(c.App.Writer, "Seed", "Macro F1", "95 % interval", "Accuracy", "Device accuracy", "Windows")
	for _, s := range result.Seeds {
		interval := ""
		if s.Intervals != nil && s.Intervals.MacroF1 != nil {
			interval = fmt.Sprintf("%.3f to %.3f", s.Intervals.MacroF1.Low, s.Intervals.MacroF1.High)
		}
		t.AppendRow(table.Row{s.Seed, fmt.Sprintf("%.4f", *s.MacroF1), interval, fmt.Sprintf("%.4f", *s.Accuracy), fmt.Sprintf("%.4f", *s.Devices.Accuracy), s.Windows})
	}
	t.Render()
	_, err = fmt.Fprintf(c.App.Writer, "macro F1 %.4f, standard deviation %.4f between %d repetitions of %d folds, %s windows\n",
		result.MacroF1, result.Deviation, len(result.Seeds), result.Folds, result.WindowMode)
	return err
}
