package learn

// This file leaves parts out: inputs of a flow, or what is kept of the last flows. Such a
// network is one like any other whose first dense layer has weights of 0 for what those
// parts give, which are never trained, so the engine need not know of it.

import (
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/model/stream"
)

// Parts that [Design.Ablate] leaves out.
var Parts = []string{"bytes", "numbers", "tokens", "last", "mean", "maximum", "dropout"}

// Ablated is the architecture a without the parts named, of which some input and some of
// the memory must be left.
func Ablated(a stream.Architecture, parts []string) (stream.Architecture, error) {
	for _, p := range parts {
		if !slices.Contains(Parts, p) {
			return a, fmt.Errorf("no part %q: there are %v", p, Parts)
		}
	}
	if slices.Contains(parts, "dropout") {
		a.Dropout = 0
	}
	if !slices.Contains(absent(a, parts), false) {
		return a, fmt.Errorf("without %v there is no network left", parts)
	}
	return a, nil
}

// absent are those of the joined values that come of a part that is left out.
func absent(a stream.Architecture, parts []string) []bool {
	joined := make([]bool, a.Joined())
	without := func(from, size int) {
		for i := range size {
			joined[from+i] = true
		}
	}
	size := a.Flow()
	for _, p := range parts {
		switch p {
		case "last":
			without(0, size)
		case "mean":
			without(size, size)
		case "maximum":
			without(2*size, size)
		}
		for vector := 0; vector < len(joined); vector += size {
			switch p {
			case "bytes":
				without(vector, stream.Filters)
			case "numbers":
				without(vector+stream.Filters, a.Units)
			case "tokens":
				without(vector+stream.Filters+a.Units, a.Width)
			}
		}
	}
	return joined
}

// Fixed is the number of values that are not trained.
func (d Design) Fixed() int {
	n := 0
	for _, gone := range absent(d.Arch, d.Ablate) {
		if gone {
			n += d.Arch.Hidden
		}
	}
	tensors := d.Arch.Tensors(1)
	for part, of := range map[string][]int{"bytes": {0, 1, 2}, "numbers": {3, 4}, "tokens": {5, 6}} {
		for _, i := range of {
			if slices.Contains(d.Ablate, part) {
				n += tensors[i].Size()
			}
		}
	}
	return n
}
