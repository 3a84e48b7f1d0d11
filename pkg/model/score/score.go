// Package score computes the figures of `iotsense evaluate` from verdicts on
// windows whose class is known. It is pure arithmetic: it reads no file and runs
// no model. Memory grows with captures, devices and classes, not with windows.
package score

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Output is what a model says of one window, beside the truth.
type Output struct {
	Device  string
	Capture string // "" where captures are not told apart
	Label   string // the true class
	// Its probabilities are in the order of Config.Labels.
	join.Window
	Padded bool          // fewer records than the model's K: no strict window
	Local  int           // of its records, those whose remote is local
	Since  time.Duration // from the device's first packet to the last one that the window describes
}

// Device is one device of one capture, whether it had a window or not.
type Device struct {
	Name    string
	Capture string
	Label   string   // the true class
	State   v1.State // in the end; "": not told
	Path    string   // said in the end of one without a window; "": nothing
}

// Config says what is scored and how.
type Config struct {
	Mode       model.WindowMode // Strict: padded windows count in Result.Modes only, and the others as first judged
	Labels     []string         // the model's classes, in the order of probabilities
	Thresholds model.Thresholds
	Taxonomy   taxonomy.Taxonomy // of the model's classes, and of true ones that it lacks
	Merge      [][]string        // classes that count as one, named A+B
	LeaveOut   []string          // true classes that are not scored
	Resamples  int               // of the bootstrap; 0: no intervals
	Draws      bool              // keep each resample's macro-F1 beside the intervals
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
	Levels          []Level    `json:"levels"` // of the classes' paths, outermost first

	// States are how many devices were in each in the end, as a reader of live verdicts is told;
	// nil: not told.
	States map[v1.State]int `json:"states"`

	Models map[string]Made `json:"models"` // by service, "" of one for everything; nil: not told

	// Alone is what each part of models that have two says alone, by its name; nil: they have
	// one, or were given no facts.
	Alone map[string]Part `json:"alone"`

	Modes            map[string]Summary `json:"modes"`             // strict and padded windows of the same run
	Intervals        *Intervals         `json:"intervals"`         // nil: not asked for, or too few captures
	Histogram        []Bin              `json:"histogram"`         // of confidence (Fig. 15)
	LocalFlows       []LocalFlows       `json:"local_flows"`       // Fig. 16
	BySeconds        []Moment           `json:"by_seconds"`        // since each device's first packet
	Worst            []DeviceScore      `json:"worst_captures"`    // devices and captures, the least of the truth's probability first
	Merged           [][]string         `json:"merged"`            // classes that counted as one
	LeftOut          []string           `json:"left_out"`          // true classes that were not scored
	DevicesConfusion [][]int            `json:"devices_confusion"` // of joined verdicts; one without a window is in no column
}

// Made says how a model was chosen and calibrated.
type Made struct {
	Choice      *model.Choice     `json:"choice"` // nil: not known
	Calibration model.Calibration `json:"calibration"`
}

// Class is one class's figures over windows. A share of nothing is 0.
type Class struct {
	Label     string  `json:"label"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Support   int     `json:"support"` // true windows
}

// Devices scores one joined verdict for each device and capture; one without a
// window counts as wrong.
type Devices struct {
	Count    int      `json:"count"`
	Accuracy *float64 `json:"accuracy"`
	MacroF1  *float64 `json:"macro_f1"` // mean over classes with a true device

	WithWindow         int      `json:"with_window"`
	AccuracyWithWindow *float64 `json:"accuracy_with_window"` // of these

	// What a reader of the verdicts sees: named at or over the class's threshold, or
	// refused below it. With WithoutWindow they add up to Count.
	NamedRight    int `json:"named_right"`
	NamedWrong    int `json:"named_wrong"`
	Refused       int `json:"refused"`
	WithoutWindow int `json:"without_window"`

	// The same at the deepest level that is safe, the class or one above it; of devices
	// without a window too.
	SafeRight int `json:"safe_right"`
	SafeWrong int `json:"safe_wrong"`
}

// Summary is the score in one window mode.
type Summary struct {
	CapturesCovered int      `json:"captures_covered"`
	Windows         int      `json:"windows"`
	Accuracy        *float64 `json:"accuracy"`
	MacroF1         *float64 `json:"macro_f1"`
	Devices         Devices  `json:"devices"`
}

// Part is the score of one part of a model, without a gate.
type Part struct {
	Summary
	ECE *float64 `json:"ece"` // of windows
}

// Scorer takes verdicts and keeps counts.
type Scorer struct {
	cfg     Config
	classes *classes
	modes   [2]*tally // by model.WindowMode
	hours   float64
	states  map[v1.State]int
}

// New returns a Scorer that has seen nothing. It reports classes that are merged
// twice.
func New(cfg Config) (*Scorer, error) {
	c, err := newClasses(cfg)
	if err != nil {
		return nil, err
	}
	return &Scorer{cfg: cfg, classes: c, modes: [2]*tally{newTally(c), newTally(c)}}, nil
}

// Add takes the next window. It reports probabilities that do not fit the labels.
func (s *Scorer) Add(w Output) error {
	if len(w.Probs) != len(s.cfg.Labels) || len(w.Probs) == 0 {
		return fmt.Errorf("score: a window of %s has %d probabilities for %d classes", w.Device, len(w.Probs), len(s.cfg.Labels))
	}
	if !s.classes.scored(w.Label) {
		return nil
	}
	w.Probs, w.Named, w.Revised = s.classes.merge(w.Probs), s.classes.mergeNamed(w.Named), s.classes.mergeRevised(w.Revised)
	s.modes[model.Padded].add(&w)
	if w.Padded {
		s.modes[model.Strict].device(w.Capture, w.Device, w.Label) // it counts there, without this window
	} else {
		w.Revised = nil // padded windows, which do not count here, are among those
		s.modes[model.Strict].add(&w)
	}
	return nil
}

// Capture takes the devices of one capture, whether they had windows or not, and
// its length in hours. A capture whose devices are all left out counts for nothing.
func (s *Scorer) Capture(devices []Device, hours float64) {
	scored := len(devices) == 0
	for _, d := range devices {
		if !s.classes.scored(d.Label) {
			continue
		}
		scored = true
		if d.State != "" {
			if s.states == nil {
				s.states = map[v1.State]int{}
			}
			s.states[d.State]++
		}
		for _, t := range s.modes {
			_, counts := t.device(d.Capture, d.Name, d.Label)
			counts.path = d.Path
		}
	}
	if scored {
		s.hours += hours
	}
}

// Result computes the figures of all that was taken. It reports a class to merge
// or to leave out that nobody has.
func (s *Scorer) Result() (*Result, error) {
	if err := s.classes.check(); err != nil {
		return nil, err
	}
	names := slices.Sorted(slices.Values(s.classes.names))
	r := &Result{
		WindowMode: s.cfg.Mode.String(), Modes: map[string]Summary{}, ClassesMissing: []string{},
		States: maps.Clone(s.states), Merged: append([][]string{}, s.cfg.Merge...), LeftOut: append([]string{}, s.cfg.LeaveOut...),
	}
	for mode, t := range s.modes {
		r.Modes[model.WindowMode(mode).String()] = t.summary(names)
	}
	t := s.modes[s.cfg.Mode]
	sum := r.Modes[r.WindowMode]
	r.Captures, r.CapturesCovered, r.Windows = len(t.captures), sum.CapturesCovered, sum.Windows
	r.Accuracy, r.MacroF1, r.Devices = sum.Accuracy, sum.MacroF1, sum.Devices
	windows, devices := t.tables(names)
	r.Classes, r.Confusion, r.Coverage, r.DevicesConfusion = windows.classes(), windows.counts, windows.coverage(), devices.counts
	for _, c := range r.Classes {
		if !s.classes.isOutput(c.Label) {
			r.ClassesMissing = append(r.ClassesMissing, c.Label)
		}
	}
	if s.hours > 0 {
		r.WorkloadPerHour = ratio(float64(r.Windows), s.hours)
	}
	r.Confidence, r.Histogram, r.LocalFlows = t.confidence.result(s.cfg.Thresholds.Default), t.confidence.histogram(), t.confidence.locals
	r.Confidence.ECEDevice = t.deviceError()
	r.Levels, r.BySeconds, r.Worst = t.byLevel(), t.bySeconds(), t.worst()
	r.Intervals = t.bootstrap(names, s.cfg.Resamples, s.cfg.Draws)
	return r, nil
}

// ratio is a / b, or nil when b is 0.
func ratio(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	v := a / b
	return &v
}
