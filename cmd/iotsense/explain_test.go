package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/explain"
	"github.com/iotsense/iotsense/pkg/model/stream"
)

// explanation runs explain --json on one device.
func explanation(t *testing.T, args ...string) v1.Explanation {
	t.Helper()
	stdout, stderr, status := command(t, append([]string{"explain", "--json"}, args...)...)
	var x v1.Explanation
	if err := json.Unmarshal([]byte(stdout), &x); status != 0 || err != nil {
		t.Fatalf("status %d, %v: %s", status, err, stderr)
	}
	return x
}

// verdictOf runs classify --json and gives one device's line.
func verdictOf(t *testing.T, device string, args ...string) v1.Verdict {
	t.Helper()
	stdout, stderr, status := command(t, append([]string{"classify", "--json"}, args...)...)
	for d := json.NewDecoder(strings.NewReader(stdout)); status == 0; {
		var v v1.Verdict
		if err := d.Decode(&v); err != nil {
			break
		}
		if v.Device == device {
			return v
		}
	}
	t.Fatalf("status %d, no line of %s: %s%s", status, device, stdout, stderr)
	return v1.Verdict{}
}

// A window is the same one that classify judges, its shares add up, and of all that is
// printed the greatest come first.
func TestExplain(t *testing.T) {
	content, mac := labCapture(t)
	capture, device := write(t, "plug.pcap", content), mac.String()
	v := verdictOf(t, device, capture, "--model", "lab")
	args := []string{capture, "--device", strings.ToUpper(device), "--model", "lab"}
	x := explanation(t, args...)
	if x.Device != device || *x.Capture != capture || x.WindowIndex != v.Windows-1 || x.Label != *v.WindowLabel ||
		x.Output != "logit" || math.Abs(x.JoinedProbability-*v.WindowConfidence) > 1e-5 {
		t.Errorf("%s, window %d of %s: %s with %v; classify says %s with %v of %d windows", x.Device, x.WindowIndex, *x.Capture, x.Label, x.JoinedProbability, *v.WindowLabel, *v.WindowConfidence, v.Windows)
	}
	sum := x.BaseValue
	for _, row := range x.Phi {
		if len(row) != 3040 {
			t.Fatalf("rows of %d values", len(row))
		}
		for _, phi := range row {
			sum += phi
		}
	}
	if math.Abs(sum-x.Value) > 1e-5 || x.AdditivityError > 1e-5 {
		t.Errorf("base and shares are %v, the value %v", sum, x.Value)
	}
	if !slices.IsSortedFunc(x.Fields, func(a, b v1.ExplainedField) int {
		return int(math.Copysign(1, math.Abs(b.Phi)-math.Abs(a.Phi)))
	}) || len(x.Facts) == 0 {
		t.Errorf("%d facts, fields not sorted", len(x.Facts))
	}
	few := explanation(t, append(args, "--top", "3", "--window-index", "0", "--on", "probability", "--why-not", "camera")...)
	if len(few.Fields) != 3 || few.WindowIndex != 0 || few.Output != "probability" || *few.WhyNot != "camera" || len(few.Phi) != 1 {
		t.Errorf("%d fields of window %d, %s, of %d rows", len(few.Fields), few.WindowIndex, few.Output, len(few.Phi))
	}
	if silent := explanation(t, append(args, "--no-facts")...); len(silent.Facts) != 0 || silent.FactsValue != nil {
		t.Errorf("facts without facts: %v", silent.Facts)
	}
	stdout, _, _ := command(t, append(append([]string{"explain"}, args...), "--top", "4")...)
	greatest := x.Facts[0].Words()
	if math.Abs(x.Fields[0].Phi) > math.Abs(x.Facts[0].Phi) {
		greatest = x.Fields[0].Words()
	}
	lines := strings.Split(stdout, "\n")
	if !strings.HasPrefix(stdout, "Why "+x.Label+": "+device+", window ") || len(lines) != 12 || !strings.HasSuffix(lines[6], greatest) {
		t.Errorf("first %q, printed\n%s", greatest, stdout)
	}
}

// A report has the page, both pictures and the figures; of a second capture one beside it.
func TestExplainReport(t *testing.T) {
	content, mac := labCapture(t)
	dir := filepath.Join(t.TempDir(), "r")
	mustRun(t, "explain", write(t, "a.pcap", content), write(t, "b.pcap", content), "--device", mac.String(), "--model", "lab", "--report", dir)
	for _, name := range []string{"explain.html", "explain.json", "explain-hex.png", "explain-ascii.png", "2/explain.html"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
}

// What cannot be explained gets one line that says why.
func TestExplainRefuses(t *testing.T) {
	content, mac := labCapture(t)
	capture, device := write(t, "plug.pcap", content), mac.String()
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	m := *bundle[""]
	net := *m.Net.(*stream.Net)
	m.Net = &net
	bare := filepath.Join(t.TempDir(), "bare.safetensors")
	if err := errors.Join(m.SetReferences(nil), m.Save(bare)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		status int
		says   string
	}{
		{"FILE --device 02:00:00:00:00:01", terminal.ExitFailed, "no packet of it in the data: there are " + device},
		{"FILE --device 192.168.9.9", terminal.ExitFailed, "device ip:192.168.9.9: no packet"},
		{"FILE --device MAC --window-index 9999", terminal.ExitFailed, "no window 9999 in "},
		{"FILE --device MAC --window-index -1", terminal.ExitUsage, "--window-index -1"},
		{"FILE --device MAC --on heat", terminal.ExitUsage, `--on: output "heat"`},
		{"FILE --device MAC --why-not kettle", terminal.ExitUsage, `--why-not "kettle": the model has no such label`},
		{"MAC", terminal.ExitUsage, "a device is named with --device "},
		{"FILE --device MAC --top -1", terminal.ExitUsage, "--top -1"},
		{"FILE --device plug", terminal.ExitUsage, "--device"},
		{"FILE --device MAC --model BARE", terminal.ExitFailed, "the model has no background"},
		{"FILE.missing --device MAC", terminal.ExitFailed, "FILE.missing"},
	} {
		args := strings.Fields(strings.NewReplacer("FILE", capture, "MAC", device, "BARE", bare).Replace(tt.args + " --model lab"))
		if strings.Contains(tt.args, "--model") {
			args = args[:len(args)-2]
		}
		stdout, stderr, status := command(t, append([]string{"explain"}, args...)...)
		if want := strings.ReplaceAll(tt.says, "FILE", capture); status != tt.status || stdout != "" || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, stdout %q, stderr %q, want %q", tt.args, status, stdout, stderr, want)
		}
	}
}

// A verdict says whether its explanation lets it be trusted, if one was asked for.
func TestClassifyExplains(t *testing.T) {
	content, mac := labCapture(t)
	capture, device := write(t, "plug.pcap", content), mac.String()
	if v := verdictOf(t, device, capture, "--model", "lab"); v.PaddingFraction != nil || v.Trusted != nil {
		t.Error("explained, and nobody asked")
	}
	v := verdictOf(t, device, capture, "--model", "lab", "--explain")
	x := explanation(t, capture, "--device", device, "--model", "lab")
	if v.PaddingFraction == nil || v.Trusted == nil || *v.Label != x.Label || *v.PaddingFraction != x.PaddingFraction || *v.Trusted != (v.Known && x.PaddingFraction <= 0.01) {
		t.Errorf("padding fraction %v, trusted %v; explain says %v", v.PaddingFraction, v.Trusted, x.PaddingFraction)
	}
	if v.Explained(0.02); *v.Trusted {
		t.Error("trusted above the threshold")
	}
	if d := (v1.DeviceVerdict{Verdict: v}); ask.Note(&d) != "rests on padding" {
		t.Errorf("its note is %q", ask.Note(&d))
	}
}

// Over many windows each label has what carries it, the same whoever runs it.
func TestExplainMany(t *testing.T) {
	manifest, dir := labData(t)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, bytes.ReplaceAll(text, []byte(",camera,"), []byte(",kettle,")), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"explain", "--manifest", manifest, "--model", "lab", "--windows", "2", "--top", "3", "--json", "--report", filepath.Join(dir, "r")}
	stdout, stderr, status := command(t, args...)
	var l explain.Learnt
	if err := json.Unmarshal([]byte(stdout), &l); status != 0 || err != nil {
		t.Fatalf("status %d, %v: %s", status, err, stderr)
	}
	if again, _, _ := command(t, args...); again != stdout {
		t.Error("run again it says otherwise")
	}
	if !strings.Contains(stderr, "windows left out: the model does not know what their devices are") {
		t.Errorf("a label that the model does not know: %q", stderr)
	}
	windows := 0
	for _, x := range l.Types {
		windows += x.Windows
		if x.Label == "kettle" || x.Captures != 4 || x.Windows > 8 || len(x.Facts) == 0 || len(x.Values) != 3 || len(x.Groups) < 5 {
			t.Errorf("%s: %d captures, %d windows, %d facts, %d values, %d groups", x.Label, x.Captures, x.Windows, len(x.Facts), len(x.Values), len(x.Groups))
		}
	}
	if len(l.Types) != 11 || len(l.Rivals) != 11 || l.Right == nil || windows != l.Windows || *l.Right > windows || *l.Right < windows/2 {
		t.Errorf("%d types, %d rivals, %d windows, %d in all", len(l.Types), len(l.Rivals), windows, l.Windows)
	}
	for _, name := range []string{"learnt.html", "learnt.json"} {
		if text, err := os.ReadFile(filepath.Join(dir, "r", name)); err != nil || !bytes.Contains(text, []byte("smart-plug")) {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	for line, says := range map[string]string{"--window-index 3": "--window-index: is of one device", "--why-not x": "--why-not: is of one device", "--windows -1": "--windows -1"} {
		err := runLine(t, append([]string{"explain", "--manifest", manifest}, strings.Fields(line)...)...)
		if _, usage := err.(terminal.UsageError); !usage || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Of many windows an even selection is kept.
func TestThinned(t *testing.T) {
	for _, tt := range []struct{ windows, most, want int }{{5, 0, 5}, {5, 10, 5}, {10, 10, 10}, {11, 10, 10}, {1000, 10, 10}} {
		var d thinned
		for i := range tt.windows {
			d.add(question{label: fmt.Sprint(i)}, tt.most)
		}
		got := d.selection(tt.most)
		largest, last := 0, 0
		for _, q := range got {
			i, err := strconv.Atoi(q.label)
			if err != nil {
				t.Fatal(err)
			}
			largest, last = max(largest, i-last), i
		}
		if len(got) != tt.want || got[0].label != "0" || max(largest, tt.windows-last) > 3*tt.windows/tt.want {
			t.Errorf("%d of %d: %d, with a gap of %d", tt.most, tt.windows, len(got), largest)
		}
	}
}
