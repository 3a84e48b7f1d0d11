package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/api/client"
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
		Usage:     "print what devices say of themselves, live or in captures: maker, names, services",
		ArgsUsage: "MAC | FILE... (- for standard input)",
		Description: "A line for each device, kind and value. Source mac: of the address; sent: the device's own\n" +
			"word; heard: another's, in an answer to it. MAC asks a running sensor.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "device", Usage: "of captures only the device with this `MAC`, or address where there are no MACs"},
			&cli.StringSliceFlag{Name: "local", Usage: "local `CIDR` of captures (repeatable; default: private and unique local ranges)"},
			ask.SocketFlag,
			terminal.JSONFlag,
		},
		Action: printFacts,
	}
}

func printFacts(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return terminal.Usagef("facts: name a device's MAC, or captures")
	}
	if d, err := ask.ParseDeviceName(args[0]); err == nil && d.Name != "" {
		switch {
		case len(args) > 1:
			return terminal.Usagef("facts: one MAC at a time, got %d arguments", len(args))
		case c.IsSet("device") || c.IsSet("local"):
			return terminal.Usagef("facts %s: --device and --local are for captures", args[0])
		}
		return liveFacts(c, d.Name)
	}
	if c.IsSet("socket") {
		return terminal.Usagef("--socket: facts of a running sensor are asked for by MAC, not %q", args[0])
	}
	return fileFacts(c, args)
}

// liveFacts asks a sensor for a device's facts.
func liveFacts(c *cli.Context, device string) error {
	sensor := client.New(c.String("socket"))
	lines, err := sensor.Facts(c.Context, device)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		return fmt.Errorf("device %s: the sensor has not seen it send%s", device, ask.Meant(c.Context, sensor, device))
	}
	out := newFactsPrinter(c)
	defer out.close()
	return out.print(lines)
}

// fileFacts reads captures.
func fileFacts(c *cli.Context, paths []string) error {
	local, err := ParseLocal(c)
	if err != nil {
		return err
	}
	only, err := wantedDevice(c)
	if err != nil {
		return err
	}
	out := newFactsPrinter(c)
	var damaged []error
	found := only == ""
	for _, path := range paths {
		known, err := readFacts(c.Context, path, flows.NewLocals(local))
		damaged = append(damaged, err)
		shown := plaintext.Escape(path)
		for _, name := range deviceNames(known) {
			if only != "" && name != only {
				continue
			}
			found = true
			if err := out.print(known.Of(name).Lines(name, &shown)); err != nil {
				return err
			}
		}
	}
	out.close()
	if err := errors.Join(damaged...); err != nil || found {
		return err
	}
	return fmt.Errorf("device %s: no packet of it in %s", only, strings.Join(paths, ", "))
}

// wantedDevice is the name of the device of captures that --device wants; empty: any.
func wantedDevice(c *cli.Context) (string, error) {
	if !c.IsSet("device") {
		return "", nil
	}
	d, err := ask.ParseDeviceName(c.String("device"))
	switch {
	case err != nil:
		return "", terminal.Usagef("--device: %w", err)
	case d.Name == "": // of a capture without MACs the addresses are the names
		return "ip:" + d.Addr.String(), nil
	}
	return d.Name, nil
}

// readFacts reads a capture, and says what is to be known of it.
func readFacts(ctx context.Context, path string, locals *flows.Locals) (*facts.Collector, error) {
	known := facts.NewCollector(classify.MaxFileDevices)
	cfg := capture.Config{Locals: locals, Observe: known.Sample}
	stats, err := capture.Read(ctx, path, cfg, func(*flows.Record) {})
	if err == nil || stats.Seen > 0 {
		s := dataset.CaptureSummary{Name: path, Stats: stats}
		for _, name := range deviceNames(known) {
			s.Devices = append(s.Devices, dataset.Device{Name: name})
		}
		sayForgotten(s, known.Forgotten())
		sayFindings(s, nil, nil)
		sayUnread(path, known)
	}
	return known, err
}

// deviceNames are those of the devices of which something is known, sorted.
func deviceNames(known *facts.Collector) (names []string) {
	for name := range known.Each {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sayUnread tells of payloads that are not what their port or first bytes promise.
func sayUnread(path string, known *facts.Collector) {
	for protocol, t := range known.Tallies {
		if t.Malformed > 0 {
			terminal.Say("%s: %d of %d payloads of %s say nothing that can be read", path, t.Malformed, t.Read+t.Cut+t.Malformed, protocol)
		}
	}
}

// factsPrinter prints lines of JSON, or a table at the end.
type factsPrinter struct {
	w     io.Writer
	table *terminal.TextTable // nil: JSON
}

func newFactsPrinter(c *cli.Context) *factsPrinter {
	p := &factsPrinter{w: c.App.Writer}
	if !c.Bool("json") {
		p.table = terminal.NewTable(p.w, "Device", "Kind", "Value", "Source", "Count", "Capture")
		p.table.Spare(6, 5)
	}
	return p
}

func (p *factsPrinter) print(lines []v1.Fact) error {
	if p.table == nil {
		return terminal.PrintLines(p.w, lines)
	}
	for _, f := range lines {
		from := "live"
		if f.Capture != nil {
			from = *f.Capture
		}
		p.table.AppendRow(table.Row{f.Device, f.Kind, f.Value, f.Source, f.Count, from})
	}
	return nil
}

// close writes the table, if there is anything to write.
func (p *factsPrinter) close() {
	if p.table != nil && p.table.Length() > 0 {
		p.table.Render()
	}
}
