package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/analyze"
)

// analyzed runs analyze --json and returns what it found.
func analyzed(t *testing.T, args ...string) *analyze.Result {
	t.Helper()
	stdout, stderr, status := command(t, append([]string{"analyze", "--json"}, args...)...)
	if status != 0 {
		t.Fatalf("analyze %v: status %d: %s", args, status, stderr)
	}
	var r analyze.Result
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// Facts about the labelled captures that were measured by other means.
func TestAnalyzeDataSet(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	r := analyzed(t, "--manifest", filepath.Join(testenv.Data(t), "manifest.csv"), "--leaks", "--report", page)
	if r.Captures != 440 || len(r.Classes) != 27 {
		t.Errorf("%d captures, %d classes; want 440, 27", r.Captures, len(r.Classes))
	}
	for _, tt := range []struct {
		name      string
		got       *float64
		want, tol float64
	}{
		{"flows with a local remote", r.Shares.LocalFlows.Share, 0.53, 0.01},
		{"flows with at most 10 packets", r.Shares.ShortFlows.Share, 0.59, 0.01},
		{"rows with full payload", r.Shares.FullRows.Share, 0.08, 0.01},
		{"mean payload values of a row", r.Shares.MeanRowValues, 856, 10},
		{"packets without payload", r.Shares.EmptyPackets.Share, 0.5459, 0.0001}, // those that no row has room for included
		{"mean payload of the others", r.Shares.MeanPayload, 310.79, 0.01},
	} {
		if tt.got == nil || math.Abs(*tt.got-tt.want) > tt.tol {
			t.Errorf("%s: %v, want %v", tt.name, *tt.got, tt.want)
		}
	}
	for _, tt := range []struct{ a, b string }{
		{"SmarterCoffee", "iKettle2"}, {"TP-LinkPlugHS100", "TP-LinkPlugHS110"}, {"D-LinkSiren", "D-LinkWaterSensor"},
	} {
		i := slices.IndexFunc(r.Leaks.Twins, func(w analyze.Twins) bool { return w.A == tt.a && w.B == tt.b })
		if i < 0 || min(r.Leaks.Twins[i].ShareA, r.Leaks.Twins[i].ShareB) < 0.9 {
			t.Errorf("%s and %s are no twins", tt.a, tt.b)
		}
	}
	var shared []string
	for _, d := range r.Leaks.SharedDevices {
		shared = append(shared, strings.Join(d.Labels, "+"))
	}
	if slices.Sort(shared); !slices.Equal(shared, []string{"D-LinkDoorSensor+D-LinkHomeHub", "HueBridge+HueSwitch"}) {
		t.Errorf("devices of several labels: %v", shared)
	}
	if f := r.Leaks.All["mac_or_address"]; *f.Captures.Share < 0.9 {
		t.Errorf("a MAC or local address in %v of the captures, known to be in nearly all", *f.Captures.Share)
	}
	i := slices.IndexFunc(r.Leaks.Classes, func(c analyze.ClassLeaks) bool { return c.Label == "D-LinkSensor" })
	if s := r.Leaks.Classes[i].Strings.BestIdentifier; s == nil || s.Text != "DCH-S150-E143" || *s.Captures.Share != 1 {
		t.Errorf("D-LinkSensor's unit name: %+v", s)
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "D-LinkWaterSensor") {
		t.Errorf("report of %d bytes: %v", len(html), err)
	}
}

// Records written by extract look like the capture they came from.
func TestAnalyzeRecordsLikeTheirCapture(t *testing.T) {
	good, _ := labCapture(t)
	path := write(t, "good.pcap", good)
	out := filepath.Join(t.TempDir(), "out.parquet")
	if _, stderr, status := command(t, "extract", path, "-o", out); status != 0 {
		t.Fatal(stderr)
	}
	a, b := analyzed(t, path), analyzed(t, out)
	if a.Stored != 0 || b.Stored != b.Records {
		t.Errorf("%d and %d records are said to be a file's", a.Stored, b.Stored)
	}
	b.Stored = 0
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(other) || a.Records == 0 {
		t.Errorf("%d records of the capture, %d of the file: they differ", a.Records, b.Records)
	}
}

func TestAnalyzeText(t *testing.T) {
	good, device := labCapture(t)
	path := write(t, "good.pcap", good)
	dir := filepath.Join(t.TempDir(), "report")
	stdout, stderr, status := command(t, "analyze", path, "--leaks", "--report", dir)
	if status != 0 {
		t.Fatal(stderr)
	}
	for _, name := range []string{"analyze.html", "analyze.json", "services-" + strings.ReplaceAll(device.String(), ":", "_") + ".svg"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("report: %v", err)
		}
	}
	for _, want := range []string{"Records per class (Table III)", "Entropy of metadata", "(Fig. 5)", "Identifiers in payloads", device.String()} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in the text", want)
		}
	}
}

func TestAnalyzeBadInput(t *testing.T) {
	good, _ := labCapture(t)
	path := write(t, "good.pcap", good)
	damaged := write(t, "damaged.pcap", good[:len(good)/2])
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		says   string
		output bool
	}{
		{"no data", nil, 2, "--manifest", false},
		{"window", []string{path, "--window", "0"}, 2, "--window 0", false},
		{"window mode", []string{path, "--window-mode", "odd"}, 2, "odd", false},
		{"direction", []string{path, "--direction", "up"}, 2, "up", false},
		{"no such file", []string{"missing.pcap"}, 1, "missing.pcap", false},
		{"no device", []string{path, "--local", "203.0.113.0/24", "--manifest", write(t, "m.csv", []byte("capture,mac,label\n"+path+",02:ff:ff:ff:ff:ff,none\n"))}, 1, "no records", false},
		{"report into nothing", []string{path, "--report", filepath.Join(t.TempDir(), "missing", "r.html")}, 1, "report", false},
		{"damaged", []string{damaged}, 1, "damaged.pcap", true},
	} {
		stdout, stderr, status := command(t, append([]string{"analyze"}, tt.args...)...)
		if status != tt.status || !strings.Contains(stderr, tt.says) || (stdout != "") != tt.output {
			t.Errorf("%s: status %d, %d bytes of output, stderr %s", tt.name, status, len(stdout), stderr)
		}
	}
}
