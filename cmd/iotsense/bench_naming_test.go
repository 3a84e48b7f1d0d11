package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/lab"
)

// A program that is installed names what the model names beside it; those that are not
// are told by name, as JSON and as a table.
func TestBenchNaming(t *testing.T) {
	dir := t.TempDir()
	if err := lab.WriteDataset(t.Context(), dir, 2, 1, 7); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	// Of whichever capture, the program says that each sender is of one make.
	script := "#!/bin/sh\n" + `printf '\t1\tTCP 10.0.0.1:1 <-> 10.0.0.2:80 [proto: 7/HTTP]\n'` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "ndpiReader"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	manifest := filepath.Join(dir, "manifest.csv")
	args := []string{"bench", "naming", "--manifest", manifest, "--split", "test", "--model", "lab", "--first", "30s", "--strangers", manifest}
	out, errs, status := command(t, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	var got struct {
		Model   string
		Missing []struct{ Peer, Install string }
		Rows    []struct {
			Set, Namer string
			Devices    int
			Model      struct{ Right, Wrong, Blank int }
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, m := range got.Missing {
		missing = append(missing, m.Peer)
	}
	if !slices.Equal(missing, []string{"tshark", "p0f", "prads"}) {
		t.Errorf("missing %v", missing)
	}
	kinds := len(lab.Kinds())
	right := 0
	for _, r := range got.Rows {
		want := map[string]int{"captures test": kinds, "manifest, known types": 2 * kinds}[r.Set]
		if sum := r.Model.Right + r.Model.Wrong + r.Model.Blank; r.Devices != want || sum != want {
			t.Errorf("%+v, want %d devices", r, want)
		}
		if r.Namer == "ndpi" && r.Model.Blank != want {
			t.Errorf("%+v, want nothing said", r)
		}
		if r.Namer == "iotsense" {
			right += r.Model.Right
		}
	}
	if len(got.Rows) != 2*4 || right < kinds {
		t.Errorf("%d rows, %d right", len(got.Rows), right)
	}
	out, _, _ = command(t, args...)
	for _, says := range []string{"iotsense, facts alone", "p0f is not installed: apt install p0f"} {
		if !strings.Contains(out, says) {
			t.Errorf("no %q in\n%s", says, out)
		}
	}
}

func TestBenchNamingUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"d", "--first", "-1s"}, {"d", "--taxonomy="}} {
		if got := run(t.Context(), append([]string{"iotsense", "bench", "naming"}, args...)); got != terminal.ExitUsage {
			t.Errorf("%q: status %d, want %d", args, got, terminal.ExitUsage)
		}
	}
	if got := run(t.Context(), []string{"iotsense", "bench", "naming", t.TempDir(), "--table", "/nonexistent"}); got != terminal.ExitFailed {
		t.Errorf("a table that is not there: status %d", got)
	}
}
