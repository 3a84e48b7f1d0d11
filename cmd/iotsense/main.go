// Command iotsense tells which IoT device is behind every address on a network:
// live from an interface, or from capture files. It only wires packages together
// and prints what they say; see the README for what each command does.
package main

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

func main() {
	os.Exit(run(withEnding(context.Background()), os.Args))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string) int {
	out := &printer{w: newStream(ctx, os.Stdout)}
	app := newApp()
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

func newApp() *cli.App {
	app := &cli.App{
		Name:  "iotsense",
		Flags: []cli.Flag{versionFlag},
		Usage: "tell which IoT device is behind every address on the network, how sure that is, and why",
		Commands: []*cli.Command{
			runCommand(), extractCommand(), analyzeCommand(), classifyCommand(), modelCommand(), trainCommand(), evaluateCommand(), crossvalCommand(), strategiesCommand(), ablationCommand(), labCommand(), demoCommand(),
			devicesCommand(), flowsCommand(), statsCommand(), doctorCommand(), benchCommand(),
		},
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // run reports and chooses the status
		Action: func(c *cli.Context) error {
			if c.Bool(versionFlag.Name) {
				return printVersion(c.App.Writer)
			}
			if c.Args().Present() {
				return usagef("no command %q: see iotsense --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	app.OnUsageError = onUsageError
	for _, c := range app.Commands {
		setUsageError(c)
	}
	return app
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func onUsageError(_ *cli.Context, err error, _ bool) error { return usageError{err} }

func setUsageError(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.Before = guardInputs
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		setUsageError(sub)
	}
}
