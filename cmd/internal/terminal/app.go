// Package terminal is what every program of this repository is, whatever its commands:
// how it starts, reads its flags, prints, tells its version and ends.
package terminal

// This file runs a command line, and says which build this is. Flags may stand after
// arguments, as in `extract FILE -o OUT`: the flag parser stops at the first.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
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
	Guard    cli.BeforeFunc
	Commands []*cli.Command
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

// App is the program, made anew: flags keep what was parsed into them.
func (p *Program) App() *cli.App {
	app := &cli.App{
		Name:            p.Name,
		Flags:           []cli.Flag{versionFlag},
		Usage:           p.Usage,
		Commands:        p.Commands,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // run reports and chooses the status
		Action: func(c *cli.Context) error {
			if c.Bool(versionFlag.Name) {
				p.printVersion(c.App.Writer)
				return nil
			}
			if c.Args().Present() {
				return Usagef("no command %q: see %s --help", c.Args().First(), p.Name)
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

// UsageError is a command line that cannot be understood.
type UsageError struct{ error }

// Usagef is an error of wrong usage.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// WrongUsage is err as wrong usage.
func WrongUsage(err error) error { return UsageError{err} }

func onUsageError(_ *cli.Context, err error, _ bool) error { return UsageError{err} }

func (p *Program) setUp(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.Before = p.Guard
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		p.setUp(sub)
	}
}

// FlagsFirst moves the arguments of a command behind its flags.
func FlagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	head, rest := args[:1:1], args[1:]
	flags, commands := app.Flags, app.Commands
	for len(rest) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		head = append(head, rest[0])
		flags, commands = commands[i].Flags, commands[i].Subcommands
		rest = rest[1:]
	}
	var options, arguments []string
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case arg == "--":
			arguments = append(arguments, rest[i+1:]...)
			i = len(rest)
		case len(arg) < 2 || arg[0] != '-':
			arguments = append(arguments, arg)
		default:
			options = append(options, arg)
			if takesValue(flags, arg) && i+1 < len(rest) {
				i++
				options = append(options, rest[i])
			}
		}
	}
	if len(arguments) > 0 {
		options = append(append(options, "--"), arguments...)
	}
	return append(head, options...)
}

// takesValue reports whether the next argument belongs to the flag.
func takesValue(flags []cli.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		_, isBool := f.(*cli.BoolFlag)
		return !isBool
	}
	return false
}

var versionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version of this program, of Go and of the kernel programs inside"}

// printVersion writes the version, then what a bug report needs beside it.
func (p *Program) printVersion(w io.Writer) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	name, revision := versions(p.Version, info)
	fmt.Fprintf(w, "%s %s\nrevision %s\ngo       %s %s/%s\nprograms sha256:%s\n",
		p.Name, name, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH, p.Programs())
}

// versions are the version and the revision of this build: what the linker was
// told, else what Go recorded of the module and the repository it was built in.
func versions(linked string, info *debug.BuildInfo) (name, revision string) {
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision != "" {
		revision += dirty
	}
	return cmp.Or(linked, info.Main.Version, "unknown"), cmp.Or(revision, linked, info.Main.Version, "unknown")
}
