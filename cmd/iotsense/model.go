package main

import (
	"fmt"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/model"
)

func modelCommand() *cli.Command {
	return &cli.Command{
		Name:  "model",
		Usage: "look into model files",
		Subcommands: []*cli.Command{{
			Name:   "info",
			Usage:  "what is in a model file",
			Flags:  []cli.Flag{modelFlag, jsonFlag},
			Action: modelInfo,
		}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("model: no command %q: see iotsense model --help", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func modelInfo(c *cli.Context) error {
	bundle, err := loadModel(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		metadata, err := bundle.Metadata()
		if err != nil {
			return err
		}
		return printJSON(c.App.Writer, metadata)
	}
	services := make([]string, 0, len(bundle))
	for name := range bundle {
		services = append(services, name)
	}
	slices.Sort(services)
	for _, name := range services {
		printModel(c, name, bundle[name])
	}
	return nil
}

func printModel(c *cli.Context, service string, m *model.Model) {
	t := newTable(c.App.Writer, "Key", "Value")
	if service != "" {
		t.AppendRow(table.Row{"service", service})
	}
	t.AppendRows([]table.Row{
		{"parameters", m.Parameters()},
		{"classes", len(m.Labels)},
		{"labels", fmt.Sprint(m.Labels)},
		{"window", fmt.Sprintf("%d rows of %d values, %s", m.Arch.K, m.Record.Width(), m.Record.WindowMode)},
		{"direction", m.Record.Direction},
		{"temperature", m.Temperature()},
		{"threshold", m.Thresholds.Default},
		{"trained", fmt.Sprintf("seed %d, %d threads, data %s", m.Training.Seed, m.Training.Threads, m.Training.Digest)},
	})
	t.Render()
}
