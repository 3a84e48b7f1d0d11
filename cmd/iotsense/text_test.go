package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Names that are no text are refused where they are given, before anything is read.
func TestNamesAreText(t *testing.T) {
	dir := t.TempDir()
	labels := filepath.Join(dir, "labels.txt")
	if err := os.WriteFile(labels, []byte("kettle\nTr\xe4ger\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "manifest.csv")
	if err := os.WriteFile(manifest, []byte("capture,mac,label\nnone.pcap,02:00:00:00:00:01,kettle\nnone.pcap,02:00:00:00:00:02,Tr\xe4ger\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readLabels(labels); err == nil || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("--labels: error %v", err)
	}
	out := filepath.Join(dir, "model")
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"train", "--manifest", manifest, "-o", out}, "line 3: "},
		{[]string{"extract", "--manifest", manifest, "-o", out}, "line 3: "},
		{[]string{"evaluate", "--manifest", manifest, "--merge", "kettle,Tr\xe4ger"}, "merge"},
		{[]string{"evaluate", "--manifest", manifest, "--leave-out", "a\x1bb"}, "leave-out"},
	} {
		_, stderr, status := command(t, tt.args...)
		if status == 0 || !strings.Contains(stderr, tt.says) {
			t.Errorf("%v: status %d: %s", tt.args, status, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: something was written", tt.args)
		}
	}
}
