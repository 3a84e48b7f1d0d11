// Command iotsense tells which IoT device is behind every address on a network:
// live from an interface, or from capture files. It only wires packages together
// and prints what they say; see the README for what each command does.
package main

import (
	_ "embed"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// examples are command lines of the commands that this program alone has.
//
//go:embed examples.txt
var examples string

// version is set by the Makefile's linker flag; empty in a plain `go build`.
var version string

func main() { iotsense().Start() }

func iotsense() *terminal.Program {
	box.MoreOutputs, box.LoadLab = checkpoints, embedded.Lab
	return &terminal.Program{
		Name: "iotsense", Usage: box.Usage, Version: version, Programs: object.Digest, Model: embedded.Digest, Devices: ask.Known, Examples: box.Examples + examples, Guard: box.GuardInputs,
		Commands: append(box.Commands(), box.ModelCommand(exportCommand(), importCommand(), rollbackCommand()), box.ExplainCommand(explaining()), analyzeCommand(), trainCommand(), evaluateCommand(),
			crossvalCommand(), strategiesCommand(), ablationCommand(), labCommand(), learnCommand(), demoCommand(), benchCommand()),
	}
}

// checkpoints are the files that a training run keeps its state in.
func checkpoints(c *cli.Context) (files []string) {
	path := c.String("checkpoint")
	if path == "" {
		return nil
	}
	files = append(files, path+train.CheckpointPart)
	for _, service := range strings.Split(c.String("services"), ",") {
		own := train.CheckpointOf(path, strings.TrimSpace(service))
		files = append(files, own, own+train.CheckpointPart)
	}
	return files
}
