// Package learn trains the paper's network (IV-A): a [train.Design].
//
// In go pieces of streams with class numbers, out come gradients. gorgonia carries
// the graph (pkg/model/internal/learn). The trunk - conv1, ReLU, conv2, ReLU, dropout, max pool - is
// one operation of our own (trunk.go), because most of a window is padding whose
// outputs are constants. The same graph of gorgonia's stock operations is the oracle
// of the tests. Nothing on the packet path imports this package.
package learn

import (
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/train"
)

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
