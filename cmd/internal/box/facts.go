package box

import (
	"errors"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
)

func factsCommand() *cli.Command {
	return &cli.Command{
		Name:      "facts",
		Usage:     "print what the devices in captures say of themselves: maker, names, services",
		ArgsUsage: "FILE... (- for standard input)",
		Description: "A line for each device, kind and value. Source mac: of the address; sent: the device's own\n" +
			"word; heard: another's, in an answer to it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "device", Usage: "only the device with this `MAC`"},
			&cli.StringSliceFlag{Name: "local", Usage: "local `CIDR` (repeatable; default: private and unique local ranges)"},
			terminal.JSONFlag,
		},
		Action: printFacts,
	}
}

func printFacts(c *cli.Context) error {
	if !c.Args().Present() {
		return terminal.Usagef("facts: no capture: name files")
	}
	local, err := ParseLocal(c)
	if err != nil {
		return err
	}
	only := ""
	if c.IsSet("device") {
		mac, err := flows.ParseMAC(c.String("device"))
		if err != nil {
			return terminal.Usagef("--device: %w", err)
		}
		only = mac.String()
	}
	out := newFactsPrinter(c)
	var damaged []error
	for _, path := range c.Args().Slice() {
		known := facts.NewCollector(classify.MaxFileDevices)
		cfg := capture.Config{Locals: flows.NewLocals(local), Observe: known.Sample}
		stats, err := capture.Read(c.Context, path, cfg, func(*flows.Record) {})
		damaged = append(damaged, err)
		if err == nil || stats.Seen > 0 {
			s := dataset.CaptureSummary{Name: path, Stats: stats}
			sayForgotten(s, known.Forgotten())
			sayFindings(s, nil, nil)
		}
		if err := out.print(path, only, known); err != nil {
			return err
		}
	}
	out.close()
	return errors.Join(damaged...)
}

// factsPrinter prints lines of JSON, or a table at the end.
type factsPrinter struct {
	w     io.Writer
	table *terminal.TextTable // nil: JSON
}

func newFactsPrinter(c *cli.Context) *factsPrinter {
	p := &factsPrinter{w: c.App.Writer}
	if !c.Bool("json") {
		p.table = terminal.NewTable(p.w, "Capture", "Device", "Kind", "Value", "Source", "Count")
	}
	return p
}

// print prints the facts of a capture's devices, or of the only one that is wanted, by
// device and kind.
func (p *factsPrinter) print(path, only string, known *facts.Collector) error {
	var names []string
	for name := range known.Each {
		if only == "" || name == only {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		list := slices.Clone(known.Of(name).All())
		slices.SortStableFunc(list, func(a, b facts.Fact) int { return int(a.Kind) - int(b.Kind) })
		for _, f := range list {
			line := v1.Fact{
				Device: name, Capture: &path, Kind: f.Kind.String(), Value: f.Value, Source: f.Source.String(),
				First: v1.UnixMicro(f.First), Last: v1.UnixMicro(f.Last), Count: uint64(f.Count),
			}
			if p.table == nil {
				if err := terminal.PrintJSON(p.w, line); err != nil {
					return err
				}
				continue
			}
			p.table.AppendRow(table.Row{path, name, line.Kind, line.Value, line.Source, line.Count})
		}
	}
	for protocol, t := range known.Tallies {
		if t.Malformed > 0 {
			terminal.Say("%s: %d of %d payloads of %s say nothing that can be read", path, t.Malformed, t.Read+t.Cut+t.Malformed, protocol)
		}
	}
	return nil
}

// close writes the table, if there is anything to write.
func (p *factsPrinter) close() {
	if p.table != nil && p.table.Length() > 0 {
		p.table.Render()
	}
}
