// Package terminal is what every program of this repository is, whatever its commands:
// how it starts, reads its flags, prints, tells its version and ends.
package terminal

// This file runs a command line.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit statuses of every command.
const (
	ExitFailed = 1
	ExitUsage  = 2
)

// Program is a program of several commands.
type Program struct {
	Name     string
	Usage    string
	Version  string        // set by the linker; may be empty
	Programs func() string // digest of the kernel programs inside
	Model    func() string // digest of the embedded model
	Guard    cli.BeforeFunc
	Commands []*cli.Command
	Examples string // command lines, each in a line of its own
	// Devices are those that the sensor on a socket knows, with what they are; nil: nobody is asked.
	Devices func(socket string) iter.Seq2[string, string]
}

// Start runs the program's command line and ends the process.
func (p *Program) Start() { os.Exit(p.Run(withEnding(context.Background()), os.Args)) }

// Run executes one command line and returns the exit status.
func (p *Program) Run(ctx context.Context, args []string) int {
	out := &printer{w: NewStream(ctx, os.Stdout)}
	app := p.App()
	app.Writer = out
	err := app.RunContext(ctx, FlagsFirst(app, args))
	failed := out.end()
	if errors.Is(failed, ErrLeftover) {
		failed = nil // a reader of text has seen enough; where its end has ended the command, that has said so
	}
	if failed != nil && !errors.Is(err, failed) { // else the command said so
		err = errors.Join(err, fmt.Errorf("write output: %w", failed))
	}
	if err == nil {
		return 0
	}
	text := OneLine(err)
	if ctx.Err() != nil { // say by which signal
		text = strings.ReplaceAll(text, context.Canceled.Error(), context.Cause(ctx).Error())
	}
	Say("%s", text)
	var usage UsageError
	if errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailed
}

// commands are the program's own and those that every program has.
func (p *Program) commands() []*cli.Command {
	return append(slices.Clone(p.Commands), p.completionCommand(), p.manCommand())
}

// App is the program, made anew: flags keep what was parsed into them.
func (p *Program) App() *cli.App {
	app := &cli.App{
		Name:            p.Name,
		Flags:           []cli.Flag{versionFlag},
		Usage:           p.Usage,
		Commands:        p.commands(),
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // run reports and chooses the status
		Action: func(c *cli.Context) error {
			if c.Bool(versionFlag.Name) {
				p.printVersion(c.App.Writer)
				return nil
			}
			if c.Args().Present() {
				return noCommand(p.Name, c.Args().First(), c.App.Commands)
			}
			return cli.ShowAppHelp(c)
		},
	}
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError(app.Flags, err) }
	p.printHelp()
	for _, c := range app.Commands {
		p.setUp(c)
	}
	return app
}

// UsageError is a command line that cannot be understood.
type UsageError struct{ error }

// Usagef is an error of wrong usage.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// WrongUsage is err as wrong usage.
func WrongUsage(err error) error { return UsageError{err} }

func (p *Program) setUp(c *cli.Command) {
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError(c.Flags, err) }
	c.Before = p.before
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		p.setUp(sub)
	}
}

// before refuses a word that is no command where one is wanted, and arguments of a command
// whose usage has none, then what Guard refuses.
func (p *Program) before(c *cli.Context) error {
	of := c.Command
	word := c.Args().First()
	switch {
	case of.SkipFlagParsing || !c.Args().Present():
	case len(of.Subcommands) > 0 && of.Command(word) == nil:
		return noCommand(of.HelpName, word, of.Subcommands)
	case len(of.Subcommands) == 0 && of.ArgsUsage == "":
		return Usagef("%s takes no argument, got %q: what it works on is named by flags, see --help", strings.TrimPrefix(of.HelpName, p.Name+" "), word)
	}
	if p.Guard == nil {
		return nil
	}
	return p.Guard(c)
}
