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
	at    []int       // the window's place in the batch
}

// grow makes room for size windows.
func (g *group) grow(n *network, size int) {
	for len(g.lists) < size {
		g.lists = append(g.lists, conv.NewLive(n.Flat))
		g.sums = append(g.sums, make([]float32, n.hidden))
	}
}

// NextBatch is [Engine.Next] for windows of many devices: the next of states[i] is
// windows[i], and probs[i] takes its probabilities, with the same bits. A device
// can be there several times, its windows in order. A window that fails has its
// place in the error; its probs are not to be used, all others are computed.
func (e *Engine) NextBatch(states []*State, windows []flows.Window, probs [][]float32) error {
	if len(states) != len(windows) {
		return fmt.Errorf("predict: %d states for %d windows", len(states), len(windows))
	}
	return e.batch(states, windows, probs)
}

// PredictBatch is [Engine.Predict] for many windows, see [Engine.NextBatch].
func (e *Engine) PredictBatch(windows []flows.Window, probs [][]float32) error {
	return e.batch(nil, windows, probs)
}

// batch computes windows whose states are given, or that belong to no device.
func (e *Engine) batch(states []*State, windows []flows.Window, probs [][]float32) error {
	if len(probs) != len(windows) {
		return fmt.Errorf("predict: room for the probabilities of %d windows, want %d", len(probs), len(windows))
	}
	e.buf.grow(e.net, min(len(windows), groupSize))
	var failed []error
	for from := 0; from < len(windows); from += groupSize {
		failed = e.group(from, min(from+groupSize, len(windows)), states, windows, probs, failed)
	}
	return errors.Join(failed...)
}

// group computes windows [from, to) of a batch and appends what fails.
func (e *Engine) group(from, to int, states []*State, windows []flows.Window, probs [][]float32, failed []error) []error {
	b := e.buf
	b.at = b.at[:0]
	for i := from; i < to; i++ {
		s := e.passing()
		if states != nil {
			s = states[i]
		}
		if err := e.advance(s, windows[i], probs[i], &b.lists[len(b.at)], b.sums[len(b.at)]); err != nil {
			failed = append(failed, inBatch(i, err))
			continue
		}
		b.at = append(b.at, i)
	}
	e.net.path.Dense(b.sums[:len(b.at)], e.net.dense1, b.lists[:len(b.at)])
	for j, i := range b.at {
		if err := e.finish(b.sums[j], probs[i]); err != nil {
			failed = append(failed, inBatch(i, err))
		}
	}
	return failed
}

func inBatch(i int, err error) error {
	return fmt.Errorf("predict: window %d of the batch: %w", i, err)
}

// passing is a state for one window of no device.
func (e *Engine) passing() *State {
	e.buf.state.Reset()
	return &e.buf.state
}
