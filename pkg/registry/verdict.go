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
func (j *joined) add(probs []float32, named []bool, none int) {
	if j.votes == nil {
		j.votes = map[int]int{}
	}
	j.Add(probs)
	j.Gate(named)
	j.last = join.BestBut(probs, none)
	j.lastP = float64(probs[j.last])
	j.votes[join.Best(probs)]++
	j.windows++
}
