// Package box holds the commands that live on a box: the sensor, its clients, and what
// reads captures. It links nothing that trains, draws or makes traffic.
package box

// This file lists them.

import (
	_ "embed"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/kept"
	"github.com/iotsense/iotsense/cmd/internal/settings"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/cmd/internal/top"
)

// Usage is what all programs are for.
const Usage = "tell which IoT device is behind every address on the network, how sure that is, and why"

// Examples are command lines of the commands that every program has, a line each: at least one
// for each command.
//
//go:embed examples.txt
var Examples string

// Commands are those that every program has, but for `model`, which some do more with.
func Commands() []*cli.Command {
	return slices.Concat([]*cli.Command{runCommand()}, ask.Commands(),
		[]*cli.Command{top.Command(), classifyCommand(), extractCommand(), factsCommand(), mudCommand(), doctorCommand(), kept.Command(), settings.Command(runCommand, checkFlags)})
}

// What the full tool alone has, and what its `model` has.
var (
	fullCommands      = []string{"ablation", "analyze", "bench", "crossval", "demo", "evaluate", "lab", "learn", "strategies", "train"}
	fullModelCommands = []string{"export", "import", "rollback"}
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
