package explain

// This file shares out what facts say.

import (
	"cmp"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
)

// facts adds the facts' part: their own output, against that for a device which says
// nothing. Logits are sums over tokens, so a token's share is exact; facts with the same
// token have equal parts of it. They are in the network's units: calibrated, the
// joined verdict is that of the sums of both logits, but for what is of none of them.
func (e *Explainer) facts(x *v1.Explanation, t target, heard []facts.Fact) {
	x.Facts = []v1.ExplainedFact{}
	m := e.model.Facts
	if m == nil || len(heard) == 0 {
		return
	}
	unit := t.temperature / m.Temperature
	tokens := facts.Tokens(heard)
	logits, nothing, factors := make([]float64, len(m.Bias)), make([]float64, len(m.Bias)), make([]float64, len(m.Bias))
	m.Logits(tokens, logits)
	m.Logits(nil, nothing)
	for c := range logits {
		logits[c] *= unit
		nothing[c] *= unit
	}
	t.factors(logits, nothing, factors)
	value, base := t.value(logits), t.value(nothing)
	x.FactsValue, x.FactsBaseValue = &value, &base
	shares := map[string]float64{}
	for _, i := range m.Places(tokens) {
		of := []string{m.Tokens[i]}
		if other := linear.Unheard(of[0]); other == of[0] { // of all of that kind together
			of = slices.DeleteFunc(slices.Clone(tokens), func(token string) bool { return linear.Unheard(token) != other })
		}
		for c, w := range m.Weights[i*len(m.Bias):][:len(m.Bias)] {
			for _, token := range of {
				shares[token] += factors[c] * float64(w) * unit / float64(len(of))
			}
		}
	}
	e.said(x, heard, tokens, shares)
	x.AdditivityError = max(x.AdditivityError, off(base, func(yield func(float64) bool) {
		for _, f := range x.Facts {
			if !yield(f.Phi) {
				return
			}
		}
	}, value))
}

// said shares what tokens have out among the facts that say them.
func (e *Explainer) said(x *v1.Explanation, heard []facts.Fact, tokens []string, shares map[string]float64) {
	said := map[string]int{} // by how many facts
	for _, f := range heard {
		for _, token := range f.Tokens() {
			said[token]++
		}
	}
	add := func(kind, value string, phi float64) {
		if phi != 0 {
			x.Facts = append(x.Facts, v1.ExplainedFact{Kind: kind, Value: value, Phi: phi})
		}
	}
	for _, f := range heard {
		phi := 0.0
		for _, token := range f.Tokens() {
			phi += shares[token] / float64(said[token])
		}
		add(f.Kind.String(), f.Value, phi)
	}
	for _, token := range tokens { // what is said by no fact
		if said[token] == 0 {
			add(facts.MACKind.String(), "none", shares[token])
		}
	}
	slices.SortStableFunc(x.Facts, func(a, b v1.ExplainedFact) int { return cmp.Compare(math.Abs(b.Phi), math.Abs(a.Phi)) })
}
