// Package explain says what a model's verdict rests on: which values of which rows, and
// which facts. In go a model with references (training keeps some), a device's rows and
// facts; out comes a share for each, which add up to the output (paper V).
package explain

import (
	"fmt"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

// MaxError is how far from adding up an explanation may be; one that is further is none.
const MaxError = 1e-5

// Request is what is to be explained.
type Request struct {
	// Rows are the last of the device's stream up to the window's, oldest first: as
	// many as the network rests on (Span of [model.Net]) or all there are.
	Rows []flows.Row
	// Facts are what the device had said of itself by then, as [facts.Set.By] gives them.
	Facts  []facts.Fact
	Label  string // empty: the most probable of this window, by network and facts
	WhyNot string // another label to set it against: shares are of the label's output less this one's
	Output Output
}

// Explainer explains outputs of one model. It keeps buffers: one goroutine each.
type Explainer struct {
	model      *model.Model
	attributor model.Attributor
	judge      *linear.Judge // nil: the network judges alone
	none       int           // the class of what is of none of them; -1: there is none
	names      []string      // of a row's values
	numbers    []*int        // those that fields point to
}

// New prepares to explain a model. It refuses one that has no references.
func New(m *model.Model) (*Explainer, error) {
	references, err := m.References()
	if err != nil {
		return nil, err
	}
	a, err := m.Net.(model.Explainable).Attributor(m.Record, m.Scaling, references)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	e := &Explainer{m, a, m.Judge(), slices.Index(m.Labels, model.NoneLabel), make([]string, m.Record.Width()), nil}
	for i := range e.names {
		e.names[i] = Name(m.Record, i)
	}
	return e, nil
}

// All explain the models of a bundle, by the service whose flows are a model's; the zero
// Service: all flows.
func All(bundle model.Bundle) (map[flows.Service]*Explainer, error) {
	all := map[flows.Service]*Explainer{}
	for name, m := range bundle {
		var service flows.Service
		var err error
		if name != "" {
			if service, err = flows.ParseService(name); err != nil {
				return nil, fmt.Errorf("explain: %w", err)
			}
		}
		if all[service], err = New(m); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Explain shares an output out. Device, Capture and WindowIndex are the caller's to
// fill in. It refuses rows that the network refuses, labels that the model does not
// know, and shares that do not add up to within [MaxError].
func (e *Explainer) Explain(r Request) (*v1.Explanation, error) {
	x, err := e.explain(r)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	return x, nil
}

// ExplainVerdict explains a verdict's label by the device's newest window: that window's own
// label, if the model does not know the verdict's (another of its bundle gave it).
func (e *Explainer) ExplainVerdict(v *v1.Verdict, r Request) (*v1.Explanation, error) {
	if v.Label != nil && slices.Contains(e.model.Labels, *v.Label) {
		r.Label = *v.Label
	}
	x, err := e.Explain(r)
	if err == nil {
		x.State = &v.State
	}
	return x, err
}

func (e *Explainer) explain(r Request) (*v1.Explanation, error) {
	if len(r.Rows) == 0 {
		return nil, fmt.Errorf("no row to explain")
	}
	t := target{output: r.Output, temperature: e.model.Temperature(), label: -1, against: -1}
	var err error
	if t.label, err = e.class(r.Label); err != nil {
		return nil, err
	}
	if t.against, err = e.class(r.WhyNot); err != nil {
		return nil, err
	}
	var joint []float32
	a, err := e.attributor.Attribute(r.Rows, func(logits, reference, factors []float64) {
		if joint == nil {
			joint = e.joint(logits, r.Facts)
			if t.label < 0 {
				t.label = join.BestBut(joint, e.none)
			}
		}
		t.factors(logits, reference, factors)
	})
	if err != nil {
		return nil, err
	}
	if t.label == t.against {
		return nil, fmt.Errorf("%q is set against itself: name another label", r.WhyNot)
	}
	x := &v1.Explanation{
		Label: e.model.Labels[t.label], Output: t.output.String(),
		Value: t.value(a.Logits), JoinedProbability: float64(joint[t.label]),
	}
	if t.against >= 0 {
		x.WhyNot = &e.model.Labels[t.against]
	}
	for _, reference := range a.References {
		x.BaseValue += t.value(reference) / float64(len(a.References))
	}
	x.AdditivityError = off(x.BaseValue, slices.Values(a.Phi), x.Value)
	e.facts(x, t, r.Facts)
	if !(x.AdditivityError < MaxError) {
		return nil, fmt.Errorf("shares do not add up: they are %.3g off, %g is allowed: the model's weights are too large to be explained", x.AdditivityError, MaxError)
	}
	x.Raw = e.raw(r.Rows, a.Rows)
	padding := e.padding(r.Rows, a.Rows)
	x.PaddingFraction, x.PaddingShare = PaddingFraction(a.Phi, padding), PaddingShare(a.Phi, padding)
	x.Phi = slices.Collect(slices.Chunk(a.Phi, e.model.Record.Width()))
	x.Fields = e.fields(x.Phi, x.Raw, padding)
	return x, nil
}

// class is a label's output; -1 of an empty one.
func (e *Explainer) class(label string) (int, error) {
	if label == "" {
		return -1, nil
	}
	c, ok := slices.BinarySearch(e.model.Labels, label)
	if !ok {
		return 0, fmt.Errorf("the model knows no %q: its labels are those of `model info`", label)
	}
	return c, nil
}

// joint are the probabilities by network and facts.
func (e *Explainer) joint(logits []float64, heard []facts.Fact) []float32 {
	probs := make([]float32, len(logits))
	for c, p := range softmax(logits, e.model.Temperature()) {
		probs[c] = float32(p)
	}
	if e.judge == nil || len(heard) == 0 {
		return probs
	}
	var d linear.Device
	e.judge.HearTokens(&d, facts.Tokens(heard))
	return slices.Clone(e.judge.Window(&d, join.Window{Probs: probs}).Probs)
}

// off is how far base and shares are from value.
func off(base float64, shares func(func(float64) bool), value float64) float64 {
	for s := range shares {
		base += s
	}
	return math.Abs(base - value)
}
