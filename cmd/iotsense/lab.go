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
			&cli.DurationFlag{Name: "duration", Usage: "captures of `D`, 24h at most, of units as a home's people use them by the hours of their day\n" +
				"(default: 1 to 3 minutes from power-on, in constant use)"},
			&cli.Int64Flag{Name: "seed", Value: 1, Usage: "`N` that all traffic comes from"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return terminal.Usagef("lab: name one directory to write to")
			}
			var err error
			dir, units, captures, seed := c.Args().First(), c.Int("units"), c.Int("captures"), c.Int64("seed")
			if length := c.Duration("duration"); c.IsSet("duration") {
				if length <= 0 || length > lab.MaxLength {
					return terminal.Usagef("--duration %v: want more than 0 and at most %v", length, lab.MaxLength)
				}
				err = lab.WriteDays(c.Context, dir, units, captures, seed, length)
			} else {
				err = lab.WriteDataset(c.Context, dir, units, captures, seed)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "captures of %d kinds of device written to %s\n", len(lab.Kinds()), dir)
			return err
		},
	}
}
