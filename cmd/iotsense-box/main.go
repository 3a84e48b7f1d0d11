// Command iotsense-box is the part of iotsense that lives on a box: the sensor and its
// clients, and the same pipeline over files. Training, laboratory, demo and
// measurements are in iotsense.
package main

import (
	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// version is set by the Makefile's linker flag; empty in a plain `go build`.
var version string

func main() { program().Start() }

func program() *terminal.Program {
	commands := append(box.Commands(), box.ModelCommand(box.ModelElsewhere()...), box.ExplainCommand(box.Explaining{}))
	return &terminal.Program{
		Name: "iotsense-box", Usage: box.Usage, Version: version, Programs: object.Digest, Model: embedded.Digest, Devices: ask.Known, Examples: box.Examples, Guard: box.GuardInputs,
		Commands: append(commands, box.Elsewhere()...),
	}
}
