package score

// This file asks whether a probability means what it says.

import (
	"math"

	"github.com/iotsense/iotsense/pkg/model"
)

// confidence accumulates windows' probabilities beside whether they were right.
type confidence struct {
	thresholds model.Thresholds
	sum, n     [2]float64 // wrong, right
	low        float64
	high       float64
	highWrong  int
	bins       [eceBins]struct{ n, probability, right float64 }
}

func newConfidence(t model.Thresholds) *confidence { return &confidence{thresholds: t} }

func (c *confidence) add(right bool, label string, probability float64) {
	hit := 0
	if right {
		hit = 1
	}
	c.sum[hit] += probability
	c.n[hit]++
	if probability < c.thresholds.For(label) {
		c.low++
	} else {
		c.high++
		c.highWrong += 1 - hit
	}
	b := &c.bins[max(0, min(eceBins-1, int(probability*eceBins)))]
	b.n++
	b.probability += probability
	b.right += float64(hit)
}

func (c *confidence) result() Confidence {
	all := c.n[0] + c.n[1]
	gap := 0.0
	for _, b := range c.bins {
		gap += math.Abs(b.right - b.probability)
	}
	return Confidence{
		Threshold:      c.thresholds.Default,
		MeanCorrect:    ratio(c.sum[1], c.n[1]),
		MeanWrong:      ratio(c.sum[0], c.n[0]),
		LowFraction:    ratio(c.low, all),
		HighWrong:      ratio(float64(c.highWrong), c.high),
		HighWrongCount: c.highWrong,
		ECE:            ratio(gap, all),
	}
}
