// Package score computes the figures of `iotsense evaluate` from verdicts on
// windows whose class is known. It is pure arithmetic: it reads no file and runs
// no model.
package score

import (
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/model"
)

// Window is one window's verdict beside the truth.
type Window struct {
	Device  string
	Capture string // "" where captures are not told apart
	Label   string // the true class
	// Probs are the model's probabilities in the order of Input.Labels. A negative
	// one says that the model asked does not know the class (specialised bundles).
	Probs []float32
}

// Device is one device of one capture, whether it had a window or not.
type Device struct {
	Name    string
	Capture string
	Label   string // the true class
}

// Input is what is scored.
type Input struct {
	Mode       string   // window mode
	Labels     []string // the model's classes, in the order of probabilities
	Windows    []Window
	Devices    []Device // every device and capture; those of Windows need not be repeated
	Hours      float64  // of traffic, summed over captures; 0: not known
	Thresholds model.Thresholds
}

// Result is what `iotsense evaluate --json` prints. A figure that does not exist,
// such as a mean of nothing, is nil.
type Result struct {
	WindowMode      string     `json:"window_mode"`
	Captures        int        `json:"captures"`
	CapturesCovered int        `json:"captures_covered"` // with at least one window
	Windows         int        `json:"windows"`
	Accuracy        *float64   `json:"accuracy"`
	MacroF1         *float64   `json:"macro_f1"` // mean over classes with a true window
	Classes         []Class    `json:"classes"`  // true and model classes, by name
	ClassesMissing  []string   `json:"classes_missing"`
	Confusion       [][]int    `json:"confusion"` // rows true, columns predicted, as Classes
	Coverage        *float64   `json:"coverage"`  // classes with a right window / classes with a true window
	WorkloadPerHour *float64   `json:"workload_per_hour"`
	Confidence      Confidence `json:"confidence"`
	Devices         Devices    `json:"devices"`
}

// Class is one class's figures over windows. A share of nothing is 0.
type Class struct {
	Label     string  `json:"label"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Support   int     `json:"support"` // true windows
}

// Confidence says how far probabilities can be trusted (paper V). A window is
// low when its probability is under the threshold of the class it was given.
type Confidence struct {
	Threshold      float64  `json:"threshold"`
	MeanCorrect    *float64 `json:"mean_correct"`
	MeanWrong      *float64 `json:"mean_wrong"`
	LowFraction    *float64 `json:"low_fraction"`
	HighWrong      *float64 `json:"high_wrong"` // wrong / windows that are not low
	HighWrongCount int      `json:"high_wrong_count"`
	ECE            *float64 `json:"ece"` // expected calibration error, 15 bins of equal width
}

// Devices scores one joined verdict for each device and capture; one without a
// window counts as wrong.
type Devices struct {
	Count    int      `json:"count"`
	Accuracy *float64 `json:"accuracy"`
	MacroF1  *float64 `json:"macro_f1"` // mean over classes with a true device
}

// eceBins is the number of bins of the expected calibration error.
const eceBins = 15

// Evaluate computes the figures. It reports probabilities that do not fit the labels.
func Evaluate(in Input) (*Result, error) {
	for i, w := range in.Windows {
		if len(w.Probs) != len(in.Labels) || len(w.Probs) == 0 {
			return nil, fmt.Errorf("score: window %d of %s has %d probabilities for %d classes", i, w.Device, len(w.Probs), len(in.Labels))
		}
	}
	r := &Result{WindowMode: in.Mode, Windows: len(in.Windows), ClassesMissing: []string{}}
	r.captures(in)
	names := classNames(in)
	windows, confidence := newTable(names), newConfidence(in.Thresholds)
	for _, w := range in.Windows {
		best := argmax(w.Probs)
		label := in.Labels[best]
		windows.add(w.Label, label)
		confidence.add(label == w.Label, label, float64(w.Probs[best]))
	}
	r.Accuracy, r.MacroF1 = windows.accuracy(), windows.macroF1()
	r.Classes, r.Confusion, r.Coverage = windows.classes(), windows.counts, windows.coverage()
	for _, c := range r.Classes {
		if !slices.Contains(in.Labels, c.Label) {
			r.ClassesMissing = append(r.ClassesMissing, c.Label)
		}
	}
	if in.Hours > 0 {
		r.WorkloadPerHour = ratio(float64(len(in.Windows)), in.Hours)
	}
	r.Confidence = confidence.result()
	r.Devices = scoreDevices(in, names)
	return r, nil
}

// captures counts the captures there are and those with a window.
func (r *Result) captures(in Input) {
	all, covered := map[string]bool{}, map[string]bool{}
	for _, d := range in.Devices {
		all[d.Capture] = true
	}
	for _, w := range in.Windows {
		all[w.Capture], covered[w.Capture] = true, true
	}
	r.Captures, r.CapturesCovered = len(all), len(covered)
}

// classNames are the model's classes and all true ones, sorted.
func classNames(in Input) []string {
	names := slices.Clone(in.Labels)
	for _, w := range in.Windows {
		names = append(names, w.Label)
	}
	for _, d := range in.Devices {
		names = append(names, d.Label)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// scoreDevices joins each device's windows of a capture: the mean probability of
// each class over the windows whose model knows it.
func scoreDevices(in Input, names []string) Devices {
	type verdict struct {
		label string
		sum   []float64
		n     []int
	}
	type key struct{ device, capture string }
	verdicts := map[key]*verdict{}
	at := func(k key, label string) *verdict {
		v := verdicts[k]
		if v == nil {
			v = &verdict{label, make([]float64, len(in.Labels)), make([]int, len(in.Labels))}
			verdicts[k] = v
		}
		return v
	}
	for _, d := range in.Devices {
		at(key{d.Name, d.Capture}, d.Label)
	}
	for _, w := range in.Windows {
		v := at(key{w.Device, w.Capture}, w.Label)
		for i, p := range w.Probs {
			if p >= 0 {
				v.sum[i] += float64(p)
				v.n[i]++
			}
		}
	}
	t := newTable(names)
	for _, v := range verdicts {
		given := ""
		best := 0.0
		for i, n := range v.n {
			if n > 0 && v.sum[i]/float64(n) > best {
				given, best = in.Labels[i], v.sum[i]/float64(n)
			}
		}
		t.add(v.label, given)
	}
	return Devices{Count: len(verdicts), Accuracy: t.accuracy(), MacroF1: t.macroF1()}
}

func argmax(p []float32) int {
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	return best
}

// ratio is a / b, or nil when b is 0.
func ratio(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	v := a / b
	return &v
}
