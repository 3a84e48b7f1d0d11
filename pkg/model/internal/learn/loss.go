package learn

// This file is the loss as an operation of a gorgonia graph. gorgonia's LogSoftMax
// takes the batch's first logit for the maximum of every row: logits that are 90
// apart, which a well-trained network has, give NaN.

import (
	"fmt"
	"math"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// lossOp is (logits, target), both [batch, classes], -> the sum of -target log
// softmax(logits).
type lossOp struct {
	common
	classes int
}

// lossGradOp is (logits, target) -> the gradient of the logits. The loss is what
// the graph computes: the gradient at it is 1.
type lossGradOp struct {
	common
	classes int
}

var (
	_ gorgonia.SDOp = lossOp{}
	_ gorgonia.Op   = lossGradOp{}
)

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

// Arity implements gorgonia.Op.
func (op lossOp) Arity() int { return 2 }

// Type implements gorgonia.Op.
func (op lossOp) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(matrix(a), matrix(a), a)
}

// InferShape implements gorgonia.Op.
func (op lossOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return tensor.ScalarShape(), nil
}

// Do implements gorgonia.Op.
func (op lossOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := floats(2, in)
	if err != nil {
		return nil, err
	}
	loss := 0.0
	for at := 0; at < len(v[0]); at += op.classes {
		logits, target := v[0][at:][:op.classes], v[1][at:][:op.classes]
		sum := logSum(logits)
		for i, y := range target {
			if y != 0 {
				loss += float64(y) * (sum - float64(logits[i]))
			}
		}
	}
	return gorgonia.NewF32(float32(loss)), nil
}

// DiffWRT implements gorgonia.SDOp.
func (op lossOp) DiffWRT(int) []bool { return []bool{true, false} }

// SymDiff implements gorgonia.SDOp.
func (op lossOp) SymDiff(in gorgonia.Nodes, _, _ *gorgonia.Node) (gorgonia.Nodes, error) {
	n, err := gorgonia.ApplyOp(lossGradOp{"CrossEntropyGradient", op.classes}, in...)
	return gorgonia.Nodes{n, nil}, err
}

// Arity implements gorgonia.Op.
func (op lossGradOp) Arity() int { return 2 }

// Type implements gorgonia.Op.
func (op lossGradOp) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(matrix(a), matrix(a), matrix(a))
}

// InferShape implements gorgonia.Op.
func (op lossGradOp) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	s, ok := in[0].(tensor.Shape)
	if !ok {
		return nil, fmt.Errorf("loss: logits have the shape %v", in[0])
	}
	return s.Clone(), nil
}

// Do implements gorgonia.Op.
func (op lossGradOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(in[0].Shape()...)), in...)
}

// UsePreallocDo implements gorgonia.UsePreallocDoer.
func (op lossGradOp) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := floats(2, in, to)
	if err != nil {
		return nil, err
	}
	for at := 0; at < len(v[0]); at += op.classes {
		logits, target, grad := v[0][at:][:op.classes], v[1][at:][:op.classes], v[2][at:][:op.classes]
		weight, sum := 0.0, logSum(logits)
		for _, y := range target {
			weight += float64(y)
		}
		for i, l := range logits {
			grad[i] = float32(weight*math.Exp(float64(l)-sum) - float64(target[i]))
		}
	}
	return to, nil
}
