// Package join is the one rule that makes a device's verdict of what models say of its
// rows, for live verdicts and published figures alike: the mean of each class's
// probabilities over the outputs whose model has the class, and these means over their
// sum. Of windows whose newest flows are near-identical the first counts alone. What was said
// of earlier ones is revised once other facts are known of the device.
package join

import "slices"

// Lacking stands for the probability of a class that the model asked does not have.
const Lacking = -1

// Window is what a model says of one window of a device.
type Window struct {
	Probs []float32 // Lacking among them
	// Named are the classes that the device may be named as now, for what it says of
	// itself or for how sure the model is; nil: it says nothing, and may be named as any.
	Named []bool
	// Maker is the outermost level that has the name of who made the device's MAC, "": none
	// has. It may be said whatever else is known: see [Levels.Verdict].
	Maker string
	// Told is the probability that all the device has said by now gives that level by itself.
	Told float64
	// Revised is how much more, by class, earlier windows are now than was said of them; nil: no
	// more.
	Revised []float64
	Again   bool // its newest flow is near-identical to one that counts: see [Seen]
	Like    Like // when that was so
	// Held is the first level, counted from 1, that may not be said of the device now, for
	// what else is known of it; 0: each that is safe may.
	Held int
	// Distance is how far its row is from all that the model knows, 1 at its threshold;
	// measured: it is known.
	Distance float64
	Measured bool
}

// LeastFlows is how many flows, no two near-identical, a name rests on where no fact tells it.
const LeastFlows = 3

// Mean joins outputs, each of as many probabilities as there are classes, Lacking among
// them. The zero Mean has none.
type Mean struct {
	sum   []float64 // by class
	count []int     // outputs whose model has the class
	named []bool    // by class: a device may be named so; nil: as any
	flows int       // outputs
	maker string    // of the newest window
	told  float64   // of the newest window
	held  int       // of the newest window
	any   bool      // a window has been joined, whether or not it counts

	presumed  string  // an outermost level, until there is an output
	presumedP float64 // its probability

	distance float64 // sum
	measured int     // outputs with one
}

// Clone is a mean of the same outputs that goes its own way.
func (m *Mean) Clone() Mean {
	c := *m
	c.sum, c.count, c.named = slices.Clone(m.sum), slices.Clone(m.count), slices.Clone(m.named)
	return c
}

// Join joins a window: its output if it counts, and whatever its probabilities the classes
// that the device may be named as from now on.
func (m *Mean) Join(w Window) {
	m.Revise(w.Revised)
	if !w.Again {
		m.Add(w.Probs)
		if w.Measured {
			m.distance += w.Distance
			m.measured++
		}
	}
	m.named, m.maker, m.told, m.held, m.any = append(m.named[:0], w.Named...), w.Maker, w.Told, w.Held, true
}

// Revise adds what outputs that have been joined, here or in a mean that is to be merged, are
// more now.
func (m *Mean) Revise(more []float64) {
	m.grow(len(more))
	for i, p := range more {
		m.sum[i] += p
	}
}

// Presume has an outermost level said, with its probability, until there is an output.
func (m *Mean) Presume(level string, probability float64) {
	m.presumed, m.presumedP = level, probability
}

// Hold takes a level, and those below it, back that may not be said, as [Window.Held].
func (m *Mean) Hold(level int) { m.held = level }

// Flows is how many outputs have been joined, each of another flow.
func (m *Mean) Flows() int { return m.flows }

// Gathering reports whether there is too little to name a device by.
func (m *Mean) Gathering() bool {
	return m.flows < LeastFlows && !slices.Contains(m.named, true)
}

// Names reports whether a device may be named as a class. One that says nothing of itself
// may be, unless it is too far from all that is known.
func (m *Mean) Names(class int) bool {
	if class >= len(m.named) {
		return !m.Beyond()
	}
	return m.named[class]
}

// Distance is the mean distance of the outputs joined, see [Window]; ok is false if none has
// one.
func (m *Mean) Distance() (distance float64, ok bool) {
	if m.measured == 0 {
		return 0, false
	}
	return m.distance / float64(m.measured), true
}

// Beyond reports whether that is over the threshold.
func (m *Mean) Beyond() bool {
	d, ok := m.Distance()
	return ok && d > 1
}

// Add joins an output.
func (m *Mean) Add(probs []float32) {
	m.grow(len(probs))
	m.flows++
	for i, p := range probs {
		if p >= 0 {
			m.sum[i] += float64(p)
			m.count[i]++
		}
	}
}

// Merge joins the outputs that o has joined, which are the later ones.
func (m *Mean) Merge(o Mean) {
	m.grow(len(o.sum))
	if o.any {
		m.named, m.maker, m.told, m.held, m.any = o.named, o.maker, o.told, o.held, true
	}
	m.flows += o.flows
	m.distance += o.distance
	m.measured += o.measured
	for i := range o.sum {
		m.sum[i] += o.sum[i]
		m.count[i] += o.count[i]
	}
}

func (m *Mean) grow(classes int) {
	if len(m.sum) < classes {
		m.sum, m.count = make([]float64, classes), make([]int, classes)
	}
}

// Best is the class of the highest mean, the first of equals, and its probability; -1
// if nothing has been joined.
func (m *Mean) Best() (class int, probability float64) { return m.BestBut(-1) }

// BestBut is Best among the classes but one. The probability is that among all: what the
// one has is not handed to the others.
func (m *Mean) BestBut(one int) (class int, probability float64) {
	class = -1
	highest := -1.0
	for i := range m.sum {
		if mean := m.mean(i); i != one && m.count[i] > 0 && mean > highest {
			class, highest = i, mean
		}
	}
	return class, m.Probability(class)
}

// Probability is the joined probability of a class: the means add up to 1 by themselves
// only if every output's model has every class. It is 0 for a class out of range.
func (m *Mean) Probability(class int) float64 {
	if class < 0 || class >= len(m.sum) {
		return 0
	}
	return m.share(m.mean(class))
}

// sumOf is the joined probability of some classes together.
func (m *Mean) sumOf(classes []int) float64 {
	sum := 0.0
	for _, i := range classes {
		sum += m.mean(i)
	}
	return m.share(sum)
}

// share is what a sum of means is of all of them.
func (m *Mean) share(sum float64) float64 {
	total := 0.0
	for i := range m.sum {
		total += m.mean(i)
	}
	if total == 0 {
		return 0
	}
	return sum / total
}

// mean is a class's mean probability, 0 if no output's model has it. A sum that has been revised
// can be a hair below 0, and further where m has joined only a part of what was revised.
func (m *Mean) mean(class int) float64 {
	if m.count[class] == 0 {
		return 0
	}
	return max(0, m.sum[class]/float64(m.count[class]))
}

// Best is the class that one output gives the highest probability, the first of equals.
func Best(probs []float32) int { return BestBut(probs, -1) }

// BestBut is Best among the classes but one.
func BestBut(probs []float32, one int) int {
	best := -1
	for i, p := range probs {
		if i != one && (best < 0 || p > probs[best]) {
			best = i
		}
	}
	return best
}
