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
	last    int     // argmax of the newest window
	lastP   float64 // its probability
}

// add joins one window.
func (j *joined) add(probs []float32) {
	if j.votes == nil {
		j.votes = map[int]int{}
	}
	j.Add(probs)
	j.last = join.Best(probs)
	j.lastP = float64(probs[j.last])
	j.votes[j.last]++
	j.windows++
}
