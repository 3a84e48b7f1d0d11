package train

import (
	"math"
	"testing"
)

// A background's values keep twelve significant bits, and pack.
func TestRounded(t *testing.T) {
	for _, v := range []float32{0, 1, -1, 1.0 / 3, -2.7182817, 1e-20, 65504.3} {
		got := rounded(v)
		if off := math.Abs(float64(got - v)); off > math.Abs(float64(v))/(1<<12) || math.Float32bits(got)&(1<<12-1) != 0 {
			t.Errorf("%v is kept as %v", v, got)
		}
	}
}
