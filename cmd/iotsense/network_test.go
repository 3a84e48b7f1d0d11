package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/internal/toynet"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// The processes that tests start know the toy network too.
func init() {
	toynet.Register()
	experiment.Register(experiment.Design{Name: toynet.Kind, New: func(*experiment.Plan) (train.Design, error) {
		return toynet.Design{}, nil
	}})
}

// A network that is unlike the paper's in everything is trained, looked at, scored and
// run on live packets by the commands that do so for the paper's.
func TestCommandsTakeAnotherNetwork(t *testing.T) {
	manifest, dir := labData(t)
	file := filepath.Join(dir, "toy.safetensors")
	output(t, "train", "--manifest", manifest, "--split", "train", "--arch", toynet.Kind, "--epochs", "20", "--batch", "8", "--lr", "0.05", "-o", file)
	if info := output(t, "model", "info", "--json", "--model", file); !strings.Contains(info, `"kind": "toy"`) && !strings.Contains(info, `"kind":"toy"`) {
		t.Errorf("model info: %s", info)
	}
	var score struct {
		Windows int
		Devices struct{ Accuracy float64 }
	}
	if err := json.Unmarshal([]byte(output(t, "evaluate", "--json", "--manifest", manifest, "--split", "test", "--model", file)), &score); err != nil {
		t.Fatal(err)
	}
	if score.Windows == 0 || score.Devices.Accuracy < 0.2 { // of twelve kinds
		t.Errorf("score %+v: nothing was learnt", score)
	}
	capture := filepath.Join(dir, "lab", "camera-0", "capture-0.pcap")
	if out := output(t, "classify", capture, "--model", file); !strings.Contains(out, "?") && !strings.Contains(out, "known") {
		t.Errorf("classify: %s", out)
	}
	output(t, "bench", "inference", "--model", file, "--batch", "1,3", "--runs", "1", "--time", "1ms")
	if _, stderr, status := command(t, "train", "--manifest", manifest, "--arch", toynet.Kind, "--filters", "4", "-o", file); status != 2 || !strings.Contains(stderr, "--filters") {
		t.Errorf("a filter for a network that has none: status %d, %s", status, stderr)
	}
	testenv.Root(t)
	if out := output(t, "demo", "--model", file, "--speed", "60"); !strings.Contains(out, "0 incomplete") || strings.Contains(out, " 0 inferences") {
		t.Errorf("demo: %s", out)
	}
}

// output is what a command prints that must end well.
func output(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, status := command(t, args...)
	if status != 0 {
		t.Fatalf("%s: status %d: %s", strings.Join(args, " "), status, stderr)
	}
	return stdout
}
