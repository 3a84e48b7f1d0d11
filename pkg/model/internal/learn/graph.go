// Package learn is the training graph that networks share: a trunk of their own, dense
// layers on it, the loss. gorgonia carries it: automatic differentiation and the dense
// layers, with a matrix product of our own. Nothing on the packet path imports this
// package.
package learn

import (
	"fmt"
	"runtime"
	"slices"

	// gorgonia relies on a garbage collector that moves nothing and refuses to
	// start on a Go release that this module has not vouched for.
	_ "go4.org/unsafe/assume-no-moving-gc"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/iotsense/iotsense/pkg/model/internal/loops"
)

// The dense layers' products are most of gorgonia's share of a step.
func init() { gorgonia.Use(loops.BLAS{}) }

// Dense is a dense layer's first values: [inputs, outputs] and [outputs].
type Dense struct {
	Name         string
	Weight, Bias []float32
}

// Graph is a trunk, dense layers, a ReLU after each but the last, and the loss. It
// holds the parameters, and their gradients after a run.
type Graph struct {
	// Target is the weight of each class in each output's loss: a row that is all 0
	// bears none.
	Target []float32
	vm     gorgonia.VM
	params gorgonia.Nodes // of the trunk; weight and bias of each layer
	loss   gorgonia.Value
}

// New builds a graph on the trunk with copies of the values. The last layer's outputs
// are the classes.
func New(trunk Trunk, parameters []float32, layers ...Dense) (*Graph, error) {
	n := &Graph{}
	size, width := trunk.Size()
	classes := len(layers[len(layers)-1].Bias)
	g := gorgonia.NewGraph()
	param := func(name string, data []float32, shape ...int) *gorgonia.Node {
		t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(slices.Clone(data)))
		p := gorgonia.NodeFromAny(g, t, gorgonia.WithName(name))
		n.params = append(n.params, p)
		return p
	}
	theta := param("trunk", parameters, trunk.Parameters())
	n.Target = make([]float32, size*classes)
	y := gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(size, classes), tensor.WithBacking(n.Target)), gorgonia.WithName("target"))

	// Each step fails only when the shapes above do not fit each other.
	x, err := gorgonia.ApplyOp(trunkOp(trunk), theta)
	if err != nil {
		return nil, fmt.Errorf("training graph: trunk: %w", err)
	}
	for i, l := range layers {
		out := len(l.Bias)
		if x, err = dense(x, param(l.Name+".weight", l.Weight, width, out), param(l.Name+".bias", l.Bias, 1, out)); err != nil {
			return nil, fmt.Errorf("training graph: %s: %w", l.Name, err)
		}
		if width = out; i == len(layers)-1 {
			break
		}
		if x, err = gorgonia.Rectify(x); err != nil {
			return nil, fmt.Errorf("training graph: %s: %w", l.Name, err)
		}
	}
	loss, err := gorgonia.ApplyOp(lossOp(size, classes), x, y)
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

// Run computes the loss, and leaves the gradients with the parameters.
func (n *Graph) Run() (float64, error) {
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

// Values are the parameters themselves: the trunk's, then weight and bias of each
// layer.
func (n *Graph) Values() [][]float32 {
	var v [][]float32
	for _, p := range n.params {
		v = append(v, p.Value().Data().([]float32))
	}
	return v
}

// Slopes are the gradients of the last run, in the shapes of Values.
func (n *Graph) Slopes() ([][]float32, error) {
	var gradients [][]float32
	for _, p := range n.params {
		g, err := p.Grad()
		if err != nil {
			return nil, fmt.Errorf("training step: %w", err)
		}
		gradients = append(gradients, g.Data().([]float32))
	}
	return gradients, nil
}

// Close frees what the graph holds. gorgonia gives the graph's machine a finalizer
// although it is part of a cycle, which Go then never collects: without the second
// call each training would leave its network, tens of megabytes, behind.
func (n *Graph) Close() {
	n.vm.Close()
	runtime.SetFinalizer(n.vm, nil)
}
