package learn

// This file adds classes to a network, from what its model file keeps of the others.

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	graph "github.com/iotsense/iotsense/pkg/model/internal/learn"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// Entries implements train.Grower: behind the joined values, which no ReLU changes, stand
// two layers that change nothing either.
func (d Design) Entries(m *model.Model) *model.Model {
	net := *m.Net.(*stream.Net)
	size := net.Arch.Joined()
	net.Arch.Hidden = size
	w := &net.Weights
	w.Dense1, w.Dense1Bias, w.Dense2Bias = make([]float32, size*size), make([]float32, size), make([]float32, size)
	for i := range size {
		w.Dense1[i*size+i] = 1
	}
	w.Dense2 = w.Dense1
	c := *m
	c.Net, c.Thresholds, c.Background, c.Labels = &net, model.Thresholds{}, nil, nil
	for i := range size {
		c.Labels = append(c.Labels, fmt.Sprintf("%04d", i)) // sorted, as a model has them
	}
	return &c
}

// Logits implements train.Grower.
func (d Design) Logits(n model.Net, entry []float32) []float32 {
	w := &n.(*stream.Net).Weights
	hidden := layer(entry, w.Dense1, w.Dense1Bias)
	conv.ReLU(hidden)
	return layer(hidden, w.Dense2, w.Dense2Bias)
}

// layer is x w + bias.
func layer(x, w, bias []float32) []float32 {
	sums := slices.Clone(bias)
	for i, v := range x {
		if v != 0 {
			add(sums, v, w[i*len(sums):][:len(sums)])
		}
	}
	return sums
}

// How outputs that are added are trained.
const (
	growUnits = 16 // of the first dense layer, for each of them
	growSteps = 600
	growBatch = 64   // entries of a step
	growRate  = 1e-3 // of Adam, which falls along a cosine to nothing
)

// Grow implements train.Grower: the first dense layer gets units, of which the outputs of
// the other classes know nothing, and the second one the outputs, which rest on all units.
func (d Design) Grow(n model.Net, added []int, draw func(*rand.Rand) ([]float32, int), seed int64) (model.Net, error) {
	rng := rand.New(rand.NewPCG(uint64(seed), growStream))
	net := &stream.Net{Arch: n.(*stream.Net).Arch}
	net.Arch.Hidden += growUnits * len(added)
	if err := net.Arch.Validate(); err != nil {
		return nil, fmt.Errorf("%d classes more: %w: train anew on the captures of all classes", len(added), err)
	}
	own := widen(net, n.(*stream.Net), added, rng)
	w := &net.Weights
	classes := len(w.Dense2Bias)
	e := &shown{rows: make([]float32, growBatch*net.Arch.Joined()), width: net.Arch.Joined()}
	g, err := graph.New(e, []float32{0},
		graph.Dense{Name: "dense1", Weight: w.Dense1, Bias: w.Dense1Bias},
		graph.Dense{Name: "dense2", Weight: w.Dense2, Bias: w.Dense2Bias})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	values := g.Values()[1:]
	adam := train.NewAdam(growRate, 0, values)
	for step := range growSteps {
		clear(g.Target)
		for i := range growBatch {
			entry, class := draw(rng)
			e.show(i, entry, net.Arch.Dropout, rng)
			g.Target[i*classes+class] = 1.0 / growBatch
		}
		if _, err := g.Run(); err != nil {
			return nil, err
		}
		slopes, err := g.Slopes()
		if err != nil {
			return nil, err
		}
		for i, of := range slopes[1:] {
			for j := range of {
				if !own[i](j) {
					of[j] = 0
				}
			}
		}
		adam.Step(values, slopes[1:], (1+math.Cos(math.Pi*float64(step)/growSteps))/2)
	}
	w.Dense1, w.Dense1Bias, w.Dense2, w.Dense2Bias = values[0], values[1], values[2], values[3]
	return &stream.Net{Arch: net.Arch, Weights: w.Clone()}, nil
}

// growStream keeps these random numbers apart from others of the same seed.
const growStream = 4 << 32

// widen makes net's weights those of old with random ones for the units and outputs more.
// own says which values of the dense layers' four tensors are theirs.
func widen(net, old *stream.Net, added []int, rng *rand.Rand) (own [4]func(int) bool) {
	before, hidden, classes := old.Arch.Hidden, net.Arch.Hidden, len(old.Weights.Dense2Bias)+len(added)
	output := func(at int) bool { return slices.Contains(added, at%classes) }
	own = [4]func(int) bool{
		func(at int) bool { return at%hidden >= before },
		func(at int) bool { return at >= before },
		output, output,
	}
	fresh, kept := initial(net.Arch, classes, rng), &old.Weights
	w := &net.Weights
	*w = *kept
	w.Dense1, w.Dense1Bias, w.Dense2, w.Dense2Bias = fresh.Dense1, fresh.Dense1Bias, fresh.Dense2, fresh.Dense2Bias
	for i, t := range []struct{ into, from []float32 }{
		{w.Dense1, kept.Dense1}, {w.Dense1Bias, kept.Dense1Bias}, {w.Dense2, kept.Dense2}, {w.Dense2Bias, kept.Dense2Bias},
	} {
		for at := range t.into {
			switch {
			case own[i](at):
			case len(t.from) > 0:
				t.into[at], t.from = t.from[0], t.from[1:]
			default:
				t.into[at] = 0 // what units that are new add to outputs that are not
			}
		}
	}
	return own
}

// shown is a graph.Trunk of entries as they are: nothing of it is trained.
type shown struct {
	rows  []float32
	width int
}

// show puts an entry in a row, without the share of its values that dropout takes.
func (s *shown) show(row int, entry []float32, share float64, rng *rand.Rand) {
	to, raise := s.rows[row*s.width:][:s.width], float32(1/(1-share))
	for i, v := range entry {
		if to[i] = v * raise; rng.Float64() < share {
			to[i] = 0
		}
	}
}

// Parameters implements graph.Trunk: one, which does nothing; a graph wants some.
func (s *shown) Parameters() int { return 1 }

// Size implements graph.Trunk.
func (s *shown) Size() (rows, width int) { return len(s.rows) / s.width, s.width }

// Forward implements graph.Trunk.
func (s *shown) Forward(_, out []float32) { copy(out, s.rows) }

// Backward implements graph.Trunk.
func (s *shown) Backward(_, grad []float32) { clear(grad) }
