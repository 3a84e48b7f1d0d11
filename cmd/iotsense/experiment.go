package main

// This file makes plans of command lines, and holds the commands that train and score series
// of models.

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn/learn"
	"github.com/iotsense/iotsense/pkg/report"
)

// seriesFlags are those of commands that train and score.
func seriesFlags() []cli.Flag {
	return append(takenFlags("seed"),
		terminal.JSONFlag,
		&cli.StringFlag{Name: "report", Usage: "keep models and figures in `DIR`, with a page of all of them and one of each model's score"},
		&cli.IntFlag{Name: "seeds", Value: 1, Usage: "train every model `N` times, with --seed and the numbers after it; figures are means"},
		&cli.BoolFlag{Name: "resume", Usage: "go on where a run with this --report was ended: what the same command line trained there is not trained again"},
		&cli.StringSliceFlag{Name: "test-split", Usage: "score on this split (repeatable)"},
		&cli.StringFlag{Name: "test-dates", Usage: "score on records of these `DAYS`"},
	)
}

// seriesPlanFlags are the flags of training that a series takes; its models say the
// others.
var seriesPlanFlags = []string{
	"manifest", "local", "offloaded",
	"split", "dates", "validation", "validation-split", "validation-dates", "preset", "arch", "ipv6", "scale-delimiters", "scrub", "augment", "memory",
	"window", "window-mode", "epochs", "batch", "lr", "ema", "patience", "threads", "min-per-class", "max-per-class",
}

// takenFlags are train's own definitions of the flags named, so that they mean the
// same everywhere.
func takenFlags(names ...string) []cli.Flag {
	return slices.DeleteFunc(trainCommand().Flags, func(f cli.Flag) bool { return !slices.Contains(names, f.Names()[0]) })
}

// parseSeries reads the flags of a series.
func parseSeries(c *cli.Context) (*experiment.Series, error) {
	test, err := box.ParsePart(c, "test-")
	if err != nil {
		return nil, err
	}
	if c.Int("seeds") < 1 {
		return nil, terminal.Usagef("--seeds %d: want at least 1", c.Int("seeds"))
	}
	return &experiment.Series{
		Command: c.Command.Name, Test: test, Seeds: experiment.SeedsFrom(c.Int64("seed"), c.Int("seeds")),
		Report: c.String("report"), Resume: c.Bool("resume"), Watch: watcher{},
	}, nil
}

// asUsage marks an error of a series that cannot be carried out as it is meant.
func asUsage(err error) error {
	var invalid *experiment.InvalidError
	if errors.As(err, &invalid) {
		return terminal.WrongUsage(err)
	}
	return err
}

// printSheet writes a table of a series as text.
func printSheet(w io.Writer, s *experiment.Sheet) {
	row := func(cells []string) table.Row {
		r := make(table.Row, len(cells))
		for i, c := range cells {
			r[i] = c
		}
		return r
	}
	t := terminal.NewTable(w, row(s.Header)...)
	for _, cells := range s.Rows {
		t.AppendRow(row(cells))
	}
	t.Render()
}

// usualPlan is that of a command line without flags, which they have their defaults from.
func usualPlan() experiment.Plan {
	p, err := experiment.NewPlan("", "", "")
	if err != nil {
		panic(err) // no value of anybody's is in it
	}
	return p
}

// learnFlags say what a model learns and how.
func learnFlags() []cli.Flag {
	usual := usualPlan()
	defaults := usual.Train
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Usage: "`paper`: the paper's training: strict windows, 50 to 20,000 of a class (10,000 for specialized), --patience 5, --ema 0"},
		&cli.StringFlag{Name: "arch", Value: experiment.PaperArch, Usage: "network of this `NAME`: " + strings.Join(experiment.Designs(), ", ") + "; each has its own --epochs, --batch, --lr, --ema and --patience"},
		&cli.StringFlag{Name: "strategy", Value: experiment.Everything, Usage: "`all|mixed|specialized`: every flow; the flows of --services; one model for each service"},
		&cli.StringFlag{Name: "services", Value: experiment.ServiceList(usual.Services), Usage: "`LIST` of services for mixed and specialized"},
		&cli.BoolFlag{Name: "ipv6", Usage: "windows include IPv6 records"},
		&cli.BoolFlag{Name: "scrub", Usage: "mask what names a unit in payloads: MACs, local addresses, UUIDs, serial numbers; the model does so ever after"},
		&cli.BoolFlag{Name: "augment", Usage: "learn from four changed copies of each capture too: in another home, begun late, lost in part, seen twice or one way"},
		&cli.BoolFlag{Name: "scale-delimiters", Usage: "divide the payload's delimiters by 255 too"},
		&cli.StringSliceFlag{Name: "ablate", Usage: "leave `LAYER` out: " + strings.Join(learn.Layers, ", ") + " (repeatable)"},
		&cli.StringSliceFlag{Name: "without", Usage: "hide `FIELD` of every row: " + strings.Join(model.Fields, ", ") + " (repeatable)"},
		&cli.IntFlag{Name: "filters", Value: usual.Paper.Filters, Usage: "`N` filters of each convolution"},
		&cli.IntFlag{Name: "packets", Value: flows.RowPackets, Usage: "describe the first `N` packets of a record, at most 10"},
		&cli.IntFlag{Name: "payload", Value: flows.PayloadTokens, Usage: "`N` payload values of a row"},
		&cli.IntFlag{Name: "epochs", Value: defaults.Epochs, Usage: "at most `N` epochs"},
		&cli.IntFlag{Name: "batch", Value: defaults.Batch, Usage: "`N` windows a step"},
		&cli.Float64Flag{Name: "lr", Value: defaults.LearningRate, Usage: "Adam's learning `RATE`"},
		&cli.Float64Flag{Name: "ema", Value: defaults.EMA, Usage: "validate and keep a running average of the weights, of this `DECAY` a step; 0, as the paper: the weights themselves"},
		&cli.IntFlag{Name: "patience", Value: defaults.Patience, Usage: "stop after `N` epochs without a better validation loss (the paper: 5) and keep the best one's weights; 0: keep the last one's"},
		&cli.IntFlag{Name: "threads", Value: defaults.Threads, Usage: "`N` workers; another number gives other bytes"},
		&cli.IntFlag{Name: "min-per-class", Value: defaults.MinPerClass, Usage: "leave out classes with fewer training windows"},
		&cli.IntFlag{Name: "max-per-class", Value: defaults.MaxPerClass, Usage: "at most `N` training windows a class, 0: all"},
		&cli.Float64Flag{Name: "validation", Value: usual.Share, Usage: "`SHARE` of each class's captures kept apart for early stopping and calibration"},
		&cli.StringFlag{Name: "memory", Value: "512MiB", Usage: "`SIZE` of rows kept in memory; more go to a file in $TMPDIR (default /var/tmp)"},
	}
}

// given sets what the flag of that name was given, if it was.
func given[T any](c *cli.Context, name string, value func(string) T, into *T) {
	if c.IsSet(name) {
		*into = value(name)
	}
}

// parsePlan makes a plan for a strategy of those flags of training that the command has.
func parsePlan(c *cli.Context, strategy string) (experiment.Plan, error) {
	p, err := experiment.NewPlan(c.String("preset"), strategy, c.String("arch"))
	if err != nil {
		return p, terminal.WrongUsage(err)
	}
	if c.IsSet("services") && c.String("strategy") == experiment.Everything {
		terminal.Logger().Warn("--strategy all takes every flow: --services is for mixed and specialized")
	}
	p.Said = c.LocalFlagNames()
	given(c, "ipv6", c.Bool, &p.Record.IPv6)
	given(c, "scrub", c.Bool, &p.Record.Scrub)
	given(c, "augment", c.Bool, &p.Augment)
	given(c, "scale-delimiters", c.Bool, &p.Record.ScaleDelimiters)
	given(c, "without", c.StringSlice, &p.Record.Without)
	given(c, "packets", c.Int, &p.Record.Packets)
	given(c, "payload", c.Int, &p.Record.Payload)
	given(c, "ablate", c.StringSlice, &p.Paper.Ablate)
	given(c, "filters", c.Int, &p.Paper.Filters)
	given(c, "epochs", c.Int, &p.Train.Epochs)
	given(c, "batch", c.Int, &p.Train.Batch)
	given(c, "lr", c.Float64, &p.Train.LearningRate)
	given(c, "ema", c.Float64, &p.Train.EMA)
	given(c, "patience", c.Int, &p.Train.Patience)
	given(c, "threads", c.Int, &p.Train.Threads)
	given(c, "min-per-class", c.Int, &p.Train.MinPerClass)
	given(c, "max-per-class", c.Int, &p.Train.MaxPerClass)
	given(c, "seed", c.Int64, &p.Train.Seed)
	given(c, "checkpoint", c.String, &p.Train.Checkpoint)
	given(c, "checkpoint-every", c.Duration, &p.Train.CheckpointEvery)
	given(c, "validation", c.Float64, &p.Share)
	return p, parsePlanWords(c, &p)
}

// parsePlanWords reads the flags of a plan whose values may be none.
func parsePlanWords(c *cli.Context, p *experiment.Plan) error {
	if c.IsSet("window") {
		if p.Paper.Rows = c.Int("window"); p.Paper.Rows < 1 {
			return terminal.Usagef("--window %d: want at least 1", p.Paper.Rows)
		}
	}
	mode, err := box.ParseWindowMode(c)
	if err != nil {
		return err
	}
	if mode != nil {
		p.WindowMode = mode
	}
	if d := c.String("direction"); d != "" {
		direction, err := flows.ParseDirection(d)
		if err != nil {
			return terminal.WrongUsage(err)
		}
		p.Direction = &direction
	}
	if c.IsSet("memory") {
		memory, err := box.ParseSize(c.String("memory"), 1<<40)
		if err != nil {
			return terminal.Usagef("--memory: %w", err)
		}
		p.Memory = int64(memory)
	}
	if c.IsSet("services") {
		if p.Services, err = flows.ParseServices(strings.Split(c.String("services"), ",")); err != nil {
			return terminal.Usagef("--services: %w", err)
		}
	}
	if p.Validation, err = box.ParsePart(c, "validation-"); err != nil {
		return err
	}
	if p.Local, err = box.ParseLocal(c); err != nil {
		return err
	}
	p.Data, err = box.DataOptions(c)
	return err
}

// checkPlan gives what is wrong with a plan as wrong usage.
func checkPlan(p interface{ Validate() error }) error {
	if err := p.Validate(); err != nil {
		return terminal.WrongUsage(err)
	}
	return nil
}

func strategiesCommand() *cli.Command {
	return &cli.Command{
		Name:      "strategies",
		Usage:     "compare specialised models, a mixed one and one for all traffic (the paper's Table IV)",
		ArgsUsage: "[DATA...]",
		Description: "Trains and scores every strategy, bidirectional and unidirectional: one model for each\n" +
			"service and their union, one for these services together, one for every flow. Prints\n" +
			"macro F1, classes covered, inferences per hour (also in U, the busiest service's), and\n" +
			"whether traffic must be selected, with the paper's figures beside.\n\n" +
			"The paper's experiment on the published data set, a directory of parquet files:\n\n" +
			"  iotsense strategies bidirectional --direction bi --preset paper --dates 2016-09-23..2016-09-29 \\\n" +
			"    --validation-dates 2016-09-30..2016-10-02 --test-dates 2016-10-03..2016-11-22 --report DIR",
		Flags: append(slices.Concat(takenFlags(append(seriesPlanFlags, "services")...), seriesFlags()),
			&cli.StringFlag{Name: "direction", Usage: "only `bi|uni` (default: both, of records files their own)"}),
		Action: strategies,
	}
}

func strategies(c *cli.Context) error {
	x, err := parseSeries(c)
	if err != nil {
		return err
	}
	plan := func(strategy string) (experiment.Plan, error) {
		p, err := parsePlan(c, strategy)
		if strategy == experiment.Everything { // takes no services
			p.Services = usualPlan().Services
			p.Said = slices.DeleteFunc(p.Said, func(flag string) bool { return flag == "services" })
		}
		return p, err
	}
	rows, err := x.Strategies(c.Context, plan)
	if err != nil {
		return asUsage(err)
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, rows)
	}
	printSheet(c.App.Writer, experiment.StrategiesSheet(rows))
	for _, line := range experiment.MissingModels(rows) {
		if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
			return err
		}
	}
	return nil
}

func ablationCommand() *cli.Command {
	var names []string
	for _, v := range experiment.Variants(experiment.PaperArch) {
		names = append(names, v.Name)
	}
	return &cli.Command{
		Name:      "ablation",
		Usage:     "say what carries the result: train and score variants of the model (the paper's Table VI)",
		ArgsUsage: "[DATA...]",
		Description: "Changes one thing at a time: a layer left out, windows of K records, filters, B payload\n" +
			"values, i packets, a field hidden, delimiters scaled, the other window mode, IPv6. Each variant\n" +
			"is trained to its early stop, and with --fixed once more for " + fmt.Sprint(experiment.FixedEpochs) + " epochs, of which\n" +
			"the last one's weights are kept. Without both convolutions there is no dropout either.\n" +
			"The variants:\n\n" +
			"  " + strings.Join(names, ", "),
		Flags: append(slices.Concat(takenFlags(seriesPlanFlags...), seriesFlags()),
			&cli.StringFlag{Name: "direction", Value: "bi", Usage: "`bi|uni`"},
			&cli.StringFlag{Name: "variants", Usage: "only these of the `LIST`, comma-separated, beside the baseline; `layers`: those of Table VI"},
			&cli.BoolFlag{Name: "fixed", Usage: "train for a fixed number of epochs too"}),
		Action: ablation,
	}
}

func ablation(c *cli.Context) error {
	plan, err := parsePlan(c, "")
	if err != nil {
		return err
	}
	variants, err := experiment.ChooseVariants(c.String("variants"), &plan)
	if err != nil {
		return asUsage(err)
	}
	x, err := parseSeries(c)
	if err != nil {
		return err
	}
	rows, err := x.Ablation(c.Context, plan, variants, c.Bool("fixed"))
	if err != nil {
		return asUsage(err)
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, rows)
	}
	printSheet(c.App.Writer, experiment.AblationSheet(rows))
	_, err = fmt.Fprintln(c.App.Writer, experiment.AblationNote)
	return err
}

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
