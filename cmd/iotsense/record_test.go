package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// changedModel is a file of the lab's model with another record.
func changedModel(t *testing.T, change func(*model.RecordSpec)) string {
	t.Helper()
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	m := *bundle[""]
	change(&m.Record)
	path := filepath.Join(t.TempDir(), "changed.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Files give the records that the model was made for, as the kernel does; records
// that were made otherwise are refused by name.
func TestFilesKeepTheModelsRecord(t *testing.T) {
	good, device := labCapture(t)
	capture := write(t, "good.pcap", good)
	flowsOf := func(args ...string) int {
		stdout, stderr, status := command(t, append([]string{"classify", capture, "--json"}, args...)...)
		if status != 0 {
			t.Fatal(stderr)
		}
		for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); {
			var v struct {
				Device string
				Flows  int
			}
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if v.Device == device.String() {
				return v.Flows
			}
		}
		return 0
	}
	short := changedModel(t, func(r *model.RecordSpec) { r.Lifetime = 2 * time.Second })
	if a, b := flowsOf("--model", box.LabModel), flowsOf("--model", short); a == 0 || b <= a {
		t.Errorf("%d flows of a minute, %d of two seconds", a, b)
	}
	records := filepath.Join(t.TempDir(), "minute.parquet")
	if _, stderr, status := command(t, "extract", capture, "-o", records); status != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, status := command(t, "classify", records, "--model", short); status != terminal.ExitFailed || !strings.Contains(stderr, "live 1m0s, not 2s") {
		t.Errorf("records of a minute: status %d, %s", status, stderr)
	}
	made := filepath.Join(t.TempDir(), "short.parquet")
	if _, stderr, status := command(t, "extract", capture, "--model", short, "-o", made); status != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, status := command(t, "classify", made, "--model", short); status != 0 {
		t.Errorf("records of two seconds: status %d, %s", status, stderr)
	}
}

// A payload longer than a records file's columns is learnt from captures whole, and
// from records files not at all.
func TestTrainKeepsLongPayloads(t *testing.T) {
	manifest, dir := labData(t)
	digest := func(payload string) string {
		file := filepath.Join(dir, payload+".safetensors")
		mustRun(t, "train", "--manifest", manifest, "--epochs", "1", "--payload", payload, "-o", file)
		m, err := model.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return m.Training.Digest
	}
	if digest("6000") == digest("3000") {
		t.Error("6,000 payload values are learnt from the same bytes as 3,000")
	}
	records := filepath.Join(dir, "records.parquet")
	mustRun(t, "extract", "--manifest", manifest, "-o", records)
	_, stderr, status := command(t, "train", records, "--epochs", "1", "--payload", "6000", "-o", filepath.Join(dir, "none"))
	if status != terminal.ExitFailed || !strings.Contains(stderr, "wanted are 10 of 1000 in 6000") {
		t.Errorf("records file: status %d, %s", status, stderr)
	}
}
