package train

// This file divides validation windows in those that choose the epoch and those that fit
// the temperature, and weighs both.

import (
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
)

// recording is a class's part of a capture, with its changed copies: what validation
// counts as one.
type recording struct{ label, capture string }

func recordingOf(store *dataset.Store, i int) recording {
	from := store.Source(i)
	return recording{from.Label, from.Capture}
}

// recordings are those of windows by class, in the order they come.
func (s *set) recordings(windows []int) map[string][]recording {
	of, known := map[string][]recording{}, map[recording]bool{}
	for _, i := range windows {
		if r := recordingOf(s.store, i); !known[r] {
			known[r] = true
			of[r.label] = append(of[r.label], r)
		}
	}
	return of
}

// count is the number of windows' captures, those of each class for themselves. What is of
// none of them counts for nothing: most of it is made, and no capture.
func (s *set) count(windows []int) (n int) {
	for label, list := range s.recordings(windows) {
		if label != model.NoneLabel {
			n += len(list)
		}
	}
	return n
}

// leastFitting is how many captures must be left to fit the temperature on: one that is
// named wrongly must not decide on it alone.
const leastFitting = 4

// apart divides the validation windows in those that choose the epoch, if any does, and
// those that only the temperature is fitted on. The first capture of each class chooses;
// of the others, counted through the classes, every second one fits, beginning with the
// first. Where that leaves fewer than four captures or less than half of the classes to
// fit on, all windows do both: a temperature of a few captures is worth less than one of
// an epoch chosen by luck. Where nothing is chosen, all fit.
func (s *set) apart(chosen bool) (choosing, fitting []int) {
	if !chosen {
		return s.validation, s.validation
	}
	of := s.recordings(s.validation)
	fits, classes, captures, others := map[recording]bool{}, map[string]bool{}, 0, 0
	for _, label := range s.labels {
		for _, r := range of[label][min(1, len(of[label])):] {
			if others%2 == 0 {
				fits[r] = true
				if label != model.NoneLabel { // what is made is as much as one likes
					classes[label] = true
					captures++
				}
			}
			others++
		}
	}
	delete(of, model.NoneLabel)
	if captures < leastFitting || 2*len(classes) < len(of) {
		return s.validation, s.validation
	}
	for _, i := range s.validation {
		if fits[recordingOf(s.store, i)] {
			fitting = append(fitting, i)
		} else {
			choosing = append(choosing, i)
		}
	}
	return choosing, fitting
}

// weights are what windows count for in figures of validation: in the mean over classes
// of the means over their captures of the means over their windows. A capture counts the
// same whether it is long or short, a class whether it has many or a single one, as in a
// recording of days that holds them all. By windows, as the paper counts, they are all 1.
func (s *set) weights(windows []int) []float64 {
	w := make([]float64, len(windows))
	if s.byWindow {
		for i := range w {
			w[i] = 1
		}
		return w
	}
	captures, size := s.recordings(windows), map[recording]int{}
	for _, i := range windows {
		size[recordingOf(s.store, i)]++
	}
	for at, i := range windows {
		r := recordingOf(s.store, i)
		w[at] = 1 / float64(len(captures[r.label])*size[r])
	}
	return w
}

// scores are the logits of windows whose class is known.
type scores struct {
	logits  [][]float32
	labels  []int
	weights []float64
}

// evaluate takes the logits of windows of the set.
func evaluate(m *model.Model, set *set, windows []int, threads int) (*scores, error) {
	s := &scores{logits: make([][]float32, len(windows)), labels: make([]int, len(windows)), weights: set.weights(windows)}
	for i, w := range windows {
		s.labels[i] = set.class[set.store.Label(w)]
	}
	err := Predict(m, set.store, windows, threads, func(i int, logits, _ []float32) {
		s.logits[i] = slices.Clone(logits)
	})
	return s, err
}

// loss is the weighed mean of the cross-entropy with the logits divided by a temperature.
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
		total += s.weights[i] * (math.Log(sum) - (float64(logits[s.labels[i]])-top)/temperature)
	}
	return total / s.whole()
}

// accuracy is the weighed share of windows whose largest logit is their class's.
func (s *scores) accuracy() float64 {
	right := 0.0
	for i, logits := range s.logits {
		best := 0
		for j, l := range logits {
			if l > logits[best] {
				best = j
			}
		}
		if best == s.labels[i] {
			right += s.weights[i]
		}
	}
	return right / s.whole()
}

// whole is the sum of the weights.
func (s *scores) whole() (sum float64) {
	for _, w := range s.weights {
		sum += w
	}
	return sum
}

// Temperatures outside this range say that there is nothing to calibrate on.
const (
	coldest = 0.05
	hottest = 20.0
)

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

// calibrate fits the model's temperature.
func (s *set) calibrate(m *model.Model, threads int) (c model.Calibration, err error) {
	fitted, err := evaluate(m, s, s.fitting, threads)
	if err != nil {
		return c, err
	}
	c.Least = m.LeastTemperature()
	c.Temperature = max(fitted.temperature(), c.Least)
	c.Captures, c.Apart = s.count(s.fitting), len(s.choosing) < len(s.validation)
	return c, nil
}
