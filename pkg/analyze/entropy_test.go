package analyze

import (
	"math"
	"testing"
)

func TestEntropy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		counts []uint64
		want   float64
	}{
		{"nothing", nil, 0},
		{"only zeros", []uint64{0, 0}, 0},
		{"one symbol", []uint64{7}, 0},
		{"two alike", []uint64{3, 3}, 1},
		{"four alike", []uint64{5, 5, 5, 5}, 2},
		{"zero does not count", []uint64{2, 0, 2}, 1},
		{"three to one", []uint64{3, 1}, 2 - 0.75*math.Log2(3)},
		{"half, quarter, quarter", []uint64{1, 2, 1}, 1.5},
	} {
		if got := Entropy(tt.counts); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestEntropyOrder(t *testing.T) {
	counts := []uint64{1, 2, 3, 5, 7, 11, 13, 1000003}
	reversed := []uint64{1000003, 13, 11, 7, 5, 3, 2, 1}
	if a, b := Entropy(counts), Entropy(reversed); a != b {
		t.Errorf("the order of counts changes the result: %v, %v", a, b)
	}
}

func TestValueCounterLimit(t *testing.T) {
	var c valueCounter
	for v := range uint64(maxDistinct + 10) {
		c.add(v)
	}
	c.add(0) // a known value still counts as itself
	if len(c.counts) != maxDistinct || c.rest != 10 || c.counts[0] != 2 || c.total != maxDistinct+11 {
		t.Errorf("%d values, %d pooled, %d of the first, %d in all", len(c.counts), c.rest, c.counts[0], c.total)
	}
	if h := c.entropy(); h > math.Log2(maxDistinct+10) || h < 17.9 {
		t.Errorf("entropy %v, want a little below %v", h, math.Log2(maxDistinct+10))
	}
}
