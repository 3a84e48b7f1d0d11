// Package learn trains the paper's network (IV-A): a [train.Design].
//
// In go pieces of streams with class numbers, out come gradients. gorgonia carries
// the graph (pkg/model/internal/learn). The trunk - conv1, ReLU, conv2, ReLU, dropout, max pool - is
// one operation of our own (trunk.go), because most of a window is padding whose
// outputs are constants. The same graph of gorgonia's stock operations is the oracle
// of the tests. Nothing on the packet path imports this package.
package learn

// This file is the network under training: its graph, its gradients, its first weights.

import (
	"math"
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	graph "github.com/iotsense/iotsense/pkg/model/internal/learn"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// network is a graph that is ready to train: a [train.Learner].
type network struct {
	*batch
	*graph.Graph        // trunk, dense1 unless it is left out, dense2
	absent       absent // convolutions left out; none by default
}

// newNetwork builds the graph around the batch with the weights w, which it copies.
func newNetwork(b *batch, w cnn.Weights) (*network, error) {
	layers := []graph.Dense{{Name: "dense2", Weight: w.Dense2, Bias: w.Dense2Bias}}
	if b.Hidden > 0 {
		layers = append([]graph.Dense{{Name: "dense1", Weight: w.Dense1, Bias: w.Dense1Bias}}, layers...)
	}
	g, err := graph.New(b, join(w.Conv1, w.Conv1Bias, w.Conv2, w.Conv2Bias), layers...)
	if err != nil {
		return nil, err
	}
	return &network{batch: b, Graph: g}, nil
}

// gradients computes the mean loss of at most a batch of windows with classes
// labels, and leaves the gradients with the parameters. Dropout follows from the step.
func (n *network) gradients(windows [][]flows.Row, labels []int, step uint64) (float64, error) {
	if err := n.load(windows, step); err != nil {
		return 0, err
	}
	clear(n.Target)
	for i, l := range labels {
		n.Target[i*n.Classes+l] = 1 / float32(len(labels))
	}
	return n.Run()
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
	gradients, err := n.Slopes()
	if err != nil {
		return nil, err
	}
	n.absent.uncentre(n.split, n.Values(), gradients)
	return gradients, nil
}

// Settle implements train.Learner.
func (n *network) Settle() { n.absent.centre(n.split, n.Values()) }

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

// Design is a network of the architecture that is to be trained: a [train.Design].
type Design struct {
	Arch   cnn.Architecture
	Ablate []string // layers that are left out; Arch is of [Ablated]
}

// Span implements train.Design.
func (d Design) Span() int { return d.Arch.K }

// Strict implements train.Design.
func (d Design) Strict() int { return d.Arch.K }

// Fixed is the number of its values that are not trained.
func (d Design) Fixed() int { return Fixed(d.Arch, d.Ablate) }

// Cut implements train.Design: a window, of which the newest row is judged.
func (d Design) Cut() (rows, judged int) { return d.Arch.K, 1 }

// Learner implements train.Design.
func (d Design) Learner(m *model.Model, batch, threads int, rng *rand.Rand) (train.Learner, error) {
	dims, err := d.Arch.Dims(m.Record.Width(), len(m.Labels))
	if err != nil {
		return nil, err
	}
	left, err := newAbsent(d.Ablate)
	if err != nil {
		return nil, err
	}
	s := shape{d.Arch, dims}
	w := initial(s, rng)
	left.initial(&w)
	n, err := newNetwork(newBatch(s, m.Record, m.Scaling, batch, threads, rng.Uint64()), w)
	if err != nil {
		return nil, err
	}
	n.absent = left
	return n, nil
}

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

// Parameters implements graph.Trunk.
func (b *batch) Parameters() int { return b.parameters() }

// Size implements graph.Trunk.
func (b *batch) Size() (rows, width int) { return len(b.windows), b.Flat }

// Forward implements graph.Trunk: the output of every window; windows not in use get 0.
func (b *batch) Forward(theta, out []float32) {
	b.kernels = b.shape.kernels(theta)
	b.each(func(worker, i int) {
		c := b.workers[worker]
		c.rng.Seed(b.seed, b.step<<16|uint64(i))
		b.shape.forward(b.windows[i], c, b.kernels, b.dropout, out[i*b.Flat:][:b.Flat])
	})
	clear(out[b.used*b.Flat:])
}

// Backward implements graph.Trunk. It adds the windows' shares in their order, so
// threads do not change a bit.
func (b *batch) Backward(out, grad []float32) {
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
