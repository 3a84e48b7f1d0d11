package stream

// This file runs the network: each row becomes a vector once, and an output is
// computed of the memory's vectors.

import (
	"errors"
	"fmt"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// groupSize is how many rows share one pass over the first dense layer's weights.
const groupSize = 32

// Runner runs the network: a [model.Runner].
type Runner struct {
	net *network
	buf *buffers
}

// network is a model's weights in the layout of the loops. It is never written once
// built, so clones share it.
type network struct {
	path   conv.Path
	arch   Architecture
	flow   int // length of a vector
	reader *Reader
	table  *conv.ByteTable
	w      *Weights

	// Rows of dense layers and their biases end in zeros, see [conv.PadRows].
	numbers, numbersBias []float32
	dense1, dense1Bias   []float32
	dense2, dense2Bias   []float32
}

// buffers are a runner's scratch space.
type buffers struct {
	flow   Flow
	vector []float32
	units  [][]float32 // one: the numbers' layer
	live   []conv.Live // one: its inputs, or the last layer's
	joined []float32
	lists  []conv.Live // the first dense layer's inputs, of each row of a group
	sums   [][]float32 // its outputs
	at     []int       // the row's place in the group
	logits [][]float32 // one
}

func (n *Net) runnerOn(record model.RecordSpec, scaling model.Scaling, path conv.Path) (*Runner, error) {
	if err := n.Fits(record, len(n.Weights.Dense2Bias)); err != nil {
		return nil, err
	}
	w, a := &n.Weights, n.Arch
	net := &network{
		path: path, arch: a, flow: a.Flow(), reader: NewReader(a, record, scaling), table: &conv.ByteTable{}, w: w,
		numbers: conv.PadRows(w.Numbers, a.Units), numbersBias: conv.PadRows(w.NumbersBias, a.Units),
		dense1: conv.PadRows(w.Dense1, a.Hidden), dense1Bias: conv.PadRows(w.Dense1Bias, a.Hidden),
		dense2: conv.PadRows(w.Dense2, len(w.Dense2Bias)), dense2Bias: conv.PadRows(w.Dense2Bias, len(w.Dense2Bias)),
	}
	if Tabulate(net.table, w); net.table.Overflows() {
		return nil, errors.New("conv.weight: products with the embedding overflow")
	}
	return net.runner(), nil
}

// Tabulate writes the convolution of the embedding as additions: what each symbol adds
// to each filter at each tap.
func Tabulate(t *conv.ByteTable, w *Weights) {
	clear(t[:])
	for tap := range Taps {
		for symbol := range Symbols {
			row := t.At(tap, symbol)
			for e, v := range w.Embedding[symbol*Embedding:][:Embedding] {
				for f, k := range w.Kernel[(tap*Embedding+e)*Filters:][:Filters] {
					row[f] += float32(v * k) // rounded: arm64 would add v*k as it is
				}
			}
		}
	}
}

func (n *network) runner() *Runner {
	return &Runner{net: n, buf: &buffers{
		vector: make([]float32, n.flow),
		units:  [][]float32{make([]float32, len(n.numbersBias))},
		live:   []conv.Live{conv.NewLive(max(Numbers, n.arch.Hidden))},
		joined: make([]float32, n.arch.Joined()),
		logits: [][]float32{make([]float32, len(n.dense2Bias))},
	}}
}

// Clone implements model.Runner.
func (r *Runner) Clone() model.Runner { return r.net.runner() }

// Path implements model.Runner.
func (r *Runner) Path() string { return r.net.path.String() }

// Memory implements model.Runner.
func (r *Runner) Memory() model.Memory { return &Memory{} }

// Skip implements model.Runner: the row's vector is computed, no output is.
func (r *Runner) Skip(of model.Memory, row flows.Row) error {
	m, ok := of.(*Memory)
	if !ok {
		return fmt.Errorf("%T is no memory of this network", of)
	}
	b, n := r.buf, r.net
	if err := n.reader.Read(&b.flow, row); err != nil {
		return err
	}
	if err := n.vector(b); err != nil {
		return err
	}
	m.add(b.vector, n.arch.Flows)
	return nil
}

// vector computes the vector of the flow in b.
func (n *network) vector(b *buffers) error {
	best := (*[Filters]float32)(b.vector)
	clear(best[:])
	n.path.Strongest(best, n.table, b.flow.Symbols, b.flow.Positions)
	for f, bias := range n.w.KernelBias {
		best[f] += bias
	}
	b.live[0].Reset()
	n.path.List(&b.live[0], [][]float32{b.flow.Numbers[:]}, Numbers, 0)
	copy(b.units[0], n.numbersBias)
	n.path.Dense(b.units, n.numbers, b.live)
	copy(b.vector[Filters:], b.units[0][:n.arch.Units])
	width := n.arch.Width
	words := b.vector[Filters+n.arch.Units:]
	copy(words, n.w.TokensBias)
	for _, t := range b.flow.Tokens {
		for i, v := range n.w.Tokens[int(t)*width:][:width] {
			words[i] += v
		}
	}
	if i := model.NotFinite(b.vector); i >= 0 { // a ReLU may hide it
		return fmt.Errorf("value %d of a flow is %v: the weights are too large for this input", i, b.vector[i])
	}
	conv.ReLU(b.vector)
	return nil
}

// join computes what an output rests on: the last vector, the mean, the maximum.
func (n *network) join(b *buffers, m *Memory) {
	last, mean, most := b.joined[:n.flow], b.joined[n.flow:2*n.flow], b.joined[2*n.flow:]
	copy(last, b.vector)
	clear(b.joined[n.flow:])
	m.each(n.flow, func(vector []float32) {
		for i, v := range vector {
			mean[i] += v
		}
		n.path.Max(most, vector)
	})
	share := 1 / float32(m.flows)
	for i := range mean {
		mean[i] *= share
	}
}

// Steps implements model.Runner.
func (r *Runner) Steps(memories []model.Memory, rows []flows.Row, logits [][]float32) error {
	b := r.buf
	for len(b.lists) < min(len(rows), groupSize) {
		b.lists = append(b.lists, conv.NewLive(r.net.arch.Joined()))
		b.sums = append(b.sums, make([]float32, len(r.net.dense1Bias)))
	}
	var refused []error
	for from := 0; from < len(rows); from += groupSize {
		to := min(from+groupSize, len(rows))
		refused = r.group(from, memories[from:to], rows[from:to], logits[from:to], refused)
	}
	return errors.Join(refused...)
}

// group computes a part of a batch that begins at from, and appends what is refused.
func (r *Runner) group(from int, memories []model.Memory, rows []flows.Row, logits [][]float32, refused []error) []error {
	b, n := r.buf, r.net
	b.at = b.at[:0]
	for i, m := range memories {
		if err := r.Skip(m, rows[i]); err != nil {
			refused = append(refused, &model.RowError{Row: from + i, Err: err})
			continue
		}
		n.join(b, m.(*Memory))
		list := &b.lists[len(b.at)]
		list.Reset()
		n.path.List(list, [][]float32{b.joined}, len(b.joined), 0)
		copy(b.sums[len(b.at)], n.dense1Bias)
		b.at = append(b.at, i)
	}
	n.path.Dense(b.sums[:len(b.at)], n.dense1, b.lists[:len(b.at)])
	for j, i := range b.at {
		if err := n.output(b, b.sums[j]); err != nil {
			refused = append(refused, &model.RowError{Row: from + i, Err: err})
		}
		copy(logits[i], b.logits[0])
	}
	return refused
}

// Units implements model.UnitsRunner.
func (r *Runner) Units() []float32 { return r.buf.sums[0][:r.net.arch.Hidden] }

// output computes b.logits from the first dense layer's sums, before their ReLU.
func (n *network) output(b *buffers, sums []float32) error {
	logits := b.logits[0]
	if i := model.NotFinite(sums); i >= 0 { // a ReLU may hide it
		return fmt.Errorf("unit %d is %v: the weights are too large for this input", i, sums[i])
	}
	conv.ReLU(sums)
	b.live[0].Reset()
	n.path.List(&b.live[0], [][]float32{sums}, n.arch.Hidden, 0)
	copy(logits, n.dense2Bias)
	n.path.Dense(b.logits, n.dense2, b.live)
	if i := model.NotFinite(logits); i >= 0 {
		return fmt.Errorf("output %d is %v: the weights are too large for this input", i, logits[i])
	}
	return nil
}
