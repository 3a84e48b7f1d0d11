package experiment

import (
	"os/exec"
	"strings"
	"testing"
)

// A command line of a report can be typed: a shell takes it apart as it was.
func TestCommandLine(t *testing.T) {
	args := []string{"train", "--manifest=my data/m.csv", "--dates=2016-09-23..2016-09-29", "it's $HOME", "", "Küche*"}
	line := CommandLine(args)
	if want := `iotsense train '--manifest=my data/m.csv' --dates=2016-09-23..2016-09-29 `; !strings.HasPrefix(line, want) {
		t.Errorf("%s, want %s...", line, want)
	}
	out, err := exec.Command("sh", "-c", "iotsense() { printf '%s\\n' \"$@\"; }; "+line).Output()
	if err != nil || string(out) != strings.Join(args, "\n")+"\n" {
		t.Errorf("the shell reads %q, %v of %s", out, err, line)
	}
}
