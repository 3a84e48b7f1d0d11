// Package box holds the commands that live on a box: the sensor, its clients, and what
// reads captures. It links nothing that trains, draws or makes traffic.
package box

// This file lists them, and holds the small ones: what models there are, and what the
// machine allows before the sensor runs.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/doctor"
	"github.com/iotsense/iotsense/pkg/model"
)

// Usage is what all programs are for.
const Usage = "tell which IoT device is behind every address on the network, how sure that is, and why"

// Commands are those that every program has, but for `model`, which some do more with.
func Commands() []*cli.Command {
	return []*cli.Command{
		runCommand(), ask.DevicesCommand(), ask.FlowsCommand(), ask.StatsCommand(), classifyCommand(), extractCommand(), doctorCommand(),
	}
}

// What the full tool alone has, and what its `model` has.
var (
	fullCommands      = []string{"ablation", "analyze", "bench", "crossval", "demo", "evaluate", "lab", "strategies", "train"}
	fullModelCommands = []string{"export", "import"}
)

// Elsewhere are the commands that the full tool alone has, for a program that says so.
func Elsewhere() []*cli.Command { return missing("", fullCommands) }

// ModelElsewhere are those of its `model`.
func ModelElsewhere() []*cli.Command { return missing("model ", fullModelCommands) }

func missing(before string, names []string) (list []*cli.Command) {
	for _, name := range names {
		list = append(list, &cli.Command{
			Name: name, Hidden: true, SkipFlagParsing: true,
			Action: func(*cli.Context) error {
				return terminal.Usagef("%s: not in this binary; it is in iotsense (package iotsense-tools)", before+name)
			},
		})
	}
	return list
}

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
	t.AppendRows([]table.Row{
		{"parameters", m.Parameters()},
		{"classes", len(m.Labels)},
		{"labels", strings.Join(m.Labels, ", ")},
		{"window", fmt.Sprintf("%d rows of %d values, %s", m.Net.Span(), m.Record.Width(), m.Record.WindowMode)},
		{"direction", m.Record.Direction},
		{"temperature", m.Temperature()},
		{"threshold", m.Thresholds.Default},
		{"trained", fmt.Sprintf("seed %d, %d threads", m.Training.Seed, m.Training.Threads)},
		{"data", m.Training.Digest},
	})
	t.Render()
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "what this kernel, driver and privilege set allow, and what to change",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "interface", Aliases: []string{"i"}, Usage: "`IFACE` to look at (default: every one that is up)"},
			terminal.JSONFlag,
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return terminal.Usagef("doctor takes no argument: give the interface as -i %s", c.Args().First())
			}
			return printFindings(c.App.Writer, doctor.Run(c.String("interface")), c.Bool("json"))
		},
	}
}

// printFindings prints the findings and fails when one of them stands in the way.
func printFindings(w io.Writer, checks []doctor.Check, asJSON bool) error {
	if asJSON {
		if err := terminal.PrintJSON(w, map[string][]doctor.Check{"checks": checks}); err != nil {
			return err
		}
	} else {
		printChecks(w, checks)
	}
	failed := doctor.Failed(checks)
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("doctor: %d of %d checks failed: %s", len(failed), len(checks), strings.Join(failed, ", "))
}

// printChecks gives each finding its advice on a line of its own, unbroken, so
// that commands can be copied.
func printChecks(w io.Writer, checks []doctor.Check) {
	name := 0
	for _, c := range checks {
		name = max(name, len(c.Name))
	}
	margin := strings.Repeat(" ", len("warn  ")+name+len("  "))
	width := max(40, terminal.TerminalWidth-len(margin))
	for _, c := range checks {
		head := fmt.Sprintf("%-4s  %-*s  ", c.Status, name, c.Name)
		for line := range strings.Lines(text.WrapSoft(c.Found, width)) {
			fmt.Fprintf(w, "%s%s\n", head, strings.TrimSpace(line))
			head = margin
		}
		if c.Advice != "" {
			fmt.Fprintf(w, "%s-> %s\n", margin, c.Advice)
		}
	}
}
