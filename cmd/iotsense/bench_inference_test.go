package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// benchJSON runs `bench inference --json` briefly and returns what it prints.
func benchJSON(t *testing.T, args ...string) map[string]any {
	t.Helper()
	app := newApp()
	var out bytes.Buffer
	app.Writer = &out
	args = append([]string{"iotsense", "bench", "inference", "--json", "--time", "2ms", "--runs", "1"}, args...)
	if err := app.RunContext(t.Context(), terminal.FlagsFirst(app, args)); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	var report map[string]any
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v: %v in %s", args, err, out.String())
	}
	return report
}

func TestBenchInferenceJSON(t *testing.T) {
	for _, c := range []struct {
		args []string
		want map[string]any
	}{
		{nil, map[string]any{"mode": "sliding", "threads": 1.0, "rows": "real", "model": "embedded"}},
		{[]string{"--mode", "cold", "--model", "lab", "--threads", "2"}, map[string]any{"mode": "cold", "threads": 2.0, "model": "lab"}},
		{[]string{"--rows", "full", "--mode", "cold", "--windows", "9"}, map[string]any{"rows": "full", "windows": 9.0}},
	} {
		report := benchJSON(t, append(c.args, "--batch", "1,3")...)
		for key, want := range c.want {
			if report[key] != want {
				t.Errorf("%v: %s is %v, want %v", c.args, key, report[key], want)
			}
		}
		if report["engine"] == "" {
			t.Errorf("%v: no engine named", c.args)
		}
		lengths := report["row_lengths"].(map[string]any)
		if p50, most := lengths["p50"].(float64), lengths["max"].(float64); p50 < 40 || most > 3040 || p50 > most {
			t.Errorf("%v: row lengths %v", c.args, lengths)
		}
		base, loaded := report["rss_base_mb"].(float64), report["rss_loaded_mb"].(float64)
		if base <= 0 || loaded <= 0 { // what other tests have left to be freed can be more than the model
			t.Errorf("%v: %v MB before the model, %v with it", c.args, base, loaded)
		}
		batches := report["batches"].([]any)
		if len(batches) != 2 {
			t.Fatalf("%v: batches %v, want two", c.args, batches)
		}
		for i, size := range []float64{1, 3} {
			b := batches[i].(map[string]any)
			if b["batch"] != size || len(b) != 5 {
				t.Errorf("%v: batch %v, want one of %v", c.args, b, size)
			}
			for _, key := range []string{"per_second", "p50_us", "p99_us", "rss_mb"} {
				if v, ok := b[key].(float64); !ok || v <= 0 {
					t.Errorf("%v: batch %v: %s is %v", c.args, size, key, b[key])
				}
			}
		}
	}
}

func TestBenchInferenceManifest(t *testing.T) {
	data := testenv.Data(t)
	report := benchJSON(t, "--manifest", filepath.Join(data, "manifest.csv"), "--batch", "1", filepath.Join(data, "Aria"))
	if n := report["windows"].(float64); n < 20 {
		t.Errorf("%v windows in the captures of one device, want some tens", n)
	}
}

func TestBenchInferenceUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--batch", "0"}, {"--batch", "1,,2"}, {"--batch", "many"}, {"--threads", "0"}, {"--threads", "100000"},
		{"--mode", "warm"}, {"--rows", "empty"}, {"--runs", "0"}, {"--time", "0s"}, {"--windows", "5"},
		{"--window", "4"}, {"--direction", "uni"}, {"--nonsense"},
	} {
		if got := run(t.Context(), append([]string{"iotsense", "bench", "inference"}, args...)); got != terminal.ExitUsage {
			t.Errorf("%v: status %d, want %d", args, got, terminal.ExitUsage)
		}
	}
	if got := run(t.Context(), []string{"iotsense", "bench", "inference", "--model", "absent.safetensors"}); got != terminal.ExitFailed {
		t.Errorf("a model that is not there: status %d, want %d", got, terminal.ExitFailed)
	}
}

func TestBenchInferenceDump(t *testing.T) {
	dir := t.TempDir()
	paper, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "paper.safetensors")
	if err := paper.Save(path); err != nil {
		t.Fatal(err)
	}
	benchJSON(t, "--model", path, "--mode", "cold", "--windows", "3", "--batch", "1", "--dump", dir)
	for name, size := range map[string]int{"windows.npy": 3 * 5 * 3040 * 4, "probs.npy": 3 * 27 * 4} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		header := bytes.IndexByte(content, '\n') + 1
		if !bytes.HasPrefix(content, []byte("\x93NUMPY\x01\x00")) || header%64 != 0 || len(content) != header+size {
			t.Errorf("%s: %d bytes, %d of them before the values, want %d after", name, len(content), header, size)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Error(err)
	}
	if got := run(t.Context(), []string{"iotsense", "bench", "inference", "--mode", "cold", "--model", path, "--dump", dir}); got != terminal.ExitUsage {
		t.Errorf("a dump of all windows: status %d, want %d", got, terminal.ExitUsage)
	}
}
