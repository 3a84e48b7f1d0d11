package score

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
)

// sample is small enough to be scored by hand. The model knows a, b and c; a
// device of class d is true too. Device 5 never had a window.
func sample() Input {
	return Input{
		Mode:       "strict",
		Labels:     []string{"a", "b", "c"},
		Thresholds: model.Thresholds{Default: 0.8, PerClass: map[string]float64{"b": 0.6}},
		Hours:      2,
		Windows: []Window{
			{"1", "x", "a", []float32{0.9, 0.1, 0}},    // right, high
			{"1", "x", "a", []float32{0.3, 0.7, 0}},    // wrong as b, high for b
			{"2", "x", "b", []float32{0.25, 0.5, .25}}, // right, low
			{"3", "y", "b", []float32{0.9, 0.1, 0}},    // wrong as a, high
			{"4", "z", "d", []float32{0, 0.5, 0.5}},    // wrong as b (the first of equals), low
		},
		Devices: []Device{{"1", "x", "a"}, {"5", "w", "a"}, {"3", "y", "b"}},
	}
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
	r, err := Evaluate(sample())
	if err != nil {
		t.Fatal(err)
	}
	if r.WindowMode != "strict" || r.Windows != 5 || r.Captures != 4 || r.CapturesCovered != 3 {
		t.Errorf("mode %s, %d windows, %d of %d captures: want strict, 5, 3 of 4", r.WindowMode, r.Windows, r.CapturesCovered, r.Captures)
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

	c := r.Confidence
	value(t, "threshold", &c.Threshold, 0.8)
	value(t, "mean_correct", c.MeanCorrect, (0.9+0.5)/2)
	value(t, "mean_wrong", c.MeanWrong, (0.7+0.9+0.5)/3)
	value(t, "low_fraction", c.LowFraction, 2./5)
	value(t, "high_wrong", c.HighWrong, 2./3)
	if c.HighWrongCount != 2 {
		t.Errorf("high_wrong_count is %d, want 2", c.HighWrongCount)
	}
	// Bins: 0.9 twice (one right), 0.7 once (wrong), 0.5 twice (one right).
	value(t, "ece", c.ECE, (math.Abs(1-1.8)+0.7+math.Abs(1-1.0))/5)

	// Device 1: mean (0.6, 0.4, 0) is a, right. 2: b, right. 3: a, wrong. 4: wrong. 5: no window, wrong.
	if r.Devices.Count != 5 {
		t.Errorf("%d devices, want 5", r.Devices.Count)
	}
	value(t, "devices.accuracy", r.Devices.Accuracy, 2./5)
	// a: 2 true, 2 given, 1 right; b: 2 true, 2 given (devices 2 and 4), 1 right; d: none right.
	value(t, "devices.macro_f1", r.Devices.MacroF1, (0.5+0.5+0)/3)
}

func TestJoinLeavesOutClassesAModelLacks(t *testing.T) {
	in := sample()
	in.Devices = nil
	in.Windows = []Window{
		{"1", "x", "a", []float32{0.6, 0.4, 0}},
		{"1", "x", "a", []float32{-1, 0.5, 0.5}}, // this model does not know a
		{"1", "x", "a", []float32{-1, 0.6, 0.4}},
	}
	r, err := Evaluate(in) // means 0.6, 0.5, 0.3
	if err != nil {
		t.Fatal(err)
	}
	value(t, "devices.accuracy", r.Devices.Accuracy, 1)
}

func TestEvaluateNothing(t *testing.T) {
	r, err := Evaluate(Input{Labels: []string{"a"}, Thresholds: model.Thresholds{Default: 0.8}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"window_mode":"","captures":0,"captures_covered":0,"windows":0,"accuracy":null,"macro_f1":null,` +
		`"classes":[{"label":"a","precision":0,"recall":0,"f1":0,"support":0}],"classes_missing":[],"confusion":[[0]],` +
		`"coverage":null,"workload_per_hour":null,"confidence":{"threshold":0.8,"mean_correct":null,"mean_wrong":null,` +
		`"low_fraction":null,"high_wrong":null,"high_wrong_count":0,"ece":null},"devices":{"count":0,"accuracy":null,"macro_f1":null}}`
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
