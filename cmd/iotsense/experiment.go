package main

// This file holds what the commands that train and score series of models share.

import (
	"errors"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
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
	"split", "dates", "validation", "validation-split", "validation-dates", "preset", "arch", "ipv6", "scale-delimiters", "scrub", "augment", "negatives", "taxonomy", "no-facts", "memory",
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

// printTable writes a report's table as text.
func printTable(w io.Writer, s report.Table) {
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
