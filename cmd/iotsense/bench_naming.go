package main

// This file holds the command that lets other programs name the same devices.

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/naming"
)

func benchNamingCommand() *cli.Command {
	return &cli.Command{
		Name: "naming", ArgsUsage: "[DATA...]",
		Usage: "maker, kind and model of devices beside what other programs say of the same captures",
		Description: "Each level is right, wrong or blank some time after the first packet that a device sends; the score is\n" +
			"right less twice wrong, of all. Programs that are not installed are left out by name.\n" +
			"What their words mean stands in one table, which is generous to them.",
		Flags: append(box.DataFlags(), terminal.JSONFlag,
			&cli.GenericFlag{Name: "first", Value: &moments{}, Usage: "what is said `TIME` after the first packet that each device sends (repeatable; default: 10s, 60s and 300s)"},
			&cli.StringSliceFlag{Name: "strangers", Usage: "also devices of the manifest `FILE`, in rows of their own (repeatable)"},
			&cli.StringFlag{Name: "taxonomy", Usage: "CSV `FILE` of label,path for true classes that the model lacks; a level ? is not known and not counted"},
			&cli.StringFlag{Name: "table", Usage: "CSV `FILE` of peer,pattern,maker,kind,model: what programs' words mean (default: the one that comes along)"}),
		Action: benchNaming,
	}
}

// namingFigures are what the command prints.
type namingFigures struct {
	Model   string          `json:"model"`
	Missing []naming.Absent `json:"missing"`
	*naming.Result
}

func benchNaming(c *cli.Context) error {
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	compare, err := parseComparison(c, bundle)
	if err != nil {
		return err
	}
	show, end := terminal.Progress("bench naming")
	defer end()
	data, err := namingData(c, bundle, show)
	if err != nil {
		return err
	}
	figures := namingFigures{Model: modelName(c)}
	compare.Peers, figures.Missing = naming.Installed(naming.Peers())
	figures.Result, err = compare.Run(c.Context, data)
	end()
	if figures.Result == nil {
		return err
	}
	if c.Bool("json") {
		return errors.Join(err, terminal.PrintJSON(c.App.Writer, figures))
	}
	printNaming(c.App.Writer, &figures)
	return err
}

// parseComparison reads what is to be compared, but for the programs.
func parseComparison(c *cli.Context, bundle model.Bundle) (n naming.Comparison, err error) {
	mode, err := box.ParseWindowMode(c)
	if err != nil {
		return n, err
	}
	n = naming.Comparison{Bundle: bundle, Classify: classify.Options{WindowMode: mode}, Times: *c.Generic("first").(*moments), Warn: terminal.Logger().Warn}
	if len(n.Times) == 0 {
		n.Times = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}
	}
	taxonomy, err := parseTaxonomy(c)
	if err != nil {
		return n, err
	}
	n.Taxonomy = taxonomy.Paths
	if path := c.String("table"); path != "" {
		n.Table, err = naming.LoadTable(path)
	} else {
		n.Table, err = naming.OwnTable()
	}
	return n, err
}

// namingData opens the data, and each set of strangers.
func namingData(c *cli.Context, bundle model.Bundle, show func(done, total int, name string)) ([]naming.Data, error) {
	spec, _, err := box.ParseStream(c, bundle)
	if err != nil {
		return nil, err
	}
	options, err := box.DataOptions(c)
	if err != nil {
		return nil, err
	}
	options.Capture.RecordSpec, options.Progress = spec, show
	all := []naming.Data{{Name: strings.Join(append([]string{"captures"}, options.Splits...), " ")}}
	if all[0].Set, err = box.Open(options); err != nil {
		return nil, err
	}
	for _, path := range c.StringSlice("strangers") {
		set, err := dataset.Open(dataset.Options{Manifest: path, Capture: options.Capture, Progress: show})
		if err != nil {
			return nil, err
		}
		all = append(all, naming.Data{Name: strings.TrimSuffix(filepath.Base(path), ".csv"), Set: set, Part: true})
	}
	return all, nil
}

func printNaming(w io.Writer, f *namingFigures) {
	t := terminal.NewTable(w, "Devices", "Of", "Seconds", "Named by", "Maker right", "Wrong", "Blank", "Kind right", "Wrong", "Blank", "Model right", "Wrong", "Blank", "Score")
	for _, r := range f.Rows {
		row := table.Row{r.Devices, r.Set, r.Seconds, r.Namer}
		for _, n := range []naming.Count{r.Maker, r.Kind, r.Model} {
			row = append(row, n.Right, n.Wrong, n.Blank)
		}
		t.AppendRow(append(row, fmt.Sprintf("%.3f", r.Score)))
	}
	t.Render()
	for _, m := range f.Missing {
		fmt.Fprintf(w, "%s is not installed: %s\n", m.Peer, m.Install)
	}
	for _, peer := range sortedKeys(f.Failed) {
		fmt.Fprintf(w, "%s could not read %d captures\n", peer, f.Failed[peer])
	}
}
