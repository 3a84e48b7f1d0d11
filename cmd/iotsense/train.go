package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/report"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:      "train",
		Usage:     "train a model on labelled captures or records",
		ArgsUsage: "[DATA...] -o MODEL",
		Flags: slices.Concat(box.SourceFlags(), box.StreamFlags(), box.FoldFlags(), learnFlags(), []cli.Flag{
			terminal.JSONFlag,
			&cli.BoolFlag{Name: "add-class", Usage: "add the classes of the data to the stream network of --model, without the captures that it was trained on: five of each class are enough"},
			&cli.StringFlag{Name: "model", Usage: "with --add-class: model `FILE` to add to (default: the embedded model)"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "model `FILE` to write"},
			&cli.Int64Flag{Name: "seed", Usage: "`N` that weights, order and dropout come from"},
			&cli.StringSliceFlag{Name: "validation-split", Usage: "validate on this split instead (repeatable)"},
			&cli.StringFlag{Name: "validation-dates", Usage: "validate on records of these `DAYS` instead"},
			&cli.StringFlag{Name: "report", Usage: "write how the run went to `DIR`/train.json"},
			&cli.StringFlag{Name: "checkpoint", Usage: "keep the run's state in `FILE`, and go on from it when it is there: the same model as without a stop"},
			&cli.DurationFlag{Name: "checkpoint-every", Value: usualPlan().Train.CheckpointEvery, Usage: "`TIME` between checkpoints; there is one after each epoch too"},
		}),
		Action: trainModel,
	}
}

func trainModel(c *cli.Context) error {
	if c.Bool("add-class") {
		return addClasses(c)
	}
	plan, err := planTraining(c)
	if err != nil {
		return err
	}
	if err := report.MakeDir(c.String("report")); err != nil {
		return err
	}
	bundle, reports, err := plan.Run(c.Context, c.String("output"), watcher{})
	if err != nil {
		return err
	}
	if dir := c.String("report"); dir != "" {
		if err := report.WriteJSON(dir, "train.json", reports); err != nil {
			return err
		}
	}
	return printTraining(c, bundle, reports)
}

// planTraining is the plan of a command line of train.
func planTraining(c *cli.Context) (*experiment.Plan, error) {
	switch {
	case c.IsSet("model"):
		return nil, terminal.Usagef("train: --model %s: training begins with no model: name the file to write with -o, or add to one with --add-class", c.String("model"))
	case c.String("output") == "":
		return nil, terminal.Usagef("train: -o MODEL is missing")
	case c.IsSet("checkpoint-every") && c.String("checkpoint") == "":
		return nil, terminal.Usagef("--checkpoint-every: name with --checkpoint the file to keep the run's state in")
	}
	plan, err := parsePlan(c, strategyOf(c))
	if err != nil {
		return nil, err
	}
	if plan.Folds, err = box.ParseFolds(c); err != nil {
		return nil, err
	}
	return &plan, checkPlan(&plan)
}

// strategyOf is --strategy; "" when it was not given.
func strategyOf(c *cli.Context) string {
	switch {
	case !c.IsSet("strategy"):
		return ""
	case c.String("strategy") == "specialised": // as the help's prose spells it
		return experiment.Specialized
	}
	return c.String("strategy")
}

func printTraining(c *cli.Context, bundle model.Bundle, reports experiment.Reports) error {
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, reports)
	}
	for _, service := range sortedKeys(bundle) {
		m, r := bundle[service], reports[service]
		if service != "" {
			service += ": "
		}
		if r.Resumed > 0 {
			service += fmt.Sprintf("went on from a checkpoint in epoch %d: ", r.Resumed)
		}
		fmt.Fprintf(c.App.Writer, "%s%d classes, %d windows (%d for validation), %s, validation loss %.4f, epoch %v, temperature %v\n",
			service, len(m.Classes()), r.Windows, r.Validation, r.Stopped, r.Epochs[r.Best-1].ValLoss, r.Choice, r.Calibration)
	}
	_, err := fmt.Fprintf(c.App.Writer, "model written to %s\n", c.String("output"))
	return err
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
