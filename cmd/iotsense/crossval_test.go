package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
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
	mustRun(t, "crossval", "--manifest", manifest, "--arch", "paper", "--window", "20", "--window-mode", "strict", "--folds", "2", "--seeds", "1",
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

// The bars pool what crossval does on the same folds, are paired with another network's,
// and train nothing twice.
func TestBars(t *testing.T) {
	manifest, dir := labData(t)
	strangers := filepath.Join(dir, "lab", "strangers.csv")
	rows := readCSV(t, manifest)
	one := strings.Join(rows[0][:2], ",") + ",a stranger\n"
	if err := os.WriteFile(strangers, []byte("capture,mac,label\n"+one), 0o600); err != nil {
		t.Fatal(err)
	}
	bars := func(args ...string) (string, error) {
		c := exec.Command(testenv.Python(t), append([]string{filepath.Join("..", "..", "bench", "peers", "bars.py"), "--binary", os.Args[0],
			"--manifest", manifest, "--strangers", strangers, "--folds", "2", "--seeds", "1"}, args...)...)
		c.Env = append(os.Environ(), asCommand+"=1")
		text, err := c.CombinedOutput()
		return string(text), err
	}
	alone, stream := filepath.Join(dir, "alone"), filepath.Join(dir, "stream")
	flags := []string{"--arch", "stream", "--epochs", "2", "--threads", "1", "--augment=false"} // copies are drawn by the seed of train, once for all of crossval
	for _, args := range [][]string{{alone, "--", "--no-facts", "--augment=false", "--epochs", "1", "--threads", "1"}, append([]string{stream, "--against", alone, "--"}, flags...)} {
		if text, err := bars(args...); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	type figures map[string]struct{ Value, Low, High float64 }
	var got struct {
		Rows []struct {
			Change                       string
			Twins                        bool `json:"twins_merged"`
			Figures, Against, Difference figures
		}
		Strangers map[string]struct{ Median float64 }
	}
	kept, err := os.ReadFile(filepath.Join(stream, "bars.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(kept, &got); err != nil {
		t.Fatal(err)
	}
	var want experiment.CrossResult
	text := output(t, append([]string{"crossval", "--json", "--manifest", manifest, "--folds", "2", "--seeds", "1"}, flags...)...)
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	plain := got.Rows[0]
	if plain.Change != "none" || plain.Twins || math.Abs(plain.Figures["F1"].Value-want.MacroF1) > 1e-9 || math.Abs(plain.Figures["right"].Value-*want.Seeds[0].Devices.Accuracy) > 1e-9 {
		t.Errorf("%+v, crossval has %+v", plain, want.Seeds)
	}
	if len(got.Rows) != 26 || got.Strangers["devices"].Median != 1 {
		t.Errorf("%d rows, strangers %v", len(got.Rows), got.Strangers)
	}
	for _, r := range got.Rows {
		for name, f := range r.Figures {
			if math.Abs(f.Value-r.Against[name].Value-r.Difference[name].Value) > 1e-9 || f.Low > f.High {
				t.Errorf("%s, %s: %v, %v, %v", r.Change, name, f, r.Against[name], r.Difference[name])
			}
		}
	}
	model := filepath.Join(stream, "seed1-fold1.safetensors")
	before, err := os.Stat(model)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := bars(append([]string{stream, "--against", alone, "--"}, flags...)...); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	again, err := os.ReadFile(filepath.Join(stream, "bars.json"))
	if after, failed := os.Stat(model); failed != nil || after.ModTime() != before.ModTime() || err != nil || string(again) != string(kept) {
		t.Errorf("a second time: %v, %v", failed, err)
	}
	if text, err := bars(stream, "--", "--epochs", "3"); err == nil || !strings.Contains(text, "name another directory") {
		t.Errorf("with other flags: %v: %s", err, text)
	}
}
