package terminal

// This file lets flags stand after arguments, as in `extract FILE -o OUT`: the
// flag parser stops at the first argument that is no flag.

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// place is where the words of a command line lead.
type place struct {
	head     []string // names of commands
	rest     []string // the words behind them
	command  *cli.Command
	flags    []cli.Flag
	commands []*cli.Command
}

// descend follows the names of commands that words begin with; command is nil where there
// is none.
func descend(app *cli.App, words []string) place {
	at := place{rest: words, flags: app.Flags, commands: app.Commands}
	for len(at.rest) > 0 {
		i := slices.IndexFunc(at.commands, func(c *cli.Command) bool { return c.HasName(at.rest[0]) })
		if i < 0 {
			break
		}
		at.command = at.commands[i]
		at.head, at.rest = append(at.head, at.rest[0]), at.rest[1:]
		at.flags, at.commands = at.command.Flags, at.command.Subcommands
	}
	return at
}

// FlagsFirst moves the arguments of a command behind its flags. A word that is no command
// where one should be is left alone: what follows it is nothing's.
func FlagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	at := descend(app, args[1:])
	head, rest := append(args[:1:1], at.head...), at.rest
	switch {
	case at.command != nil && at.command.SkipFlagParsing:
		return append(head, rest...)
	case len(at.commands) > 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-"):
		return append(head, rest[0])
	}
	flags := at.flags
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
	if strings.Contains(arg, "=") {
		return false
	}
	f := flagOf(flags, arg)
	_, isBool := f.(*cli.BoolFlag)
	return f != nil && !isBool
}

// flagOf is the flag that arg names; nil: none.
func flagOf(flags []cli.Flag, arg string) cli.Flag {
	name := strings.TrimLeft(arg, "-")
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return name != arg && slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}
