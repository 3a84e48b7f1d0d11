package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/store"
)

// printed is what a command line prints.
func printed(t *testing.T, args ...string) (string, error) {
	t.Helper()
	app := newApp()
	var out strings.Builder
	app.Writer = &out
	err := app.RunContext(t.Context(), terminal.FlagsFirst(app, append([]string{"iotsense"}, args...)))
	return out.String(), err
}

// A table of names becomes a registry, which comes out as it is by any way.
func TestRegistryCommand(t *testing.T) {
	dir := t.TempDir()
	state, table, other := filepath.Join(dir, "r.db"), filepath.Join(dir, "names.csv"), filepath.Join(dir, "other.db")
	if err := os.WriteFile(table, []byte("device,user_label,macs\n50:c7:bf:00:00:01,TP-Link/plug,\nip:10.0.0.7,Kettle,50:c7:bf:00:00:02\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := printed(t, "registry", "check", "--state", state); err == nil || !strings.Contains(err.Error(), state) {
		t.Errorf("a file that there is not: %v", err)
	}
	for range 2 { // the second changes nothing
		if out, err := printed(t, "registry", "import", "--state", state, table); err != nil || !strings.Contains(out, "2 devices of 2") {
			t.Fatalf("%q, %v", out, err)
		}
	}
	out, err := printed(t, "registry", "check", "--state", state, "--json")
	var held struct {
		Devices  int `json:"devices"`
		Labelled int `json:"labelled_devices"`
	}
	if err := json.Unmarshal([]byte(out), &held); err != nil {
		t.Fatal(err)
	}
	if err != nil || held.Devices != 2 || held.Labelled != 2 {
		t.Errorf("%s, %v", out, err)
	}
	lines, err := printed(t, "registry", "export", "--state", state)
	if err != nil || strings.Count(lines, "\n") != 2 || !strings.Contains(lines, `"user_label":"Kettle"`) {
		t.Errorf("%s, %v", lines, err)
	}
	if _, err := printed(t, "registry", "export", "--state", state, "--csv", "-o", table); err != nil {
		t.Error(err)
	}
	if _, err := printed(t, "registry", "import", "--state", other, table); err != nil {
		t.Error(err)
	}
	if again, err := printed(t, "registry", "export", "--state", other); err != nil || again != lines {
		t.Errorf("%s, want %s, %v", again, lines, err)
	}
	s, _, err := store.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := printed(t, "registry", "check", "--state", state); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("in use: %v", err)
	}
	for _, line := range []string{"registry import", "registry check x", "label 50:c7:bf:00:00:01", "lock --off", "merge 50:c7:bf:00:00:01", "label kettle Kettle", "events x"} {
		if _, err := printed(t, strings.Fields(line)...); err == nil || !isUsage(err) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func isUsage(err error) bool { _, usage := err.(terminal.UsageError); return usage }
