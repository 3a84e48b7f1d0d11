package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/experiment"
)

// published is a directory of made-up records in the published layout: three days
// of training, validation and test, 70 records of each of three classes a day.
func published(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	made := exec.Command(testenv.Python(t), "../../pkg/flows/recordfile/testdata/published.py", dir, "int", "70", "2016-09-23", "2016-09-30", "2016-10-03")
	if out, err := made.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// The paper's experiment on files in the published layout, by the command line of
// its help: dates, limits, strategies.
func TestStrategiesOnPublishedLayout(t *testing.T) {
	dir := published(t)
	report := filepath.Join(dir, "report")
	stdout, stderr, status := command(t, "strategies", filepath.Join(dir, "bidirectional"), "--direction", "bi", "--preset", "paper",
		"--dates", "2016-09-23..2016-09-29", "--validation-dates", "2016-09-30..2016-10-02", "--test-dates", "2016-10-03..2016-11-22",
		"--services", "tcp/443", "--epochs", "2", "--report", report, "--json")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var rows []experiment.StrategyRow
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.Model)
		if r.MacroF1 == nil {
			t.Fatalf("%s: no macro F1", r.Model)
		}
		if *r.MacroF1 < 0.9 { // a constant payload for each class
			t.Errorf("%s: macro F1 %.2f, want at least 0.9", r.Model, *r.MacroF1)
		}
		if r.Classes != 3 || r.Covered != 3 || r.Selection != (r.Model != experiment.Everything) {
			t.Errorf("%+v", r)
		}
	}
	if got := strings.Join(names, " "); got != "tcp/443 specialized mixed all" {
		t.Errorf("models %s", got)
	}
	// One window a record of each class but the first four: 3 x 70 records an hour and 10 minutes.
	if all := rows[3]; all.Windows != 3*(70-4) || *all.PerHour < 160 || *all.PerHour > 180 {
		t.Errorf("all traffic: %d windows, %v an hour, want 198 and 170", all.Windows, *all.PerHour)
	}
	for _, name := range []string{"strategies.json", "strategies.html", "bi-specialized-tcp_443.png", "bi-all.png", "bi-all/evaluate.html", "bi-mixed.safetensors"} {
		if _, err := os.Stat(filepath.Join(report, name)); err != nil {
			t.Error(err)
		}
	}
	if one := rows[0]; *one.U != 1 || rows[3].Windows <= one.Windows || one.Paper == nil || one.Paper.MacroF1 != 0.99 {
		t.Errorf("tcp/443: %+v", one)
	}
}

func TestStrategiesUsage(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"strategies x.parquet", "--test-split or --test-dates"},
		{"strategies x.parquet --test-split test", "what to train on"},
		{"strategies x.parquet --split train --test-split test,train", "another part"},
		{"strategies x.parquet --dates 2016-09-23..2016-09-29 --test-dates 2016-09-29..2016-10-02", "another part"},
		{"ablation x.parquet --dates 2016-09-23 --test-split test", "another part"},
		{"train x.parquet -o m --validation-dates 2016-09-30", "--dates"},
		{"train x.parquet -o m --split train --validation-split train", "another one"},
		{"train x.parquet -o m --dates 2016-09-23..2016-09-29 --validation-dates 2016-09-29", "another one"},
		{"train x.parquet -o m --split train --validation-dates 2016-09-29", "another one"},
		{"train x.parquet -o m --dates 30.9.2016", "want days like"},
		{"ablation x.parquet --split train --test-split test --services tcp/80", "-services"},
	} {
		_, stderr, status := command(t, strings.Fields(tt.line)...)
		if status != terminal.ExitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: status %d, %s", tt.line, status, stderr)
		}
	}
}

// Records of one direction are not trained on as the other: the direction is the
// file's, or must be named.
func TestStrategiesTakeTheRecordsDirection(t *testing.T) {
	manifest, dir := labData(t)
	file := filepath.Join(dir, "uni.parquet")
	mustRun(t, "extract", "--manifest", manifest, "--direction", "uni", "-o", file)
	stdout, stderr, status := command(t, "strategies", file, "--split", "train", "--test-split", "test",
		"--services", "tcp/9", "--epochs", "1", "--max-per-class", "20", "--json")
	var rows []experiment.StrategyRow
	if err := json.Unmarshal([]byte(stdout), &rows); status != 0 || err != nil {
		t.Fatalf("status %d, %v: %s", status, err, stderr)
	}
	for _, r := range rows {
		if r.Direction != "uni" {
			t.Errorf("%s of records sent: %s", r.Direction, r.Model)
		}
	}
	_, stderr, status = command(t, "strategies", filepath.Join(published(t), "bidirectional"),
		"--dates", "2016-09-23", "--test-dates", "2016-10-03", "--epochs", "1")
	if status != terminal.ExitFailed || !strings.Contains(stderr, "--direction") || strings.Contains(stderr, "model 1") {
		t.Errorf("published records without --direction: status %d, %s", status, stderr)
	}
}

// A service that too few classes use has no model; that does not stop the others.
func TestStrategiesWithoutAService(t *testing.T) {
	manifest, _ := labData(t)
	args := []string{"strategies", "--manifest", manifest, "--split", "train", "--test-split", "test", "--direction", "bi",
		"--services", "tcp/9", "--epochs", "1", "--max-per-class", "20"}
	stdout, stderr, status := command(t, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var rows []experiment.StrategyRow
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, r := range rows {
		if r.Missing != "" {
			missing = append(missing, r.Model)
		}
	}
	if got := strings.Join(missing, " "); len(rows) != 4 || got != "tcp/9 specialized mixed" || rows[3].MacroF1 == nil {
		t.Errorf("no model for %q of %d rows", got, len(rows))
	}
	if stdout, stderr, status := command(t, args...); status != 0 || !strings.Contains(stdout, "No model for mixed, bi: no window") {
		t.Errorf("status %d: %s %s", status, stdout, stderr)
	}
}
