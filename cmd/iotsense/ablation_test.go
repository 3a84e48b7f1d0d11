package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Layers can be left out, and what is left learns; a variant keeps what it
// was trained for in its model file.
func TestAblation(t *testing.T) {
	dir := published(t)
	report := filepath.Join(dir, "report")
	stdout, stderr, status := command(t, "ablation", filepath.Join(dir, "bidirectional"), "--dates", "2016-09-23", "--validation-dates", "2016-09-30",
		"--test-dates", "2016-10-03", "--epochs", "2", "--variants", "-conv1,-conv2,-dense,-payload,i=3", "--report", report, "--json")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var rows []ablationRow
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
		t.Fatal(err)
	}
	var names []string
	f1 := map[string]float64{}
	for _, r := range rows {
		names = append(names, r.Variant)
		if r.MacroF1 == nil {
			t.Fatalf("%s: no F1", r.Variant)
		}
		f1[r.Variant] = *r.MacroF1
	}
	if got := strings.Join(names, " "); got != "baseline -conv1 -conv2 -dense -payload i=3" {
		t.Errorf("variants %s", got)
	}
	for _, name := range []string{"baseline", "-conv1", "-conv2", "-dense"} {
		if f1[name] < 0.7 { // a constant payload for each class
			t.Errorf("%s: macro F1 %.2f, want at least 0.7", name, f1[name])
		}
	}
	if text, err := os.ReadFile(filepath.Join(report, "ablation.html")); err != nil || !strings.Contains(string(text), "<td>i=3<td>") {
		t.Errorf("page without i=3: %v", err)
	}
	info, stderr, status := command(t, "model", "info", "--json", "--model", filepath.Join(report, "-payload.safetensors"))
	if status != 0 || !strings.Contains(info, `"without":["payload"]`) {
		t.Errorf("status %d: %s: %s", status, stderr, info)
	}
	if _, stderr, status := command(t, "ablation", dir, "--variants", "conv3"); status != exitUsage || !strings.Contains(stderr, `no variant "conv3"`) {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// With several seeds, figures are means of their runs, and the fixed epochs are all
// trained.
func TestAblationSeeds(t *testing.T) {
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
