package model_test

import (
	"math"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
)

// Values of a background or reference keep eight significant bits, and pack.
func TestRounded(t *testing.T) {
	for _, v := range []float32{0, 1, -1, 1.0 / 3, -2.7182817, 1e-20, 65504.3} {
		got := model.Rounded(v)
		if off := math.Abs(float64(got - v)); off > math.Abs(float64(v))/(1<<8) || math.Float32bits(got)&(1<<16-1) != 0 {
			t.Errorf("%v is kept as %v", v, got)
		}
	}
}
