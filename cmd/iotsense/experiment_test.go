package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With several seeds, figures are means of their runs, and the fixed epochs are all
// trained.
func TestExperimentSeeds(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "lab", "--units", "2", "--captures", "2", filepath.Join(dir, "lab"))
	report := filepath.Join(dir, "report")
	mustRun(t, "ablation", "--manifest", filepath.Join(dir, "lab", "manifest.csv"), "--split", "train", "--test-split", "test",
		"--seed", "3", "--seeds", "2", "--fixed", "--epochs", "1", "--max-per-class", "10", "--variants", "-dropout", "--report", report)
	var rows []ablationRow
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
}
