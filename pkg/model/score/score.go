// Package score computes the figures of `iotsense evaluate` from verdicts on
// windows whose class is known. It is pure arithmetic: it reads no file and runs
// no model. Memory grows with captures, devices and classes, not with windows.
package score

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

// Output is what a model says of one window, beside the truth.
type Output struct {
	Device  string
	Capture string // "" where captures are not told apart
	Label   string // the true class
	// Probs are the model's probabilities in the order of Config.Labels, join.Lacking
	// for each that the model asked does not have (specialised bundles).
	Probs  []float32
	Padded bool          // fewer records than the model's K: no strict window
	Local  int           // of its records, those whose remote is local
	Since  time.Duration // from the device's first packet to the last one that the window describes
}

// Device is one device of one capture, whether it had a window or not.
type Device struct {
	Name    string
	Capture string
	Label   string // the true class
}

// Config says what is scored and how.
type Config struct {
	Mode       model.WindowMode // Strict: padded windows count in Result.Modes only
	Labels     []string         // the model's classes, in the order of probabilities
	Thresholds model.Thresholds
	Merge      [][]string // classes that count as one, named A+B
	LeaveOut   []string   // true classes that are not scored
	Resamples  int        // of the bootstrap; 0: no intervals
	Draws      bool       // keep each resample's macro-F1 beside the intervals
}

// Input is what Evaluate scores.
type Input struct {
	Config
	Windows []Output
	Devices []Device // every device and capture; those of Windows need not be repeated
	Hours   float64  // of traffic, summed over captures; 0: not known
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
}

// Summary is the score in one window mode.
type Summary struct {
	CapturesCovered int      `json:"captures_covered"`
	Windows         int      `json:"windows"`
	Accuracy        *float64 `json:"accuracy"`
	MacroF1         *float64 `json:"macro_f1"`
	Devices         Devices  `json:"devices"`
}

// Scorer takes verdicts and keeps counts.
type Scorer struct {
	cfg     Config
	classes *classes
	modes   [2]*tally // by model.WindowMode
	hours   float64
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
	probs := s.classes.merge(w.Probs)
	s.modes[model.Padded].add(&w, probs)
	if w.Padded {
		s.modes[model.Strict].device(w.Capture, w.Device, w.Label) // it counts there, without this window
	} else {
		s.modes[model.Strict].add(&w, probs)
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
		for _, t := range s.modes {
			t.device(d.Capture, d.Name, d.Label)
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
		Merged: append([][]string{}, s.cfg.Merge...), LeftOut: append([]string{}, s.cfg.LeaveOut...),
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
	r.BySeconds, r.Worst = t.bySeconds(), t.worst()
	r.Intervals = t.bootstrap(names, s.cfg.Resamples, s.cfg.Draws)
	return r, nil
}

// Evaluate computes the figures of what is all at hand.
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

// ratio is a / b, or nil when b is 0.
func ratio(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	v := a / b
	return &v
}

// PaperScore are scores of the paper's all-traffic model on its own data set: they stand
// beside a reader's own for orientation.
type PaperScore struct {
	MacroF1     float64 // Table IV; V for unidirectional records
	MeanCorrect float64 // of confidence (V, Fig. 15); 0: not given
	MeanWrong   float64
	LowFraction float64 // of windows (V)
	HighWrong   float64 // of confident windows (V)
	WrongHigh   float64 // of wrong windows: "more than a third" (V)
	LowLocal    float64 // of low windows, those with three local flows or more: "more than 90 %" (V, Fig. 16)
	Workload    float64 // inferences per hour (Table IV)
}

// PaperBi is the paper's model M, of bidirectional records; PaperUni is its M-up.
var (
	PaperBi  = PaperScore{MacroF1: 0.90, MeanCorrect: 0.95, MeanWrong: 0.71, LowFraction: 0.07, HighWrong: 0.015, WrongHigh: 1. / 3, LowLocal: 0.9, Workload: 4140}
	PaperUni = PaperScore{MacroF1: 0.94, LowFraction: 0.02}
)

// classes gives every class a number in the order they come.
type classes struct {
	names   []string       // by number
	named   map[string]int // number by name
	number  map[string]int // of a class, under its own name
	merged  map[string]string
	leftOut map[string]bool
	seen    map[string]bool // names that the model or the data has

	outputs    []int     // number of each class the model can give, merged
	place      []int     // in outputs, of each of the model's labels
	thresholds []float64 // of outputs
}

// newClasses numbers the model's classes.
func newClasses(cfg Config) (*classes, error) {
	c := &classes{named: map[string]int{}, number: map[string]int{}, merged: map[string]string{}, leftOut: map[string]bool{}, seen: map[string]bool{}}
	for _, group := range cfg.Merge {
		for _, name := range group {
			if other, twice := c.merged[name]; twice {
				return nil, fmt.Errorf("score: class %q is to be merged twice, into %s and %s", name, other, strings.Join(group, "+"))
			}
			c.merged[name] = strings.Join(group, "+")
		}
	}
	for _, name := range cfg.LeaveOut {
		c.leftOut[name] = true
	}
	for _, label := range cfg.Labels {
		n := c.of(label)
		place := slices.Index(c.outputs, n)
		if place < 0 {
			place = len(c.outputs)
			c.outputs, c.thresholds = append(c.outputs, n), append(c.thresholds, 0)
		}
		c.place = append(c.place, place)
		c.thresholds[place] = max(c.thresholds[place], cfg.Thresholds.For(label))
	}
	return c, nil
}

// of is the number of a class, a new one if need be.
func (c *classes) of(label string) int {
	if n, ok := c.number[label]; ok {
		return n
	}
	c.seen[label] = true
	name := label
	if m, ok := c.merged[label]; ok {
		name = m
	}
	n, ok := c.named[name]
	if !ok {
		n = len(c.names)
		c.names = append(c.names, name)
		c.named[name] = n
	}
	c.number[label] = n
	return n
}

// scored reports whether devices of the class count. It remembers the class.
func (c *classes) scored(label string) bool {
	if c.leftOut[label] {
		c.seen[label] = true
		return false
	}
	return true
}

// merge gives the probabilities of outputs: sums over the classes merged, negative
// where the model knows none of them.
func (c *classes) merge(probs []float32) []float32 {
	if len(c.outputs) == len(probs) {
		return probs
	}
	merged := slices.Repeat([]float32{join.Lacking}, len(c.outputs))
	for i, p := range probs {
		if at := c.place[i]; p >= 0 {
			merged[at] = max(0, merged[at]) + p
		}
	}
	return merged
}

// isOutput reports whether the model can give a class, by its merged name.
func (c *classes) isOutput(name string) bool {
	return slices.ContainsFunc(c.outputs, func(n int) bool { return c.names[n] == name })
}

// maxClasses bounds the confusion matrices, which have a number for each two classes.
const maxClasses = 4096

// check reports a class to merge or leave out that neither the model nor the data has,
// and more classes than can be scored.
func (c *classes) check() error {
	if len(c.names) > maxClasses {
		return fmt.Errorf("score: the data and the model have %d classes, at most %d are scored: are the labels those of kinds of devices?", len(c.names), maxClasses)
	}
	for _, part := range []struct {
		what  string
		names []string
	}{{"merge", keys(c.merged)}, {"leave out", keys(c.leftOut)}} {
		for _, name := range part.names {
			if !c.seen[name] {
				return fmt.Errorf("score: no class %q to %s: neither the model nor the data has it", name, part.what)
			}
		}
	}
	return nil
}
