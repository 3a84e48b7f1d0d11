// Package learn trains the stream network: a [train.Design].
//
// In go pieces of streams with class numbers, out come gradients. What is between a
// piece's rows and the dense layers - the convolution over bytes with its maximum, the
// numbers, the tokens, dropout, the last, mean and maximum of the vectors - is one
// operation of our own (trunk.go, flow.go), the rest a graph of gorgonia's
// (pkg/model/internal/learn). Nothing on the packet path imports this package.
package learn

import (
	"iter"
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// judged is how many successive rows of a stream bear loss together.
const judged = 24

// Design is a network of the architecture that is to be trained: a [train.Surveyor],
// which takes the ports from the rows it is trained on.
type Design struct {
	Arch   stream.Architecture
	Ablate []string // parts that are left out; Arch is of [Ablated]
}

// Span implements train.Design.
func (d Design) Span() int { return d.Arch.Flows }

// Strict implements train.Design.
func (d Design) Strict() int { return d.Arch.Strict() }

// Cut implements train.Design: each row that bears loss has its whole memory.
func (d Design) Cut() (rows, bearing int) { return judged + d.Arch.Flows - 1, judged }

// Survey implements train.Surveyor.
func (d Design) Survey(rows iter.Seq2[int, flows.Row]) train.Design {
	d.Arch.Survey(rows)
	return d
}

// Learner implements train.Design.
func (d Design) Learner(m *model.Model, batch, threads int, rng *rand.Rand) (train.Learner, error) {
	if err := d.Arch.Validate(); err != nil {
		return nil, err
	}
	w := initial(d.Arch, len(m.Labels), rng)
	b := newBatch(d.Arch, m.Record, m.Scaling, batch, threads, rng.Uint64())
	b.absent = absent(d.Arch, d.Ablate)
	for i, gone := range b.absent {
		if gone {
			clear(w.Dense1[i*d.Arch.Hidden:][:d.Arch.Hidden])
		}
	}
	return newNetwork(b, w)
}

// Options are how the network is best trained: at a rate that rises in the first epoch
// and then falls to next to nothing, so that the last one's weights are kept. A few own
// devices make two or three steps an epoch, of which 40 epochs are too few.
func Options() train.Options {
	o := train.DefaultOptions()
	o.Epochs, o.LeastSteps, o.Batch, o.LearningRate, o.WeightDecay = 40, 1000, 16, 3e-3, 1e-3
	o.WarmUp, o.Fall, o.EMA, o.Patience = 1, 0.98, 0, 0
	return o
}
