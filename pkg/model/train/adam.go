package train

// This file is the optimiser, and the average of the weights that it leaves. gorgonia
// has the same one, but hides its moments, and a checkpoint must hold them.

import (
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/model/internal/loops"
)

// Adam's constants, as Keras, PyTorch and the paper of Kingma and Ba have them.
const (
	adamBeta1   = 0.9
	adamBeta2   = 0.999
	adamEpsilon = 1e-8
)

// Adam is the optimiser's state: a running mean and mean square of every gradient
// (Kingma and Ba).
type Adam struct {
	rate    float64
	decay   float64 // of weights, apart from their gradients (Loshchilov and Hutter's AdamW)
	steps   uint64
	means   [][]float32
	squares [][]float32
}

// NewAdam is the optimiser of values that have not moved yet.
func NewAdam(rate, decay float64, values [][]float32) *Adam {
	a := &Adam{rate: rate, decay: decay}
	for _, w := range values {
		a.means = append(a.means, make([]float32, len(w)))
		a.squares = append(a.squares, make([]float32, len(w)))
	}
	return a
}

// Step moves the values against their gradients, as far as pace says: that share of the
// learning rate. It sets the gradients to 0.
func (a *Adam) Step(values, gradients [][]float32, pace float64) {
	a.steps++
	t := float64(a.steps)
	rate := a.rate * pace
	s := &loops.AdamStep{
		Beta1: adamBeta1, OneMinusBeta1: 1 - adamBeta1,
		Beta2: adamBeta2, OneMinusBeta2: 1 - adamBeta2,
		Rate:    float32(rate / (1 - math.Pow(adamBeta1, t))),
		Scale:   float32(1 / math.Sqrt(1-math.Pow(adamBeta2, t))),
		Epsilon: adamEpsilon,
	}
	keep := float32(1 - rate*a.decay)
	for i, w := range values {
		if keep != 1 {
			for j := range w {
				w[j] *= keep
			}
		}
		loops.Adam(s, w, a.means[i], a.squares[i], gradients[i])
	}
}

// average is an exponential moving average of the weights (Polyak and Juditsky's
// averaging with Keras's and TensorFlow's weighting): it varies less from one epoch to
// the next than they do, and names what it has not seen better.
type average struct {
	decay  float64 // 0: none
	values [][]float32
}

func newAverage(decay float64, weights [][]float32) *average {
	a := &average{decay: decay}
	if decay == 0 {
		return a
	}
	for _, w := range weights {
		a.values = append(a.values, slices.Clone(w))
	}
	return a
}

// step takes in the weights after a step, counted from 1. Early on they count for
// more: those drawn at random are soon forgotten.
func (a *average) step(weights [][]float32, step uint64) {
	t := float64(step)
	share := float32(1 - min(a.decay, (1+t)/(10+t)))
	for i, mean := range a.values {
		for j, w := range weights[i] {
			mean[j] += share * (w - mean[j])
		}
	}
}
