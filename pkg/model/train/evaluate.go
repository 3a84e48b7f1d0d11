package train

// This file scores a model on validation windows with the live engine, and finds
// the temperature that makes its probabilities honest.

import (
	"errors"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

// scores are the logits of windows whose class is known.
type scores struct {
	logits [][]float32
	labels []int
}

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
		runners[i] = &streamRunner{store: store, engine: engine, span: m.Net.Span(), slots: make([]dataset.Buffer, m.Net.Span()+1), probs: make([]float32, first.Classes())}
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

// evaluate takes the logits of windows of the set.
func evaluate(m *model.Model, set *set, windows []int, threads int) (*scores, error) {
	s := &scores{logits: make([][]float32, len(windows)), labels: make([]int, len(windows))}
	for i, w := range windows {
		s.labels[i] = set.class[set.store.Label(w)]
	}
	err := Predict(m, set.store, windows, threads, func(i int, logits, _ []float32) {
		s.logits[i] = slices.Clone(logits)
	})
	return s, err
}

// loss is the mean cross-entropy with the logits divided by a temperature.
func (s *scores) loss(temperature float64) float64 {
	total := 0.0
	for i, logits := range s.logits {
		top := math.Inf(-1)
		for _, l := range logits {
			top = max(top, float64(l))
		}
		sum := 0.0
		for _, l := range logits {
			sum += math.Exp((float64(l) - top) / temperature)
		}
		total += math.Log(sum) - (float64(logits[s.labels[i]])-top)/temperature
	}
	return total / float64(len(s.logits))
}

func (s *scores) accuracy() float64 {
	right := 0
	for i, logits := range s.logits {
		best := 0
		for j, l := range logits {
			if l > logits[best] {
				best = j
			}
		}
		if best == s.labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(s.logits))
}

// Temperatures outside this range say that there is nothing to calibrate on.
const (
	coldest = 0.05
	hottest = 20.0
)

// coolest is the least temperature a model gets. One below 1 raises every
// confidence, which windows of known devices ask for when nearly all are named
// rightly. It raises that of strangers too, which none of them shows: a model
// without a class for "none of them" would name them with certainty.
const coolest = 1.0

// temperature is the one with the least loss, by golden-section search over its
// logarithm; the loss has one minimum (it is convex in 1/temperature).
func (s *scores) temperature() float64 {
	ratio := (math.Sqrt(5) - 1) / 2
	at := func(x float64) float64 { return s.loss(math.Exp(x)) }
	low, high := math.Log(coldest), math.Log(hottest)
	a, b := high-ratio*(high-low), low+ratio*(high-low)
	fa, fb := at(a), at(b)
	for high-low > 1e-4 {
		if fa < fb {
			high, b, fb = b, a, fa
			a = high - ratio*(high-low)
			fa = at(a)
		} else {
			low, a, fa = a, b, fb
			b = low + ratio*(high-low)
			fb = at(b)
		}
	}
	return math.Exp((low + high) / 2)
}
