package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
)

// labData is a small data set of the device lab: its manifest and a directory to
// write to.
func labData(t *testing.T) (manifest, dir string) {
	t.Helper()
	dir = t.TempDir()
	mustRun(t, "lab", "--units", "2", "--captures", "2", filepath.Join(dir, "lab"))
	return filepath.Join(dir, "lab", "manifest.csv"), dir
}

// Each strategy in each direction trains, says in the file what it is of, and is
// accepted where models are.
func TestTrainEveryStrategy(t *testing.T) {
	manifest, dir := labData(t)
	for _, c := range []struct {
		strategy string
		keys     []string // of the bundle
		services []string // of its first model
	}{
		{"all", []string{""}, []string{}},
		{"mixed", []string{""}, []string{"udp/53", "udp/123"}},
		{"specialized", []string{"udp/123", "udp/53"}, []string{"udp/123"}},
	} {
		for _, direction := range []string{"bi", "uni"} {
			t.Run(c.strategy+" "+direction, func(t *testing.T) {
				file := filepath.Join(dir, c.strategy+"-"+direction)
				mustRun(t, "train", "--manifest", manifest, "--strategy", c.strategy, "--services", "udp/53,udp/123",
					"--direction", direction, "--epochs", "1", "-o", file)
				bundle, err := model.LoadBundle(file)
				if err != nil {
					t.Fatal(err)
				}
				if keys := sortedKeys(bundle); !slices.Equal(keys, c.keys) {
					t.Fatalf("models of %q, want %q", keys, c.keys)
				}
				r := bundle[c.keys[0]].Record
				if r.Direction != direction || !slices.Equal(r.Services, c.services) {
					t.Errorf("the model is of %s records of %q", r.Direction, r.Services)
				}
				mustRun(t, "evaluate", "--manifest", manifest, "--split", "test", "--model", file)
				mustRun(t, "classify", filepath.Join(dir, "lab", "camera-0", "capture-0.pcap"), "--model", file)
			})
		}
	}
}

// Where a run's files lay leaves no trace in the model, and a checkpoint is gone
// once the model is there.
func TestTrainLeavesNoPaths(t *testing.T) {
	manifest, dir := labData(t)
	file, checkpoint := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "state")
	mustRun(t, "train", "--manifest", manifest, "--split", "train", "--epochs", "1", "-o", file,
		"--report", filepath.Join(dir, "report"), "--checkpoint", checkpoint, "--checkpoint-every", "1ms", "--memory", "1MiB")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), dir) {
		t.Error("the model names a path")
	}
	if _, err := os.Stat(checkpoint); !os.IsNotExist(err) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
}
