package settings

// This file reads a file again, for a command that goes on.

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

// Change is a setting that has another value than before.
type Change struct {
	Flag, Key string
	Line      int // of the file; 0: the file no longer has it
	Before    any // nil: none, as Now
	Now       any
}

// Error is why a change is not taken over.
func (f *File) Error(c Change, why string) error {
	where := f.path
	if c.Line > 0 {
		where = fmt.Sprintf("%s: line %d", f.path, c.Line)
	}
	return fmt.Errorf("%s: %s: %s", where, c.Key, why)
}

// Again reads the file anew, and applies it to the command line that the command was
// started with.
func (f *File) Again(parent *cli.Context) (*File, *cli.Context, error) {
	again, err := Read(f.path, f.command)
	if err != nil {
		return nil, nil, err
	}
	again.given = f.given
	c, err := bare(parent, f.command())
	if err != nil {
		return nil, nil, err
	}
	for _, s := range f.given {
		for _, value := range s.values {
			if err := c.Set(s.flag, value); err != nil {
				return nil, nil, fmt.Errorf("--%s %s: %w", s.flag, value, err)
			}
		}
	}
	return again, c, again.Apply(c)
}

// Changes are the settings that differ between the command as it was and as f has it now,
// in their order in the alphabet.
func (f *File) Changes(before, now *cli.Context) (all []Change) {
	known := keys(f.command())
	for _, name := range sorted(known) {
		c := Change{Flag: known[name].Names()[0], Key: name, Before: shown(before, known[name]), Now: shown(now, known[name])}
		if fmt.Sprint(c.Before) == fmt.Sprint(c.Now) {
			continue
		}
		if i := slices.IndexFunc(f.settings, func(s setting) bool { return s.key == name }); i >= 0 {
			c.Line = f.settings[i].line
		}
		all = append(all, c)
	}
	return all
}

// line is what the command line itself has set, as settings.
func line(c *cli.Context, command *cli.Command) (given []setting) {
	for _, f := range command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		s := setting{flag: name, values: []string{fmt.Sprint(c.Value(name))}}
		if _, list := f.(*cli.StringSliceFlag); list {
			s.values = c.StringSlice(name)
		}
		given = append(given, s)
	}
	return given
}
