package main

// This file runs series of `train` and `evaluate` for the commands that compare
// models. Each step is a command line of its own, which the reports show: what
// made a figure can be typed.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// experimentFlags are those of commands that train and score: they are passed on.
func experimentFlags() []cli.Flag {
	return []cli.Flag{
		jsonFlag,
		&cli.StringFlag{Name: "report", Usage: "keep models and figures in `DIR`"},
		&cli.StringSliceFlag{Name: "test-split", Usage: "score on this split (repeatable)"},
		&cli.StringFlag{Name: "test-dates", Usage: "score on records of these `DAYS`"},
	}
}

// Flags that both commands take, and those of training alone.
var (
	sharedFlags   = []string{"manifest", "local", "offloaded"}
	trainingFlags = []string{
		"split", "dates", "validation", "validation-split", "validation-dates", "preset", "services", "ipv6", "scale-delimiters", "scrub", "memory",
		"window", "window-mode", "epochs", "batch", "lr", "patience", "seed", "threads", "min-per-class", "max-per-class",
	}
)

// passedOn are the flags among those named that were given, as arguments.
func passedOn(c *cli.Context, names []string) []string {
	var args []string
	for _, name := range names {
		if !c.IsSet(name) {
			continue
		}
		if list, ok := c.Value(name).(cli.StringSlice); ok {
			for _, v := range list.Value() {
				args = append(args, "--"+name+"="+v)
			}
			continue
		}
		args = append(args, fmt.Sprintf("--%s=%v", name, c.Value(name)))
	}
	return args
}

// takenFlags are train's own definitions of the flags named, so that they mean the
// same everywhere.
func takenFlags(names ...[]string) []cli.Flag {
	wanted := map[string]bool{}
	for _, list := range names {
		for _, n := range list {
			wanted[n] = true
		}
	}
	var flags []cli.Flag
	for _, f := range trainCommand().Flags {
		if wanted[f.Names()[0]] {
			flags = append(flags, f)
		}
	}
	return flags
}

// experiment is a series under way.
type experiment struct {
	c   *cli.Context
	dir string // of models
}

// newExperiment checks that something is left to score on; end removes the models
// unless --report keeps them.
func newExperiment(c *cli.Context) (x *experiment, end func(), err error) {
	if !c.IsSet("test-split") && !c.IsSet("test-dates") {
		return nil, nil, usagef("%s: name what to score on with --test-split or --test-dates", c.Command.Name)
	}
	if c.IsSet("test-split") && !c.IsSet("split") || c.IsSet("test-dates") && !c.IsSet("dates") {
		return nil, nil, usagef("%s: name what to train on too, with --split or --dates", c.Command.Name)
	}
	if dir := c.String("report"); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, fmt.Errorf("report: %w", err)
		}
		return &experiment{c, dir}, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "iotsense-")
	if err != nil {
		return nil, nil, err
	}
	return &experiment{c, dir}, func() { os.RemoveAll(dir) }, nil
}

// model is the path of a model of the series.
func (x *experiment) model(name string) string {
	return filepath.Join(x.dir, strings.ReplaceAll(name, "/", "_")+".safetensors")
}

// run executes a command line and decodes the JSON that it prints.
func (x *experiment) run(into any, args ...string) (line string, err error) {
	app := newApp()
	var out bytes.Buffer
	app.Writer = &out
	args = append([]string{app.Name}, args...)
	if err := app.RunContext(x.c.Context, flagsFirst(app, args)); err != nil {
		return "", err
	}
	return strings.Join(args, " "), json.Unmarshal(out.Bytes(), into)
}

// train trains a model under a name and returns how that went, by service.
func (x *experiment) train(name string, more ...string) (map[string]*train.Report, string, error) {
	args := append([]string{"train", "--json", "-o", x.model(name)}, passedOn(x.c, sharedFlags)...)
	args = append(append(args, passedOn(x.c, trainingFlags)...), more...)
	var reports map[string]*train.Report
	line, err := x.run(&reports, append(args, x.c.Args().Slice()...)...)
	if err != nil {
		return nil, "", fmt.Errorf("train %s: %w", name, err)
	}
	return reports, line, nil
}

// evaluate scores the model of that name on the test part.
func (x *experiment) evaluate(name string) (*score.Result, string, error) {
	args := append([]string{"evaluate", "--json", "--bootstrap=0", "--model", x.model(name)}, passedOn(x.c, sharedFlags)...)
	for _, s := range x.c.StringSlice("test-split") {
		args = append(args, "--split="+s)
	}
	if x.c.IsSet("test-dates") {
		args = append(args, "--dates="+x.c.String("test-dates"))
	}
	result := &score.Result{}
	line, err := x.run(result, append(args, x.c.Args().Slice()...)...)
	if err != nil {
		return nil, "", fmt.Errorf("evaluate %s: %w", name, err)
	}
	return result, line, nil
}

// covered is the number of classes with a right prediction.
func covered(r *score.Result) int {
	n := 0
	for _, c := range r.Classes {
		if c.Support > 0 && c.Recall > 0 {
			n++
		}
	}
	return n
}
