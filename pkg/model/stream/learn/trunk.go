package learn

// This file joins the vectors of a batch's flows, and sends gradients back: the trunk
// of the training graph. flow.go has what becomes of one flow.

import (
	"errors"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// inTrunk is how many of the network's tensors, the first ones, are the trunk's.
const inTrunk = 7

// batch holds the pieces that one step works on: a graph.Trunk. Row i*judged+j of its
// output is of the j-th row of piece i that bears loss.
type batch struct {
	arch    stream.Architecture
	size    int // length of a vector
	reader  *stream.Reader
	threads int
	seed    uint64
	step    uint64
	absent  []bool // of the joined values, see Design.Ablate

	pieces []piece // as many as the graph has room for
	used   int
	table  conv.ByteTable
	slopes conv.ByteTable // of the table
	w      stream.Weights // views of the parameters of the step
}

// piece is a part of one stream on its way through the trunk.
type piece struct {
	flows  []*flow // those used first
	used   int
	judged int
}

func newBatch(a stream.Architecture, spec model.RecordSpec, scaling model.Scaling, size, threads int, seed uint64) *batch {
	return &batch{
		arch: a, size: a.Flow(), reader: stream.NewReader(a, spec, scaling),
		threads: threads, seed: seed, pieces: make([]piece, size),
	}
}

// join makes one vector of the trunk's tensors.
func (b *batch) join(w *stream.Weights) []float32 {
	var all []float32
	for i, s := range w.Slots() {
		if i < inTrunk {
			all = append(all, *s...)
		}
	}
	return all
}

// split cuts the parameter vector, or its gradient, into the trunk's tensors.
func (b *batch) split(theta []float32) stream.Weights {
	var w stream.Weights
	slots := w.Slots()
	for i, t := range b.arch.Tensors(1) {
		if i < inTrunk {
			*slots[i], theta = theta[:t.Size():t.Size()], theta[t.Size():]
		}
	}
	return w
}

// load reads the rows of a step.
func (b *batch) load(pieces []train.Piece, step uint64) error {
	b.step, b.used = step, len(pieces)
	errs := make([]error, b.threads)
	b.each(func(worker, i int) {
		p := &b.pieces[i]
		p.used, p.judged = len(pieces[i].Rows), pieces[i].Judged
		for len(p.flows) < p.used {
			p.flows = append(p.flows, newFlow(b.size))
		}
		for j, row := range pieces[i].Rows {
			if err := b.reader.Read(&p.flows[j].Flow, row); err != nil {
				errs[worker] = err
			}
		}
	})
	return errors.Join(errs...)
}

// each calls do for every piece in use, spread over the workers. Which worker takes a
// piece must not matter to the result.
func (b *batch) each(do func(worker, i int)) { workers.Each(b.threads, b.used, do) }

// Parameters implements graph.Trunk.
func (b *batch) Parameters() int {
	n := 0
	for i, t := range b.arch.Tensors(1) {
		if i < inTrunk {
			n += t.Size()
		}
	}
	return n
}

// Size implements graph.Trunk.
func (b *batch) Size() (rows, width int) { return len(b.pieces) * judged, b.arch.Joined() }

// Forward implements graph.Trunk; rows not in use get 0.
func (b *batch) Forward(theta, out []float32) {
	clear(out)
	b.w = b.split(theta)
	stream.Tabulate(&b.table, &b.w)
	b.each(func(_, i int) {
		p := &b.pieces[i]
		rng := dropper(b.seed, b.step<<16|uint64(i))
		for _, f := range p.flows[:p.used] {
			b.forward(f)
			f.drop(rng, b.arch.Dropout)
		}
		for j := range p.judged {
			joined := out[(i*judged+j)*3*b.size:][:3*b.size]
			b.joined(p.memory(j, b.arch.Flows), joined)
			for k, gone := range b.absent {
				if gone {
					joined[k] = 0 // so that its weights, of 0, have no gradient
				}
			}
		}
	})
}

// memory are the flows that the j-th output of a piece rests on.
func (p *piece) memory(j, span int) []*flow {
	end := p.used - p.judged + j + 1
	return p.flows[max(0, end-span):end]
}

// joined writes the last, the mean and the maximum of the vectors.
func (b *batch) joined(memory []*flow, out []float32) {
	last, mean, most := out[:b.size], out[b.size:2*b.size], out[2*b.size:]
	copy(last, memory[len(memory)-1].vector)
	for _, f := range memory {
		for i, v := range f.vector {
			mean[i] += v
			most[i] = max(most[i], v)
		}
	}
	share := 1 / float32(len(memory))
	for i := range mean {
		mean[i] *= share
	}
}

// unjoin adds the gradient at the joined values to those at the vectors: the maximum's
// to the first flow that has it.
func (b *batch) unjoin(memory []*flow, slope []float32) {
	last, mean, most := slope[:b.size], slope[b.size:2*b.size], slope[2*b.size:]
	share := 1 / float32(len(memory))
	for _, f := range memory {
		for i, g := range mean {
			f.slope[i] += g * share
		}
	}
	newest := memory[len(memory)-1]
	for i, g := range last {
		newest.slope[i] += g
	}
	for i, g := range most {
		best := memory[0]
		for _, f := range memory[1:] {
			if f.vector[i] > best.vector[i] {
				best = f
			}
		}
		best.slope[i] += g
	}
}

// Backward implements graph.Trunk. It adds the flows' shares in their order, so threads
// do not change a bit.
func (b *batch) Backward(slope, grad []float32) {
	b.each(func(_, i int) {
		p := &b.pieces[i]
		for _, f := range p.flows[:p.used] {
			clear(f.slope)
		}
		for j := range p.judged {
			b.unjoin(p.memory(j, b.arch.Flows), slope[(i*judged+j)*3*b.size:][:3*b.size])
		}
		for _, f := range p.flows[:p.used] {
			f.undrop(b.arch.Dropout)
		}
	})
	clear(grad)
	clear(b.slopes[:])
	to := b.split(grad)
	for i := range b.pieces[:b.used] {
		p := &b.pieces[i]
		for _, f := range p.flows[:p.used] {
			b.backward(f, &to)
		}
	}
	b.untabulate(&to)
}
