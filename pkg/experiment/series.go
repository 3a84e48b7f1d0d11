package experiment

// This file trains and scores series of models for what compares them. The reports show
// each step as a command line of its own: what made a figure can be typed.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
)

// resamples are those of captures for the intervals of a series' scores, as many as
// evaluate takes unless it is told otherwise.
const resamples = 1000

// Series trains models that are to be compared, and scores them on one part of the data.
type Series struct {
	Command string       // that runs it, for what it tells
	Test    dataset.Part // of the data, to score on
	Seeds   []int64      // that every model is trained with; the first one's is shown
	Report  string       // directory of models and figures; "": they are not kept
	Resume  bool         // what the same command line trained in Report is not trained again
	Watch   Watcher

	dir     string        // of models
	models  int           // to train, each with every seed
	begun   int           // trainings under way or over
	trained int           // by this run
	spent   time.Duration // on these
}

// SeedsFrom are so many seeds, the first one and the numbers after it.
func SeedsFrom(first int64, count int) []int64 {
	var seeds []int64
	for i := range count {
		seeds = append(seeds, first+int64(i))
	}
	return seeds
}

// Validate names the first thing by which the series cannot be carried out on a plan's
// data, whatever is in it.
func (x *Series) Validate(p *Plan) error {
	if x.Test.IsZero() {
		return fmt.Errorf("%s: name what to score on with --test-split or --test-dates", x.Command)
	}
	if p.part().Overlaps(x.Test) {
		return fmt.Errorf("%s: name what to train on too, with --split or --dates, and another part than is scored", x.Command)
	}
	if len(x.Seeds) == 0 {
		return errors.New("--seeds: want at least 1")
	}
	if x.Resume && x.Report == "" {
		return errors.New("--resume: name with --report where the run that was ended kept its models")
	}
	return p.Validate()
}

// begin checks the plan that the series begins with, and makes the directory of its
// models; end removes it unless there is to be a report.
func (x *Series) begin(p *Plan) (end func(), err error) {
	if err := x.Validate(p); err != nil {
		return nil, &InvalidError{err}
	}
	if p.apart() && p.validation().Overlaps(x.Test) {
		x.Watch.Warn("models are scored on what they are validated on: they were stopped and calibrated by it")
	}
	if x.dir = x.Report; x.dir != "" {
		return func() {}, report.MakeDir(x.dir)
	}
	if x.dir, err = os.MkdirTemp("", "iotsense-"); err != nil {
		return nil, err
	}
	return func() { os.RemoveAll(x.dir) }, nil
}

// seeded is what a model is called that is trained with one of the seeds.
func (x *Series) seeded(name string, seed int64) string {
	if seed == x.Seeds[0] {
		return name
	}
	return fmt.Sprintf("%s-seed%d", name, seed)
}

// fileName is a model's name as part of a file's.
var fileName = strings.NewReplacer("/", "_", " ", "_", "&", "_", "=", "")

// model is the path of a model of the series.
func (x *Series) model(name string) string {
	return filepath.Join(x.dir, fileName.Replace(name)+".safetensors")
}

// page is the directory of a model's score, with a report.
func (x *Series) page(name string) string {
	return filepath.Join(x.dir, fileName.Replace(name))
}

// trained is what remains of a training run beside its model, to go on from.
type trained struct {
	Command string  `json:"command"`
	Reports Reports `json:"reports"`
}

// TrainedFile is what remains of a training run, in the directory of its model's score.
const TrainedFile = "train.json"

// train trains the plan with a seed under a name, and returns how that went and the
// command line for it.
func (x *Series) train(ctx context.Context, name string, p Plan, seed int64) (Reports, string, error) {
	p.Train.Seed = seed
	p.Data.Outputs = []string{x.model(name)}
	t := trained{Command: CommandLine(p.Args(x.model(name)))}
	x.begun++
	if earlier := x.earlier(name); earlier != nil && earlier.Command == t.Command {
		return earlier.Reports, t.Command, nil
	}
	x.announce(name)
	began := time.Now()
	// A model that replaces another must not pass for it when this run is ended.
	if err := os.Remove(filepath.Join(x.page(name), TrainedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("train %s: %w", name, err)
	}
	var err error
	if _, t.Reports, err = p.Run(ctx, x.model(name), x.Watch); err != nil {
		return nil, "", fmt.Errorf("train %s: %w", name, err)
	}
	for _, r := range t.Reports {
		if r.Stopped == train.StoppedByContext {
			return nil, "", fmt.Errorf("train %s: %w", name, ctx.Err())
		}
	}
	x.trained++
	x.spent += time.Since(began)
	if x.Report == "" {
		return t.Reports, t.Command, nil
	}
	return t.Reports, t.Command, report.WriteJSON(x.page(name), TrainedFile, t)
}

// announce says which training begins, and when the series may be over.
func (x *Series) announce(name string) {
	left, all := "", x.models*len(x.Seeds)
	if x.trained > 0 {
		mean := x.spent / time.Duration(x.trained)
		left = fmt.Sprintf(", about %s of training left", (mean * time.Duration(all-x.begun+1)).Round(time.Second))
	}
	x.Watch.Begins(fmt.Sprintf("%s: %s, model %d of %d%s", x.Command, name, x.begun, all, left))
}

// earlier is what a run that was ended, and is to go on, has left of a model; nil for
// nothing.
func (x *Series) earlier(name string) *trained {
	if !x.Resume {
		return nil
	}
	if _, err := os.Stat(x.model(name)); err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(x.page(name), TrainedFile))
	if err != nil {
		return nil
	}
	t := &trained{}
	if json.Unmarshal(text, t) != nil {
		return nil // ended while it was written
	}
	return t
}

// evaluate scores the model of that name on the test part of the plan's files, and
// returns the command line for it; with a report it leaves the page of the score beside
// the model.
func (x *Series) evaluate(ctx context.Context, name string, p Plan) (*score.Result, string, error) {
	result, err := x.score(ctx, name, p)
	if err == nil && x.Report != "" {
		if err = report.WriteJSON(x.page(name), "evaluate.json", result); err == nil {
			err = report.WriteEvaluation(x.page(name), result)
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("evaluate %s: %w", name, err)
	}
	return result, CommandLine(x.evaluateArgs(name, p)), nil
}

// score scores a model on the test part.
func (x *Series) score(ctx context.Context, name string, p Plan) (*score.Result, error) {
	bundle, err := model.LoadBundle(x.model(name))
	if err != nil {
		return nil, err
	}
	e := Evaluation{Model: x.model(name), Data: p.Data, Score: score.Config{Resamples: resamples, Draws: true}}
	e.Data.Splits, e.Data.Period = x.Test.Splits, x.Test.Period
	if e.Data.Capture.RecordSpec, err = bundle.Record(); err != nil {
		return nil, err
	}
	e.Data.Capture.Locals = flows.NewLocals(p.Local)
	result, err := e.Run(ctx, bundle, x.Watch)
	if result == nil {
		return nil, err
	}
	return result, tolerated(x.Watch, err)
}

// evaluateArgs is the command line that gives a model's score.
func (x *Series) evaluateArgs(name string, p Plan) []string {
	args := []string{"evaluate", "--json", "--draws", "--model", x.model(name)}
	for _, s := range p.settings() {
		if !s.given || s.flag != "manifest" && s.flag != "local" && s.flag != "offloaded" {
			continue
		}
		for _, v := range s.values {
			args = append(args, "--"+s.flag+"="+v)
		}
	}
	if x.Report != "" {
		args = append(args, "--report="+x.page(name))
	}
	for _, s := range x.Test.Splits {
		args = append(args, "--split="+s)
	}
	for _, d := range dates(x.Test) {
		args = append(args, "--dates="+d)
	}
	return append(args, p.Data.Data...)
}

// Directions are those of the plan's records to compare: the one it names, or all that
// its data has.
func Directions(ctx context.Context, p *Plan, w Watcher) ([]flows.Direction, error) {
	if p.Direction != nil {
		return []flows.Direction{*p.Direction}, nil
	}
	o := p.Data
	o.Capture.RecordSpec, o.Capture.Locals = flows.DefaultRecordSpec(), flows.NewLocals(p.Local)
	set, err := dataset.Open(o)
	if err != nil {
		return nil, err
	}
	w.Opened(set)
	return set.Directions(ctx)
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

// Outcome is a model's score over its seeds.
type Outcome struct {
	MacroF1  *float64        `json:"macro_f1"`          // mean over the seeds
	Interval *score.Interval `json:"macro_f1_interval"` // 95 %, captures and seeds drawn anew; null with too few captures
	Seeds    []float64       `json:"macro_f1_seeds"`
	draws    [][]float64     // of each seed
}

// add takes the score of one more seed.
func (o *Outcome) add(r *score.Result) {
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
