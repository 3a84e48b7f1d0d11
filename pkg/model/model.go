package model

// This file holds what a model file says: weights, and everything a verdict
// depends on beside them.

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/identifiers"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// MaxClasses and MaxParameters bound what a hostile file can ask for; every variant of
// the paper's Table VI is far below.
const (
	MaxClasses    = 1 << 14
	MaxParameters = 1 << 26
)

// Model is one trained network with all that is needed to use it. It is read
// only once built: engines share it.
type Model struct {
	Labels      []string // class names, sorted; index = output of the network; NoneLabel may be one
	Net         Net
	Record      RecordSpec
	Scaling     Scaling
	Calibration Calibration
	Thresholds  Thresholds
	Taxonomy    taxonomy.Taxonomy // where the classes stand, and others maybe; empty: each is alone
	Training    Training
	Facts       *linear.Model // of the same classes; nil: the network judges alone
	Centres     *Centres      // of what the classes were learned from; nil: how far a row is from it is not known

	// Background are inputs of the network, one after the other; empty when the model
	// has none: what explanations compare with, or what classes are told from that are
	// added. Compared is what explanations compare with where inputs will not do, see
	// [Model.References]. The engine never reads them.
	Background, Compared []float32
}

// NoneLabel is the class of what is of none of the other classes. A device that it
// describes best is unknown, whatever its best guess among the others.
const NoneLabel = "none of them"

// None is the output of the class [NoneLabel]; ok is false if the model has none.
func (m *Model) None() (index int, ok bool) { return slices.BinarySearch(m.Labels, NoneLabel) }

// Classes are the labels that a device can be given: all but [NoneLabel].
func (m *Model) Classes() []string {
	return slices.DeleteFunc(slices.Clone(m.Labels), func(l string) bool { return l == NoneLabel })
}

// LeastTemperature is the least that a part of the model gets. One below 1 raises every
// confidence, which windows of known devices ask for when nearly all are named rightly. It
// raises that of strangers too, which none of them shows: a model without [NoneLabel] would
// name them with certainty. One with it has seen some, and may be a little surer.
func (m *Model) LeastTemperature() float64 {
	if _, none := m.None(); none {
		return 0.8
	}
	return 1
}

// RecordSpec says which records and windows the model was made for; the same
// must be fed to it.
type RecordSpec struct {
	flows.RecordSpec                 // how packets become records
	ScaleDelimiters  bool            `json:"scale_delimiters"`  // delimiters / 255, else -4 and -8
	IPv6             bool            `json:"ipv6"`              // windows include IPv6 records
	WindowMode       WindowMode      `json:"window_mode"`       // which rows of a stream are judged
	Services         []flows.Service `json:"services"`          // empty: every flow
	Among            []flows.Service `json:"among,omitempty"`   // services that specialised models share the flows by; a flow of two goes to one
	Without          []string        `json:"without,omitempty"` // fields that are hidden from the network, of [Fields]
	Scrub            bool            `json:"scrub"`             // identifiers in payloads are masked (identifiers.Scrub)
}

// Fields of a row that a model can do without.
const (
	FieldRemote  = "remote"  // address octets
	FieldPorts   = "ports"   // both
	FieldTime    = "time"    // since the previous record, and packets' offsets
	FieldPayload = "payload" // all of it, delimiters too
)

// Fields are all of them.
var Fields = []string{FieldRemote, FieldPorts, FieldTime, FieldPayload}

// DefaultRecordSpec is the project's default: the paper's sizes, bidirectional,
// padded windows, no IPv6, delimiters unscaled.
func DefaultRecordSpec() RecordSpec {
	return RecordSpec{
		RecordSpec: flows.DefaultRecordSpec(),
		WindowMode: Padded,
		Services:   []flows.Service{}, // JSON tells an empty list from none
	}
}

// MetaValues is the number of metadata values of a row.
func (s RecordSpec) MetaValues() int { return 10 + 3*s.Packets }

// Width is the number of values of a row: metadata and payload.
func (s RecordSpec) Width() int { return s.MetaValues() + s.Payload }

// Length is how many values a row has before its padding, metadata included.
func (s RecordSpec) Length(r flows.Row) int {
	if slices.Contains(s.Without, FieldPayload) {
		return s.MetaValues()
	}
	payload := 0
	for _, p := range r.Packets[:min(len(r.Packets), s.Packets)] {
		payload += min(len(p.Payload), s.Prefix) + 2 // delimiters
	}
	return s.MetaValues() + min(payload, s.Payload)
}

// Stream is which records the model's streams are made of.
func (s RecordSpec) Stream() flows.StreamSpec {
	c := flows.StreamSpec{IPv6: s.IPv6, Services: s.Services, Among: s.Among}
	if s.Scrub {
		c.Scrub = identifiers.Scrub
	}
	return c
}

func (s RecordSpec) validate() error {
	if err := s.RecordSpec.Validate(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	for _, field := range s.Without {
		if !slices.Contains(Fields, field) {
			return fmt.Errorf("record: without %q: there are %v", field, Fields)
		}
	}
	return nil
}

// Scaling holds the z-scores of the two unbounded row values, taken from the
// training rows after log(1+x).
type Scaling struct {
	Bytes   Moments `json:"bytes"`
	Packets Moments `json:"packets"`
}

// Moments are a mean and a standard deviation.
type Moments struct {
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
}

// Score is (log(1+x) - mean) / deviation.
func (m Moments) Score(x float64) float64 { return (math.Log1p(x) - m.Mean) / m.Deviation }

func (m Moments) validate() error {
	if math.IsNaN(m.Mean) || math.IsInf(m.Mean, 0) || !(m.Deviation > 0) || math.IsInf(m.Deviation, 0) {
		return fmt.Errorf("mean %v, deviation %v: want a finite mean and a deviation above 0", m.Mean, m.Deviation)
	}
	return nil
}

// Calibration is temperature scaling: logits are divided by Temperature before
// the softmax. 0 means "not calibrated" and acts as 1.
type Calibration struct {
	Temperature float64 `json:"temperature"`
	Least       float64 `json:"least,omitempty"`    // what Temperature was to be at least; 0: not known
	Captures    int     `json:"captures,omitempty"` // of validation that it was fitted on, those of each class but NoneLabel for themselves
	Apart       bool    `json:"apart,omitempty"`    // none of them chose the epoch beside others that did
}

// divisor is the temperature, 1 when there is none.
func (c Calibration) divisor() float64 {
	if c.Temperature == 0 {
		return 1
	}
	return c.Temperature
}

// String says what is known of the temperature.
func (c Calibration) String() string {
	text := fmt.Sprintf("%.2f", c.divisor())
	if c.Captures > 0 {
		of := "validation captures"
		if c.Apart {
			of += " that chose no epoch"
		}
		text += fmt.Sprintf(", fitted on %d %s, at least %g", c.Captures, of, c.Least)
	}
	return text
}

// Thresholds are the confidences from which a verdict counts as known.
type Thresholds struct {
	Default  float64            `json:"default"`
	PerClass map[string]float64 `json:"per_class,omitempty"`
}

// DefaultThreshold separates high from low confidence (paper V).
const DefaultThreshold = 0.8

// For is the threshold of a class.
func (t Thresholds) For(label string) float64 {
	if v, ok := t.PerClass[label]; ok {
		return v
	}
	return t.Default
}

// Training says how the model came to be.
type Training struct {
	Digest  string            `json:"digest"`  // SHA-256 over the contents trained on
	Seed    int64             `json:"seed"`    // of initial weights, order and dropout
	Threads int               `json:"threads"` // workers the sums were split over
	Options map[string]string `json:"options"` // effective flags, none that names a path
	Choice  *Choice           `json:"choice,omitempty"`
}

// Choice says which epoch's weights a model has.
type Choice struct {
	By       string `json:"by"`       // ChosenLast, ChosenByCaptures or ChosenByWindows
	Epoch    int    `json:"epoch"`    // from 1
	Epochs   int    `json:"epochs"`   // that there were
	Captures int    `json:"captures"` // of validation that chose, those of each class but NoneLabel for themselves
}

// String says it in words; a nil Choice is not known.
func (c *Choice) String() string {
	switch {
	case c == nil:
		return "not known"
	case c.Captures == 0:
		return fmt.Sprintf("%d of %d: %s", c.Epoch, c.Epochs, c.By)
	}
	return fmt.Sprintf("%d of %d: %s, of %d", c.Epoch, c.Epochs, c.By, c.Captures)
}

// What an epoch is chosen by: the least validation loss, a mean over classes of those of
// captures or a mean over windows; or nothing.
const (
	ChosenByCaptures = "validation loss by captures"
	ChosenByWindows  = "validation loss by windows"
	ChosenLast       = "last epoch"
)

// Parameters is the number of trained values.
func (m *Model) Parameters() int {
	n := 0
	for _, t := range m.Net.Tensors() {
		n += len(t.Data)
	}
	return n
}

// Temperature is the calibration's divisor, 1 when there is none.
func (m *Model) Temperature() float64 { return m.Calibration.divisor() }

// Validate reports the first thing that keeps m from being used: sizes that do
// not fit each other, weights or statistics that are not finite, class names
// that are not sorted and unique.
func (m *Model) Validate() error {
	if err := m.Record.validate(); err != nil {
		return err
	}
	if m.Net == nil {
		return errors.New("there is no network")
	}
	if n := len(m.Labels); n < 1 || n > MaxClasses {
		return fmt.Errorf("classes is %d, want 1 to %d", n, MaxClasses)
	}
	if err := m.Net.Fits(m.Record, len(m.Labels)); err != nil {
		return err
	}
	if err := validateLabels(m.Labels); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		m    Moments
	}{{"bytes", m.Scaling.Bytes}, {"packets", m.Scaling.Packets}} {
		if err := s.m.validate(); err != nil {
			return fmt.Errorf("scaling: %s: %w", s.name, err)
		}
	}
	if t := m.Temperature(); !(t > 0) || math.IsInf(t, 0) {
		return fmt.Errorf("calibration: temperature %v: want above 0", t)
	}
	if err := m.Thresholds.validate(m.Labels); err != nil {
		return fmt.Errorf("thresholds: %w", err)
	}
	if err := CheckTaxonomy(m.Taxonomy, m.Labels); err != nil {
		return err
	}
	if err := m.validateFacts(); err != nil {
		return err
	}
	if err := m.validateCentres(); err != nil {
		return err
	}
	if err := plaintext.Check(m.Training.Digest); err != nil {
		return fmt.Errorf("training: digest: %w", err)
	}
	if c := m.Training.Choice; c != nil {
		if err := plaintext.Check(c.By); err != nil {
			return fmt.Errorf("training: choice: %w", err)
		}
	}
	for _, t := range m.Net.Tensors() {
		if err := t.Check(); err != nil {
			return err
		}
		if i := NotFinite(t.Data); i >= 0 {
			return fmt.Errorf("%s[%d] is %v: weights must be finite", t.Name, i, t.Data[i])
		}
	}
	if err := m.validateBackground(); err != nil {
		return err
	}
	return m.validateCompared()
}

func (m *Model) validateBackground() error {
	if input := (Tensor{Shape: m.Net.Input(m.Record)}).Size(); len(m.Background)%input != 0 {
		return fmt.Errorf("background has %d values, not a multiple of an input's %d", len(m.Background), input)
	}
	if i := NotFinite(m.Background); i >= 0 {
		return fmt.Errorf("background[%d] is %v: must be finite", i, m.Background[i])
	}
	return nil
}

func validateLabels(labels []string) error {
	for i, l := range labels {
		if l == "" {
			return errors.New("labels: empty class name")
		}
		if err := plaintext.Check(l); err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		if i > 0 && labels[i-1] >= l {
			return fmt.Errorf("labels: %q after %q: want sorted and unique", l, labels[i-1])
		}
	}
	if len(labels) == 1 && labels[0] == NoneLabel {
		return fmt.Errorf("labels: there is no class but %q", NoneLabel)
	}
	return nil
}

// CheckTaxonomy reports why a model of these classes, or of some that are not known yet,
// cannot have it.
func CheckTaxonomy(t taxonomy.Taxonomy, labels []string) error {
	if _, ok := t[NoneLabel]; ok {
		return fmt.Errorf("taxonomy: %q is no class to give a path: leave it out", NoneLabel)
	}
	all := taxonomy.Taxonomy{}
	for _, l := range labels {
		all[l] = l
	}
	maps.Copy(all, t)
	if err := all.Validate(); err != nil {
		return fmt.Errorf("taxonomy: %w", err)
	}
	return nil
}

func (t Thresholds) validate(labels []string) error {
	check := func(name string, v float64) error {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("%s is %v, want 0 to 1", name, v)
		}
		return nil
	}
	if err := check("default", t.Default); err != nil {
		return err
	}
	for l, v := range t.PerClass {
		if !slices.Contains(labels, l) {
			return fmt.Errorf("class %q is none of the model's", l)
		}
		if err := check(l, v); err != nil {
			return err
		}
	}
	return nil
}

// NotFinite is the index of the first NaN or infinity in v, or -1.
func NotFinite(v []float32) int {
	for i, x := range v {
		if !(x-x == 0) {
			return i
		}
	}
	return -1
}
