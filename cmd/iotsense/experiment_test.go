package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
)

// With several seeds, figures are means of their runs, and the fixed epochs are all
// trained.
func TestExperimentSeeds(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "lab", "--units", "2", "--captures", "2", filepath.Join(dir, "lab"))
	report := filepath.Join(dir, "report")
	ablation := []string{"ablation", "--manifest", filepath.Join(dir, "lab", "manifest.csv"), "--split", "train", "--test-split", "test",
		"--seed", "3", "--seeds", "2", "--fixed", "--epochs", "1", "--max-per-class", "10", "--variants", "-dropout", "--report", report}
	mustRun(t, ablation...)
	var rows []experiment.AblationRow
	text, err := os.ReadFile(filepath.Join(report, "ablation.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if len(r.Seeds) != 2 || len(r.Fixed.Seeds) != 2 || r.Seeds[0] == r.Seeds[1] {
			t.Fatalf("%s: %v early, %v fixed; want two runs of each", r.Variant, r.Seeds, r.Fixed.Seeds)
		}
		if mean := (r.Seeds[0] + r.Seeds[1]) / 2; math.Abs(*r.MacroF1-mean) > 1e-12 {
			t.Errorf("%s: macro F1 %v, the mean is %v", r.Variant, *r.MacroF1, mean)
		}
	}
	if d := rows[1].DF1Interval; rows[0].DF1Interval != nil || d == nil || *rows[1].DF1 < d.Low || *rows[1].DF1 > d.High {
		t.Errorf("change %+v in %+v", rows[1].DF1, d)
	}
	for file, seed := range map[string]string{"-dropout-fixed": "3", "-dropout-fixed-seed4": "4"} {
		stdout, stderr, status := command(t, "model", "info", "--json", "--model", filepath.Join(report, file+".safetensors"))
		if status != 0 || !strings.Contains(stdout, `"seed":`+seed) || !strings.Contains(stdout, `"epochs":"15"`) || !strings.Contains(stdout, `"patience":"0"`) {
			t.Errorf("%s: status %d: %s %s", file, status, stderr, stdout)
		}
	}

	// A run that was ended while it trained its last model goes on with that one, to
	// the same figures; another command line trains its own.
	models, err := filepath.Glob(filepath.Join(report, "*.safetensors"))
	if err != nil || len(models) != 8 {
		t.Fatalf("%d models, %v; want 8", len(models), err)
	}
	last := filepath.Join(report, "-dropout-fixed-seed4")
	if err := os.Remove(filepath.Join(last, experiment.TrainedFile)); err != nil {
		t.Fatal(err)
	}
	for _, run := range []struct {
		flags   []string
		retrain func(model string) bool
	}{
		{[]string{"--resume"}, func(model string) bool { return model == last+".safetensors" }},
		{[]string{"--resume", "--lr", "0.002"}, func(string) bool { return true }},
	} {
		before := times(t, models)
		_, stderr, status := command(t, append(ablation, run.flags...)...)
		if status != 0 || !strings.Contains(stderr, "-dropout-fixed-seed4, model 8 of 8") || !strings.Contains(stderr, "at most 0s left") {
			t.Fatalf("%v: status %d: %s", run.flags, status, stderr)
		}
		for m, at := range times(t, models) {
			if trained := at != before[m]; trained != run.retrain(m) {
				t.Errorf("%v: %s trained again: %v", run.flags, filepath.Base(m), trained)
			}
		}
		again, err := os.ReadFile(filepath.Join(report, "ablation.json"))
		if err != nil {
			t.Fatal(err)
		}
		if same := len(run.flags) == 1; same != (untimed(t, again) == untimed(t, text)) {
			t.Errorf("%v: figures are the same as at first: %v", run.flags, !same)
		}
	}
	if _, stderr, status := command(t, append(ablation[:len(ablation)-2:len(ablation)-2], "--resume")...); status != terminal.ExitUsage || !strings.Contains(stderr, "--report") {
		t.Errorf("--resume alone: status %d: %s", status, stderr)
	}
}

// times are when the files were written.
func times(t *testing.T, files []string) map[string]time.Time {
	t.Helper()
	at := map[string]time.Time{}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		at[f] = info.ModTime()
	}
	return at
}

// untimed is an ablation's page without the seconds that it took.
func untimed(t *testing.T, page []byte) string {
	t.Helper()
	var rows []experiment.AblationRow
	if err := json.Unmarshal(page, &rows); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		rows[i].Seconds, rows[i].DTime = 0, 0
	}
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
