package main

// This file holds the commands that measure; here, what a packet costs.

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/loader/measure"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "the measurements behind the README's figures",
		Subcommands: []*cli.Command{benchKernelCommand(), benchInferenceCommand(), benchPipelineCommand(), benchLiveCommand(), benchSamplesCommand(), benchNamingCommand(), benchCaptureCommand()},
		Action: func(c *cli.Context) error {
			return terminal.Usagef("bench: say what to measure, see iotsense bench --help")
		},
	}
}

func benchKernelCommand() *cli.Command {
	return &cli.Command{
		Name: "kernel", Usage: "what a packet costs in the kernel half, without an interface (root)",
		Flags: []cli.Flag{terminal.JSONFlag},
		Action: func(c *cli.Context) error {
			cases, err := measure.Run()
			if err != nil {
				return fmt.Errorf("bench kernel: %w", err)
			}
			return printBench(c.App.Writer, cases, c.Bool("json"))
		},
	}
}

func printBench(w io.Writer, cases []measure.Case, asJSON bool) error {
	if asJSON {
		return terminal.PrintJSON(w, map[string][]measure.Case{"cases": cases})
	}
	t := terminal.NewTable(w, "Hook", "Case", "ns/packet", "Over empty", "In references")
	var empty float64
	for _, c := range cases {
		if c.Name == "empty" {
			empty = c.NSPerPacket
		}
		t.AppendRow(table.Row{c.Hook, c.Name, c.NSPerPacket, c.NSPerPacket - empty, fmt.Sprintf("%.2f", c.OverReference)})
	}
	t.Render()
	return nil
}
