package settings

// This file checks and shows configuration files.

import (
	"flag"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// Command is `config`, for files of a command, which command makes anew. check is what
// that command refuses of its flags before it does anything.
func Command(command func() *cli.Command, check func(*cli.Context) error) *cli.Command {
	const usage = "[FILE] (default: " + DefaultFile + ")"
	return &cli.Command{
		Name:  "config",
		Usage: "check and show the sensor's configuration file",
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "say whether the sensor would take the file", ArgsUsage: usage,
				Description: "Reads the file as `run --config FILE` does, the model that it names too, and starts nothing.",
				Action:      func(c *cli.Context) error { return checkFile(c, command, check) },
			},
			{
				Name: "show", Usage: "print all settings with their values, and where each is from", ArgsUsage: usage,
				Description: "What it prints is such a file itself.",
				Action:      func(c *cli.Context) error { return showFile(c, command) },
			},
		},
	}
}

// read reads the FILE of a command line, and applies it to the command without flags.
func read(c *cli.Context, command func() *cli.Command) (*File, *cli.Context, error) {
	if c.Args().Len() > 1 {
		return nil, nil, terminal.Usagef("config %s: one FILE at a time, got %d", c.Command.Name, c.Args().Len())
	}
	path := DefaultFile
	if c.Args().Present() {
		path = c.Args().First()
	}
	f, err := Read(path, command)
	if err != nil {
		return nil, nil, err
	}
	full, err := f.context(c)
	return f, full, err
}

func checkFile(c *cli.Context, command func() *cli.Command, check func(*cli.Context) error) error {
	f, full, err := read(c, command)
	if err != nil {
		return err
	}
	if err := check(full); err != nil {
		return notUsage{f.Blame(c, err, check)}
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %d settings, all in order\n", f.path, len(f.settings))
	return err
}

// notUsage hides that the file's flags would have been wrong usage: of `config check`
// they are what it was asked to find.
type notUsage struct{ err error }

func (n notUsage) Error() string { return n.err.Error() }

func showFile(c *cli.Context, command func() *cli.Command) error {
	f, full, err := read(c, command)
	if err != nil {
		return err
	}
	known, lines := keys(command()), map[string]int{}
	for _, s := range f.settings {
		lines[s.key] = s.line
	}
	for _, name := range sorted(known) {
		from := "default"
		if line, ok := lines[name]; ok {
			from = fmt.Sprintf("line %d", line)
		}
		text, err := entry(name, shown(full, known[name]), from)
		if err != nil {
			return err
		}
		if _, err := c.App.Writer.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// entry is a line of a file; a comment where there is no value.
func entry(name string, value any, from string) ([]byte, error) {
	if value == nil {
		return fmt.Appendf(nil, "# %s: none, %s\n", name, from), nil
	}
	node := &yaml.Node{}
	if err := node.Encode(value); err != nil {
		return nil, fmt.Errorf("setting %s: %w", name, err)
	}
	node.Style, node.LineComment = yaml.FlowStyle, from
	text, err := yaml.Marshal(map[string]*yaml.Node{name: node})
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", name, err)
	}
	return text, nil
}

// shown is a flag's value as YAML has it; nil for an empty text or list.
func shown(c *cli.Context, f cli.Flag) any {
	name := f.Names()[0]
	if _, list := f.(*cli.StringSliceFlag); list {
		if len(c.StringSlice(name)) == 0 {
			return nil
		}
		return c.StringSlice(name)
	}
	if text, is := c.Value(name).(string); is && text == "" {
		return nil
	}
	return c.Value(name)
}

// bare is a context of a command whose line has no flag.
func bare(parent *cli.Context, command *cli.Command) (*cli.Context, error) {
	set := flag.NewFlagSet(command.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range command.Flags {
		if err := f.Apply(set); err != nil {
			return nil, fmt.Errorf("flag %s: %w", f.Names()[0], err)
		}
	}
	c := cli.NewContext(parent.App, set, parent)
	c.Command = command
	return c, nil
}
