// Package settings reads a configuration file: the flags of a command, under keys of a
// YAML file. What the flags refuse the file cannot say either; the error has its line.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// DefaultFile is where packages put the configuration.
const DefaultFile = "/etc/iotsense/config.yaml"

// Flag names the file.
var Flag = &cli.StringFlag{Name: "config", Usage: "configuration `FILE`, whose settings flags override (default: none; the service reads " + DefaultFile + ")"}

const mostBytes = 1 << 20 // of a file that is read

// commandLineOnly are flags that would be a trap in a file: they end the sensor, change
// what it prints, or can but repeat what the model says.
var commandLineOnly = []string{"config", "json", "duration", "packets", "prefix", "flow-timeout", "direction"}

// setting is a key of a file with its values: several for a flag that may be repeated.
type setting struct {
	key, flag string
	line      int
	values    []string
}

// File is a configuration file, read. The zero value has no setting.
type File struct {
	path     string
	command  func() *cli.Command
	settings []setting
	given    []setting // of the command line that it was applied to first
}

// Read reads the settings that the file at path has for a command, which command makes
// anew. An unknown key, one that comes twice, and what no flag could take is an error
// with its line.
func Read(path string, command func() *cli.Command) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(text) > mostBytes {
		return nil, fmt.Errorf("%s: more than %d bytes, which is no configuration", path, mostBytes)
	}
	f := &File{path: path, command: command}
	if f.settings, err = parse(text, keys(command())); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// keys are those that a file may have for a command, each with its flag. A flag with a dot in
// its name is of a section: it is for files, and help need not show it.
func keys(command *cli.Command) map[string]cli.Flag {
	all := map[string]cli.Flag{}
	for _, f := range command.Flags {
		name := f.Names()[0]
		visible, ok := f.(cli.VisibleFlag)
		if hidden := ok && !visible.IsVisible() && !strings.Contains(name, "."); hidden || slices.Contains(commandLineOnly, name) {
			continue
		}
		all[key(name)] = f
	}
	return all
}

// key is a flag's name in a file.
func key(flag string) string {
	if flag == "interface" {
		return "interfaces"
	}
	return strings.ReplaceAll(flag, "-", "_")
}

// parse reads settings from YAML. Errors have the line.
func parse(text []byte, known map[string]cli.Flag) ([]setting, error) {
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&document)
	if err == io.EOF { // empty, or comments alone
		return nil, nil
	}
	if err == nil && decoder.Decode(&more) != io.EOF {
		return nil, errors.New("more than one document: want one, without lines of `---` or `...` in it")
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	top := document.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want lines of `key: value`", top.Line)
	}
	return section(nil, "", top, known)
}

// section adds the settings of a mapping whose keys are below a section's.
func section(all []setting, below string, mapping *yaml.Node, known map[string]cli.Flag) (_ []setting, err error) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := mapping.Content[i], mapping.Content[i+1]
		key := below + name.Value
		flag, ok := known[key]
		if !ok && value.Kind == yaml.MappingNode && len(like(key+".", known)) > 0 {
			if all, err = section(all, key+".", value, known); err != nil {
				return nil, err
			}
			continue
		}
		if !ok {
			return nil, fmt.Errorf("line %d: there is no setting %q: there are %s", name.Line, key, strings.Join(like(below, known), ", "))
		}
		if at := slices.IndexFunc(all, func(s setting) bool { return s.key == key }); at >= 0 {
			return nil, fmt.Errorf("line %d: %s has been set in line %d", name.Line, key, all[at].line)
		}
		s := setting{key: key, flag: flag.Names()[0], line: name.Line}
		if s.values, err = values(value, flag); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", value.Line, key, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// like are the keys that begin so, and the sections there.
func like(begin string, known map[string]cli.Flag) (names []string) {
	for _, name := range sorted(known) {
		if rest, ok := strings.CutPrefix(name, begin); ok {
			word, _, _ := strings.Cut(rest, ".")
			names = append(names, begin+word)
		}
	}
	return slices.Compact(names)
}

func sorted(known map[string]cli.Flag) []string {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// values are what a flag is set to: one, or several for one that may be repeated.
func values(node *yaml.Node, flag cli.Flag) ([]string, error) {
	_, repeatable := flag.(*cli.StringSliceFlag)
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode && repeatable {
		items = node.Content
	}
	var list []string
	for _, item := range items {
		switch {
		case item.Kind != yaml.ScalarNode && repeatable:
			return nil, errors.New("want a value or a list of values")
		case item.Kind != yaml.ScalarNode:
			return nil, errors.New("want one value")
		case item.Tag == "!!null":
			return nil, errors.New("it has no value: leave it out for the default")
		}
		list = append(list, item.Value)
	}
	if len(list) == 0 {
		return nil, errors.New("the list is empty: leave it out for the default")
	}
	return list, nil
}

// Apply sets the command's flags that its command line left alone.
func (f *File) Apply(c *cli.Context) error {
	for _, s := range f.settings {
		if c.IsSet(s.flag) {
			continue
		}
		for _, value := range s.values {
			if err := c.Set(s.flag, value); err != nil {
				return fmt.Errorf("%s: line %d: %s: %q is not what it takes (%w)", f.path, s.line, s.key, value, err)
			}
		}
	}
	return nil
}

// Blame is err, which check says of the file and the command line together, with the
// line of the file that check says the same of alone, if one is.
func (f *File) Blame(parent *cli.Context, err error, check func(*cli.Context) error) error {
	for _, s := range f.settings {
		alone := &File{path: f.path, command: f.command, settings: []setting{s}}
		if s.flag != "interface" {
			alone.settings = append(alone.settings, setting{flag: "interface", values: []string{"lo"}})
		}
		c, failed := alone.context(parent)
		if failed != nil {
			continue
		}
		if said := check(c); said != nil && said.Error() == err.Error() {
			return fmt.Errorf("%s: line %d: %w", f.path, s.line, err)
		}
	}
	return err
}

// context is the command with the file's settings and no command line.
func (f *File) context(parent *cli.Context) (*cli.Context, error) {
	c, err := bare(parent, f.command())
	if err != nil {
		return nil, err
	}
	return c, f.Apply(c)
}

// Of reads and applies the file that the command's --config names, if it names one.
func Of(c *cli.Context, command func() *cli.Command) (*File, error) {
	if c.String(Flag.Name) == "" {
		return &File{}, nil
	}
	f, err := Read(c.String(Flag.Name), command)
	if err != nil {
		return nil, terminal.WrongUsage(err)
	}
	f.given = line(c, command())
	if err := f.Apply(c); err != nil {
		return nil, terminal.WrongUsage(err)
	}
	return f, nil
}
