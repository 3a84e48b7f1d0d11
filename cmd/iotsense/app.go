package main

// This file is what every program of this repository is: commands, and how they end.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit statuses of every command.
const (
	exitFailed = 1
	exitUsage  = 2
)

// program is a program of several commands.
type program struct {
	name     string
	usage    string
	version  string        // set by the linker; may be empty
	programs func() string // digest of the kernel programs inside
	guard    cli.BeforeFunc
	commands []*cli.Command
}

// start runs the program's command line and ends the process.
func (p *program) start() { os.Exit(p.run(withEnding(context.Background()), os.Args)) }

// run executes one command line and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	out := &printer{w: newStream(ctx, os.Stdout)}
	app := p.app()
	app.Writer = out
	err := app.RunContext(ctx, flagsFirst(app, args))
	failed := out.end()
	if errors.Is(failed, errLeftover) && endingOf(ctx).inOrder.Load() {
		failed = nil // the command has ended in order for it
	}
	if failed != nil && !errors.Is(err, failed) { // else the command said so
		err = errors.Join(err, fmt.Errorf("write output: %w", failed))
	}
	if err == nil {
		return 0
	}
	text := oneLine(err)
	if ctx.Err() != nil { // say by which signal
		text = strings.ReplaceAll(text, context.Canceled.Error(), context.Cause(ctx).Error())
	}
	say("%s", text)
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// app is the program, made anew: flags keep what was parsed into them.
func (p *program) app() *cli.App {
	app := &cli.App{
		Name:            p.name,
		Flags:           []cli.Flag{versionFlag},
		Usage:           p.usage,
		Commands:        p.commands,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // run reports and chooses the status
		Action: func(c *cli.Context) error {
			if c.Bool(versionFlag.Name) {
				return p.printVersion(c.App.Writer)
			}
			if c.Args().Present() {
				return usagef("no command %q: see %s --help", c.Args().First(), p.name)
			}
			return cli.ShowAppHelp(c)
		},
	}
	app.OnUsageError = onUsageError
	for _, c := range app.Commands {
		p.setUp(c)
	}
	return app
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func onUsageError(_ *cli.Context, err error, _ bool) error { return usageError{err} }

func (p *program) setUp(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.Before = p.guard
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		p.setUp(sub)
	}
}
