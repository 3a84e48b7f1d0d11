package box

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/model"
)

// ModelCommand has, beside info, what else a program can do with model files.
func ModelCommand(others ...*cli.Command) *cli.Command {
	return &cli.Command{
		Name:  "model",
		Usage: "look into model files, exchange them with other tools",
		Subcommands: append([]*cli.Command{{
			Name:   "info",
			Usage:  "what is in a model file",
			Flags:  []cli.Flag{ModelFlag, terminal.JSONFlag},
			Action: modelInfo,
		}}, others...),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return terminal.Usagef("model: no command %q: see iotsense model --help", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func modelInfo(c *cli.Context) error {
	if c.Args().Present() {
		return terminal.Usagef("model info takes no argument, got %q: name the file with --model", c.Args().First())
	}
	bundle, err := LoadModel(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		metadata, err := bundle.Metadata()
		if err != nil {
			return err
		}
		return terminal.PrintJSON(c.App.Writer, metadata)
	}
	for _, name := range slices.Sorted(maps.Keys(bundle)) {
		printModel(c, name, bundle[name])
	}
	return nil
}

func printModel(c *cli.Context, service string, m *model.Model) {
	t := terminal.NewTable(c.App.Writer, "Key", "Value")
	t.Wrap(2, 80)
	if service != "" {
		t.AppendRow(table.Row{"service", service})
	}
	_, none := m.None()
	t.AppendRows([]table.Row{
		{"parameters", m.Parameters()},
		{"classes", len(m.Classes())},
		{"labels", strings.Join(m.Classes(), ", ")},
		{model.NoneLabel, map[bool]string{true: "a class of its own", false: "no class of it"}[none]},
		{"window", fmt.Sprintf("%d rows of %d values, %s", m.Net.Span(), m.Record.Width(), m.Record.WindowMode)},
		{"direction", m.Record.Direction},
		{"epoch", m.Training.Choice},
		{"temperature", m.Calibration},
		{"threshold", m.Thresholds.Default},
		{"trained", fmt.Sprintf("seed %d, %d threads", m.Training.Seed, m.Training.Threads)},
		{"data", m.Training.Digest},
	})
	t.Render()
}
