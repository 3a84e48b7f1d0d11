package main

// This file runs series of `train` and `evaluate` for the commands that compare
// models. Each step is a command line of its own, which the reports show: what
// made a figure can be typed.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// experimentFlags are those of commands that train and score: they are passed on.
func experimentFlags() []cli.Flag {
	return append(takenFlags([]string{"seed"}),
		jsonFlag,
		&cli.StringFlag{Name: "report", Usage: "keep models and figures in `DIR`, with a page of all of them and one of each model's score"},
		&cli.IntFlag{Name: "seeds", Value: 1, Usage: "train every model `N` times, with --seed and the numbers after it; figures are means"},
		&cli.BoolFlag{Name: "resume", Usage: "go on where a run with this --report was ended: what the same command line trained there is not trained again"},
		&cli.StringSliceFlag{Name: "test-split", Usage: "score on this split (repeatable)"},
		&cli.StringFlag{Name: "test-dates", Usage: "score on records of these `DAYS`"},
	)
}

// Flags that both commands take, those of training alone, and that which a model of
// all traffic does not take.
var (
	sharedFlags   = []string{"manifest", "local", "offloaded"}
	trainingFlags = []string{
		"split", "dates", "validation", "validation-split", "validation-dates", "preset", "ipv6", "scale-delimiters", "scrub", "memory",
		"window", "window-mode", "epochs", "batch", "lr", "ema", "patience", "threads", "min-per-class", "max-per-class",
	}
	selectionFlags = []string{"services"}
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
	c     *cli.Context
	dir   string  // of models
	seeds []int64 // that every model is trained with

	models  int           // to train, each with every seed
	begun   int           // trainings under way or over
	trained int           // by this run
	spent   time.Duration // on these
}

// newExperiment checks that something is left to score on; each of its models is
// trained with every seed. end removes them unless --report keeps them.
func newExperiment(c *cli.Context) (x *experiment, end func(), err error) {
	if !c.IsSet("test-split") && !c.IsSet("test-dates") {
		return nil, nil, usagef("%s: name what to score on with --test-split or --test-dates", c.Command.Name)
	}
	test := part{splits: c.StringSlice("test-split"), dates: c.String("test-dates")}
	both, err := namedPart(c).overlaps(test)
	if err != nil {
		return nil, nil, err
	}
	if both {
		return nil, nil, usagef("%s: name what to train on too, with --split or --dates, and another part than is scored", c.Command.Name)
	}
	if validatesApart(c) {
		if both, err = validationPart(c).overlaps(test); err != nil {
			return nil, nil, err
		}
		if both {
			logger().Warn("models are scored on what they are validated on: they were stopped and calibrated by it")
		}
	}
	if c.Int("seeds") < 1 {
		return nil, nil, usagef("--seeds %d: want at least 1", c.Int("seeds"))
	}
	if c.Bool("resume") && c.String("report") == "" {
		return nil, nil, usagef("--resume: name with --report where the run that was ended kept its models")
	}
	x = &experiment{c: c, dir: c.String("report")}
	for i := range c.Int("seeds") {
		x.seeds = append(x.seeds, c.Int64("seed")+int64(i))
	}
	if x.dir != "" {
		return x, func() {}, checkReport(c)
	}
	if x.dir, err = os.MkdirTemp("", "iotsense-"); err != nil {
		return nil, nil, err
	}
	return x, func() { os.RemoveAll(x.dir) }, nil
}

// seeded is what a model is called that is trained with one of the seeds.
func (x *experiment) seeded(name string, seed int64) string {
	if seed == x.seeds[0] {
		return name
	}
	return fmt.Sprintf("%s-seed%d", name, seed)
}

// fileName is a model's name as part of a file's.
var fileName = strings.NewReplacer("/", "_", " ", "_", "&", "_", "=", "")

// model is the path of a model of the series.
func (x *experiment) model(name string) string {
	return filepath.Join(x.dir, fileName.Replace(name)+".safetensors")
}

// page is the directory of a model's score, with --report.
func (x *experiment) page(name string) string {
	return filepath.Join(x.dir, fileName.Replace(name))
}

// commandLine is what to type for the arguments into a shell.
func commandLine(args []string) string {
	line := newApp().Name
	for _, a := range args {
		line += " " + shellWord(a)
	}
	return line
}

// shellWord is an argument as a POSIX shell reads it whole.
func shellWord(arg string) string {
	if arg != "" && strings.Trim(arg, plain) == "" {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// plain are characters that mean themselves in a shell.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+,.:/@%"

// run executes a command line and decodes the JSON that it prints.
func (x *experiment) run(into any, args ...string) (line string, err error) {
	app := newApp()
	var out bytes.Buffer
	app.Writer = &out
	line = commandLine(args)
	if err := tolerated(app.RunContext(x.c.Context, flagsFirst(app, append([]string{app.Name}, args...)))); err != nil {
		return "", err
	}
	return line, json.Unmarshal(out.Bytes(), into)
}

// trained is what remains of a training run beside its model, for --resume.
type trained struct {
	Command string                   `json:"command"`
	Reports map[string]*train.Report `json:"reports"` // by service
}

// trainedFile is what remains of a training run, in the directory of its model's score.
const trainedFile = "train.json"

// train trains a model under a name and returns how that went, by service.
func (x *experiment) train(name string, seed int64, more ...string) (map[string]*train.Report, string, error) {
	args := append([]string{"train", "--json", "-o", x.model(name), fmt.Sprintf("--seed=%d", seed)}, passedOn(x.c, sharedFlags)...)
	args = append(append(append(args, passedOn(x.c, trainingFlags)...), more...), x.c.Args().Slice()...)
	x.begun++
	if t := x.earlier(name); t != nil && t.Command == commandLine(args) {
		return t.Reports, t.Command, nil
	}
	x.announce(name)
	began := time.Now()
	// A model that replaces another must not pass for it when this run is ended.
	if err := os.Remove(filepath.Join(x.page(name), trainedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("train %s: %w", name, err)
	}
	t := trained{}
	var err error
	if t.Command, err = x.run(&t.Reports, args...); err != nil {
		return nil, "", fmt.Errorf("train %s: %w", name, err)
	}
	for _, r := range t.Reports {
		if r.Stopped == train.StoppedByContext {
			return nil, "", fmt.Errorf("train %s: %w", name, x.c.Context.Err())
		}
	}
	x.trained++
	x.spent += time.Since(began)
	if x.c.String("report") == "" {
		return t.Reports, t.Command, nil
	}
	return t.Reports, t.Command, writeReport(x.page(name), trainedFile, t)
}

// announce says on stderr which training begins, and when the series may be over.
func (x *experiment) announce(name string) {
	left, all := "", x.models*len(x.seeds)
	if x.trained > 0 {
		mean := x.spent / time.Duration(x.trained)
		left = fmt.Sprintf(", about %s of training left", (mean * time.Duration(all-x.begun+1)).Round(time.Second))
	}
	fmt.Fprintf(os.Stderr, "%s: %s, model %d of %d%s\n", x.c.Command.Name, name, x.begun, all, left)
}

// earlier is what a run that was ended, and is to go on, has left of a model; nil for
// nothing.
func (x *experiment) earlier(name string) *trained {
	if !x.c.Bool("resume") {
		return nil
	}
	if _, err := os.Stat(x.model(name)); err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(x.page(name), trainedFile))
	if err != nil {
		return nil
	}
	t := &trained{}
	if json.Unmarshal(text, t) != nil {
		return nil // ended while it was written
	}
	return t
}

// evaluate scores the model of that name on the test part; with --report it leaves
// the page of the score beside the model.
func (x *experiment) evaluate(name string) (*score.Result, string, error) {
	args := append([]string{"evaluate", "--json", "--draws", "--model", x.model(name)}, passedOn(x.c, sharedFlags)...)
	if x.c.String("report") != "" {
		args = append(args, "--report="+x.page(name))
	}
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

// outcome is a model's score over its seeds.
type outcome struct {
	MacroF1  *float64        `json:"macro_f1"`          // mean over the seeds
	Interval *score.Interval `json:"macro_f1_interval"` // 95 %, captures and seeds drawn anew; null with too few captures
	Seeds    []float64       `json:"macro_f1_seeds"`
	draws    [][]float64     // of each seed
}

// add takes the score of one more seed.
func (o *outcome) add(r *score.Result) {
	if r.MacroF1 == nil {
		return // no window of this model's traffic is in the test part
	}
	o.Seeds = append(o.Seeds, *r.MacroF1)
	sum := 0.0
	for _, f := range o.Seeds {
		sum += f
	}
	mean := sum / float64(len(o.Seeds))
	o.MacroF1 = &mean
	if r.Intervals != nil {
		o.draws = append(o.draws, r.Intervals.MacroF1Draws)
	}
	o.Interval = score.Difference(o.draws, nil)
}

// sheet is a table of a series, for the terminal and for its page.
type sheet struct {
	header []string
	rows   [][]string
}

// print writes the sheet as text.
func (s *sheet) print(w io.Writer) {
	row := func(cells []string) table.Row {
		r := make(table.Row, len(cells))
		for i, c := range cells {
			r[i] = c
		}
		return r
	}
	t := newTable(w, row(s.header)...)
	for _, cells := range s.rows {
		t.AppendRow(row(cells))
	}
	t.Render()
}

// figure formats a figure that may be missing.
func figure(format string, v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}

// between formats an interval that may be missing.
func between(format string, i *score.Interval) string {
	if i == nil {
		return "-"
	}
	return fmt.Sprintf(format+" to "+format, i.Low, i.High)
}
