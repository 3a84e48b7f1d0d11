package dataset

// This file sets examples apart for validation.

import (
	"math"
	"slices"
)

// leastGap are the examples before the held ones that are always in neither part: those
// that the paper's windows of five rows share with them.
const leastGap = 4

// Holdout splits examples of a store in two, which rest on the last span rows of their
// streams, 0 for whole streams: held gets about the given fraction of each
// class's captures, spread evenly over them in the order they come; where a class has
// two or more, at least one and not all. Examples of a class in one capture stay
// together. A class with a single capture gives the last part of each stream's
// examples instead, and of its changed copies what is of that time; those before it that
// share rows of such a span with it are in neither, but for a span so long that less than
// half of the others would be left.
func Holdout(s *Store, examples []int, span int, fraction float64) (kept, held []int) {
	if fraction <= 0 {
		return examples, nil
	}
	classes := map[string]*class{}
	for _, i := range examples {
		source := s.Source(i)
		c := classes[source.Label]
		if c == nil {
			c = &class{held: map[string]bool{}, streams: map[int]*stretch{}, first: map[string]*stretch{}}
			classes[source.Label] = c
		}
		stream, _ := s.Stream(i)
		c.add(source, stream, s.examples[i].at)
	}
	for _, c := range classes {
		if c.choose(fraction); len(c.captures) > 1 {
			continue
		}
		for _, d := range c.streams {
			d.gap, d.cut = d.ends(fraction, span)
		}
	}
	for _, i := range examples {
		source := s.Source(i)
		c := classes[source.Label]
		if len(c.captures) > 1 {
			if c.held[source.Capture] {
				held = append(held, i)
			} else {
				kept = append(kept, i)
			}
			continue
		}
		stream, _ := s.Stream(i)
		d := c.streams[stream]
		d.seen++
		switch {
		case d.seen > d.cut:
			held = append(held, i)
		case d.seen > d.gap:
			// shares records with what is held
		default:
			kept = append(kept, i)
		}
	}
	return kept, held
}

// class is what there is of one class.
type class struct {
	captures []string        // each once, in the order they come
	held     map[string]bool // by capture; false: known, and kept
	streams  map[int]*stretch
	first    map[string]*stretch // stream of each device, of which others in its capture are copies
}

// stretch is a stream's examples.
type stretch struct {
	times          []int64  // of each
	of             *stretch // what it is a copy of, or itself
	gap, cut, seen int
}

// ends are how many examples come before those in neither part, and before those held. Of
// a copy what its original holds is held, whatever it lacks of what comes before.
func (d *stretch) ends(fraction float64, span int) (gap, cut int) {
	n := len(d.times)
	cut = n - int(fraction*float64(n))
	first := n // example of the original's gap
	if d.of != d {
		gap, until := d.of.ends(fraction, span)
		first, cut = d.since(gap), d.since(until)
	}
	if cut == n {
		return min(first, n), n
	}
	return min(first, cut-min(span-1, max(leastGap, cut/2))), cut
}

// since is how many examples a copy has before the time of one of its original.
func (d *stretch) since(example int) int {
	if example >= len(d.of.times) {
		return len(d.times)
	}
	at := d.of.times[max(0, example)]
	if i := slices.IndexFunc(d.times, func(t int64) bool { return t >= at }); i >= 0 {
		return i
	}
	return len(d.times)
}

// add counts an example. Captures that lie side by side in a record file take turns.
func (c *class) add(from *Source, stream int, at int64) {
	if _, known := c.held[from.Capture]; !known {
		c.held[from.Capture] = false
		c.captures = append(c.captures, from.Capture)
	}
	d := c.streams[stream]
	if d == nil {
		if d = (&stretch{}); c.first[from.Name] == nil {
			c.first[from.Name] = d
		}
		d.of = c.first[from.Name]
		c.streams[stream] = d
	}
	d.times = append(d.times, at)
}

// choose holds the middle one of each of as many equal stretches of the captures as
// are to be held.
func (c *class) choose(fraction float64) {
	n := len(c.captures)
	if n < 2 {
		return
	}
	take := min(n-1, max(1, int(math.Round(fraction*float64(n)))))
	for i := range take {
		c.held[c.captures[(2*i+1)*n/(2*take)]] = true
	}
}
