package learn

// This file is the loss as an operation of a gorgonia graph. gorgonia's LogSoftMax
// takes the batch's first logit for the maximum of every row: logits that are 90
// apart, which a well-trained network has, give NaN.

import (
	"math"

	"gorgonia.org/tensor"
)

// lossOp is (logits, target), both [batch, classes], -> the sum of -target log
// softmax(logits). The loss is what the graph computes: the gradient at it is 1.
func lossOp(batch, classes int) *operation {
	return &operation{
		name: "CrossEntropy", dims: []int{2, 2, 0}, shape: tensor.ScalarShape(),
		run: func(v [][]float32) {
			loss := 0.0
			for at := 0; at < len(v[0]); at += classes {
				logits, target := v[0][at:][:classes], v[1][at:][:classes]
				sum := logSum(logits)
				for i, y := range target {
					if y != 0 {
						loss += float64(y) * (sum - float64(logits[i]))
					}
				}
			}
			v[2][0] = float32(loss)
		},
		slope: &operation{ // (logits, target) -> gradient of the logits
			name: "CrossEntropyGradient", dims: []int{2, 2, 2}, shape: tensor.Shape{batch, classes},
			run: func(v [][]float32) {
				for at := 0; at < len(v[0]); at += classes {
					logits, target, grad := v[0][at:][:classes], v[1][at:][:classes], v[2][at:][:classes]
					weight, sum := 0.0, logSum(logits)
					for _, y := range target {
						weight += float64(y)
					}
					for i, l := range logits {
						grad[i] = float32(weight*math.Exp(float64(l)-sum) - float64(target[i]))
					}
				}
			},
		},
	}
}

// logSum is the logarithm of the sum of a row's exponentials.
func logSum(row []float32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, l := range row {
		top = max(top, float64(l))
	}
	for _, l := range row {
		sum += math.Exp(float64(l) - top)
	}
	return top + math.Log(sum)
}
