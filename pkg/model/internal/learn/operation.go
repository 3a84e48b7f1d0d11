package learn

// This file makes functions of float32 operations of a gorgonia graph.

import (
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// operation is a function of tensors; run has the inputs' values, and the output's to
// write to.
type operation struct {
	name  string
	dims  []int        // of each input, and of the output; 0: a number
	shape tensor.Shape // of the output
	run   func(v [][]float32)
	// slope is the gradient at the first input. It takes as many as it wants of the
	// inputs and the gradient at the output; nil: there is none.
	slope *operation
}

var _ gorgonia.SDOp = &operation{}

// Arity implements gorgonia.Op.
func (op *operation) Arity() int { return len(op.dims) - 1 }

// Type implements gorgonia.Op.
func (op *operation) Type() hm.Type {
	a := hm.TypeVariable('a')
	types := make([]hm.Type, len(op.dims))
	for i, n := range op.dims {
		if types[i] = a; n > 0 {
			types[i] = gorgonia.TensorType{Dims: n, Of: a}
		}
	}
	return hm.NewFnType(types...)
}

// InferShape implements gorgonia.Op.
func (op *operation) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.shape.Clone(), nil
}

// Do implements gorgonia.Op.
func (op *operation) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if op.shape.IsScalar() {
		return op.UsePreallocDo(nil, in...)
	}
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(op.shape...)), in...)
}

// UsePreallocDo implements gorgonia.UsePreallocDoer; a number is made anew.
func (op *operation) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	if len(in) != op.Arity() {
		return nil, fmt.Errorf("graph: %d inputs of %v, want %d", len(in), op, op.Arity())
	}
	number := op.shape.IsScalar()
	if !number {
		in = append(slices.Clone(in), to)
	}
	var v [][]float32
	for _, x := range in {
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
	if !number {
		op.run(v)
		return to, nil
	}
	n := []float32{0}
	op.run(append(v, n))
	return gorgonia.NewF32(n[0]), nil
}

// DiffWRT implements gorgonia.SDOp.
func (op *operation) DiffWRT(inputs int) []bool {
	first := make([]bool, inputs)
	first[0] = true
	return first
}

// SymDiff implements gorgonia.SDOp.
func (op *operation) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	gradients := make(gorgonia.Nodes, len(in))
	var err error
	gradients[0], err = gorgonia.ApplyOp(op.slope, append(slices.Clone(in), grad)[:op.slope.Arity()]...)
	return gradients, err
}

// ReturnsPtr implements gorgonia.Op.
func (*operation) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (*operation) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (*operation) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (op *operation) WriteHash(h hash.Hash) { _, _ = io.WriteString(h, op.name) } // never fails

// Hashcode implements gorgonia.Op.
func (op *operation) Hashcode() uint32 {
	h := fnv.New32a()
	op.WriteHash(h)
	return h.Sum32()
}

// String implements gorgonia.Op.
func (op *operation) String() string { return op.name }
