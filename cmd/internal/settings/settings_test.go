package settings

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// watch is a command as `run` is one.
func watch() *cli.Command {
	return &cli.Command{Name: "watch", Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "interface", Aliases: []string{"i"}},
		&cli.StringFlag{Name: "hook", Value: "auto"},
		&cli.IntFlag{Name: "max-flows", Value: 10},
		&cli.BoolFlag{Name: "no-facts"},
		&cli.StringFlag{Name: "model"},
		&cli.DurationFlag{Name: "duration"},
		&cli.BoolFlag{Name: "secret", Hidden: true},
		&cli.StringFlag{Name: "sinks.ca-file", Hidden: true},
		&cli.StringSliceFlag{Name: "sinks.hook.events", Hidden: true},
		&cli.DurationFlag{Name: "sinks.hook.every", Hidden: true},
		Flag,
	}}
}

// refuse is what watch refuses.
func refuse(c *cli.Context) error {
	switch {
	case len(c.StringSlice("interface")) == 0:
		return terminal.Usagef("no interface")
	case c.String("hook") == "sky":
		return terminal.Usagef("--hook sky: no such hook")
	case c.Int("max-flows") > 100 && c.Bool("no-facts"):
		return errors.New("too much")
	}
	return nil
}

// program has watch, which prints its flags, and config.
func program(out *bytes.Buffer) *cli.App {
	run := watch()
	run.Action = func(c *cli.Context) error {
		f, err := Of(c, watch)
		if err != nil {
			return err
		}
		if err := refuse(c); err != nil {
			return f.Blame(c, err, refuse)
		}
		for _, name := range []string{"interface", "hook", "max-flows", "no-facts"} {
			text, err := entry(name, shown(c, keys(watch())[key(name)]), "")
			if err != nil {
				return err
			}
			out.Write(text)
		}
		return nil
	}
	return &cli.App{Writer: out, Commands: []*cli.Command{run, Command(watch, refuse)}}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file's settings are the command's flags, which override them.
func TestFlagsOverFile(t *testing.T) {
	path := file(t, "# mine\ninterfaces: [eth0, eth1]\nhook: tc\nmax_flows: 7\nno_facts: true\n")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"file", nil, "interface: [eth0, eth1]\nhook: tc\nmax-flows: 7\nno-facts: true\n"},
		{"flags", []string{"-i", "lo", "--max-flows", "9", "--no-facts=false"}, "interface: [lo]\nhook: tc\nmax-flows: 9\nno-facts: false\n"},
	} {
		var out bytes.Buffer
		if err := program(&out).Run(append([]string{"x", "watch", "--config", path}, tt.args...)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if out.String() != tt.want {
			t.Errorf("%s:\n%swant\n%s", tt.name, out.String(), tt.want)
		}
	}
}

// What a file says wrongly is told with its line, to watch as wrong usage and to `config
// check` as a failure.
func TestBadFiles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "interfaces: lo\nhoook: tc\n", `line 2: there is no setting "hoook": there are hook, interfaces, max_flows, model, no_facts, sinks`},
		{"flag of the command line", "interfaces: lo\nduration: 1s\n", `line 2: there is no setting "duration"`},
		{"hidden flag", "secret: true\n", `line 1: there is no setting "secret"`},
		{"unknown key of a section", "sinks:\n  ca_file: a\n  hook:\n    evry: 1s\n", `line 4: there is no setting "sinks.hook.evry": there are sinks.hook.events, sinks.hook.every`},
		{"unknown section", "sinks:\n  hoook:\n    every: 1s\n", `line 2: there is no setting "sinks.hoook": there are sinks.ca_file, sinks.hook`},
		{"a section's, twice", "sinks.hook.every: 1s\nsinks:\n  hook: {every: 2s}\n", "line 3: sinks.hook.every has been set in line 1"},
		{"a section that is none", "sinks: 3\n", `line 1: there is no setting "sinks"`},
		{"a section for a value", "hook:\n  every: 1s\n", "line 2: hook: want one value"},
		{"a section's value", "interfaces: lo\nsinks:\n  hook:\n    every: soon\n", `line 4: sinks.hook.every: "soon" is not what it takes`},
		{"twice", "hook: tc\ninterfaces: lo\nhook: tc\n", "line 3: hook has been set in line 1"},
		{"no mapping", "- lo\n", "line 1: want lines of `key: value`"},
		{"no YAML", "interfaces: [lo\n", "line"},
		{"list for one value", "interfaces: lo\nhook: [tc, xdp]\n", "line 2: hook: want one value"},
		{"mapping for a list", "interfaces:\n  a: b\n", "line 2: interfaces: want a value or a list of values"},
		{"nothing", "interfaces: lo\nhook:\n", "line 2: hook: it has no value"},
		{"empty list", "interfaces: []\n", "line 1: interfaces: the list is empty"},
		{"not a number", "interfaces: lo\nmax_flows: many\n", `line 2: max_flows: "many" is not what it takes`},
		{"refused by the command", "interfaces: lo\nmax_flows: 3\nhook: sky\n", "line 3: --hook sky: no such hook"},
		{"refused, of the whole", "interfaces: lo\nmax_flows: 300\nno_facts: true\n", "too much"},
		{"without an interface", "hook: tc\n", "no interface"},
		{"two documents", "interfaces: lo\n---\nhook: tc\n", "more than one document"},
		{"huge", strings.Repeat("#", mostBytes+1), "no configuration"},
	} {
		path := file(t, tt.text)
		err := program(&bytes.Buffer{}).Run([]string{"x", "config", "check", path})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(tt.want, "line ") && strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: check says %v, want %q", tt.name, err, tt.want)
		}
		var usage terminal.UsageError
		if errors.As(err, &usage) {
			t.Errorf("%s: check calls it wrong usage", tt.name)
		}
		err = program(&bytes.Buffer{}).Run([]string{"x", "watch", "--config", path})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &usage) && tt.want != "too much" {
			t.Errorf("%s: watch says %v (%T), want %q", tt.name, err, err, tt.want)
		}
	}
	if err := program(&bytes.Buffer{}).Run([]string{"x", "config", "check", "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A command line that is wrong itself is not blamed on the file.
func TestBlame(t *testing.T) {
	path := file(t, "interfaces: lo\nmax_flows: 3\n")
	err := program(&bytes.Buffer{}).Run([]string{"x", "watch", "--config", path, "--hook", "sky"})
	if err == nil || err.Error() != "--hook sky: no such hook" {
		t.Error(err)
	}
}

// What `config show` prints is a file that says the same, and where each setting is from.
func TestShow(t *testing.T) {
	var first, again bytes.Buffer
	if err := program(&first).Run([]string{"x", "config", "show", file(t, "interfaces: lo\n\nmax_flows: 7\n")}); err != nil {
		t.Fatal(err)
	}
	want := "hook: auto # default\ninterfaces: [lo] # line 1\nmax_flows: 7 # line 3\n# model: none, default\nno_facts: false # default\n"
	want += "# sinks.ca_file: none, default\n# sinks.hook.events: none, default\nsinks.hook.every: 0s # default\n"
	if first.String() != want {
		t.Errorf("%swant\n%s", first.String(), want)
	}
	if err := program(&again).Run([]string{"x", "config", "show", file(t, first.String())}); err != nil {
		t.Fatal(err)
	}
	values := func(text string) (list []string) {
		for line := range strings.Lines(text) {
			list = append(list, strings.Split(line, " #")[0])
		}
		return list
	}
	if a, b := values(first.String()), values(again.String()); !slices.Equal(a[:3], b[:3]) {
		t.Errorf("%q, read again %q", a, b)
	}
}

// A section's settings are below its name.
func TestSections(t *testing.T) {
	var out bytes.Buffer
	if err := program(&out).Run([]string{"x", "config", "show", file(t, "sinks:\n  ca_file: x\n  hook:\n    events: [a, b]\nsinks.hook.every: 1s\n")}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sinks.ca_file: x # line 2\n", "sinks.hook.events: [a, b] # line 4\n", "sinks.hook.every: 1s # line 5\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%swithout %s", out.String(), want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"interfaces: [lo]\nhook: tc\n", "a: &x [*x]\n", "? [a]\n: b\n", "--- 1\n--- 2\n", "hook: !!binary aGk=\n"} {
		f.Add([]byte(text))
	}
	known := keys(watch())
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parse(text, known)
		for _, s := range all {
			if err != nil || len(s.values) == 0 || known[s.key] == nil {
				t.Errorf("%+v, %v", s, err)
			}
		}
	})
}

// A file that is read again changes what it says otherwise now, and nothing that the command
// line had set.
func TestAgain(t *testing.T) {
	path := file(t, "interfaces: lo\nhook: tc\nmax_flows: 7\n")
	run := watch()
	var changes []string
	run.Action = func(c *cli.Context) error {
		f, err := Of(c, watch)
		if err != nil {
			return err
		}
		for _, text := range []string{
			"hook: xdp\n\ninterfaces: [lo, eth0]\nmax_flows: 8\n", // of these the command line has the last
			"hook: [\n", "hooks: tc\n",
			"interfaces: [lo]\n",
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			again, now, err := f.Again(c)
			if err != nil {
				changes = append(changes, strings.ReplaceAll(err.Error(), path, "FILE"))
				continue
			}
			for _, change := range again.Changes(c, now) {
				changes = append(changes, strings.ReplaceAll(again.Error(change, fmt.Sprintf("%v %v", change.Before, change.Now)).Error(), path, "FILE"))
			}
			f, c = again, now
		}
		return nil
	}
	if err := (&cli.App{Commands: []*cli.Command{run}}).Run([]string{"x", "watch", "--config", path, "--max-flows", "9"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"FILE: line 1: hook: tc xdp", "FILE: line 3: interfaces: [lo] [lo eth0]",
		"FILE: line 1: did not find expected node content", `FILE: line 1: there is no setting "hooks": there are hook, interfaces, max_flows, model, no_facts, sinks`,
		"FILE: hook: xdp auto", "FILE: line 1: interfaces: [lo eth0] [lo]",
	}
	if !slices.Equal(changes, want) {
		t.Errorf("%q\nwant %q", changes, want)
	}
}
