// Package top shows in a terminal, live, what a sensor knows of devices and how it fares.
package top

// This file starts it.

import (
	"errors"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
)

// Command is `top`.
func Command() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "watch devices and the sensor's health in the terminal, see why, and give names",
		Description: "Keys: up, down (or k, j) choose; Enter opens a device, Esc goes back; / filters; s sorts by\n" +
			"something else, r the other way round; l gives a name; q quits. In colour unless NO_COLOR is set.",
		Flags:  []cli.Flag{ask.SocketFlag},
		Action: run,
	}
}

func run(c *cli.Context) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) || os.Getenv("TERM") == "dumb" {
		return errors.New("top: there is no terminal to draw on: `iotsense devices` prints a list, and with --json one for programs")
	}
	if err := terminal.Undoes(c.Context); err != nil { // the terminal is given back as it was
		return err
	}
	m := newModel(c.Context, client.New(c.String("socket")))
	_, err := tea.NewProgram(m, tea.WithContext(c.Context), tea.WithoutSignalHandler()).Run()
	if err != nil && c.Context.Err() == nil {
		return fmt.Errorf("top: %w", err)
	}
	return nil
}
