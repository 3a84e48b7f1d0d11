package learn

// This file makes a trunk one differentiable operation of a gorgonia graph.

import "gorgonia.org/tensor"

// Trunk is the part of a network that is one operation of the graph: what it computes
// from is no tensor, and only the parameters are trained.
type Trunk interface {
	// Parameters is how many there are.
	Parameters() int
	// Size is that of the output.
	Size() (rows, width int)
	// Forward writes the output, row-major.
	Forward(parameters, output []float32)
	// Backward writes the gradient of the parameters, given the one at the output that
	// Forward wrote last.
	Backward(output, gradient []float32)
}

// trunkOp is parameters -> [batch, flat].
func trunkOp(t Trunk) *operation {
	rows, width := t.Size()
	return &operation{
		name: "Trunk", dims: []int{1, 2}, shape: tensor.Shape{rows, width},
		run: func(v [][]float32) { t.Forward(v[0], v[1]) },
		slope: &operation{ // (parameters, gradient at the output) -> gradient of the parameters
			name: "TrunkGradient", dims: []int{1, 2, 1}, shape: tensor.Shape{t.Parameters()},
			run: func(v [][]float32) { t.Backward(v[1], v[2]) },
		},
	}
}
