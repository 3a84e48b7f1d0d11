package dataset

// This file sets examples apart for validation.

import (
	"math"
)

// Holdout splits windows of a store in two: held gets about the given fraction of each
// class's captures, spread evenly over them in the order they come, and at least
// one where a class has two or more. Windows of one capture stay together. A
// class with a single capture gives the last part of its windows instead, less
// the windows that share records with the part that is kept.
func Holdout(s *Store, windows []int, fraction float64) (kept, held []int) {
	if fraction <= 0 {
		return windows, nil
	}
	type group struct {
		captures []string
		windows  int
		held     map[string]bool
		seen     int
	}
	groups := map[string]*group{}
	for _, i := range windows {
		e := s.Source(i)
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
	for _, i := range windows {
		e := s.Source(i)
		g := groups[e.Label]
		g.seen++
		cut := g.windows - int(fraction*float64(g.windows))
		switch {
		case len(g.captures) < 2 && g.seen > cut:
			held = append(held, i)
		case len(g.captures) < 2 && g.seen > cut-(s.k-1) && cut < g.windows:
			// shares records with what is held
		case g.held[e.Capture]:
			held = append(held, i)
		default:
			kept = append(kept, i)
		}
	}
	return kept, held
}
