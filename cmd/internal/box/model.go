package box

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/sensor"
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
	}
}

func modelInfo(c *cli.Context) error {
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
	t.Breaks(2)
	if service != "" {
		t.AppendRow(table.Row{"service", service})
	}
	_, none := m.None()
	t.AppendRows([]table.Row{
		{"parameters", m.Parameters()},
		{"classes", len(m.Classes())},
		{"labels", strings.Join(m.Classes(), ", ")},
		{model.NoneLabel, map[bool]string{true: "a class of its own", false: "no class of it"}[none]},
	})
	if n := len(m.Taxonomy); n > 0 {
		t.AppendRow(table.Row{"levels", fmt.Sprintf("of %d classes, as %s", n, m.Taxonomy[slices.Sorted(maps.Keys(m.Taxonomy))[0]])})
	}
	t.AppendRows(networkRows(m))
	t.AppendRows([]table.Row{
		{"direction", m.Record.Direction},
		{"epoch", m.Training.Choice},
		{"temperature", m.Calibration},
		{"threshold", m.Thresholds.Default},
		{"facts", factsText(m)},
		{"trained", fmt.Sprintf("seed %d, %d threads", m.Training.Seed, m.Training.Threads)},
		{"data", m.Training.Digest},
	})
	t.Render()
}

// factsText says what the model makes of what devices say of themselves.
func factsText(m *model.Model) string {
	if m.Facts == nil {
		return "none: the network judges alone"
	}
	telling := slices.DeleteFunc(slices.Clone(m.Facts.Telling), func(group int) bool { return group < 0 })
	return fmt.Sprintf("%d tokens, of which %d tell one of %d groups; temperature %.2f, fitted on %d validation captures",
		len(m.Facts.Tokens), len(telling), len(m.Facts.Groups), m.Facts.Temperature, m.Facts.Captures)
}

// networkRows say what the network is, and what an output rests on.
func networkRows(m *model.Model) []table.Row {
	rows := []table.Row{{"network", m.Net.Kind()}}
	switch net := m.Net.(type) {
	case *cnn.Net:
		a := net.Arch
		return append(rows,
			table.Row{"layers", fmt.Sprintf("%d and %d filters, %d units", a.Filters[0], a.Filters[1], a.Hidden)},
			table.Row{"window", fmt.Sprintf("%d rows of %d values, %s", a.K, m.Record.Width(), m.Record.WindowMode)})
	case *stream.Net:
		a := net.Arch
		return append(rows,
			table.Row{"layers", fmt.Sprintf("%d filters of payload bytes, %d units of %d numbers, %d rows of %d values for tokens, %d units",
				stream.Filters, a.Units, stream.Numbers, a.Buckets, a.Width, a.Hidden)},
			table.Row{"record", fmt.Sprintf("%d packets, %d payload values", m.Record.Packets, m.Record.Payload)},
			table.Row{"window", fmt.Sprintf("the last %d records, from a device's record %d on (%s)",
				a.Flows, m.Record.WindowMode.First(a.Strict())+1, m.Record.WindowMode)},
			table.Row{"memory", fmt.Sprintf("%d bytes a device", a.MemoryBytes())})
	}
	return append(rows, table.Row{"window", fmt.Sprintf("%d records, %s", m.Net.Span(), m.Record.WindowMode)})
}

// ModelsFlag names the shelf of learned models.
var ModelsFlag = &cli.StringFlag{Name: "models", Usage: "`DIR` of models that `learn` makes: the newest judges, where there is one, in place of --model"}

// chosenModel is the model that run judges with, and which it is; nil: none. A learned
// one that cannot be read goes to unread, whose error ends it.
func chosenModel(c *cli.Context, unread func(error) error) (model.Bundle, sensor.Named, error) {
	if c.String("model") == ask.NoModel {
		return nil, sensor.Named{}, nil
	}
	if dir := c.String("models"); dir != "" {
		bundle, path, err := model.Shelf(dir).Newest()
		if err != nil {
			err = unread(err)
		}
		if bundle != nil || err != nil {
			return bundle, sensor.Named{Text: ModelText(path, bundle), File: path}, err
		}
	}
	bundle, err := LoadModel(c)
	return bundle, sensor.Named{Text: ModelText(c.String("model"), bundle), File: c.String("model")}, err
}
