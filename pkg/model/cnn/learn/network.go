package learn

// This file is the training graph: the trunk, the dense layers, the loss.

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/loops"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// network is a graph that is ready to train: a [train.Learner].
type network struct {
	*batch
	classes int
	vm      gorgonia.VM
	params  gorgonia.Nodes // trunk, dense1 weight and bias unless it is left out, dense2 weight and bias
	absent  absent         // convolutions left out; none by default
	target  []float32      // [batch, classes]: one-hot rows divided by the windows in use
	loss    gorgonia.Value
}

// The dense layers' products are most of gorgonia's share of a step.
func init() { gorgonia.Use(loops.BLAS{}) }

// newNetwork builds the graph around the batch with the weights w, which it copies.
func newNetwork(b *batch, w cnn.Weights) (*network, error) {
	n := &network{batch: b, classes: b.Classes}
	size := len(b.windows)
	g := gorgonia.NewGraph()
	param := func(name string, data []float32, shape ...int) *gorgonia.Node {
		t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append([]float32(nil), data...)))
		p := gorgonia.NodeFromAny(g, t, gorgonia.WithName(name))
		n.params = append(n.params, p)
		return p
	}
	theta := param("trunk", join(w.Conv1, w.Conv1Bias, w.Conv2, w.Conv2Bias), b.parameters())
	n.target = make([]float32, size*n.classes)
	y := gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(size, n.classes), tensor.WithBacking(n.target)), gorgonia.WithName("target"))

	// Each step fails only when the shapes above do not fit each other.
	x, err := gorgonia.ApplyOp(trunkOp{b}, theta)
	if err != nil {
		return nil, fmt.Errorf("training graph: trunk: %w", err)
	}
	last := b.Flat
	if b.Hidden > 0 {
		w1, b1 := param("dense1.weight", w.Dense1, b.Flat, b.Hidden), param("dense1.bias", w.Dense1Bias, 1, b.Hidden)
		if x, err = dense(x, w1, b1); err != nil {
			return nil, fmt.Errorf("training graph: dense1: %w", err)
		}
		if x, err = gorgonia.Rectify(x); err != nil {
			return nil, fmt.Errorf("training graph: dense1: %w", err)
		}
		last = b.Hidden
	}
	w2, b2 := param("dense2.weight", w.Dense2, last, n.classes), param("dense2.bias", w.Dense2Bias, 1, n.classes)
	logits, err := dense(x, w2, b2)
	if err != nil {
		return nil, fmt.Errorf("training graph: dense2: %w", err)
	}
	loss, err := gorgonia.ApplyOp(lossOp{classes: n.classes}, logits, y)
	if err != nil {
		return nil, fmt.Errorf("training graph: loss: %w", err)
	}
	gorgonia.Read(loss, &n.loss)
	if _, err := gorgonia.Grad(loss, n.params...); err != nil {
		return nil, fmt.Errorf("training graph: gradient: %w", err)
	}
	n.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(n.params...))
	return n, nil
}

// dense is x w + b.
func dense(x, w, b *gorgonia.Node) (*gorgonia.Node, error) {
	xw, err := gorgonia.Mul(x, w)
	if err != nil {
		return nil, err
	}
	return gorgonia.BroadcastAdd(xw, b, nil, []byte{0})
}

// gradients computes the mean loss of at most a batch of windows with classes
// labels, and leaves the gradients with the parameters. Dropout follows from the step.
func (n *network) gradients(windows [][]flows.Row, labels []int, step uint64) (float64, error) {
	if err := n.load(windows, step); err != nil {
		return 0, err
	}
	clear(n.target)
	for i, l := range labels {
		n.target[i*n.classes+l] = 1 / float32(len(labels))
	}
	defer n.vm.Reset()
	if err := n.vm.RunAll(); err != nil {
		return 0, fmt.Errorf("training step: %w", err)
	}
	v, ok := n.loss.Data().(float32)
	if !ok {
		return 0, fmt.Errorf("training step: the loss is a %T", n.loss.Data())
	}
	return float64(v), nil
}

// Gradients implements train.Learner.
func (n *network) Gradients(pieces []train.Piece, step uint64) (float64, [][]float32, error) {
	windows, labels := make([][]flows.Row, len(pieces)), make([]int, len(pieces))
	for i, p := range pieces {
		windows[i], labels[i] = p.Rows, p.Class
	}
	loss, err := n.gradients(windows, labels, step)
	if err != nil {
		return 0, nil, err
	}
	gradients, err := n.slopes()
	return loss, gradients, err
}

// slopes are the gradients that lie with the parameters, ready for a step.
func (n *network) slopes() ([][]float32, error) {
	var gradients [][]float32
	for _, p := range n.params {
		g, err := p.Grad()
		if err != nil {
			return nil, fmt.Errorf("training step: %w", err)
		}
		gradients = append(gradients, g.Data().([]float32))
	}
	n.absent.uncentre(n.split, n.Values(), gradients)
	return gradients, nil
}

// Settle implements train.Learner.
func (n *network) Settle() { n.absent.centre(n.split, n.Values()) }

// Values implements train.Learner: the parameters themselves, in the order of params.
func (n *network) Values() [][]float32 {
	var v [][]float32
	for _, p := range n.params {
		v = append(v, p.Value().Data().([]float32))
	}
	return v
}

// Net implements train.Learner.
func (n *network) Net(v [][]float32) model.Net {
	var w cnn.Weights
	w.Conv1, w.Conv1Bias, w.Conv2, w.Conv2Bias = n.split(v[0])
	if n.Hidden > 0 {
		w.Dense1, w.Dense1Bias = v[1], v[2]
	}
	w.Dense2, w.Dense2Bias = v[len(v)-2], v[len(v)-1]
	return &cnn.Net{Arch: n.Architecture, Weights: w.Clone()}
}

func join(parts ...[]float32) []float32 {
	var all []float32
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// initial are weights drawn as Keras does by default: Glorot uniform, biases 0.
func initial(s shape, rng *rand.Rand) cnn.Weights {
	glorot := func(n, in, out int) []float32 {
		limit := math.Sqrt(6 / float64(in+out))
		w := make([]float32, n)
		for i := range w {
			w[i] = float32((2*rng.Float64() - 1) * limit)
		}
		return w
	}
	n1, f1, n2, f2 := s.sizes()
	area2, last := s.Kernel2[0]*s.Kernel2[1], s.Hidden
	if last == 0 {
		last = s.Flat
	}
	return cnn.Weights{
		Conv1: glorot(n1, s.Kernel1, s.Kernel1*f1), Conv1Bias: make([]float32, f1),
		Conv2: glorot(n2, area2*f1, area2*f2), Conv2Bias: make([]float32, f2),
		Dense1: glorot(s.Flat*s.Hidden, s.Flat, s.Hidden), Dense1Bias: make([]float32, s.Hidden),
		Dense2: glorot(last*s.Classes, last, s.Classes), Dense2Bias: make([]float32, s.Classes),
	}
}

// Close implements train.Learner. gorgonia gives the graph's machine a finalizer
// although it is part of a cycle, which Go then never collects: without the second
// call each training would leave its network, tens of megabytes, behind.
func (n *network) Close() {
	n.vm.Close()
	runtime.SetFinalizer(n.vm, nil)
}
