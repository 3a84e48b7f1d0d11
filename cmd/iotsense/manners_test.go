package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
)

// leaves are the commands that people may give, by their words.
func leaves(before string, commands []*cli.Command) map[string]*cli.Command {
	all := map[string]*cli.Command{}
	for _, c := range commands {
		switch {
		case c.Hidden:
		case len(c.Subcommands) == 0:
			all[before+c.Name] = c
		default:
			for words, sub := range leaves(before+c.Name+" ", c.Subcommands) {
				all[words] = sub
			}
		}
	}
	return all
}

// Every command's help has an example, which is a command line of that command. They stand in
// cmd/internal/box/examples.txt, and in examples.txt here for what only this program has.
func TestEveryCommandHasAnExample(t *testing.T) {
	shown := map[string]bool{}
	for line := range strings.Lines(iotsense().Examples) {
		app, ran := newApp(), ""
		for words, c := range leaves("", app.Commands) {
			c.Action = func(*cli.Context) error { ran = words; return nil }
		}
		if err := app.RunContext(t.Context(), terminal.FlagsFirst(app, strings.Fields(line))); err != nil || !strings.HasPrefix(line, "iotsense "+ran) {
			t.Errorf("%s runs %q: %v", line, ran, err)
		}
		shown[ran] = true
	}
	for words := range leaves("", newApp().Commands) {
		app, help := newApp(), strings.Builder{}
		app.Writer = &help
		if err := app.RunContext(t.Context(), append(append([]string{"iotsense"}, strings.Fields(words)...), "--help")); err != nil {
			t.Error(err)
		}
		if !shown[words] || !strings.Contains(help.String(), "\nEXAMPLE:\n   iotsense "+words) {
			t.Errorf("%s has no example: add a line to an examples.txt\n%s", words, &help)
		}
	}
}

// noJSON are the commands without --json: why they print nothing that a program would read with it.
var noJSON = map[string]string{
	"top": "draws on a terminal: devices --json is the list",
	"lab": "writes captures and their manifest", "model export": "writes a model", "model import": "writes a model",
	"mud":             "prints JSON",
	"registry export": "prints JSON, or CSV", "registry import": "writes a registry",
	"config check": "says yes or what is wrong", "config show": "prints YAML",
	"completion bash": "prints a script", "completion zsh": "prints a script", "completion fish": "prints a script",
}

// Every command has --json, but for those that have nothing to say with it.
func TestEveryCommandHasJSON(t *testing.T) {
	all := leaves("", newApp().Commands)
	for words, c := range all {
		has := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == terminal.JSONFlag.Name })
		if _, without := noJSON[words]; has == without {
			t.Errorf("%s: --json is there: %t, and noJSON has it: %t", words, has, without)
		}
	}
	for words := range noJSON {
		if all[words] == nil {
			t.Errorf("there is no %s", words)
		}
	}
}

// The manual page has all commands and flags, and nothing that troff complains about.
func TestManualPage(t *testing.T) {
	page, stderr, status := command(t, "man")
	if status != 0 {
		t.Fatal(stderr)
	}
	for words, c := range leaves("", newApp().Commands) {
		if !strings.Contains(page, "\n.SS "+words+"\n") {
			t.Errorf("no %q", words)
		}
		for _, f := range c.Flags {
			v, is := f.(cli.VisibleFlag)
			if name := strings.ReplaceAll("--"+f.Names()[0], "-", `\-`); is && v.IsVisible() && !strings.Contains(page, "\n.B "+name) {
				t.Errorf("%s: no %s", words, name)
			}
		}
	}
	groff := exec.Command(testenv.Tool(t, "groff"), "-man", "-ww", "-z", "-Tutf8")
	groff.Stdin = strings.NewReader(page)
	if out, err := groff.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if other, _, _ := command(t, "man", "--as", "sensor"); !strings.Contains(other, "\n.B sensor label\n") {
		t.Error("--as names no other program")
	}
}

// What a command line may go on with.
func TestCompletionWords(t *testing.T) {
	socket := answer(t, newHouse(2))
	for _, tt := range []struct {
		line string // the last word is completed
		want []string
	}{
		{"dev", []string{"devices"}},
		{"model ", []string{"info", "export", "import", "rollback"}},
		{"model i", []string{"info", "import"}},
		{"run --ho", []string{"--hook"}},
		{"run --hook t", []string{"tcx", "tc", "tc-ingress"}},
		{"run --hook=x", []string{"--hook=xdp", "--hook=xdp-generic"}},
		{"run -i l", []string{"lo"}},
		{"run --config ", []string{":files"}},
		{"run ", nil},
		{"extract ", []string{":files"}},
		{"label --socket " + socket + " 50", []string{"50:c7:bf:00:fc:00", "50:c7:bf:00:fc:01"}},
		{"facts --socket=" + socket + " 50:c7:bf:00:fc:01", []string{"50:c7:bf:00:fc:01", ":files"}},
		{"explain --socket " + socket + " --device 50:c7:bf:00:fc:00", []string{"50:c7:bf:00:fc:00"}},
		{"label --socket /nonexistent ", nil},
		{"nonsense ", nil},
		{"completion ", []string{"bash", "zsh", "fish"}},
	} {
		stdout, stderr, status := command(t, append([]string{"completion", "words", "--"}, strings.Split(tt.line, " ")...)...)
		var got []string
		for line := range strings.Lines(stdout) {
			word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
			got = append(got, word)
		}
		if status != 0 || stderr != "" || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q (status %d, %s)", tt.line, got, tt.want, status, stderr)
		}
	}
}

// asProgram is a directory for PATH in which iotsense is this test's binary.
func asProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\n" + asCommand + "=1 exec '" + os.Args[0] + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "iotsense"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Shells take the scripts, and complete by them: commands, a flag's choices, a MAC with its
// colons, files.
func TestCompletionInShells(t *testing.T) {
	socket, dir := answer(t, newHouse(2)), asProgram(t)
	if err := os.WriteFile(filepath.Join(dir, "home.pcap"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	lines := []struct{ line, bash, want string }{ // bash replaces what stands behind a colon
		{"iotsense dev", "devices", "devices"},
		{"iotsense run --hook xdp-", "xdp-generic", "xdp-generic"},
		{"iotsense classify home", "home.pcap", "home.pcap"},
		{"iotsense label --socket " + socket + " 50:c7:bf:00:fc:01", "01", "50:c7:bf:00:fc:01"},
	}
	for _, shell := range []struct {
		name   string
		script func(line string) string
	}{
		{"bash", func(line string) string {
			return `source <(iotsense completion bash); compopt() { :; }; COMP_LINE="` + line + `"; COMP_POINT=${#COMP_LINE}; _iotsense; printf '%s\n' "${COMPREPLY[@]}"`
		}},
		{"zsh", func(line string) string {
			return `compdef() { :; }; compadd() { shift 4; print -l ${(P)1}; }; _files() { print -l ${words[CURRENT]}*; }; source <(iotsense completion zsh); words=(` + line + `); CURRENT=$#words; _iotsense`
		}},
		{"fish", func(line string) string {
			return `iotsense completion fish | source; complete -C "` + line + `"`
		}},
	} {
		for _, tt := range lines {
			c := exec.Command(testenv.Tool(t, shell.name), "-c", shell.script(tt.line))
			c.Dir, c.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
			out, err := c.CombinedOutput()
			want := tt.want
			if shell.name == "bash" {
				want = tt.bash
			}
			if word, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\t"); err != nil || word != want {
				t.Errorf("%s: %q is completed by %q, want %q (%v)", shell.name, tt.line, out, want, err)
			}
		}
	}
}
