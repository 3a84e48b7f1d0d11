package learn

// This file runs the trunk over the windows of a batch, as one operation of a graph.

import (
	"cmp"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

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
		errs[worker] = cmp.Or(errs[worker], b.windows[i].load(b.workers[worker], windows[i]))
	})
	return cmp.Or(errs...)
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
