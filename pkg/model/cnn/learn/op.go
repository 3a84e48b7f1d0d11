package learn

// This file makes the trunk one differentiable operation of a gorgonia graph.

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

// batch holds the windows that one step works on. The graph sees them only
// through the trunk: they are no tensor, padding would make them 50 times larger.
type batch struct {
	shape
	threads int
	dropout float64
	seed    uint64
	step    uint64

	windows   []*instance // as many as the graph's batch
	used      int         // windows loaded; the others count nothing
	workers   []*scratch
	kernels   *kernels
	gradients [][]float32 // of the parameters, window by window
}

func newBatch(s shape, spec model.RecordSpec, scaling model.Scaling, size, threads int, seed uint64) *batch {
	b := &batch{shape: s, threads: threads, dropout: s.Dropout, seed: seed}
	for range size {
		b.windows = append(b.windows, s.instance())
		b.gradients = append(b.gradients, make([]float32, s.parameters()))
	}
	for range threads {
		b.workers = append(b.workers, s.scratch(spec, scaling))
	}
	return b
}

// load scales the windows of a step.
func (b *batch) load(windows [][]flows.Row, step uint64) error {
	b.step = step
	b.used = len(windows)
	errs := make([]error, b.threads)
	b.each(func(worker, i int) {
		if err := b.windows[i].load(b.workers[worker], windows[i]); err != nil && errs[worker] == nil {
			errs[worker] = err
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls do for every window in use, spread over the workers. Which worker
// takes a window must not matter to the result.
func (b *batch) each(do func(worker, i int)) {
	workers.Each(b.threads, b.used, do)
}

// forward writes the trunk's output for every window; windows not in use get 0.
func (b *batch) forward(theta, out []float32) {
	b.kernels = b.shape.kernels(theta)
	b.each(func(worker, i int) {
		c := b.workers[worker]
		c.rng.Seed(b.seed, b.step<<16|uint64(i))
		b.shape.forward(b.windows[i], c, b.kernels, b.dropout, out[i*b.Flat:][:b.Flat])
	})
	clear(out[b.used*b.Flat:])
}

// backward writes the gradient of the parameters, given the one at the output.
// It adds the windows' shares in their order, so threads do not change a bit.
func (b *batch) backward(out, grad []float32) {
	b.each(func(worker, i int) {
		b.shape.backward(b.windows[i], b.workers[worker], b.kernels, b.dropout, out[i*b.Flat:][:b.Flat], b.gradients[i])
	})
	clear(grad)
	for _, g := range b.gradients[:b.used] {
		for j, v := range g {
			grad[j] += v
		}
	}
}

// trunkOp is parameters -> [batch, flat].
type trunkOp struct{ *batch }

// trunkGradOp is (parameters, gradient at the output) -> gradient of the parameters.
type trunkGradOp struct{ *batch }

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
	return tensor.Shape{len(op.windows), op.Flat}, nil
}

// Do implements gorgonia.Op.
func (op trunkOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(len(op.windows), op.Flat)), in...)
}

// UsePreallocDo implements gorgonia.UsePreallocDoer.
func (op trunkOp) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := floats(1, in, to)
	if err != nil {
		return nil, err
	}
	op.batch.forward(v[0], v[1])
	return to, nil
}

// ReturnsPtr implements gorgonia.Op.
func (op trunkOp) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (op trunkOp) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (op trunkOp) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (op trunkOp) WriteHash(h hash.Hash) { fmt.Fprint(h, op.String()) }

// Hashcode implements gorgonia.Op.
func (op trunkOp) Hashcode() uint32 { return hashOf(op) }

// String implements gorgonia.Op.
func (op trunkOp) String() string { return "Trunk" }

// DiffWRT implements gorgonia.SDOp.
func (op trunkOp) DiffWRT(int) []bool { return []bool{true} }

// SymDiff implements gorgonia.SDOp.
func (op trunkOp) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	n, err := gorgonia.ApplyOp(trunkGradOp(op), in[0], grad)
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
	return tensor.Shape{op.parameters()}, nil
}

// Do implements gorgonia.Op.
func (op trunkGradOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(op.parameters())), in...)
}

// UsePreallocDo implements gorgonia.UsePreallocDoer.
func (op trunkGradOp) UsePreallocDo(to gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := floats(2, in, to)
	if err != nil {
		return nil, err
	}
	op.batch.backward(v[1], v[2])
	return to, nil
}

// ReturnsPtr implements gorgonia.Op.
func (op trunkGradOp) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (op trunkGradOp) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (op trunkGradOp) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (op trunkGradOp) WriteHash(h hash.Hash) { fmt.Fprint(h, op.String()) }

// Hashcode implements gorgonia.Op.
func (op trunkGradOp) Hashcode() uint32 { return hashOf(op) }

// String implements gorgonia.Op.
func (op trunkGradOp) String() string { return "TrunkGradient" }

func hashOf(op gorgonia.Op) uint32 {
	h := fnv.New32a()
	op.WriteHash(h)
	return h.Sum32()
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
