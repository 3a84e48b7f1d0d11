package dataset

// This file sets examples apart for validation.

import (
	"math"
)

// Holdout splits examples in two: held gets about the given fraction of each
// class's captures, spread evenly over them in the order they come, and at least
// one where a class has two or more. Windows of one capture stay together. A
// class with a single capture gives the last part of its windows instead, less
// the rows-1 windows that share records with the part that is kept.
func Holdout(examples []Example, fraction float64, rows int) (kept, held []Example) {
	if fraction <= 0 {
		return examples, nil
	}
	type group struct {
		captures []string
		windows  int
		held     map[string]bool
		seen     int
	}
	groups := map[string]*group{}
	for _, e := range examples {
		g := groups[e.Label]
		if g == nil {
			g = &group{held: map[string]bool{}}
			groups[e.Label] = g
		}
		g.windows++
		if n := len(g.captures); n == 0 || g.captures[n-1] != e.Capture {
			g.captures = append(g.captures, e.Capture)
		}
	}
	for _, g := range groups {
		n := len(g.captures)
		if n < 2 {
			continue
		}
		take := max(1, int(math.Round(fraction*float64(n))))
		for i := range take { // the middle of each of take equal stretches
			g.held[g.captures[(2*i+1)*n/(2*take)]] = true
		}
	}
	for _, e := range examples {
		g := groups[e.Label]
		g.seen++
		cut := g.windows - int(fraction*float64(g.windows))
		switch {
		case len(g.captures) < 2 && g.seen > cut:
			held = append(held, e)
		case len(g.captures) < 2 && g.seen > cut-(rows-1) && cut < g.windows:
			// shares records with what is held
		case g.held[e.Capture]:
			held = append(held, e)
		default:
			kept = append(kept, e)
		}
	}
	return kept, held
}
