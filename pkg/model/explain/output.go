package explain

// This file says what is explained, and how it follows from logits.

import (
	"fmt"
	"math"
)

// Output is what is shared out of a network.
type Output int

// Outputs: a class's logit before calibration, or its calibrated probability.
const (
	Logit Output = iota
	Probability
)

// String is the output's name.
func (o Output) String() string { return [...]string{"logit", "probability"}[o] }

// ParseOutput reads an output's name.
func ParseOutput(name string) (Output, error) {
	for _, o := range []Output{Logit, Probability} {
		if o.String() == name {
			return o, nil
		}
	}
	return 0, fmt.Errorf("output %q: want logit or probability", name)
}

// target is an output of a label, or the difference of two.
type target struct {
	output         Output
	temperature    float64
	label, against int // against -1: the label alone
}

// value is the output for logits.
func (t target) value(logits []float64) float64 {
	values := logits
	if t.output == Probability {
		values = softmax(logits, t.temperature)
	}
	v := values[t.label]
	if t.against >= 0 {
		v -= values[t.against]
	}
	return v
}

// factors is a [model.Head] of the output.
func (t target) factors(x, reference, factors []float64) {
	clear(factors)
	t.add(1, t.label, x, reference, factors)
	if t.against >= 0 {
		t.add(-1, t.against, x, reference, factors)
	}
}

func (t target) add(sign float64, class int, x, reference, factors []float64) {
	if t.output == Logit {
		factors[class] += sign
		return
	}
	probability(sign, class, t.temperature, x, reference, factors)
}

// tiny is a difference whose quotient is taken for the slope.
const tiny = 1e-9

// probability adds the factors of a class's probability: with u the class's logit less
// the logarithm of the sum of all others' exponentials, it is the logistic function of
// u. Each of these steps, exponential, logarithm and logistic function, is rescaled.
func probability(sign float64, class int, temperature float64, x, reference, factors []float64) {
	if len(x) < 2 {
		return // it is 1
	}
	top := math.Inf(-1)
	for c := range x {
		if c != class {
			top = max(top, x[c], reference[c])
		}
	}
	top /= temperature
	sumX, sumR := 0.0, 0.0
	for c := range x {
		if c != class {
			sumX += math.Exp(x[c]/temperature - top)
			sumR += math.Exp(reference[c]/temperature - top)
		}
	}
	ux, ur := margin(x, class, temperature), margin(reference, class, temperature)
	logistic := slope(ux, ur, 1/(1+math.Exp(-ux)), 1/(1+math.Exp(-ur)), func(p float64) float64 { return p * (1 - p) })
	logarithm := 1 / max(sumX, sumR)
	if d := sumX - sumR; math.Abs(d) > tiny*max(sumX, sumR) {
		logarithm = ((x[class]-reference[class])/temperature - (ux - ur)) / d
	}
	step := sign * logistic / temperature
	for c := range x {
		if c == class {
			factors[c] += step
			continue
		}
		zx, zr := x[c]/temperature-top, reference[c]/temperature-top
		factors[c] -= step * logarithm * slope(zx, zr, math.Exp(zx), math.Exp(zr), func(y float64) float64 { return y })
	}
}

// margin is a class's logit less the logarithm of the sum of the others' exponentials,
// both over the temperature.
func margin(logits []float64, class int, temperature float64) float64 {
	top := math.Inf(-1)
	for c, l := range logits {
		if c != class {
			top = max(top, l)
		}
	}
	sum := 0.0
	for c, l := range logits {
		if c != class {
			sum += math.Exp((l - top) / temperature)
		}
	}
	return (logits[class]-top)/temperature - math.Log(sum)
}

// slope is (fx - fr) / (x - r), or what derivative makes of fx where they are one.
func slope(x, r, fx, fr float64, derivative func(fx float64) float64) float64 {
	if math.Abs(x-r) < tiny {
		return derivative(fx)
	}
	return (fx - fr) / (x - r)
}

// softmax are the probabilities of logits divided by the temperature.
func softmax(logits []float64, temperature float64) []float64 {
	probs := make([]float64, len(logits))
	for c := range logits {
		if len(logits) == 1 {
			probs[c] = 1
			break
		}
		probs[c] = 1 / (1 + math.Exp(-margin(logits, c, temperature)))
	}
	return probs
}
