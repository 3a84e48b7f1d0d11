package learn

// This file is the network under training: its graph, its gradients, its first weights.

import (
	"math"
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/model"
	graph "github.com/iotsense/iotsense/pkg/model/internal/learn"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// network is a graph that is ready to train: a [train.Learner].
type network struct {
	*batch
	*graph.Graph
	classes int
}

// newNetwork builds the graph around the batch with the weights w, which it copies.
func newNetwork(b *batch, w stream.Weights) (*network, error) {
	g, err := graph.New(b, b.join(&w),
		graph.Dense{Name: "dense1", Weight: w.Dense1, Bias: w.Dense1Bias},
		graph.Dense{Name: "dense2", Weight: w.Dense2, Bias: w.Dense2Bias})
	if err != nil {
		return nil, err
	}
	return &network{b, g, len(w.Dense2Bias)}, nil
}

// Gradients implements train.Learner: a piece's loss is the mean of its rows'.
func (n *network) Gradients(pieces []train.Piece, step uint64) (float64, [][]float32, error) {
	if err := n.load(pieces, step); err != nil {
		return 0, nil, err
	}
	clear(n.Target)
	for i, p := range pieces {
		for j := range p.Judged {
			n.Target[(i*judged+j)*n.classes+p.Class] = 1 / float32(p.Judged*len(pieces))
		}
	}
	loss, err := n.Run()
	if err != nil {
		return 0, nil, err
	}
	gradients, err := n.Slopes()
	return loss, gradients, err
}

// Settle implements train.Learner.
func (n *network) Settle() {}

// Net implements train.Learner.
func (n *network) Net(v [][]float32) model.Net {
	w := n.split(v[0])
	w.Dense1, w.Dense1Bias, w.Dense2, w.Dense2Bias = v[1], v[2], v[3], v[4]
	return &stream.Net{Arch: n.arch, Weights: w.Clone()}
}

// initial are weights to begin with: of embeddings normal, of layers uniform as Glorot
// has it, biases 0.
func initial(a stream.Architecture, classes int, rng *rand.Rand) stream.Weights {
	var w stream.Weights
	slots := w.Slots()
	for i, t := range a.Tensors(classes) {
		values := make([]float32, t.Size())
		out := t.Shape[len(t.Shape)-1]
		limit := math.Sqrt(6 / float64(t.Size()/out+out))
		for j := range values {
			switch {
			case slots[i] == &w.Embedding:
				values[j] = float32(rng.NormFloat64())
			case slots[i] == &w.Tokens:
				values[j] = float32(rng.NormFloat64() * tokenDeviation)
			case len(t.Shape) > 1:
				values[j] = float32((2*rng.Float64() - 1) * limit)
			}
		}
		*slots[i] = values
	}
	return w
}

// tokenDeviation is that of the tokens' first values, of which a flow sums a dozen.
const tokenDeviation = 0.3
