package learn

// This file makes a trunk one differentiable operation of a gorgonia graph.

import (
	"fmt"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

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
type trunkOp struct {
	common
	Trunk
}

// trunkGradOp is (parameters, gradient at the output) -> gradient of the parameters.
type trunkGradOp struct {
	common
	Trunk
}

var (
	_ gorgonia.SDOp = trunkOp{}
	_ gorgonia.Op   = trunkGradOp{}
)

// vector and matrix are the types of a graph's tensors.
func vector(of hm.Type) hm.Type { return gorgonia.TensorType{Dims: 1, Of: of} }
func matrix(of hm.Type) hm.Type { return gorgonia.TensorType{Dims: 2, Of: of} }

// Arity implements gorgonia.Op.
func (op trunkOp) Arity() int { return 1 }

// Type implements gorgonia.Op.
func (op trunkOp) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(vector(a), matrix(a))
}

// InferShape implements gorgonia.Op.
func (op trunkOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	rows, width := op.Size()
	return tensor.Shape{rows, width}, nil
}

// Do implements gorgonia.Op.
func (op trunkOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	rows, width := op.Size()
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(rows, width)), in...)
}

// UsePreallocDo implements gorgonia.UsePreallocDoer.
func (op trunkOp) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := floats(1, in, to)
	if err != nil {
		return nil, err
	}
	op.Forward(v[0], v[1])
	return to, nil
}

// DiffWRT implements gorgonia.SDOp.
func (op trunkOp) DiffWRT(int) []bool { return []bool{true} }

// SymDiff implements gorgonia.SDOp.
func (op trunkOp) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	n, err := gorgonia.ApplyOp(trunkGradOp{"TrunkGradient", op.Trunk}, in[0], grad)
	return gorgonia.Nodes{n}, err
}

// Arity implements gorgonia.Op.
func (op trunkGradOp) Arity() int { return 2 }

// Type implements gorgonia.Op.
func (op trunkGradOp) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(vector(a), matrix(a), vector(a))
}

// InferShape implements gorgonia.Op.
func (op trunkGradOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return tensor.Shape{op.Parameters()}, nil
}

// Do implements gorgonia.Op.
func (op trunkGradOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(op.Parameters())), in...)
}

// UsePreallocDo implements gorgonia.UsePreallocDoer.
func (op trunkGradOp) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := floats(2, in, to)
	if err != nil {
		return nil, err
	}
	op.Backward(v[1], v[2])
	return to, nil
}

// floats are the backing arrays of n inputs and of outputs.
func floats(n int, in []gorgonia.Value, out ...gorgonia.Value) ([][]float32, error) {
	if len(in) != n {
		return nil, fmt.Errorf("graph: %d inputs of an operation, want %d", len(in), n)
	}
	var v [][]float32
	for _, x := range append(in[:n:n], out...) {
		t, ok := x.(tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("graph: %T is no tensor", x)
		}
		f, ok := t.Data().([]float32)
		if !ok {
			return nil, fmt.Errorf("graph: a tensor of %v, want float32", t.Dtype())
		}
		v = append(v, f)
	}
	return v, nil
}
