package main

// This file trains a model, and tells people how far a training or an experiment is.

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:      "train",
		Usage:     "train a model on labelled captures or records",
		ArgsUsage: "[DATA...] -o MODEL",
		Flags: slices.Concat(box.SourceFlags(), box.StreamFlags(), box.FoldFlags(), learnFlags(), []cli.Flag{
			terminal.JSONFlag,
			&cli.StringFlag{Name: "model", Hidden: true}, // refused by name: nothing is read from it
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
		return nil, terminal.Usagef("train: --model %s: training begins with no model: name the file to write with -o", c.String("model"))
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
		fmt.Fprintf(c.App.Writer, "%s%d classes, %d windows (%d for validation), best epoch %d of %d (%s), validation loss %.4f, temperature %.2f\n",
			service, len(m.Labels), r.Windows, r.Validation, r.Best, len(r.Epochs), r.Stopped, r.Epochs[r.Best-1].ValLoss, r.Temperature)
	}
	_, err := fmt.Fprintf(c.App.Writer, "model written to %s\n", c.String("output"))
	return err
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// watcher tells it on stderr.
type watcher struct{}

var _ experiment.Watcher = watcher{}

// Warn implements experiment.Watcher.
func (watcher) Warn(text string, args ...any) {
	for i, a := range args {
		if err, ok := a.(error); ok {
			args[i] = terminal.OneLine(err)
		}
	}
	terminal.Logger().Warn(text, args...)
}

// Begins implements experiment.Watcher.
func (watcher) Begins(line string) { fmt.Fprintln(os.Stderr, line) }

// Opened implements experiment.Watcher.
func (watcher) Opened(set *dataset.Set) { box.SayPassed(set.Passed()) }

// Files implements experiment.Watcher.
func (watcher) Files(what string) (func(done, total int, name string), func()) {
	return terminal.Progress(what)
}

// Training implements experiment.Watcher.
func (watcher) Training(name string) (func(train.Progress), func()) { return trainProgress(name) }

// Saves implements experiment.Watcher.
func (watcher) Saves(ctx context.Context) error { return terminal.Undoes(ctx) }

// Classified implements experiment.Watcher.
func (watcher) Classified(s dataset.CaptureSummary, k *classify.Classifier, bundle model.Bundle) {
	box.SayClassified(s, k, bundle)
}

// quiet is the longest time without a line where there is no terminal.
const quiet = time.Minute

// trainProgress shows batches on a terminal, or now and then elsewhere, and a line
// per epoch anywhere.
func trainProgress(service string) (show func(train.Progress), end func()) {
	name := "train"
	if service != "" {
		name += " " + service
	}
	var bar *progressbar.ProgressBar
	var said time.Duration // when the last line was printed
	onTerminal := term.IsTerminal(int(os.Stderr.Fd()))
	end = func() {
		if bar != nil {
			_ = bar.Finish() // a display that fails must not end the run
			bar = nil
		}
	}
	return func(p train.Progress) {
		if p.Ended {
			end()
			fmt.Fprintln(os.Stderr, progressLine(name, p))
			said = p.Elapsed
			return
		}
		if !onTerminal {
			if p.Elapsed-said >= quiet {
				fmt.Fprintln(os.Stderr, progressLine(name, p))
				said = p.Elapsed
			}
			return
		}
		if bar == nil {
			bar = progressbar.NewOptions(p.Batches, progressbar.OptionSetWriter(os.Stderr),
				progressbar.OptionSetDescription(fmt.Sprintf("%s: epoch %d", name, p.Epoch)),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set(p.Batch)
	}, end
}

// progressLine is how far a run is, in the middle of an epoch or at its end.
func progressLine(name string, p train.Progress) string {
	figures := fmt.Sprintf("batch %d of %d, loss %.4f", p.Batch, p.Batches, p.Loss)
	if p.Ended {
		figures = fmt.Sprintf("loss %.4f, validation loss %.4f, accuracy %.3f, best epoch %d", p.Loss, p.ValLoss, p.ValAccuracy, p.BestEpoch)
	}
	return fmt.Sprintf("%s: epoch %d: %s, %v, at most %v left", name, p.Epoch, figures, p.Elapsed.Round(time.Second), p.Left.Round(time.Second))
}
