package train

// This file scores a model on validation windows with the live engine, and finds
// the temperature that makes its probabilities honest.

import (
	"errors"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
)

// scores are the logits of windows whose class is known.
type scores struct {
	logits [][]float32
	labels []int
}

// Predict runs the live engine over windows of a store. each gets the place of a
// window in the list, its logits and probabilities in the order of the model's
// labels, valid until it returns; it is called by as many goroutines as threads
// says.
func Predict(m *model.Model, store *dataset.Store, windows []int, threads int, each func(i int, logits, probs []float32)) error {
	threads = threadsOr(threads)
	first, err := model.NewEngine(m)
	if err != nil {
		return err
	}
	engines := []*model.Engine{first}
	for len(engines) < threads {
		engines = append(engines, first.Clone())
	}
	errs := make([]error, threads)
	buffers := make([]dataset.Buffer, threads)
	probs := make([][]float32, threads)
	for i := range probs {
		probs[i] = make([]float32, first.Classes())
	}
	parallel(threads, len(windows), func(worker, i int) {
		w, err := store.Window(windows[i], &buffers[worker])
		if err == nil {
			err = engines[worker].Predict(w, probs[worker])
		}
		if err != nil {
			errs[worker] = err
			return
		}
		each(i, engines[worker].Logits(), probs[worker])
	})
	return errors.Join(errs...)
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
