package main

// This file makes plans of command lines.

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn/learn"
	streamlearn "github.com/iotsense/iotsense/pkg/model/stream/learn"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

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
		&cli.StringFlag{Name: "preset", Usage: "`paper`: the paper's training: strict windows, 50 to 20,000 of a class (10,000 for specialized), --patience 5, --ema 0, validation by windows"},
		&cli.StringFlag{Name: "arch", DefaultText: experiment.StreamArch + "; of --preset paper, " + experiment.PaperArch, Usage: "network of this `NAME`: " + strings.Join(experiment.Designs(), ", ") + "; each has its own --epochs, --batch, --lr, --ema and --patience; stream learns with --augment and --negatives unless they are false"},
		&cli.StringFlag{Name: "strategy", Value: experiment.Everything, Usage: "`all|mixed|specialized`: every flow; the flows of --services; one model for each service"},
		&cli.StringFlag{Name: "services", Value: experiment.ServiceList(usual.Services), Usage: "`LIST` of services for mixed and specialized"},
		&cli.BoolFlag{Name: "ipv6", Usage: "windows include IPv6 records"},
		&cli.BoolFlag{Name: "scrub", Usage: "mask what names a unit in payloads: MACs, local addresses, UUIDs, serial numbers; the model does so ever after"},
		&cli.BoolFlag{Name: "augment", Usage: "learn from four changed copies of each capture too: in another home, begun late, lost in part, seen twice or one way"},
		&cli.BoolFlag{Name: "negatives", Usage: "learn a class \"" + model.NoneLabel + "\", by which no device is named, from machines that no line of the manifest names and from mixtures of devices"},
		&cli.StringFlag{Name: "taxonomy", Usage: "CSV `FILE` of label,path, as maker/kind/class: the model says of a device the deepest level that is safe"},
		&cli.BoolFlag{Name: "no-facts", Usage: "train a network alone, without what judges captures' devices by what they say of themselves; that of --arch " + experiment.PaperArch + " and those of --strategy " + experiment.Specialized + " are alone anyway"},
		&cli.BoolFlag{Name: "scale-delimiters", Usage: "divide the payload's delimiters by 255 too"},
		&cli.StringSliceFlag{Name: "ablate", Usage: "leave `PART` out (repeatable): of paper " + strings.Join(learn.Layers, ", ") + "; of stream " + strings.Join(streamlearn.Parts, ", ")},
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
	given(c, "negatives", c.Bool, &p.Negatives)
	given(c, "no-facts", c.Bool, &p.NoFacts)
	given(c, "scale-delimiters", c.Bool, &p.Record.ScaleDelimiters)
	given(c, "without", c.StringSlice, &p.Record.Without)
	given(c, "packets", c.Int, &p.Record.Packets)
	given(c, "payload", c.Int, &p.Record.Payload)
	given(c, "ablate", c.StringSlice, &p.Paper.Ablate)
	given(c, "filters", c.Int, &p.Paper.Filters)
	given(c, "epochs", c.Int, &p.Train.Epochs)
	if c.IsSet("epochs") {
		p.Train.LeastSteps = 0 // that many are meant
	}
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
	if p.Taxonomy, err = parseTaxonomy(c); err != nil {
		return err
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

// parseTaxonomy reads what --taxonomy names.
func parseTaxonomy(c *cli.Context) (t experiment.Taxonomy, err error) {
	if !c.IsSet("taxonomy") {
		return t, nil
	}
	if t.File = c.String("taxonomy"); t.File == "" {
		return t, terminal.Usagef("--taxonomy: name the file, or leave it out")
	}
	t.Paths, err = taxonomy.Load(t.File)
	return t, err
}

// checkPlan gives what is wrong with a plan as wrong usage.
func checkPlan(p interface{ Validate() error }) error {
	if err := p.Validate(); err != nil {
		return terminal.WrongUsage(err)
	}
	return nil
}
