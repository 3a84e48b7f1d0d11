package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/analyze"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/report"
)

func analyzeCommand() *cli.Command {
	return &cli.Command{
		Name:      "analyze",
		Usage:     "describe a labelled data set: entropy, service transitions, class counts, leaks",
		ArgsUsage: "[FILE|DIR...]",
		Flags: append(box.DataFlags(), terminal.JSONFlag,
			&cli.BoolFlag{Name: "leaks", Usage: "measure what lets a model recognise units or copies instead of types"},
			&cli.BoolFlag{Name: "ipv6", Usage: "the figures cover IPv6 records too (the paper's are of IPv4)"},
			&cli.StringFlag{Name: "report", Usage: "write `DIR`/analyze.json, analyze.html and its pictures; a name that ends in .html: the page alone"}),
		Action: analyzeData,
	}
}

func analyzeData(c *cli.Context) error {
	cfg, spec, err := analyzeConfig(c)
	if err != nil {
		return err
	}
	show, end := terminal.Progress("analyze")
	defer end()
	o, err := box.DataOptions(c)
	if err != nil {
		return err
	}
	o.Capture.RecordSpec, o.Progress = spec, show
	o.WholePayloads, o.AnyDirection = true, !c.IsSet("direction") && !c.IsSet("model")
	set, err := box.Open(o)
	if err != nil {
		return err
	}
	a := analyze.New(cfg)
	damaged := set.Records(c.Context, func(r flows.LabelledRecord) error {
		a.Add(r)
		return nil
	}, func(s dataset.CaptureSummary) error {
		a.EndCapture(s.Name)
		return nil
	})
	end()
	if err := c.Context.Err(); err != nil {
		return err
	}
	if dataset.Refused(damaged) {
		return damaged
	}
	result := a.Result()
	if result.Records == 0 {
		return errors.Join(damaged, errors.New("no records: the data holds no packet of a device (see --manifest and --local)"))
	}
	if path := c.String("report"); path != "" {
		if err := writeAnalysis(path, result); err != nil {
			return err
		}
		terminal.Logger().Info("report written", "file", path)
	}
	if c.Bool("json") {
		err = terminal.PrintJSON(c.App.Writer, result)
	} else {
		err = analyze.WriteText(c.App.Writer, result)
	}
	return errors.Join(damaged, err)
}

// analyzeConfig reads the flags; what they leave open is --model's, if given.
func analyzeConfig(c *cli.Context) (analyze.Config, flows.RecordSpec, error) {
	cfg := analyze.Config{IPv6: c.Bool("ipv6"), Leaks: c.Bool("leaks")}
	bundle, err := box.LoadGivenModel(c)
	if err != nil {
		return cfg, flows.RecordSpec{}, err
	}
	spec, asked, err := box.ParseStream(c, bundle)
	if err != nil {
		return cfg, spec, err
	}
	mode, strict := model.Padded, 0
	for _, m := range bundle {
		cfg.Rows, strict, mode = m.Net.Span(), m.Net.Strict(), m.Record.WindowMode
	}
	if c.IsSet("window") {
		if cfg.Rows = c.Int("window"); cfg.Rows < 1 {
			return cfg, spec, terminal.Usagef("--window %d: want 1 or more", cfg.Rows)
		}
	}
	if asked != nil {
		mode = *asked
	}
	cfg.First = mode.First(cmp.Or(strict, cfg.Rows, cnn.DefaultRows))
	return cfg, spec, nil
}

// writeAnalysis writes the report: a page, or a directory of all there is.
func writeAnalysis(path string, result *analyze.Result) error {
	page, err := report.Analysis(result)
	if err != nil {
		return fmt.Errorf("report %s: %w", path, err)
	}
	if filepath.Ext(path) == ".html" {
		return page.WritePage(path)
	}
	if err := page.Write(path, "analyze.html"); err != nil {
		return err
	}
	text, err := json.Marshal(result) // a number for each place of each payload: no line for each
	if err != nil {
		return err
	}
	return report.WriteFile(path, "analyze.json", text)
}
