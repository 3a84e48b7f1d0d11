package train

// This file scores a model on validation windows with the live engine.

import (
	"errors"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

// Predict runs the live engine over the streams of examples of a store. each gets the
// place of an example in the list, its logits and probabilities in the order of the
// model's labels, valid until it returns; it is called by as many goroutines as
// threads says.
func Predict(m *model.Model, store *dataset.Store, examples []int, threads int, each func(i int, logits, probs []float32)) error {
	threads = workers.Or(threads)
	first, err := model.NewEngine(m)
	if err != nil {
		return err
	}
	runners := make([]*streamRunner, threads)
	for i := range runners {
		engine := first
		if i > 0 {
			engine = first.Clone()
		}
		runners[i] = newStreamRunner(m, store, engine)
	}
	parts := byStream(store, examples)
	errs := make([]error, threads)
	workers.Each(threads, len(parts), func(worker, i int) {
		if err := runners[worker].run(examples, parts[i], each); err != nil {
			errs[worker] = err
		}
	})
	return errors.Join(errs...)
}

// byStream are the places in the list of the examples of each stream, in its order.
func byStream(store *dataset.Store, examples []int) [][]int {
	var parts [][]int
	part := map[int]int{}
	for i, e := range examples {
		stream, _ := store.Stream(e)
		p, known := part[stream]
		if !known {
			p = len(parts)
			part[stream], parts = p, append(parts, nil)
		}
		parts[p] = append(parts[p], i)
	}
	for _, p := range parts {
		slices.SortFunc(p, func(a, b int) int {
			_, x := store.Stream(examples[a])
			_, y := store.Stream(examples[b])
			return x - y
		})
	}
	return parts
}

// streamRunner runs an engine over one stream after the other.
type streamRunner struct {
	store  *dataset.Store
	engine *model.Engine
	span   int              // rows that an output rests on, 0: all
	slots  []dataset.Buffer // for the rows that a memory keeps, and the next
	slot   int
	probs  []float32
}

func newStreamRunner(m *model.Model, store *dataset.Store, engine *model.Engine) *streamRunner {
	span := m.Net.Span()
	return &streamRunner{store: store, engine: engine, span: span, slots: make([]dataset.Buffer, span+1), probs: make([]float32, engine.Classes())}
}

// run gives the outputs of a stream's examples, by their places in the list.
func (r *streamRunner) run(examples, part []int, each func(i int, logits, probs []float32)) error {
	memory := r.engine.Memory()
	next := 0 // the first row that the memory does not know
	for _, i := range part {
		_, place := r.store.Stream(examples[i])
		if place < next { // it is in the list twice
			each(i, r.engine.Logits(), r.probs)
			continue
		}
		if r.span > 0 && place-next >= r.span { // it would have forgotten all it knows
			memory.Reset()
			next = place + 1 - r.span
		}
		rows := r.store.Members(examples[i], place+1-next)
		for _, id := range rows[:len(rows)-1] {
			row, err := r.row(id)
			if err != nil {
				return err
			}
			if err := r.engine.Skip(memory, row); err != nil {
				return err
			}
		}
		row, err := r.row(rows[len(rows)-1])
		if err != nil {
			return err
		}
		if err := r.engine.Next(memory, row, r.probs); err != nil {
			return err
		}
		next = place + 1
		each(i, r.engine.Logits(), r.probs)
	}
	return nil
}

// row reads a row to where it stays until a memory has forgotten it.
func (r *streamRunner) row(id uint32) (flows.Row, error) {
	r.slot = (r.slot + 1) % len(r.slots)
	return r.store.Row(id, &r.slots[r.slot])
}
