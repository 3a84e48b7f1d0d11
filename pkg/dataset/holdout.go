package dataset

// This file sets examples apart for validation.

import "math"

// leastGap are the examples before the held ones that are always in neither part: those
// that the paper's windows of five rows share with them.
const leastGap = 4

// Holdout splits examples of a store in two, which rest on the last span rows of their
// streams, 0 for whole streams: held gets about the given fraction of each
// class's captures, spread evenly over them in the order they come; where a class has
// two or more, at least one and not all. Examples of a class in one capture stay
// together. A class with a single capture gives the last part of each stream's
// examples instead; those before it that share rows of such a span with it are in
// neither, but for a span so long that less than half of the others would be left.
func Holdout(s *Store, examples []int, span int, fraction float64) (kept, held []int) {
	if fraction <= 0 {
		return examples, nil
	}
	classes := map[string]*class{}
	for _, i := range examples {
		source := s.Source(i)
		c := classes[source.Label]
		if c == nil {
			c = &class{held: map[string]bool{}, streams: map[int]*stretch{}}
			classes[source.Label] = c
		}
		stream, _ := s.Stream(i)
		c.add(source, stream)
	}
	for _, c := range classes {
		c.choose(fraction)
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
		cut := d.examples - int(fraction*float64(d.examples))
		switch {
		case d.seen > cut:
			held = append(held, i)
		case d.seen > cut-min(span-1, max(leastGap, cut/2)) && cut < d.examples:
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
}

// stretch counts a stream's examples.
type stretch struct{ examples, seen int }

// add counts an example. Captures that lie side by side in a record file take turns.
func (c *class) add(from *Source, stream int) {
	if _, known := c.held[from.Capture]; !known {
		c.held[from.Capture] = false
		c.captures = append(c.captures, from.Capture)
	}
	if c.streams[stream] == nil {
		c.streams[stream] = &stretch{}
	}
	c.streams[stream].examples++
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
