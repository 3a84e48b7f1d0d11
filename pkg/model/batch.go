package model

// This file computes many windows at once. Each costs the same work as alone and
// comes out with the same bits, but the first dense layer's weights, 0.8 MB in the
// paper's network, go through the CPU's fastest cache once for a group of windows
// and not once for each.

import (
	"errors"
	"fmt"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// groupSize is how many windows share one pass over the weights, which may have to
// come from the slowest cache. Each needs 16 KB for its list.
const groupSize = 32

// group is what is kept of windows between the two halves of a pass.
type group struct {
	lists []conv.Live // the first dense layer's inputs
	sums  [][]float32 // its outputs, before ReLU
	at    []int       // the row's place in the batch
}

// grow makes room for size windows.
func (g *group) grow(n *network, size int) {
	for len(g.lists) < size {
		g.lists = append(g.lists, conv.NewLive(n.Flat))
		g.sums = append(g.sums, make([]float32, n.hidden))
	}
}

// NextBatch is [Engine.Next] for many devices: the next row of memories[i] is rows[i],
// and probs[i] takes its probabilities, with the same bits. A device can be there
// several times, its rows in order. A row that fails has its place in the error; its
// probs are not to be used, all others are computed.
func (e *Engine) NextBatch(memories []*Memory, rows []flows.Row, probs [][]float32) error {
	if len(memories) != len(rows) || len(probs) != len(rows) {
		return fmt.Errorf("predict: %d memories and room for %d probabilities of %d rows", len(memories), len(probs), len(rows))
	}
	e.buf.grow(e.net, min(len(rows), groupSize))
	var failed []error
	for from := 0; from < len(rows); from += groupSize {
		to := min(from+groupSize, len(rows))
		failed = e.group(from, memories[from:to], rows[from:to], probs[from:to], failed)
	}
	return errors.Join(failed...)
}

// group computes a part of a batch that begins at from, and appends what fails.
func (e *Engine) group(from int, memories []*Memory, rows []flows.Row, probs [][]float32, failed []error) []error {
	b := e.buf
	b.at = b.at[:0]
	for i, m := range memories {
		if err := e.advance(m, rows[i], probs[i], &b.lists[len(b.at)], b.sums[len(b.at)]); err != nil {
			failed = append(failed, inBatch(from+i, err))
			continue
		}
		b.at = append(b.at, i)
	}
	e.net.path.Dense(b.sums[:len(b.at)], e.net.dense1, b.lists[:len(b.at)])
	for j, i := range b.at {
		if err := e.finish(b.sums[j], probs[i]); err != nil {
			failed = append(failed, inBatch(from+i, err))
		}
	}
	return failed
}

func inBatch(i int, err error) error {
	return fmt.Errorf("predict: row %d of the batch: %w", i, err)
}

// passing is a memory for one window of no device, before its newest row.
func (e *Engine) passing(rows []flows.Row) (*Memory, error) {
	if n := len(rows); n < 1 || n > e.net.arch.K {
		return nil, fmt.Errorf("predict: a window of %d rows, want 1 to %d", n, e.net.arch.K)
	}
	m := &e.buf.passing
	m.Reset()
	for _, r := range rows[:len(rows)-1] {
		e.Skip(m, r)
	}
	return m, nil
}
