package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// What cannot be written is an error, whatever prints it.
func TestOutputThatCannotBeWritten(t *testing.T) {
	good, _ := labCapture(t)
	capture := write(t, "lab.pcap", good)
	commands := [][]string{
		{}, {"model"}, {"model", "info"}, {"model", "info", "--json"}, {"doctor"}, {"doctor", "--json"},
		{"classify", capture}, {"classify", "--json", capture}, {"analyze", capture}, {"lab", t.TempDir() + "/lab", "--units", "2", "--captures", "1"},
		{"extract", capture, "-o", t.TempDir() + "/x.parquet"},
	}
	for _, c := range newApp().Commands {
		commands = append(commands, []string{c.Name, "--help"})
		for _, sub := range c.Subcommands {
			commands = append(commands, []string{c.Name, sub.Name, "--help"})
		}
	}
	for _, args := range commands {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		c := exec.CommandContext(t.Context(), os.Args[0], args...)
		c.Env, c.Stdout, c.Stderr = append(os.Environ(), asCommand+"=1"), full, &errs
		_ = c.Run() // its status is looked at
		full.Close()
		if status := c.ProcessState.ExitCode(); status != terminal.ExitFailed || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%q: status %d, stderr %s", args, status, &errs)
		}
	}
}

// A reader of text that goes away has seen enough.
func TestReaderOfTextGoes(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"model"}, {"model", "info"}, {"--version"}, {"model", "info", "--json"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var errs bytes.Buffer
		c := exec.CommandContext(t.Context(), os.Args[0], args...)
		c.Env, c.Stdout, c.Stderr = append(os.Environ(), asCommand+"=1"), w, &errs
		_ = c.Run() // its status is looked at
		w.Close()
		want := 0
		if slices.Contains(args, "--json") { // lines are missing to a program
			want = terminal.ExitFailed
		}
		if status := c.ProcessState.ExitCode(); status != want || (errs.Len() > 0) != (want != 0) {
			t.Errorf("%q: status %d, stderr %s", args, status, &errs)
		}
	}
}

// A path in an error steers no terminal either.
func TestErrorsAreEscaped(t *testing.T) {
	_, stderr, status := command(t, "classify", "no\x1b[31m\nsuch.pcap")
	if status != terminal.ExitFailed || strings.ContainsAny(strings.TrimSuffix(stderr, "\n"), "\x1b\n") || !strings.Contains(stderr, "such.pcap") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// The text of a model is read in a terminal.
func TestModelInfoWidth(t *testing.T) {
	stdout, _, status := command(t, "model", "info")
	if status != 0 || !strings.Contains(stdout, "WeMoSwitch") {
		t.Errorf("status %d: %s", status, stdout)
	}
	widths(t, stdout)
}

// widths checks that text is read in a terminal of 100 columns.
func widths(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > 100 || strings.HasSuffix(line, " ") {
			t.Errorf("%d columns, or blanks at the end: %q", n, line)
		}
	}
}
