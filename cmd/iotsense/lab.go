package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/lab"
)

func labCommand() *cli.Command {
	return &cli.Command{
		Name:      "lab",
		Usage:     "write captures of the device lab, with a manifest, to try training on",
		ArgsUsage: "DIR",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "units", Value: 6, Usage: "`N` units of each kind; a third of them is split=test"},
			&cli.IntFlag{Name: "captures", Value: 4, Usage: "`N` captures of each unit"},
			&cli.Int64Flag{Name: "seed", Value: 1, Usage: "`N` that all traffic comes from"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return terminal.Usagef("lab: name one directory to write to")
			}
			if err := lab.WriteDataset(c.Context, c.Args().First(), c.Int("units"), c.Int("captures"), c.Int64("seed")); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.App.Writer, "captures of %d kinds of device written to %s\n", len(lab.Kinds()), c.Args().First())
			return err
		},
	}
}
