// Package kept holds the command that checks and exchanges registries that no sensor has open.
package kept

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/store"
)

// DefaultState is where the service keeps its registry.
const DefaultState = "/var/lib/iotsense/registry.db"

// Command is `registry`.
func Command() *cli.Command {
	state := &cli.StringFlag{Name: "state", Value: DefaultState, Usage: "the registry's `FILE`, which no sensor has open; while one has, that with .snapshot behind its name"}
	return &cli.Command{
		Name:  "registry",
		Usage: "check, export and import what is known of devices",
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "say whether the file is whole, and what it holds",
				Flags: []cli.Flag{state, terminal.JSONFlag}, Action: checkRegistry,
			},
			{
				Name: "export", Usage: "write the devices: a line of JSON each, or CSV",
				Flags: []cli.Flag{
					state, &cli.BoolFlag{Name: "csv", Usage: "a table without facts and what only iotsense can read"},
					&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` (default: standard output)"},
				},
				Action: exportRegistry,
			},
			{
				Name: "import", Usage: "add devices of an export, and what was said of those that there are", ArgsUsage: "FILE (- for standard input)",
				Description: "CSV needs the column device; user_label, macs, locked and ignored are taken too.",
				Flags:       []cli.Flag{state}, Action: importRegistry,
			},
		},
	}
}

func readRegistry(c *cli.Context) (*store.Content, error) {
	return store.Read(c.String("state"))
}

// held is what a registry holds.
type held struct {
	State    string `json:"state_file"`
	Devices  int    `json:"devices"`
	Labelled int    `json:"labelled_devices"`
	Facts    int    `json:"facts_held"`
	Events   int    `json:"events"`
}

func checkRegistry(c *cli.Context) error {
	content, err := readRegistry(c)
	if err != nil {
		return err
	}
	h := held{State: c.String("state"), Devices: len(content.Devices), Events: len(content.Events)}
	for i := range content.Devices {
		if content.Devices[i].Label != "" {
			h.Labelled++
		}
	}
	for _, list := range content.Facts {
		h.Facts += len(list)
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, h)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: whole; %d devices, %d of them labelled, %d facts, %d events\n", h.State, h.Devices, h.Labelled, h.Facts, h.Events)
	return err
}

func exportRegistry(c *cli.Context) error {
	content, err := readRegistry(c)
	if err != nil {
		return err
	}
	write := content.Export
	if c.Bool("csv") {
		write = content.ExportCSV
	}
	if path := c.String("output"); path != "" {
		err = wholefile.Write(path, write)
	} else {
		err = write(c.App.Writer)
	}
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

func importRegistry(c *cli.Context) (err error) {
	if c.NArg() != 1 {
		return terminal.Usagef("registry import: want one FILE, got %d arguments", c.NArg())
	}
	path := c.Args().First()
	in := io.ReadCloser(os.Stdin)
	if path != "-" {
		if in, err = os.Open(path); err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer in.Close()
	}
	added, err := store.Import(in)
	if err != nil {
		return fmt.Errorf("import %s: %w", path, err)
	}
	s, opened, err := store.Open(c.String("state"))
	if err != nil {
		return err
	}
	if opened.Damage != "" {
		terminal.Say("registry: %s", opened.Damage)
	}
	change := opened.Merge(added)
	if err := s.Write(change); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %d devices of %d added or told what to be called, %d there\n", c.String("state"), len(change.Devices), len(added.Devices),
		len(opened.Devices))
	return err
}
