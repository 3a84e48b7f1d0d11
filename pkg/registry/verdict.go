package registry

// This file holds what a device's windows say together.

import (
	"github.com/iotsense/iotsense/pkg/join"
)

// joined is what a device's windows say together, and each by itself.
type joined struct {
	join.Mean
	windows int
	votes   map[int]int
	last    int     // class of the newest window, but for none
	lastP   float64 // its probability
}

// add joins one window, see [Registry.Window]; none is the class that no device is given.
func (j *joined) add(w join.Window, none int) {
	if j.votes == nil {
		j.votes = map[int]int{}
	}
	j.Join(w)
	j.last = join.BestBut(w.Probs, none)
	j.lastP = float64(w.Probs[j.last])
	j.votes[join.Best(w.Probs)]++
	j.windows++
}
