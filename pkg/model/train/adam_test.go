package train

import (
	"math"
	"testing"
)

// The averaged values are those of the definition: each step's count for 1 - decay,
// and for more at first.
func TestAveragedValues(t *testing.T) {
	for _, decay := range []float64{0.3, 0.999} {
		values := [][]float32{{3, 1}}
		a := newAverage(decay, values)
		want := 3.0
		for step := 1.0; step <= 8; step++ {
			values[0][0] = float32(step * step)
			a.step(values, uint64(step))
			keep := min(decay, (1+step)/(10+step))
			want = keep*want + (1-keep)*step*step
			if got := float64(a.values[0][0]); math.Abs(got-want) > 1e-4 {
				t.Fatalf("decay %v, step %v: %v, want %v", decay, step, got, want)
			}
		}
		if a.values[0][1] != 1 {
			t.Errorf("decay %v: the average of 1 is %v", decay, a.values[0][1])
		}
	}
	if a := newAverage(0, [][]float32{{3}}); len(a.values) != 0 {
		t.Error("there is an average without a decay")
	}
}
