package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/cnn/learn"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
)

// presets are values of flags that were not given.
var presets = map[string]map[string]string{
	// The paper's training, IV-A.
	"paper": {"window-mode": "strict", "min-per-class": "50", "max-per-class": "20000", "patience": "5", "ema": "0"},
}

// paperMaxPerClassSpecialized is the paper's limit for the models of single services.
const paperMaxPerClassSpecialized = "10000"

// applyPreset gives the flags of --preset that were not given their values.
func applyPreset(c *cli.Context) error {
	name := c.String("preset")
	if name == "" {
		return nil
	}
	values, ok := presets[name]
	if !ok {
		return usagef("--preset %q: the only one is paper", name)
	}
	for flag, value := range values {
		if flag == "max-per-class" && c.String("strategy") == specialized {
			value = paperMaxPerClassSpecialized
		}
		if c.IsSet(flag) {
			continue
		}
		if err := c.Set(flag, value); err != nil {
			return fmt.Errorf("--preset %s: %w", name, err)
		}
	}
	return nil
}

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:      "train",
		Usage:     "train a model on labelled captures or records",
		ArgsUsage: "[DATA...] -o MODEL",
		Flags: slices.Concat(dataFlags(), foldFlags(), learnFlags(), []cli.Flag{
			jsonFlag,
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "model `FILE` to write"},
			&cli.Int64Flag{Name: "seed", Usage: "`N` that weights, order and dropout come from"},
			&cli.StringSliceFlag{Name: "validation-split", Usage: "validate on this split instead (repeatable)"},
			&cli.StringFlag{Name: "validation-dates", Usage: "validate on records of these `DAYS` instead"},
			&cli.StringFlag{Name: "report", Usage: "write how the run went to `DIR`/train.json"},
			&cli.StringFlag{Name: "checkpoint", Usage: "keep the run's state in `FILE`, and go on from it when it is there: the same model as without a stop"},
			&cli.DurationFlag{Name: "checkpoint-every", Value: train.DefaultOptions().CheckpointEvery, Usage: "`TIME` between checkpoints; there is one after each epoch too"},
		}),
		Action: trainModel,
	}
}

// learnFlags say what a model learns and how.
func learnFlags() []cli.Flag {
	defaults := train.DefaultOptions()
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Usage: "`paper`: the paper's training: strict windows, 50 to 20,000 of a class (10,000 for specialized), --patience 5, --ema 0"},
		&cli.StringFlag{Name: "strategy", Value: everything, Usage: "`all|mixed|specialized`: every flow; the flows of --services; one model for each service"},
		&cli.StringFlag{Name: "services", Value: "tcp/80,tcp/443,udp/53,udp/123", Usage: "`LIST` of services for mixed and specialized"},
		&cli.BoolFlag{Name: "ipv6", Usage: "windows include IPv6 records"},
		&cli.BoolFlag{Name: "scrub", Usage: "mask what names a unit in payloads: MACs, local addresses, UUIDs, serial numbers; the model does so ever after"},
		&cli.BoolFlag{Name: "scale-delimiters", Usage: "divide the payload's delimiters by 255 too"},
		&cli.StringSliceFlag{Name: "ablate", Usage: "leave `LAYER` out: " + strings.Join(learn.Layers, ", ") + " (repeatable)"},
		&cli.StringSliceFlag{Name: "without", Usage: "hide `FIELD` of every row: " + strings.Join(model.Fields, ", ") + " (repeatable)"},
		&cli.IntFlag{Name: "filters", Value: 2, Usage: "`N` filters of each convolution"},
		&cli.IntFlag{Name: "packets", Value: flows.RowPackets, Usage: "describe the first `N` packets of a record, at most 10"},
		&cli.IntFlag{Name: "payload", Value: flows.PayloadTokens, Usage: "`N` payload values of a row"},
		&cli.IntFlag{Name: "epochs", Value: defaults.Epochs, Usage: "at most `N` epochs"},
		&cli.IntFlag{Name: "batch", Value: defaults.Batch, Usage: "`N` windows a step"},
		&cli.Float64Flag{Name: "lr", Value: defaults.LearningRate, Usage: "Adam's learning `RATE`"},
		&cli.Float64Flag{Name: "ema", Value: defaults.EMA, Usage: "validate and keep a running average of the weights, of this `DECAY` a step; 0, as the paper: the weights themselves"},
		&cli.IntFlag{Name: "patience", Value: defaults.Patience, Usage: "stop after `N` epochs without a better validation loss (the paper: 5) and keep the best one's weights; 0: keep the last one's"},
		&cli.IntFlag{Name: "threads", Value: runtime.NumCPU(), Usage: "`N` workers; another number gives other bytes"},
		&cli.IntFlag{Name: "min-per-class", Value: defaults.MinPerClass, Usage: "leave out classes with fewer training windows"},
		&cli.IntFlag{Name: "max-per-class", Value: defaults.MaxPerClass, Usage: "at most `N` training windows a class, 0: all"},
		&cli.Float64Flag{Name: "validation", Value: 0.2, Usage: "`SHARE` of each class's captures kept apart for early stopping and calibration"},
		&cli.StringFlag{Name: "memory", Value: "512MiB", Usage: "`SIZE` of rows kept in memory; more go to a file in $TMPDIR (default /var/tmp)"},
	}
}

// trainPlan is a command line, understood.
type trainPlan struct {
	streams    map[string]flows.StreamSpec // by service; "" for one model of everything
	record     model.RecordSpec
	rows       int
	arch       cnn.Architecture
	ablate     []string // layers left out of it
	options    train.Options
	validation float64
	memory     int64 // bytes of rows to keep in memory
}

func trainModel(c *cli.Context) error {
	if c.String("output") == "" {
		return usagef("train: -o MODEL is missing")
	}
	plan, err := planTraining(c)
	if err != nil {
		return err
	}
	// A long run must not end in a file that cannot be written.
	for _, name := range []string{"output", "checkpoint"} {
		if path := c.String(name); path != "" {
			if err := wholefile.Check(path); err != nil {
				return fmt.Errorf("%s %s: %w", name, path, err)
			}
		}
	}
	if err := checkReport(c); err != nil {
		return err
	}
	bundle := model.Bundle{}
	reports := map[string]*train.Report{}
	for _, service := range sortedKeys(plan.streams) {
		m, report, err := plan.train(c, service)
		var little *train.TooLittleError
		switch {
		case err == nil:
			bundle[service], reports[service] = m, report
			warnLeftOut(service, report)
		case service == "":
			return err
		case errors.As(err, &little):
			logger().Warn("no model of this service: too little of it to train on", "service", service, "why", little)
		default:
			return fmt.Errorf("service %s: %w", service, err)
		}
	}
	if len(bundle) == 0 {
		return train.TooLittle("no service of %s has windows of two classes or more to train and validate on", c.String("services"))
	}
	if err := bundle.Save(c.String("output")); err != nil {
		return err
	}
	if err := plan.removeCheckpoints(reports); err != nil {
		return err
	}
	if dir := c.String("report"); dir != "" {
		if err := writeReport(dir, "train.json", reports); err != nil {
			return err
		}
	}
	return printTraining(c, bundle, reports)
}

// warnLeftOut names the classes that have too little for the model.
func warnLeftOut(service string, r *train.Report) {
	var classes []string
	for _, k := range r.Classes {
		if k.Used == 0 {
			classes = append(classes, fmt.Sprintf("%s (%d)", k.Label, k.Available))
		}
	}
	if len(classes) == 0 {
		return
	}
	args := []any{"classes", strings.Join(classes, ", ")}
	if service != "" {
		args = append(args, "service", service)
	}
	logger().Warn("the model does not know classes with fewer training windows than --min-per-class", args...)
}

func planTraining(c *cli.Context) (*trainPlan, error) {
	if c.String("strategy") == "specialised" { // as the help's prose spells it
		if err := c.Set("strategy", specialized); err != nil {
			return nil, err
		}
	}
	if c.IsSet("services") && c.String("strategy") == everything {
		logger().Warn("--strategy all takes every flow: --services is for mixed and specialized")
	}
	if err := applyPreset(c); err != nil {
		return nil, err
	}
	spec, err := parseRecord(c, nil)
	if err != nil {
		return nil, err
	}
	mode, err := parseWindowMode(c)
	if err != nil {
		return nil, err
	}
	o := train.DefaultOptions()
	o.Epochs, o.Batch, o.LearningRate = c.Int("epochs"), c.Int("batch"), c.Float64("lr")
	o.EMA, o.Patience = c.Float64("ema"), c.Int("patience")
	o.Seed, o.Threads = c.Int64("seed"), c.Int("threads")
	o.MinPerClass, o.MaxPerClass = c.Int("min-per-class"), c.Int("max-per-class")
	o.Checkpoint, o.CheckpointEvery = c.String("checkpoint"), c.Duration("checkpoint-every")
	if err := o.Validate(); err != nil {
		return nil, usageError{err}
	}
	memory, err := parseSize(c.String("memory"))
	if err != nil {
		return nil, usageError{fmt.Errorf("--memory: %w", err)}
	}
	p := &trainPlan{
		streams: map[string]flows.StreamSpec{}, rows: cnn.DefaultRows,
		validation: c.Float64("validation"), memory: int64(memory),
	}
	if c.IsSet("window") {
		if p.rows = c.Int("window"); p.rows < 1 {
			return nil, usagef("--window %d: want at least 1", p.rows)
		}
	}
	if validatesApart(c) {
		both, err := namedPart(c).overlaps(validationPart(c))
		if err != nil {
			return nil, err
		}
		if both {
			return nil, usagef("--validation-split, --validation-dates: name the training part with --split or --dates too, and another one, or the model learns what it is validated on")
		}
	}
	if !(p.validation > 0 && p.validation < 1) {
		return nil, usagef("--validation %v: want a share between 0 and 1", p.validation)
	}
	p.record = model.DefaultRecordSpec()
	p.record.RecordSpec = spec
	p.record.Without, p.record.Packets, p.record.Payload = c.StringSlice("without"), c.Int("packets"), c.Int("payload")
	p.arch = cnn.DefaultArchitecture(p.rows)
	p.arch.Filters = [2]int{c.Int("filters"), c.Int("filters")}
	p.arch.Kernel1 = p.record.MetaValues() // one placement of conv1 takes all of them in
	p.ablate = c.StringSlice("ablate")
	if p.arch, err = learn.Ablated(p.arch, p.ablate); err != nil {
		return nil, usageError{fmt.Errorf("--ablate: %w", err)}
	}
	p.record.IPv6, p.record.ScaleDelimiters = c.Bool("ipv6"), c.Bool("scale-delimiters")
	p.record.Scrub = c.Bool("scrub")
	if mode != nil {
		p.record.WindowMode = *mode
	}
	p.options = o
	return p, p.planStreams(c.String("strategy"), c.String("services"), p.record.Stream())
}

// planStreams sets which traffic each model learns (paper IV-B).
func (p *trainPlan) planStreams(strategy, list string, stream flows.StreamSpec) error {
	services, err := flows.ParseServices(strings.Split(list, ","))
	if err != nil {
		return usageError{fmt.Errorf("--services: %w", err)}
	}
	switch strategy {
	case everything:
		p.streams[""] = stream
	case mixed:
		stream.Services = services
		p.streams[""] = stream
	case specialized:
		for _, s := range services {
			stream.Services, stream.Among = []flows.Service{s}, services
			p.streams[s.String()] = stream
		}
	default:
		return usagef("--strategy %q: want all, mixed or specialized", strategy)
	}
	return nil
}

// train makes the model of one service, or of everything.
func (p *trainPlan) train(c *cli.Context, service string) (m *model.Model, report *train.Report, err error) {
	stream := p.streams[service]
	store := dataset.NewStore(p.memory)
	defer func() { err = errors.Join(err, store.Close()) }()
	learn, err := p.read(c, stream, store, namedPart(c))
	if err != nil {
		return nil, nil, err
	}
	var held []int
	if validatesApart(c) {
		if held, err = p.read(c, stream, store, validationPart(c)); err != nil {
			return nil, nil, fmt.Errorf("validation: %w", err)
		}
	} else {
		learn, held = dataset.Holdout(store, learn, p.rows, p.validation)
	}
	warnFew(service, store, learn, held)
	cfg := p.config(stream, effectiveFlags(c))
	options := p.options
	options.Checkpoint = p.checkpoint(service)
	show, end := trainProgress(service)
	defer end()
	if err := undoes(c.Context); err != nil { // an interrupted training saves its best model
		return nil, nil, err
	}
	return train.Train(c.Context, cfg, store, learn, held, options, show)
}

// config says what a model of the stream is.
func (p *trainPlan) config(stream flows.StreamSpec, flags map[string]string) train.Config {
	record := p.record
	record.Services = append([]flows.Service{}, stream.Services...)
	record.Among = stream.Among
	return train.Config{Design: learn.Design{Arch: p.arch, Ablate: p.ablate}, Record: record, Flags: flags}
}

// first is the number of the first row of a stream that is judged.
func (p *trainPlan) first() int { return p.record.WindowMode.First(p.rows) }

// checkpoint is the file of one service's run.
func (p *trainPlan) checkpoint(service string) string {
	if p.options.Checkpoint == "" || service == "" {
		return p.options.Checkpoint
	}
	return serviceCheckpoint(p.options.Checkpoint, service)
}

// serviceCheckpoint is the checkpoint of one of several services.
func serviceCheckpoint(path, service string) string {
	return path + "." + strings.ReplaceAll(service, "/", "_")
}

// removeCheckpoints ends the runs that need not go on.
func (p *trainPlan) removeCheckpoints(reports map[string]*train.Report) error {
	if p.options.Checkpoint == "" {
		return nil
	}
	for service, r := range reports {
		if r.Stopped == train.StoppedByContext {
			continue
		}
		path, err := wholefile.Target(p.checkpoint(service)) // a link to it stays
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// validatesApart reports whether a part of the data is named for validation.
func validatesApart(c *cli.Context) bool {
	return c.IsSet("validation-split") || c.IsSet("validation-dates")
}

// validationPart is the part that is named for validation; of splits and dates, the
// one that was not is the training's.
func validationPart(c *cli.Context) part {
	p := namedPart(c)
	if c.IsSet("validation-split") {
		p.splits = c.StringSlice("validation-split")
	}
	if c.IsSet("validation-dates") {
		p.dates = c.String("validation-dates")
	}
	return p
}

// read puts the labelled windows of a part of the data into the store and returns
// their numbers.
func (p *trainPlan) read(c *cli.Context, stream flows.StreamSpec, store *dataset.Store, which part) ([]int, error) {
	show, end := progress("read")
	defer end()
	set, err := openPart(c, p.record.RecordSpec, which, show)
	if err != nil {
		return nil, err
	}
	if err := restrict(c, set, false); err != nil {
		return nil, err
	}
	before := store.Len()
	if err := fill(c, set, stream, p.first(), store); err != nil {
		return nil, err
	}
	if store.Len() == before {
		return nil, train.TooLittle("no window in %d files: are the devices right, is --window-mode padded what you want?", set.Len())
	}
	return store.All()[before:], nil
}

// fill reads all windows of a stream of the set. What is not there as it should be,
// but leaves something to learn from, is a warning.
func fill(c *cli.Context, set *dataset.Set, stream flows.StreamSpec, first int, store *dataset.Store) error {
	if stream.Scrub != nil && set.RecordsFiles() > 0 {
		logger().Warn("a records file holds no local address: --scrub cannot mask those that its payloads hold in binary, as it does of captures")
	}
	w := newWatch()
	if err := tolerated(set.Fill(c.Context, stream, first, store, w.example, w.capture)); err != nil {
		return err
	}
	w.warn(set.Without(store), len(stream.Services) == 0)
	return nil
}

// tolerated warns of captures that could be read in part only; any other error is
// returned.
func tolerated(err error) error {
	if err == nil || !dataset.OnlyPartial(err) {
		return err
	}
	logger().Warn("what could be read of damaged captures is used", "error", oneLine(err))
	return nil
}

// placeFlags name inputs and outputs: where a model was made is none of its business.
var placeFlags = []string{"manifest", "output", "o", "report", "model", "json", "help", "h", "threads", "seed", "checkpoint", "checkpoint-every", "memory"}

// effectiveFlags are the values of all other flags: given, of the preset, or default.
func effectiveFlags(c *cli.Context) map[string]string {
	values := map[string]string{}
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if slices.Contains(placeFlags, name) || slices.Contains(foldNames, name) && c.String("split-by") == "" {
			continue
		}
		switch f.(type) {
		case *cli.StringSliceFlag:
			if v := c.StringSlice(name); len(v) > 0 {
				values[name] = strings.Join(v, ",")
			}
		case *cli.Float64Flag:
			values[name] = strconv.FormatFloat(c.Float64(name), 'g', -1, 64)
		default:
			if v := fmt.Sprint(c.Value(name)); v != "" {
				values[name] = v
			}
		}
	}
	return values
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

func printTraining(c *cli.Context, bundle model.Bundle, reports map[string]*train.Report) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, reports)
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

// writeReport writes v as indented JSON to dir/name.
func writeReport(dir, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	return report.WriteFile(dir, name, append(text, '\n'))
}

// checkReport makes the directory of --report: a long run must not end in a report
// that cannot be written.
func checkReport(c *cli.Context) error {
	dir := c.String("report")
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := wholefile.Check(filepath.Join(dir, "report.json")); err != nil {
		return fmt.Errorf("report %s: %w", dir, err)
	}
	return nil
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
