package main

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// What trains, draws, measures or makes traffic, and what asks, is kept out of what does
// without.
func TestWhatIsLinked(t *testing.T) {
	heavy := []string{"gorgonia.org/", "gonum.org/", "pkg/lab", "pkg/analyze", "pkg/bench", "pkg/experiment",
		"pkg/replay", "pkg/report", "pkg/model/train", "pkg/model/cnn/learn", "pkg/model/interchange", "pkg/model/score"}
	kernel := []string{"github.com/cilium/ebpf", "github.com/parquet-go/", "github.com/vishvananda/netlink", "pkg/loader", "pkg/sensor"}
	for _, tt := range []struct {
		program        string
		links, without []string
	}{
		{"cmd/iotsense", slices.Concat(heavy[:2], kernel), nil},
		{"cmd/iotsense-box", kernel, heavy},
		{"cmd/internal/ask", []string{"pkg/api/client"}, slices.Concat(heavy, kernel)},
		{"cmd/internal/top", []string{"pkg/api/client", "charm.land/"}, kernel},
	} {
		out, err := exec.Command("go", "list", "-deps", "../../"+tt.program).Output()
		if err != nil {
			t.Fatal(err)
		}
		linked := func(what string) bool {
			return slices.ContainsFunc(strings.Fields(string(out)), func(dep string) bool {
				own, ours := strings.CutPrefix(dep, "github.com/iotsense/iotsense/")
				if strings.HasPrefix(what, "pkg/") {
					return ours && (own == what || strings.HasPrefix(own, what+"/"))
				}
				return !ours && strings.HasPrefix(dep, what)
			})
		}
		for _, what := range tt.links {
			if !linked(what) {
				t.Errorf("%s does not link %s: this test looks for the wrong thing", tt.program, what)
			}
		}
		for _, what := range tt.without {
			if linked(what) {
				t.Errorf("%s links %s", tt.program, what)
			}
		}
	}
}

// A command of the full tool is wrong usage that says where it is, whatever its flags.
func TestElsewhere(t *testing.T) {
	stderr := os.Stderr
	defer func() { os.Stderr = stderr }()
	for line, want := range map[string]string{
		"train --manifest m.csv -o x": "train: not in this binary; it is in iotsense (package iotsense-tools)",
		"train --help":                "train: not in this binary; it is in iotsense (package iotsense-tools)",
		"bench kernel --json":         "bench: not in this binary; it is in iotsense (package iotsense-tools)",
		"model export --onnx -o x":    "model export: not in this binary; it is in iotsense (package iotsense-tools)",
		"nonsense":                    "no command \"nonsense\": see iotsense-box --help",
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		os.Stderr = w
		status := program().Run(t.Context(), append([]string{"iotsense-box"}, strings.Fields(line)...))
		w.Close()
		said, err := io.ReadAll(r)
		if err != nil || status != terminal.ExitUsage || !strings.Contains(string(said), want) {
			t.Errorf("%s: status %d, %q, %v", line, status, said, err)
		}
	}
}
