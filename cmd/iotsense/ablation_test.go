package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
)

// Layers can be left out, and what is left learns; a variant keeps what it
// was trained for in its model file.
func TestAblation(t *testing.T) {
	dir := published(t)
	report := filepath.Join(dir, "report")
	stdout, stderr, status := command(t, "ablation", filepath.Join(dir, "bidirectional"), "--arch", "paper", "--dates", "2016-09-23", "--validation-dates", "2016-09-30",
		"--test-dates", "2016-10-03", "--epochs", "2", "--variants", "-conv1,-conv2,-dense,-payload,i=3", "--report", report, "--json")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var rows []experiment.AblationRow
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
	if _, stderr, status := command(t, "ablation", dir, "--variants", "conv3"); status != terminal.ExitUsage || !strings.Contains(stderr, `no variant "conv3"`) {
		t.Errorf("status %d: %s", status, stderr)
	}
}
