// Package deeplift has the steps of DeepLIFT (Shrikumar et al. 2017) that networks'
// explanations share, in float64.
package deeplift

import (
	"fmt"
	"math"
)

// Wide are values in float64.
func Wide(values []float32) []float64 {
	w := make([]float64, len(values))
	for i, v := range values {
		w[i] = float64(v)
	}
	return w
}

// ReLU is a copy of values without the negative ones.
func ReLU(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = max(v, 0)
	}
	return out
}

// tiny is a difference whose quotient is taken for the slope.
const tiny = 1e-12

// Slope is the rescale rule for ReLU: its difference between two inputs, over theirs.
func Slope(x, reference float64) float64 {
	switch d := x - reference; {
	case math.Abs(d) > tiny:
		return (max(x, 0) - max(reference, 0)) / d
	case x > 0:
		return 1
	}
	return 0
}

// Dot is the sum of the products of a's values with the first of b's.
func Dot(a, b []float64) (sum float64) {
	b = b[:len(a)]
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// Dense is a linear layer. One without units has none.
type Dense struct {
	Weights []float64 // [inputs, units]
	Bias    []float64
}

// NewDense is a layer of a model file's tensors.
func NewDense(weights, bias []float32) Dense { return Dense{Wide(weights), Wide(bias)} }

// Apply computes the units of inputs.
func (d Dense) Apply(inputs []float64) []float64 {
	units := append([]float64(nil), d.Bias...)
	for i, v := range inputs {
		if v == 0 {
			continue
		}
		for u, w := range d.Weights[i*len(units):][:len(units)] {
			units[u] += v * w
		}
	}
	return units
}

// Back is the factor of an input, of those of the units.
func (d Dense) Back(input int, units []float64) float64 {
	return Dot(d.Weights[input*len(units):][:len(units)], units)
}

// Finite reports a value that is no number, as weights that are too large make them.
func Finite(values []float64) error {
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("output %d is %v: the weights are too large for this input", i, v)
		}
	}
	return nil
}
