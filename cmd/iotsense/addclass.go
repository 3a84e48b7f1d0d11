package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/report"
)

// addingFlags are those of train that say something where the model is there already.
var addingFlags = []string{
	"add-class", "model", "output", "o", "json", "report", "manifest", "split", "dates", "local", "offloaded",
	"split-by", "folds", "fold", "fold-seed", "validation", "validation-split", "validation-dates",
	"augment", "taxonomy", "seed", "threads", "memory", "max-per-class", "min-per-class",
}

// addClasses adds classes to a model.
func addClasses(c *cli.Context) error {
	for _, name := range c.LocalFlagNames() {
		if !slices.Contains(addingFlags, name) {
			return terminal.Usagef("--add-class: --%s: the model says it, and keeps it: leave the flag out", name)
		}
	}
	if c.String("output") == "" {
		return terminal.Usagef("train: -o MODEL is missing")
	}
	plan, err := parsePlan(c, "")
	if err != nil {
		return err
	}
	if plan.Folds, err = box.ParseFolds(c); err != nil {
		return err
	}
	if err := checkPlan(&plan); err != nil {
		return err
	}
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	old, ok := bundle[""]
	if !ok {
		return terminal.Usagef("--add-class: --model %s: a bundle for %s: want a file of one model", c.String("model"), strings.Join(serviceNames(bundle), ", "))
	}
	if err := report.MakeDir(c.String("report")); err != nil {
		return err
	}
	m, r, err := plan.AddTo(c.Context, old, c.String("output"), watcher{})
	if err != nil {
		return err
	}
	reports := experiment.Reports{"": r}
	if dir := c.String("report"); dir != "" {
		if err := report.WriteJSON(dir, "train.json", reports); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, reports)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%d classes, %d more than before, learned from %d windows (%d for validation), temperature %v\nmodel written to %s\n",
		len(m.Classes()), len(m.Classes())-len(old.Classes()), r.Windows, r.Validation, r.Calibration, c.String("output"))
	return err
}
