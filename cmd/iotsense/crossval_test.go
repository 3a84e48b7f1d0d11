package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
)

// Every capture with a window is tested once in each repetition, on the folds
// that folds.csv says, by a network that learned from the others.
func TestCrossvalTestsEveryCaptureOnce(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "lab", "--units", "2", "--captures", "4", filepath.Join(dir, "lab"))
	manifest, report := filepath.Join(dir, "lab", "manifest.csv"), filepath.Join(dir, "report")
	mustRun(t, "crossval", "--manifest", manifest, "--folds", "2", "--seeds", "2", "--epochs", "1", "--bootstrap", "10", "--report", report)

	var result experiment.CrossResult
	text, err := os.ReadFile(filepath.Join(report, "crossval.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Seeds) != 2 || len(result.Runs) != 4 {
		t.Fatalf("%d repetitions and %d runs, want 2 and 4", len(result.Seeds), len(result.Runs))
	}
	fold := map[[2]string]string{} // by seed and capture
	for _, row := range readCSV(t, filepath.Join(report, "folds.csv")) {
		fold[[2]string{row[0], row[1]}] = row[3]
	}
	tested := map[string]int{}
	for _, row := range readCSV(t, filepath.Join(report, "predictions.csv")) {
		if want := fold[[2]string{row[0], row[2]}]; row[1] != want {
			t.Fatalf("a window of %s was tested in fold %s of seed %s, want %s", row[2], row[1], row[0], want)
		}
		tested[row[0]]++
	}
	for _, s := range result.Seeds {
		if n := tested[strconv.FormatInt(s.Seed, 10)]; n != s.Windows || n == 0 {
			t.Errorf("seed %d: %d verdicts written, %d windows scored", s.Seed, n, s.Windows)
		}
	}
	sum := 0
	for _, r := range result.Runs[:2] {
		sum += r.Tested
	}
	if sum != result.Seeds[0].Windows {
		t.Errorf("the folds of one repetition test %d windows of %d", sum, result.Seeds[0].Windows)
	}
}

// A capture that fills no window counts among the devices, as wrong: as evaluate
// counts it.
func TestCrossvalCountsCapturesWithoutWindow(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "lab", "--units", "2", "--captures", "2", filepath.Join(dir, "lab"))
	manifest, report := filepath.Join(dir, "lab", "manifest.csv"), filepath.Join(dir, "report")
	captures := len(readCSV(t, manifest))
	// Windows of 20 records, strict: most of the lab's kinds send fewer.
	mustRun(t, "crossval", "--manifest", manifest, "--window", "20", "--window-mode", "strict", "--folds", "2", "--seeds", "1",
		"--epochs", "1", "--validation", "0.5", "--bootstrap", "0", "--report", report)
	var result experiment.CrossResult
	text, err := os.ReadFile(filepath.Join(report, "crossval.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	s := result.Seeds[0]
	if s.Captures >= captures || s.Devices.Count != captures || s.Devices.WithWindow != s.Captures {
		t.Errorf("%d devices, %d of them with a window; want all of %d captures, of which %d have one",
			s.Devices.Count, s.Devices.WithWindow, captures, s.Captures)
	}
}

// Folds that nothing was dealt to are not trained for; data of which nothing can be
// tested is refused.
func TestCrossvalOfFewCaptures(t *testing.T) {
	manifest, dir := labData(t)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	kept := lines[0]
	for _, l := range lines[1:] {
		if strings.Contains(l, ",camera,") || strings.Contains(l, ",hub,") {
			kept += l
		}
	}
	small := filepath.Join(filepath.Dir(manifest), "small.csv")
	if err := os.WriteFile(small, []byte(kept), 0o644); err != nil {
		t.Fatal(err)
	}
	captures := strings.Count(kept, "\n") - 1
	report := filepath.Join(dir, "report")
	mustRun(t, "crossval", "--manifest", small, "--folds", strconv.Itoa(captures+2), "--seeds", "1", "--epochs", "1", "--bootstrap", "0", "--report", report)
	var result experiment.CrossResult
	if text, err = os.ReadFile(filepath.Join(report, "crossval.json")); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Runs) != captures {
		t.Errorf("%d runs for %d captures", len(result.Runs), captures)
	}
	one := filepath.Join(filepath.Dir(manifest), "one.csv") // a unit of each of two classes
	var units []string
	for _, l := range strings.SplitAfter(kept, "\n") {
		if strings.Contains(l, "-0/") || strings.HasPrefix(l, "capture,") {
			units = append(units, l)
		}
	}
	if err := os.WriteFile(one, []byte(strings.Join(units, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := command(t, "crossval", "--manifest", one, "--split-by", "unit", "--folds", "2", "--epochs", "1"); status != terminal.ExitFailed || !strings.Contains(stderr, "every class has but one unit") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// A report that cannot be written is said before anything is trained.
func TestCrossvalReportIntoNowhere(t *testing.T) {
	manifest, _ := labData(t)
	_, stderr, status := command(t, "crossval", "--manifest", manifest, "--epochs", "1", "--folds", "2", "--seeds", "1", "--report", manifest)
	if status != terminal.ExitFailed || !strings.Contains(stderr, "report") || strings.Contains(stderr, "epoch 1") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func mustRun(t *testing.T, args ...string) {
	t.Helper()
	app := newApp()
	app.Writer = &bytes.Buffer{}
	if err := app.RunContext(t.Context(), terminal.FlagsFirst(app, append([]string{"iotsense"}, args...))); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// readCSV is a file's rows without its header.
func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d rows, %v", path, len(rows), err)
	}
	return rows[1:]
}
