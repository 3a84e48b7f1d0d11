package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
	"github.com/iotsense/iotsense/pkg/lab"
)

func newApp() *cli.App { return iotsense().App() }

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string) int { return iotsense().Run(ctx, args) }

// asCommand makes the test binary run as iotsense, so that a test sees what a
// script would: exit status, stdout, stderr.
const asCommand = "IOTSENSE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main() // exits
	}
	os.Exit(m.Run())
}

// command runs iotsense with the arguments of a line.
func command(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return commandAs(t, nil, args...)
}

func commandAs(t *testing.T, attr *syscall.SysProcAttr, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), asCommand+"=1")
	c.SysProcAttr = attr
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// A command that a signal ends says by which.
func TestRunStopped(t *testing.T) {
	capture, _ := labCapture(t)
	path := write(t, "lab.pcap", capture)
	errs, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	defer func(before *os.File) { os.Stderr = before }(os.Stderr)
	os.Stderr = errs
	status := run(ctx, []string{"iotsense", "analyze", path})
	text, err := os.ReadFile(errs.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := "iotsense: interrupt signal received\n"; status != terminal.ExitFailed || string(text) != want {
		t.Errorf("status %d, %q; want %q", status, text, want)
	}
}

// labCapture is a small capture as a file's bytes.
func labCapture(t *testing.T) (file []byte, device flows.MAC) {
	t.Helper()
	c, err := lab.Generate("smart-plug", 0, 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := lab.WritePCAP(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), c.Device
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Bad input gets one clear line that names it, status 1 or 2, and no panic.
func TestBadInput(t *testing.T) {
	good, _ := labCapture(t)
	corrupt := bytes.Clone(good)
	for i := len(corrupt) / 2; i < len(corrupt); i++ {
		corrupt[i] = 0xff
	}
	foreign := bytes.Clone(good)
	binary.LittleEndian.PutUint32(foreign[20:], 147) // LINKTYPE_USER0
	goodFile := write(t, "good.pcap", good)
	modelFile := write(t, "cut.safetensors", []byte("\x10\x00\x00\x00\x00\x00\x00\x00{\"__metadata__\""))
	out := filepath.Join(t.TempDir(), "out.parquet")
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		says   []string
	}{
		{"truncated capture", []string{"classify", write(t, "cut.pcap", good[:len(good)-7])}, 1, []string{"cut.pcap", "truncated"}},
		{"corrupt capture", []string{"classify", write(t, "corrupt.pcap", corrupt)}, 1, []string{"corrupt.pcap", "stopped at packet"}},
		{"empty file", []string{"classify", write(t, "empty.pcap", nil)}, 1, []string{"empty.pcap", "empty"}},
		{"no capture at all", []string{"classify", write(t, "text.pcap", []byte(strings.Repeat("no capture ", 9)))}, 1, []string{"text.pcap", "not a pcap"}},
		{"unsupported link type", []string{"classify", write(t, "user0.pcap", foreign)}, 1, []string{"user0.pcap", "link type 147", "Ethernet"}},
		{"missing capture", []string{"classify", "/nonexistent.pcap"}, 1, []string{"/nonexistent.pcap"}},
		{"directory without captures", []string{"extract", t.TempDir(), "-o", out}, 1, []string{"holds no .pcap"}},
		{"nothing that can be read", []string{"extract", write(t, "none.pcap", []byte(strings.Repeat("no capture ", 9))), "-o", out}, 1, []string{"none.pcap", "not a pcap"}},
		{"unwritable output", []string{"extract", goodFile, "-o", "/nonexistent/out.parquet"}, 1, []string{"/nonexistent"}},
		{"corrupt model", []string{"classify", goodFile, "--model", modelFile}, 1, []string{"cut.safetensors"}},
		{"missing model", []string{"classify", goodFile, "--model", "/nonexistent"}, 1, []string{"/nonexistent"}},
		{"missing manifest", []string{"extract", "--manifest", "/nonexistent.csv", "-o", out}, 1, []string{"/nonexistent.csv"}},
		{"manifest without a column", []string{"extract", "--manifest", write(t, "m.csv", []byte("capture,label\na.pcap,A\n")), "-o", out}, 1, []string{"m.csv", `"mac" is missing`}},
		{"manifest with a bad MAC", []string{"extract", "--manifest", write(t, "m.csv", []byte("capture,mac,label\na.pcap,xx,A\n")), "-o", out}, 1, []string{"line 2", "xx"}},
		{"records that are none", []string{"evaluate", write(t, "x.parquet", []byte("PAR1 no PAR1"))}, 1, []string{"x.parquet"}},
		{"nobody on the socket", []string{"stats", "--socket", "/nonexistent.sock"}, 1, []string{"/nonexistent.sock", "iotsense run"}},
		{"unlabelled data", []string{"train", goodFile, "-o", out}, 1, []string{"no label", "--manifest"}},
		{"unknown command", []string{"frobnicate"}, 2, []string{"frobnicate"}},
		{"unknown flag", []string{"extract", "--frobnicate"}, 2, []string{"frobnicate"}},
		{"no output named", []string{"extract", goodFile}, 2, []string{"-o"}},
		{"no interface named", []string{"run"}, 2, []string{"-i"}},
		{"bad hook", []string{"run", "-i", "lo", "--hook", "magic"}, 2, []string{"magic"}},
		{"bad size", []string{"run", "-i", "lo", "--ring-size", "much"}, 2, []string{"much"}},
		{"records the model was not made for", []string{"run", "-i", "lo", "--direction", "uni"}, 2, []string{"uni", "bi"}},
		{"no epoch", []string{"train", goodFile, "-o", out, "--epochs", "0"}, 2, []string{"epochs is 0"}},
		{"an average that never moves", []string{"train", goodFile, "-o", out, "--ema", "1"}, 2, []string{"averaged weights is 1"}},
		{"less than no window", []string{"train", goodFile, "-o", out, "--max-per-class", "-1"}, 2, []string{"at most -1"}},
		{"bad range", []string{"classify", goodFile, "--local", "10.0.0.0/99"}, 2, []string{"--local"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stderr, status := command(t, tt.args...)
			if status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if n := strings.Count(stderr, "\n"); n != 1 {
				t.Errorf("%d lines on stderr, want 1:\n%s", n, stderr)
			}
			for _, s := range tt.says {
				if !strings.Contains(stderr, s) {
					t.Errorf("stderr does not say %q: %s", s, stderr)
				}
			}
			if _, err := os.Stat(out); err == nil {
				t.Errorf("left %s", out)
			}
		})
	}
}

// What a damaged capture holds before the damage is not lost.
func TestDamagedCaptureKeepsRecords(t *testing.T) {
	good, device := labCapture(t)
	path := write(t, "cut.pcap", good[:len(good)-7])
	out := filepath.Join(t.TempDir(), "out.parquet")
	if _, _, status := command(t, "extract", path, "-o", out); status != terminal.ExitFailed {
		t.Errorf("status %d", status)
	}
	records := 0
	if err := recordfile.Read(context.Background(), out, nil, func(r flows.LabelledRecord) error {
		if r.Device == device.String() {
			records++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if records == 0 {
		t.Error("no record of the device was written")
	}
	stdout, _, _ := command(t, "classify", path, "--json")
	var v struct{ Device string }
	if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&v); err != nil || v.Device == "" {
		t.Errorf("no verdict: %v, %q", err, stdout)
	}
}

// A full disk is an error, and leaves no half-written file under the output's name.
func TestFullDisk(t *testing.T) {
	testenv.Root(t)
	good, _ := labCapture(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	out := filepath.Join(dir, "out.parquet")
	_, stderr, status := command(t, "extract", write(t, "good.pcap", good), "-o", out)
	if status != terminal.ExitFailed || !strings.Contains(stderr, "no space left") || !strings.Contains(stderr, out) {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a part of the output is there")
	}
}

// Without privileges the sensor names what is missing; with a missing interface it
// names that.
func TestRunRefuses(t *testing.T) {
	testenv.Root(t)
	socket := filepath.Join(t.TempDir(), "s")
	_, stderr, status := command(t, "run", "-i", "iotsense-none", "--socket", socket, "--pin", "", "--duration", "10ms")
	if status != 0 || !strings.Contains(stderr, "waiting") || !strings.Contains(stderr, "iotsense-none") {
		t.Errorf("missing interface: status %d, stderr %s", status, stderr)
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := os.Chmod(filepath.Dir(socket), 0o777); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "iotsense")
	content, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, content, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(binary); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	defer func(old string) { os.Args[0] = old }(os.Args[0])
	os.Args[0] = binary
	made := filepath.Join(filepath.Dir(socket), "made")
	_, stderr, status = commandAs(t, nobody, "run", "-i", "lo", "--socket", filepath.Join(made, "s"), "--pin", "")
	if status != terminal.ExitFailed || !strings.Contains(stderr, "CAP_") {
		t.Errorf("no privilege: status %d, stderr %s", status, stderr)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("no privilege: the socket's directory was made all the same")
	}
}

// Records written by extract classify like the capture they came from, but for facts.
func TestRecordsClassifyLikeTheirCapture(t *testing.T) {
	good, device := labCapture(t)
	path := write(t, "good.pcap", good)
	out := filepath.Join(t.TempDir(), "out.parquet")
	if _, stderr, status := command(t, "extract", path, "-o", out); status != 0 {
		t.Fatal(stderr)
	}
	type verdict struct {
		Device     string
		Label      string
		Confidence float64
		Windows    int
	}
	of := func(data string) (found verdict) {
		stdout, stderr, status := command(t, "classify", data, "--model", box.LabModel, "--no-facts", "--json")
		if status != 0 {
			t.Fatal(stderr)
		}
		d := json.NewDecoder(strings.NewReader(stdout))
		for d.More() {
			var v verdict
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if v.Device == device.String() {
				found = v
			}
		}
		return found
	}
	if a, b := of(path), of(out); a != b || a.Windows == 0 {
		t.Errorf("capture %+v, records %+v", a, b)
	}
}

// What is no name of a device is wrong usage.
func TestDeviceUsage(t *testing.T) {
	for _, bad := range []string{"lamp", "10.0.0", "00:17:88:0a:0b", "ip:"} {
		if _, _, status := command(t, "devices", bad, "--socket", "/nonexistent"); status != terminal.ExitUsage {
			t.Errorf("devices %s: status %d", bad, status)
		}
		if _, stderr, status := command(t, "run", "-i", "lo", "--ignore", bad); status != terminal.ExitUsage || !strings.Contains(stderr, "--ignore") {
			t.Errorf("run --ignore %s: status %d, %s", bad, status, stderr)
		}
	}
	if _, _, status := command(t, "devices", "10.0.0.5", "10.0.0.6", "--socket", "/nonexistent"); status != terminal.ExitUsage {
		t.Errorf("two devices: status %d", status)
	}
}

func TestDoctorUsage(t *testing.T) {
	if got := run(t.Context(), []string{"iotsense", "doctor", "eth0"}); got != terminal.ExitUsage {
		t.Errorf("doctor eth0: status %d, want %d", got, terminal.ExitUsage)
	}
}

// The small program knows which commands it lacks.
func TestElsewhereNamesAll(t *testing.T) {
	names := func(list []*cli.Command, but ...string) (names []string) {
		for _, c := range list {
			if !slices.Contains(but, c.Name) {
				names = append(names, c.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	all := newApp()
	if lacks, says := names(all.Commands, append(names(box.Commands()), "model", "explain", "completion", "man")...), names(box.Elsewhere()); !slices.Equal(lacks, says) {
		t.Errorf("it lacks %v, and says so of %v", lacks, says)
	}
	if lacks, says := names(all.Command("model").Subcommands, "info"), names(box.ModelElsewhere()); !slices.Equal(lacks, says) {
		t.Errorf("of model it lacks %v, and says so of %v", lacks, says)
	}
}
