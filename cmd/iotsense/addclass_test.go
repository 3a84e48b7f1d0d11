package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model"
)

// train --add-class writes a model that knows the manifest's classes too, and tells of
// those; a bundle for services has no place for them.
func TestTrainAddsClasses(t *testing.T) {
	manifest, dir := labData(t)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	part := func(name string, camera bool) string {
		kept := slices.DeleteFunc(slices.Clone(lines[1:]), func(l string) bool { return strings.Contains(l, ",camera,") != camera })
		path := filepath.Join(dir, "lab", name)
		if err := os.WriteFile(path, []byte(lines[0]+strings.Join(kept, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	others, camera := part("others.csv", false), part("camera.csv", true)
	old, file := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	mustRun(t, "train", "--manifest", others, "--arch", "stream", "--epochs", "1", "-o", old)
	mustRun(t, "train", "--manifest", camera, "--add-class", "--augment", "--model", old, "--report", dir, "-o", file)
	out, err := os.ReadFile(filepath.Join(dir, "train.json"))
	var reports experiment.Reports
	if err != nil || json.Unmarshal(out, &reports) != nil || len(reports[""].Classes) != 1 || reports[""].Classes[0].Label != "camera" {
		t.Errorf("%v: %s", err, out)
	}
	if r := reports[""]; !strings.Contains(string(out), `"choice": null`) || r.Calibration.Captures == 0 {
		t.Errorf("no epoch was chosen: %s", out)
	}
	m, err := model.Load(file)
	if err != nil || !slices.Contains(m.Labels, "camera") || len(m.Classes()) != 12 {
		t.Errorf("%v, %v", err, m)
	}
	mustRun(t, "evaluate", "--manifest", manifest, "--split", "test", "--model", file)
	bundle := filepath.Join(dir, "bundle")
	mustRun(t, "train", "--manifest", others, "--strategy", "specialized", "--services", "udp/53", "--arch", "stream", "--epochs", "1", "-o", bundle)
	if err := runLine(t, "train", "--manifest", camera, "--add-class", "--model", bundle, "-o", file+"2"); err == nil || !strings.Contains(err.Error(), "a bundle for udp/53") {
		t.Errorf("to a bundle: %v", err)
	}
}
