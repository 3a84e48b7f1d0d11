package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/model/score"
)

// testSplit runs evaluate --json on the test split of the labelled captures.
func testSplit(t *testing.T, args ...string) (*score.Result, string) {
	t.Helper()
	manifest := filepath.Join(testenv.Data(t), "manifest.csv")
	stdout, stderr, status := command(t, append([]string{"evaluate", "--json", "--manifest", manifest, "--split", "test"}, args...)...)
	if status != 0 {
		t.Fatalf("evaluate %v: status %d: %s", args, status, stderr)
	}
	var r score.Result
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	return &r, stdout
}

// The keys are a contract: scripts read them.
func TestEvaluateKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	_, stdout := testSplit(t, "--report", dir)
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	has := func(where string, v any, keys ...string) {
		object, _ := v.(map[string]any)
		for _, k := range keys {
			if _, ok := object[k]; !ok {
				t.Errorf("%s has no %s", where, k)
			}
		}
	}
	has("the score", got, "window_mode", "captures", "captures_covered", "windows", "accuracy", "macro_f1", "classes", "confusion",
		"coverage", "workload_per_hour", "confidence", "devices", "levels", "modes", "intervals", "histogram", "local_flows", "by_seconds", "worst_captures")
	has("classes", got["classes"].([]any)[0], "label", "precision", "recall", "f1", "support")
	has("confidence", got["confidence"], "threshold", "mean_correct", "mean_wrong", "low_fraction", "high_wrong", "high_wrong_count", "ece")
	has("devices", got["devices"], "count", "accuracy", "macro_f1")
	for _, name := range []string{"evaluate.json", "evaluate.html", "confusion.png", "captures.png", "confidence.png", "local.png", "seconds.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("report: %v", err)
		}
	}
}

// What is asked for beyond the score stands beside it, in JSON, text and report.
func TestEvaluateStress(t *testing.T) {
	readHere(t)
	stdout, stderr, status := command(t, "evaluate", "--manifest", "manifest.csv", "--stress", "--first", "10s", "--first", "1m", "--strangers", "manifest.csv", "--json", "--report", "kept", "--predictions", "p.csv")
	if status != 0 {
		t.Fatal(stderr)
	}
	kept, err := os.ReadFile("kept/evaluate.json")
	if err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile("kept/evaluate.html"); err != nil || !strings.Contains(string(page), "<td>first-10s<td>1<td>") || !strings.Contains(string(page), "<th>Strangers") {
		t.Errorf("page: %v", err)
	}
	for _, text := range []string{stdout, string(kept)} {
		var got struct {
			Windows   *int
			Stress    []map[string]any
			Strangers map[string]any
			States    map[string]int
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if got.Windows == nil || len(got.Stress) != 11 || len(got.Stress[0]) != 10 || len(got.Strangers) != 7 || got.Strangers["devices"] != 1. || got.States["gathering"] != 1 {
			t.Errorf("%s", text)
		}
	}
	if rows := readCSV(t, "p.csv"); len(rows) < 12 || rows[len(rows)-1][0] != "first-60s" {
		t.Errorf("predictions: %v", rows)
	}
	for _, wrong := range []string{"-1s", "10"} {
		if _, stderr, status := command(t, "evaluate", "--manifest", "manifest.csv", "--first", wrong); status != 2 || !strings.Contains(stderr, "first") {
			t.Errorf("--first %s: status %d: %s", wrong, status, stderr)
		}
	}
	if stdout, stderr, status = command(t, "evaluate", "--manifest", "manifest.csv", "--stress", "--strangers", "manifest.csv"); status != 0 ||
		!strings.Contains(stdout, "another-home") || !strings.Contains(stdout, "STRANGERS") || strings.Count(stdout, "STATE IN THE END") != 2 {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if stdout, _, _ = command(t, "evaluate", "--manifest", "manifest.csv", "--json"); strings.Contains(stdout, `"stress"`) {
		t.Error("a key that nobody asked for")
	}
}

// The verdicts that classify prints, counted by hand, are the score of devices.
func TestEvaluateLikeClassify(t *testing.T) {
	manifest := filepath.Join(testenv.Data(t), "manifest.csv")
	stdout, stderr, status := command(t, "classify", "--json", "--manifest", manifest, "--split", "test")
	if status != 0 {
		t.Fatal(stderr)
	}
	verdicts, right, windows := 0, 0, 0
	decoder := json.NewDecoder(strings.NewReader(stdout))
	for decoder.More() {
		var v struct {
			Capture string
			Label   *string
			Windows int
		}
		if err := decoder.Decode(&v); err != nil {
			t.Fatal(err)
		}
		verdicts++
		windows += v.Windows
		// Directories are units; a second unit's name ends in a number.
		if truth := filepath.Base(filepath.Dir(v.Capture)); v.Label != nil && strings.HasPrefix(truth, *v.Label) {
			right++
		}
	}
	r, _ := testSplit(t)
	if r.Devices.Count != verdicts || r.Windows != windows || math.Abs(*r.Devices.Accuracy-float64(right)/float64(verdicts)) > 1e-9 {
		t.Errorf("evaluate: %d devices, accuracy %v, %d windows; classify: %d of %d right, %d windows",
			r.Devices.Count, *r.Devices.Accuracy, r.Windows, right, verdicts, windows)
	}
}

func TestEvaluateModes(t *testing.T) {
	padded, _ := testSplit(t)
	strict, _ := testSplit(t, "--window-mode", "strict", "--bootstrap", "0")
	if s := padded.Modes["strict"]; s.Windows != strict.Windows || *s.MacroF1 != *strict.MacroF1 || s.CapturesCovered != strict.CapturesCovered || *s.Devices.Accuracy != *strict.Devices.Accuracy {
		t.Errorf("strict beside padded %+v, strict alone %+v", s, strict)
	}
	if strict.Windows >= padded.Windows || strict.Captures != 110 || padded.Captures != 110 || strict.WindowMode != "strict" {
		t.Errorf("%d strict and %d padded windows of %d and %d captures", strict.Windows, padded.Windows, strict.Captures, padded.Captures)
	}
	if i := padded.Intervals; i == nil || i.MacroF1.Low > *padded.MacroF1 || i.MacroF1.High < *padded.MacroF1 || strict.Intervals != nil {
		t.Errorf("intervals %+v of %v, %+v without any resample", i, *padded.MacroF1, strict.Intervals)
	}
}

func TestEvaluateClasses(t *testing.T) {
	all, _ := testSplit(t)
	r, _ := testSplit(t, "--merge", "SmarterCoffee,iKettle2", "--merge", "TP-LinkPlugHS100,TP-LinkPlugHS110", "--leave-out", "HueBridge,HueSwitch")
	support := func(r *score.Result, label string) int {
		i := slices.IndexFunc(r.Classes, func(c score.Class) bool { return c.Label == label })
		if i < 0 {
			return -1
		}
		return r.Classes[i].Support
	}
	if got, want := support(r, "SmarterCoffee+iKettle2"), support(all, "SmarterCoffee")+support(all, "iKettle2"); got != want {
		t.Errorf("%d windows of the merged kettles, %d of both", got, want)
	}
	if got, want := r.Windows, all.Windows-support(all, "HueBridge")-support(all, "HueSwitch"); got != want || support(r, "HueBridge") != 0 {
		t.Errorf("%d windows without Hue, want %d", got, want)
	}
	if support(r, "iKettle2") >= 0 || r.Captures != 102 {
		t.Errorf("iKettle2 is still there, or %d captures are not 102", r.Captures)
	}
}

// Classes are named as they are in a manifest, whatever is in the name.
func TestClassNames(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []string // nil: refused
	}{
		{"A,B", []string{"A", "B"}},
		{" A , B ", []string{"A", "B"}},
		{`"plug, white", B`, []string{"plug, white", "B"}},
		{`screen 5",B`, []string{`screen 5"`, "B"}},
		{"A,", nil},
		{"", nil},
	} {
		var names classNames
		if err := names.Set(tt.list); (err == nil) != (tt.want != nil) || !slices.Equal(names, tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.list, []string(names), err, tt.want)
		}
	}
}

// DATA beside a manifest means the listed captures below DATA.
func TestEvaluateBelow(t *testing.T) {
	r, _ := testSplit(t, filepath.Join(testenv.Data(t), "Aria"))
	if r.Captures != 4 || r.Devices.Count != 4 {
		t.Errorf("%d captures, %d devices below Aria; want 4, 4", r.Captures, r.Devices.Count)
	}
}

func TestEvaluateBadInput(t *testing.T) {
	data := testenv.Data(t)
	few := []string{"evaluate", filepath.Join(data, "Aria"), "--manifest", filepath.Join(data, "manifest.csv")}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"a group of one", []string{"--merge", "Aria"}, 2, "A,B"},
		{"a class without a name", []string{"--leave-out", "Aria,"}, 2, "without a name"},
		{"merged twice", []string{"--merge", "Aria,Withings", "--merge", "Aria,D-LinkCam"}, 2, "merged twice"},
		{"a class nobody has", []string{"--merge", "Aria,Toaster"}, 1, `"Toaster"`},
		{"a class nobody has left out", []string{"--leave-out", "Toaster"}, 1, `"Toaster"`},
		{"window mode", []string{"--window-mode", "odd"}, 2, "odd"},
		{"report into a file", []string{"--report", "/dev/null/x"}, 1, "report"},
	} {
		_, stderr, status := command(t, slices.Concat(few, tt.args)...)
		if status != tt.status || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s: status %d, stderr %s", tt.name, status, stderr)
		}
	}
}

// endingContext ends when it has been asked so often whether it has.
type endingContext struct {
	context.Context
	asked int
}

func (e *endingContext) Err() error {
	if e.asked--; e.asked < 0 {
		return context.Canceled
	}
	return nil
}

// What is interrupted leaves no score and no records of a part of the data.
func TestInterrupted(t *testing.T) {
	manifest, dir := labData(t)
	records, page := filepath.Join(dir, "records.parquet"), filepath.Join(dir, "report")
	for _, args := range [][]string{
		{"evaluate", filepath.Join(dir, "lab", "camera-0"), "--manifest", manifest, "--report", page, "--json"},
		{"extract", filepath.Join(dir, "lab", "camera-0"), "--manifest", manifest, "-o", records, "--json"},
	} {
		ended := 0
		for asked := 0; ended == asked; asked++ {
			var out bytes.Buffer
			app := newApp()
			app.Writer = &out
			err := app.RunContext(&endingContext{t.Context(), asked}, terminal.FlagsFirst(app, append([]string{"iotsense"}, args...)))
			if !errors.Is(err, context.Canceled) {
				continue // it was over before
			}
			ended++
			for _, path := range []string{records, page} {
				if _, err := os.Stat(path); out.Len() > 0 || !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("%s, ended when asked %d times: %s (%v) and %q", args[0], asked, path, err, out.String())
				}
			}
		}
		if ended < 2 {
			t.Errorf("%s was interrupted %d times only", args[0], ended)
		}
		for _, path := range []string{records, page} {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Who forgets --model is told so: the embedded model's score on devices that it has
// never heard of is 0, and says nothing.
func TestEvaluateWithAnotherModel(t *testing.T) {
	manifest, _ := labData(t)
	for model, told := range map[string]bool{"": true, box.LabModel: false} {
		_, stderr, status := command(t, "evaluate", "--manifest", manifest, "--split", "test", "--model", model, "--bootstrap", "0")
		if got := strings.Contains(stderr, "none of the data's classes"); status != 0 || got != told {
			t.Errorf("model %q: status %d, told %v, want %v: %s", model, status, got, told, stderr)
		}
	}
}

// Each device is named rightly, wrongly, unknown, or without a window: one line says
// how many of each.
func TestEvaluateSaysWhoIsNamed(t *testing.T) {
	manifest, _ := labData(t)
	stdout, stderr, status := command(t, "evaluate", "--manifest", manifest, "--model", "lab", "--bootstrap", "0")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	line := regexp.MustCompile(`(?m)^(\d+) devices in captures: (\d+) named right, (\d+) named wrong, (\d+) unknown, (\d+) without a window$`).FindStringSubmatch(stdout)
	if line == nil {
		t.Fatalf("no such line in\n%s", stdout)
	}
	var n [5]int
	for i := range n {
		n[i], _ = strconv.Atoi(line[i+1])
	}
	if n[0] == 0 || n[0] != n[1]+n[2]+n[3]+n[4] {
		t.Errorf("%s: does not add up", line[0])
	}
}
