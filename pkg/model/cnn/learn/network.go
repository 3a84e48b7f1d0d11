package learn

// This file is the network under training: its graph, its gradients, its first weights.

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	graph "github.com/iotsense/iotsense/pkg/model/internal/learn"
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
	g, err := graph.New(b, slices.Concat(w.Conv1, w.Conv1Bias, w.Conv2, w.Conv2Bias), layers...)
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
