package main

// This file lists the commands of a program on a box.

import "github.com/urfave/cli/v2"

// usage is what all programs are for.
const usage = "tell which IoT device is behind every address on the network, how sure that is, and why"

// boxCommands are those that every program has, but for `model`, which some do more with.
func boxCommands() []*cli.Command {
	return []*cli.Command{
		runCommand(), devicesCommand(), flowsCommand(), statsCommand(), classifyCommand(), extractCommand(), doctorCommand(),
	}
}
