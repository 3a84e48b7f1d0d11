package analyze

// This file holds Shannon's entropy (paper III-B, formula 1) and a bounded
// counter of values.

import (
	"math"
	"slices"
)

// Entropy is Shannon's entropy in bits of symbols that occurred counts times
// each (paper III-B, formula 1). Zeros count for nothing; no symbol at all gives
// 0, as in the paper. The order of counts does not change the result.
func Entropy(counts []uint64) float64 {
	sorted := slices.Clone(counts) // one order of summation: the same bits whatever the map gave
	slices.Sort(sorted)
	var total float64
	for _, n := range sorted {
		total += float64(n)
	}
	var h float64
	for _, n := range sorted {
		if n > 0 {
			p := float64(n) / total
			h -= p * math.Log2(p)
		}
	}
	return math.Max(0, h)
}

// maxDistinct is how many distinct values a valueCounter tells apart.
const maxDistinct = 1 << 18

// valueCounter counts values. Beyond maxDistinct of them the rest are counted as
// one, which makes the entropy a lower bound.
type valueCounter struct {
	counts map[uint64]uint64
	rest   uint64
	total  uint64
}

func (c *valueCounter) add(v uint64) {
	if c.counts == nil {
		c.counts = map[uint64]uint64{}
	}
	c.total++
	if _, known := c.counts[v]; !known && len(c.counts) >= maxDistinct {
		c.rest++
		return
	}
	c.counts[v]++
}

func (c *valueCounter) entropy() float64 {
	counts := make([]uint64, 0, len(c.counts)+1)
	for _, n := range c.counts {
		counts = append(counts, n)
	}
	return Entropy(append(counts, c.rest))
}

// round keeps six decimals: enough for a reader, few enough to be equal on every
// platform.
func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }
