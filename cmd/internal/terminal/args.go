package terminal

// This file lets flags stand after arguments, as in `extract FILE -o OUT`: the
// flag parser stops at the first argument that is no flag.

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

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
