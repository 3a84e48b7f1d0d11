package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// What is exported comes back by import, labels and scaling included.
func TestModelExportImport(t *testing.T) {
	dir := t.TempDir()
	path, onnx, back := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "m.onnx"), filepath.Join(dir, "back.safetensors")
	m := modelOf(t, cnn.DefaultArchitecture(5))
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{
		{"model", "export", "--onnx", "--model", path, "-o", onnx},
		{"model", "import", onnx, "-o", back},
	} {
		if _, stderr, status := command(t, line...); status != 0 {
			t.Fatalf("%v: status %d: %s", line, status, stderr)
		}
	}
	want, _, _ := command(t, "model", "info", "--json", "--model", path)
	got, stderr, status := command(t, "model", "info", "--json", "--model", back)
	if status != 0 || got != want {
		t.Errorf("status %d: %s: %s\nwant %s", status, stderr, got, want)
	}
}

// A stream network is exported and described as what it is, and not imported.
func TestModelOfTheStreamNetwork(t *testing.T) {
	dir := t.TempDir()
	path, onnx, back := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "m.onnx"), filepath.Join(dir, "back.safetensors")
	if err := streamtest.Model(rand.New(rand.NewPCG(1, 1)), streamtest.Architecture(), 3).Save(path); err != nil {
		t.Fatal(err)
	}
	info := output(t, "model", "info", "--model", path)
	for _, want := range []string{"stream", "120883", "48 filters", "64 units", "2048 rows of 32", "the last 20 records", "11520 bytes a device"} {
		if !strings.Contains(info, want) {
			t.Errorf("model info without %q:\n%s", want, info)
		}
	}
	output(t, "model", "export", "--onnx", "--model", path, "-o", onnx)
	_, stderr, status := command(t, "model", "import", onnx, "-o", back)
	if _, err := os.Stat(back); err == nil || status != terminal.ExitFailed || !strings.Contains(stderr, "step of a stream network") {
		t.Errorf("import of a step: status %d: %s", status, stderr)
	}
}

// A bundle is exported service by service.
func TestModelExportService(t *testing.T) {
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, out := filepath.Join(dir, "b.safetensors"), filepath.Join(dir, "m.onnx")
	if err := (model.Bundle{"tcp/80": bundle[""], "udp/53": bundle[""]}).Save(path); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		service string
		status  int
		says    string
	}{
		{"udp/53", 0, ""},
		{"", terminal.ExitUsage, "has models for tcp/80, udp/53"},
		{"tcp/443", terminal.ExitUsage, "has models for tcp/80, udp/53"},
	} {
		_, stderr, status := command(t, "model", "export", "--onnx", "--model", path, "-o", out, "--service", tt.service)
		if status != tt.status || !strings.Contains(stderr, tt.says) {
			t.Errorf("service %q: status %d, %s", tt.service, status, stderr)
		}
	}
}

// Weights without a word about records or labels: both come from elsewhere.
func TestModelImportKeras(t *testing.T) {
	const weights = "../../pkg/model/interchange/testdata/keras3.weights.h5"
	dir := t.TempDir()
	out := filepath.Join(dir, "m.safetensors")
	labels := write(t, "labels.txt", []byte("kettle\nplug\r\ncamera\nhub\n"))
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	small := *bundle[""]
	small.Record.Packets, small.Record.Payload = 1, 27
	small.Background = nil
	arch := cnn.DefaultArchitecture(5)
	arch.Kernel1, arch.Filters, arch.Hidden = 10, [2]int{2, 3}, 7
	small.Net = sized(t, arch, &small)
	like := filepath.Join(dir, "like.safetensors")
	if err := small.Save(like); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := command(t, "model", "import", weights, "-o", out, "--like", like, "--labels", labels); status != 0 || !strings.Contains(stderr, "holds weights alone") {
		t.Fatalf("status %d: %s", status, stderr)
	}
	m, err := model.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(m.Labels, " "); got != "camera hub kettle plug" || m.Scaling != small.Scaling {
		t.Errorf("labels %s, scaling %v", got, m.Scaling)
	}
	if _, stderr, status := command(t, "model", "import", weights, "-o", out, "--like", like); status != 0 || !strings.Contains(stderr, "class 0 to class 3") {
		t.Errorf("without labels: status %d: %s", status, stderr)
	}
	_, stderr, status := command(t, "model", "import", weights, "-o", out)
	if status != terminal.ExitFailed || !strings.Contains(stderr, "first dense layer has 27 inputs") {
		t.Errorf("for other records: status %d: %s", status, stderr)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error("a failed import removed what was there")
	}
}

// modelOf is the embedded model of the paper's network with a network of zeros.
func modelOf(t *testing.T, a cnn.Architecture) *model.Model {
	t.Helper()
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	m := *bundle[""]
	m.Background = nil
	m.Net = sized(t, a, &m)
	return &m
}

// sized is a network of zeros.
func sized(t *testing.T, a cnn.Architecture, m *model.Model) *cnn.Net {
	t.Helper()
	d, err := a.Dims(m.Record.Width(), len(m.Labels))
	if err != nil {
		t.Fatal(err)
	}
	var w cnn.Weights
	zeros := func(n int) []float32 { return make([]float32, n) }
	w.Conv1, w.Conv1Bias = zeros(a.Kernel1*a.Filters[0]), zeros(a.Filters[0])
	w.Conv2, w.Conv2Bias = zeros(a.Kernel2[0]*a.Kernel2[1]*a.Filters[0]*a.Filters[1]), zeros(a.Filters[1])
	w.Dense1, w.Dense1Bias = zeros(d.Flat*a.Hidden), zeros(a.Hidden)
	w.Dense2, w.Dense2Bias = zeros(a.Hidden*d.Classes), zeros(d.Classes)
	return &cnn.Net{Arch: a, Weights: w}
}
