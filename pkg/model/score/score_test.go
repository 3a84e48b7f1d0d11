package score

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Input is what is scored at once.
type Input struct {
	Config
	Windows []Output
	Devices []Device // every device and capture; those of Windows need not be repeated
	Hours   float64  // of traffic, summed over captures; 0: not known
}

// Evaluate scores it.
func Evaluate(in Input) (*Result, error) {
	s, err := New(in.Config)
	if err != nil {
		return nil, err
	}
	for _, w := range in.Windows {
		if err := s.Add(w); err != nil {
			return nil, err
		}
	}
	s.Capture(in.Devices, in.Hours)
	return s.Result()
}

// sample is small enough to be scored by hand. The model knows a, b and c; a
// device of class d is true too. Device 5 never had a window.
func sample() Input {
	return Input{
		Config: Config{
			Mode:       model.Padded,
			Labels:     []string{"a", "b", "c"},
			Thresholds: model.Thresholds{Default: 0.8, PerClass: map[string]float64{"b": 0.6}},
		},
		Hours: 2,
		Windows: []Output{
			{Device: "1", Capture: "x", Label: "a", Window: told([]float32{0.9, 0.1, 0}), Since: time.Second},                              // right, high
			{Device: "1", Capture: "x", Label: "a", Window: told([]float32{0.3, 0.7, 0}), Since: 4 * time.Second, Local: 3},                // wrong as b, high for b
			{Device: "2", Capture: "x", Label: "b", Window: told([]float32{0.25, 0.5, .25}), Since: time.Second / 2, Local: 3},             // right, low
			{Device: "3", Capture: "y", Label: "b", Window: told([]float32{0.9, 0.1, 0}), Since: time.Minute, Local: 5, Padded: true},      // wrong as a, high
			{Device: "4", Capture: "z", Label: "d", Window: told([]float32{0, 0.5, 0.5}), Since: 61 * time.Second, Local: 1, Padded: true}, // wrong as b (the first of equals), low
		},
		Devices: []Device{{Name: "1", Capture: "x", Label: "a", State: v1.Known}, {Name: "5", Capture: "w", Label: "a", State: v1.Gathering}, {Name: "3", Capture: "y", Label: "b", State: v1.Gathering}},
	}
}

func evaluate(t *testing.T, in Input) *Result {
	t.Helper()
	r, err := Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func value(t *testing.T, name string, got *float64, want float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > 1e-6 {
		if got != nil {
			t.Errorf("%s is %v, want %v", name, *got, want)
		} else {
			t.Errorf("%s is nil, want %v", name, want)
		}
	}
}

func TestEvaluateByHand(t *testing.T) {
	r := evaluate(t, sample())
	if r.WindowMode != "padded" || r.Windows != 5 || r.Captures != 4 || r.CapturesCovered != 3 {
		t.Errorf("mode %s, %d windows, %d of %d captures: want padded, 5, 3 of 4", r.WindowMode, r.Windows, r.CapturesCovered, r.Captures)
	}
	value(t, "accuracy", r.Accuracy, 2./5)
	want := []Class{
		{"a", 1. / 2, 1. / 2, 1. / 2, 2}, // predicted twice, once rightly
		{"b", 1. / 3, 1. / 2, 2. / 5, 2}, // predicted three times
		{"c", 0, 0, 0, 0},
		{"d", 0, 0, 0, 1},
	}
	for i, c := range r.Classes {
		if c.Label != want[i].Label || c.Support != want[i].Support ||
			math.Abs(c.Precision-want[i].Precision)+math.Abs(c.Recall-want[i].Recall)+math.Abs(c.F1-want[i].F1) > 1e-9 {
			t.Errorf("class %+v, want %+v", c, want[i])
		}
	}
	value(t, "macro_f1", r.MacroF1, (1./2+2./5+0)/3) // c has no true window
	if wantRows := [][]int{{1, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 0, 0}, {0, 1, 0, 0}}; !reflect.DeepEqual(r.Confusion, wantRows) {
		t.Errorf("confusion %v, want %v", r.Confusion, wantRows)
	}
	if !slices.Equal(r.ClassesMissing, []string{"d"}) {
		t.Errorf("missing classes %v, want d", r.ClassesMissing)
	}
	value(t, "coverage", r.Coverage, 2./3)
	value(t, "workload_per_hour", r.WorkloadPerHour, 2.5)
	if want := map[v1.State]int{v1.Known: 1, v1.Gathering: 2}; !reflect.DeepEqual(r.States, want) {
		t.Errorf("states %v, want %v", r.States, want)
	}

	c := r.Confidence
	value(t, "threshold", &c.Threshold, 0.8)
	value(t, "mean_correct", c.MeanCorrect, (0.9+0.5)/2)
	value(t, "mean_wrong", c.MeanWrong, (0.7+0.9+0.5)/3)
	value(t, "low_fraction", c.LowFraction, 2./5)
	value(t, "high_wrong", c.HighWrong, 2./3)
	if c.HighWrongCount != 2 {
		t.Errorf("high_wrong_count is %d, want 2", c.HighWrongCount)
	}
	value(t, "wrong_high", c.WrongHigh, 2./3)
	value(t, "low_local", c.LowLocal, 1./2)
	// Bins: 0.9 twice (one right), 0.7 once (wrong), 0.5 twice (one right).
	value(t, "ece", c.ECE, (math.Abs(1-1.8)+0.7+math.Abs(1-1.0))/5)

	// Of 1 to 4 the joined verdicts: 0.6 right, 0.5 twice (one right), 0.9 wrong.
	value(t, "ece_device", c.ECEDevice, (math.Abs(1-0.6)+math.Abs(1-1.0)+0.9)/4)

	// Device 1: mean (0.6, 0.4, 0) is a, right. 2: b, right. 3: a, wrong. 4: wrong. 5: no window, wrong.
	if r.Devices.Count != 5 {
		t.Errorf("%d devices, want 5", r.Devices.Count)
	}
	value(t, "devices.accuracy", r.Devices.Accuracy, 2./5)
	// a: 2 true, 2 given, 1 right; b: 2 true, 2 given (devices 2 and 4), 1 right; d: none right.
	value(t, "devices.macro_f1", r.Devices.MacroF1, (0.5+0.5+0)/3)
}

// Both modes come of one run: the strict windows are those that are not padded.
// Device 1 of the sample is named a at a mean of 0.6 below 0.8 and refused, 2 is b at
// 0.5 below 0.6, 3 is named a and is b, 4 is refused, 5 has no window; 6 is named.
func TestNamedOrRefused(t *testing.T) {
	in := sample()
	in.Windows = append(in.Windows, Output{Device: "6", Capture: "z", Label: "b", Window: told([]float32{0.4, 0.6, 0})})
	d := evaluate(t, in).Devices
	if d.NamedRight != 1 || d.NamedWrong != 1 || d.Refused != 3 || d.WithoutWindow != 1 || d.Count != 6 || d.WithWindow != 5 {
		t.Errorf("%+v: want 1 named rightly, 1 wrongly, 3 refused, 1 without a window", d)
	}
}

func TestModes(t *testing.T) {
	in := sample()
	padded := evaluate(t, in)
	in.Mode = model.Strict
	strict := evaluate(t, in)
	if !reflect.DeepEqual(padded.Modes, strict.Modes) {
		t.Errorf("the modes' scores depend on the mode: %+v, %+v", padded.Modes, strict.Modes)
	}
	s := strict.Modes["strict"]
	if s.Windows != 3 || s.CapturesCovered != 1 || strict.Windows != 3 || strict.Captures != 4 || strict.Confidence.HighWrongCount != 1 {
		t.Errorf("strict: %+v", strict)
	}
	value(t, "accuracy", s.Accuracy, 2./3)
	value(t, "macro_f1", s.MacroF1, 2./3)                  // a: 1 of 2 true, 1 given; b: 1 of 1 true, 2 given
	value(t, "devices.accuracy", s.Devices.Accuracy, 2./5) // 1 and 2; the others have no strict window
	value(t, "devices.macro_f1", s.Devices.MacroF1, (2./3+2./3+0)/3)
	value(t, "devices.accuracy_with_window", s.Devices.AccuracyWithWindow, 1)
	value(t, "devices.accuracy_with_window, padded", padded.Devices.AccuracyWithWindow, 2./4)
	value(t, "padded accuracy", padded.Modes["padded"].Accuracy, *padded.Accuracy)
}

func TestHistogram(t *testing.T) {
	r := evaluate(t, sample())
	want := map[int]Bin{17: {0.85, 0.9, 1, 1}, 13: {0.65, 0.7, 0, 1}, 10: {0.5, 0.55, 1, 1}} // 0.9 and 0.7 as float32 are a little less
	for i, b := range r.Histogram {
		if b.Correct != want[i].Correct || b.Wrong != want[i].Wrong || len(r.Histogram) != 20 {
			t.Errorf("bin %d is %+v, want %+v", i, b, want[i])
		}
	}
}

func TestLocalFlows(t *testing.T) {
	want := []LocalFlows{{0, 1, 0, 0}, {1, 1, 1, 1}, {2, 0, 0, 0}, {3, 2, 1, 1}, {4, 0, 0, 0}, {5, 1, 0, 1}}
	if got := evaluate(t, sample()).LocalFlows; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Devices 1 and 2 are right from the first second on, 3 and 4 wrong, 5 never seen.
func TestBySeconds(t *testing.T) {
	r := evaluate(t, sample())
	want := []struct {
		seconds, devices, windows int
		windowAccuracy            float64 // -1: none
	}{{1, 2, 2, 1}, {2, 2, 0, -1}, {5, 2, 1, 0}, {10, 2, 0, -1}, {20, 2, 0, -1}, {30, 2, 0, -1}, {60, 3, 1, 0}, {120, 4, 1, 0}}
	if len(r.BySeconds) != len(want) {
		t.Fatalf("%d moments, want %d", len(r.BySeconds), len(want))
	}
	for i, w := range want {
		m := r.BySeconds[i]
		if m.Seconds != w.seconds || m.Devices != w.devices || m.Windows != w.windows || (m.WindowAccuracy == nil) != (w.windowAccuracy < 0) {
			t.Errorf("moment %+v, want %+v", m, w)
		}
		value(t, "accuracy", m.Accuracy, 2./5)
		if m.WindowAccuracy != nil {
			value(t, "window_accuracy", m.WindowAccuracy, w.windowAccuracy)
		}
	}
}

func TestWorst(t *testing.T) {
	r := evaluate(t, sample())
	for i, want := range []struct {
		device, given string
		probability   float64
		windows       int
	}{{"5", "", 0, 0}, {"4", "b", 0, 1}, {"3", "a", 0.1, 1}, {"2", "b", 0.5, 1}, {"1", "a", 0.6, 2}} {
		v := r.Worst[i]
		if v.Device != want.device || v.Windows != want.windows || (v.Given == nil) != (want.given == "") {
			t.Fatalf("place %d is %+v, want %+v", i, v, want)
		}
		if v.Given != nil && *v.Given != want.given {
			t.Errorf("device %s given %s, want %s", v.Device, *v.Given, want.given)
		}
		if v.Given != nil {
			value(t, "probability", v.Probability, want.probability)
		}
	}
}

func TestMerge(t *testing.T) {
	in := sample()
	in.Merge = [][]string{{"a", "b"}}
	r := evaluate(t, in)
	// Of a+b the sums are 1, 1, 0.75, 1 and 0.5: four right; device 4's is wrong.
	value(t, "accuracy", r.Accuracy, 4./5)
	value(t, "macro_f1", r.MacroF1, (8./9+0)/2) // a+b: 4 true, 5 given; d
	value(t, "low_fraction", r.Confidence.LowFraction, 2./5)
	value(t, "devices.accuracy", r.Devices.Accuracy, 3./5)
	if len(r.Classes) != 3 || r.Classes[0].Label != "a+b" || r.Classes[0].Support != 4 {
		t.Errorf("classes %+v, want a+b, c, d", r.Classes)
	}
}

// What revises earlier windows counts from when it was known, for classes merged as one too.
func TestRevised(t *testing.T) {
	in := Input{Config: Config{Mode: model.Padded, Labels: []string{"a", "b", "c"}, Thresholds: model.Thresholds{Default: .8}}}
	long := Output{Device: "1", Capture: "x", Label: "c", Window: told([]float32{.5, .4, .1}), Since: 20 * time.Second}
	short := Output{Device: "1", Capture: "x", Label: "c", Window: told([]float32{.1, .2, .7}), Since: 2 * time.Second} // of a flow that began later
	short.Revised = []float64{-.4, -.3, .7}
	in.Windows = []Output{long, short}
	for _, merge := range [][][]string{nil, {{"a", "b"}}} {
		in.Merge = merge
		r := evaluate(t, in)
		if r.Devices.NamedRight != 0 || r.Devices.Refused != 1 {
			t.Errorf("%+v", r.Devices)
		}
		value(t, "the joined probability", r.Worst[0].Probability, .75)
		for _, m := range r.BySeconds {
			if right := m.Seconds >= 2; *m.Accuracy != map[bool]float64{true: 1}[right] {
				t.Errorf("after %d s %v are right", m.Seconds, *m.Accuracy)
			}
		}
	}
	in.Merge, in.Mode, in.Windows[0].Padded = nil, model.Strict, true // what revises a window that does not count
	value(t, "the joined probability of strict windows", evaluate(t, in).Worst[0].Probability, .7)
	in.Mode, in.Windows[0].Padded = model.Padded, false
	in.Windows[1].Probs = []float32{.6, .3, .1} // right but for what is known 20 s on
	for _, m := range evaluate(t, in).BySeconds {
		if right := m.Seconds >= 20; *m.Accuracy != map[bool]float64{true: 1}[right] {
			t.Errorf("after %d s %v are right", m.Seconds, *m.Accuracy)
		}
	}
}

func TestLeaveOut(t *testing.T) {
	in := sample()
	in.LeaveOut = []string{"a"}
	r := evaluate(t, in)
	value(t, "accuracy", r.Accuracy, 1./3) // of devices 2, 3, 4
	value(t, "macro_f1", r.MacroF1, (2*1./(2+2)+0)/2)
	if r.Captures != 3 || r.Devices.Count != 3 || r.Windows != 3 {
		t.Errorf("%d captures, %d devices, %d windows; want 3 of each", r.Captures, r.Devices.Count, r.Windows)
	}
	value(t, "workload_per_hour", r.WorkloadPerHour, 1.5)
}

// A capture that only has left-out devices takes no part in the hours.
func TestLeaveOutHours(t *testing.T) {
	s, err := New(Config{Labels: []string{"a", "b"}, LeaveOut: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Capture([]Device{{Name: "1", Capture: "x", Label: "a"}}, 10)
	s.Capture([]Device{{Name: "2", Capture: "y", Label: "b"}, {Name: "1", Capture: "y", Label: "a"}}, 2)
	if err := s.Add(Output{Device: "2", Capture: "y", Label: "b", Window: told([]float32{0, 1})}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Result()
	if err != nil {
		t.Fatal(err)
	}
	value(t, "workload_per_hour", r.WorkloadPerHour, 0.5)
	if r.Captures != 1 || r.Devices.Count != 1 {
		t.Errorf("%d captures, %d devices; want 1, 1", r.Captures, r.Devices.Count)
	}
}

func TestClassesNobodyHas(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
		says string
	}{
		{"merged", func(c *Config) { c.Merge = [][]string{{"a", "x"}} }, `"x" to merge`},
		{"left out", func(c *Config) { c.LeaveOut = []string{"y"} }, `"y" to leave out`},
		{"merged twice", func(c *Config) { c.Merge = [][]string{{"a", "b"}, {"c", "a"}} }, `"a" is to be merged twice`},
	} {
		in := sample()
		tt.set(&in.Config)
		if _, err := Evaluate(in); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want one with %s", tt.name, err, tt.says)
		}
	}
	in := sample()
	in.LeaveOut = []string{"d"} // only the data has it
	evaluate(t, in)
}

// Of two captures, one all right and one all wrong, a quarter of the draws are all
// right and a quarter all wrong: the middle 95 % reach from 0 to 1.
func TestBootstrap(t *testing.T) {
	capture := func(name, label string, probs ...float32) Output {
		return Output{Device: name, Capture: name, Label: label, Window: told(probs)}
	}
	for _, tt := range []struct {
		name    string
		windows []Output
		want    *Interval // of accuracy
	}{
		{"right and wrong", []Output{capture("x", "a", 1, 0), capture("x", "a", 1, 0), capture("y", "a", 0, 1)}, &Interval{0, 1}},
		{"all right", []Output{capture("x", "a", 1, 0), capture("y", "a", 1, 0)}, &Interval{1, 1}},
		// b's only capture is in every draw: accuracy is at least its 2 of 4.
		{"strata", []Output{capture("x", "a", 1, 0), capture("y", "a", 0, 1), capture("z", "b", 0, 1), capture("z", "b", 0, 1)}, &Interval{0.5, 1}},
		{"a capture of each class", []Output{capture("x", "a", 1, 0), capture("y", "b", 0, 1)}, nil},
	} {
		in := Input{Config: Config{Labels: []string{"a", "b"}, Resamples: 200}, Windows: tt.windows}
		r, again := evaluate(t, in), evaluate(t, in)
		if !reflect.DeepEqual(r, again) {
			t.Errorf("%s: two runs differ", tt.name)
		}
		if r.Intervals == nil || tt.want == nil {
			if r.Intervals != nil || tt.want != nil {
				t.Errorf("%s: %+v, want %+v", tt.name, r.Intervals, tt.want)
			}
			continue
		}
		if got := *r.Intervals.Accuracy; got != *tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, *tt.want)
		}
	}
}

// Draws are those that the interval is of, and only there when they are asked for.
func TestDraws(t *testing.T) {
	in := Input{Config: Config{Labels: []string{"a", "b"}, Resamples: 200}, Windows: []Output{
		{Device: "x", Capture: "x", Label: "a", Window: told([]float32{1, 0})}, {Device: "y", Capture: "y", Label: "a", Window: told([]float32{0, 1})},
	}}
	if d := evaluate(t, in).Intervals.MacroF1Draws; d != nil {
		t.Errorf("%d draws that nobody asked for", len(d))
	}
	in.Draws = true
	got := evaluate(t, in).Intervals
	if len(got.MacroF1Draws) != 200 || *percentiles(got.MacroF1Draws) != *got.MacroF1 {
		t.Errorf("%d draws of %+v, the interval is %+v", len(got.MacroF1Draws), percentiles(got.MacroF1Draws), got.MacroF1)
	}
}

// Windows that are given to none of the classes are wrong and never high; it has no share
// in macro-F1, and who is of no class is not scored.
func TestNoneOfThem(t *testing.T) {
	in := sample()
	in.Labels = []string{"a", "b", model.NoneLabel}
	in.Windows = []Output{
		{Device: "1", Capture: "x", Label: "a", Window: told([]float32{0.9, 0.1, 0})},
		{Device: "1", Capture: "x", Label: "a", Window: told([]float32{0, 0.02, 0.98})},
		{Device: "3", Capture: "y", Label: "b", Window: told([]float32{0, 0.05, 0.95})},
		{Device: "9", Capture: "z", Label: model.NoneLabel, Window: told([]float32{1, 0, 0})},
	}
	in.Devices = []Device{{Name: "9", Capture: "z", Label: model.NoneLabel, State: v1.Unknown}}
	r := evaluate(t, in)
	if r.Windows != 3 || r.Devices.Count != 2 || r.States != nil || r.Devices.NamedRight+r.Devices.NamedWrong != 0 || r.Devices.Refused != 2 {
		t.Errorf("%d windows, devices %+v", r.Windows, r.Devices)
	}
	value(t, "macro_f1", r.MacroF1, (2./3+0)/2)
	value(t, "low", r.Confidence.LowFraction, 2./3)
	if r.Confidence.HighWrongCount != 0 || r.Classes[2].Support != 0 || r.Confusion[1][2] != 1 {
		t.Errorf("%+v, %+v, %v", r.Confidence, r.Classes, r.Confusion)
	}
	in.Merge = [][]string{{"a", model.NoneLabel}}
	if _, err := Evaluate(in); err == nil || !strings.Contains(err.Error(), model.NoneLabel) {
		t.Errorf("merged with a class: %v", err)
	}
}

// Levels are scored by sums of what is below: a twin counts right at its kind, what the
// model lacks at its maker, and classes that count as one where they part.
func TestLevels(t *testing.T) {
	in := Input{
		Config: Config{
			Labels:     []string{"A1", "A2", "A3", "B1", model.NoneLabel},
			Thresholds: model.Thresholds{Default: 0.8, PerClass: map[string]float64{"A3": 0.5}},
			Taxonomy:   taxonomy.Taxonomy{"A1": "A/plug/A1", "A2": "A/plug/A2", "A3": "A/camera/A3", "B1": "B1", "new": "A/camera/new"},
		},
		Windows: []Output{
			{Device: "sure", Label: "A1", Window: told([]float32{.9, .1, 0, 0, 0})},
			{Device: "twin", Label: "A1", Window: told([]float32{.4, .5, .05, .05, 0})},
			{Device: "threshold of its own", Label: "A3", Window: told([]float32{.2, .2, .6, 0, 0})},
			{Device: "only its maker", Label: "A3", Window: told([]float32{.45, .2, .3, .05, 0})},
			{Device: "lacking", Label: "new", Window: told([]float32{0, 0, .9, .1, 0})},
			{Device: "no path", Label: "C", Window: told([]float32{.5, .4, 0, .1, 0})},
			{Device: "one level", Label: "B1", Window: told([]float32{0, .05, .05, .9, 0})},
			{Device: "another", Label: "B1", Window: told([]float32{.3, .3, .05, .25, .1})},
			{Device: "stranger", Label: "B1", Window: told([]float32{0, 0, .1, .3, .6})},
		},
		Devices: []Device{{Name: "silent", Label: "A1"}, {Name: "presumed", Label: "A3", Path: "A"}, {Name: "presumed, another", Label: "B1", Path: "A"}},
	}
	for _, tt := range []struct {
		name        string
		merge       [][]string
		want        []Level
		accurate    []float64 // of 12 devices
		right, left int       // at the deepest safe level, of devices with a window
	}{
		{"each class", nil, []Level{{Level: 1, Named: 9, NamedWrong: 2}, {Level: 2, Named: 6, NamedWrong: 1}, {Level: 3, Named: 4, NamedWrong: 1}}, []float64{6, 5, 3}, 5, 2},
		{"twins merged", [][]string{{"A1", "A2"}}, []Level{{Level: 1, Named: 9, NamedWrong: 2}, {Level: 2, Named: 6, NamedWrong: 1}, {Level: 3, Named: 6, NamedWrong: 2}}, []float64{6, 5, 4}, 5, 2},
		{"of two makers", [][]string{{"A1", "B1"}}, []Level{{Level: 1, Named: 5}, {Level: 2, Named: 5}, {Level: 3, Named: 5}}, nil, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in.Merge = tt.merge
			r := evaluate(t, in)
			if tt.accurate == nil {
				if r.Levels[0].Named == 0 || len(r.Levels) != 3 {
					t.Errorf("%+v", r.Levels)
				}
				return
			}
			for i, l := range r.Levels {
				value(t, "accuracy", l.Accuracy, tt.accurate[i]/12)
				l.Accuracy = nil
				if l != tt.want[i] {
					t.Errorf("%+v, want %+v", l, tt.want[i])
				}
			}
			last := r.Levels[len(r.Levels)-1]
			if m := r.BySeconds[0]; m.SafeRight != tt.right || m.SafeWrong != tt.left {
				t.Errorf("by the first second %+v", m)
			}
			if d := r.Devices; d.SafeRight != tt.right+1 || d.SafeWrong != tt.left+1 || last.Named != d.NamedRight+d.NamedWrong || last.NamedWrong != d.NamedWrong || *last.Accuracy != *d.Accuracy {
				t.Errorf("devices %+v", d)
			}
		})
	}
	in.Merge, in.Taxonomy = nil, nil
	if r := evaluate(t, in); len(r.Levels) != 1 || *r.Levels[0].Accuracy != *r.Devices.Accuracy || r.Devices.SafeRight != r.Devices.NamedRight {
		t.Errorf("without a taxonomy: %+v, %+v", r.Levels, r.Devices)
	}
}

func TestDifference(t *testing.T) {
	draws := make([]float64, 1000) // captures alone move it from 0.1 to 1.1
	better := make([]float64, 1000)
	for i := range draws {
		draws[i] = 0.1 + float64(i)/1000
		better[i] = draws[i] + 0.05
	}
	of := func(seeds ...[]float64) [][]float64 { return seeds }
	near := func(i *Interval, low, high float64) bool {
		return i != nil && math.Abs(i.Low-low) < 0.01 && math.Abs(i.High-high) < 0.01
	}
	for _, tt := range []struct {
		name      string
		of, from  [][]float64
		low, high float64 // NaN: no interval
	}{
		{"itself alone", of(draws), nil, 0.125, 1.075},
		{"paired: captures do not matter", of(better), of(draws), 0.05, 0.05},
		{"one seed of two is better", of(better, draws), of(draws, draws), 0, 0.05},
		{"no draws", of(draws, nil), of(draws), math.NaN(), 0},
		{"other draws", of(draws), of(draws[:10]), math.NaN(), 0},
		{"no seed", nil, of(draws), math.NaN(), 0},
	} {
		got := Difference(tt.of, tt.from)
		if math.IsNaN(tt.low) && got != nil || !math.IsNaN(tt.low) && !near(got, tt.low, tt.high) {
			t.Errorf("%s: %+v, want %v to %v", tt.name, got, tt.low, tt.high)
		}
	}
}

func TestPercentiles(t *testing.T) {
	values := make([]float64, 200)
	for i := range values {
		values[i] = float64((i*7)%200 + 1) // 1 to 200 in some order
	}
	if got := *percentiles(values); got != (Interval{5, 195}) {
		t.Errorf("%v, want 5 to 195", got)
	}
}

func TestJoinLeavesOutClassesAModelLacks(t *testing.T) {
	in := sample()
	in.Devices = nil
	in.Windows = []Output{
		{Device: "1", Label: "a", Window: told([]float32{0.6, 0.4, 0})},
		{Device: "1", Label: "a", Window: told([]float32{-1, 0.5, 0.5})}, // this model does not know a
		{Device: "1", Label: "a", Window: told([]float32{-1, 0.6, 0.4})},
	}
	r := evaluate(t, in) // means 0.6, 0.5, 0.3
	value(t, "devices.accuracy", r.Devices.Accuracy, 1)
	value(t, "confidence", r.Worst[0].Confidence, 0.6/1.4)
}

func TestEvaluateNothing(t *testing.T) {
	r := evaluate(t, Input{Config: Config{Labels: []string{"a"}, Thresholds: model.Thresholds{Default: 0.8}, Resamples: 10}})
	r.Histogram = nil
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const nothing = `{"captures_covered":0,"windows":0,"accuracy":null,"macro_f1":null,"devices":{"count":0,"accuracy":null,"macro_f1":null,"with_window":0,"accuracy_with_window":null,"named_right":0,"named_wrong":0,"refused":0,"without_window":0,"safe_right":0,"safe_wrong":0}}`
	want := `{"window_mode":"padded","captures":0,"captures_covered":0,"windows":0,"accuracy":null,"macro_f1":null,` +
		`"classes":[{"label":"a","precision":0,"recall":0,"f1":0,"support":0}],"classes_missing":[],"confusion":[[0]],` +
		`"coverage":null,"workload_per_hour":null,"confidence":{"threshold":0.8,"mean_correct":null,"mean_wrong":null,` +
		`"low_fraction":null,"high_wrong":null,"high_wrong_count":0,"ece":null,"ece_device":null,"wrong_high":null,"low_local":null},` +
		`"devices":{"count":0,"accuracy":null,"macro_f1":null,"with_window":0,"accuracy_with_window":null,"named_right":0,"named_wrong":0,"refused":0,"without_window":0,"safe_right":0,"safe_wrong":0},"levels":[{"level":1,"accuracy":null,"named":0,"named_wrong":0}],"states":null,"models":null,"alone":null,"modes":{"padded":` + nothing + `,"strict":` + nothing + `},` +
		`"intervals":null,"histogram":null,"local_flows":[],"by_seconds":[],"worst_captures":[],"merged":[],"left_out":[],"devices_confusion":[[0]]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestEvaluateRefusesProbabilitiesThatDoNotFit(t *testing.T) {
	in := sample()
	in.Windows[2].Probs = in.Windows[2].Probs[:2]
	if _, err := Evaluate(in); err == nil {
		t.Error("two probabilities for three classes: no error")
	}
}

// More classes than a confusion matrix can be made for are refused.
func TestTooManyClasses(t *testing.T) {
	s, err := New(Config{Labels: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxClasses {
		s.Capture([]Device{{Name: "2", Capture: strconv.Itoa(i), Label: strconv.Itoa(i)}}, 1)
	}
	if _, err := s.Result(); err == nil || !strings.Contains(err.Error(), "4098 classes") {
		t.Errorf("error %v", err)
	}
}

// told is a window of a device that says what it is: it may be named at once.
func told(probs []float32) join.Window {
	return join.Window{Probs: probs, Named: slices.Repeat([]bool{true}, len(probs))}
}
