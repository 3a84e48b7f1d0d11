package learn

import (
	"math"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// dropped is the trunk's output with dropout for one window, many times over.
func trunkMean(t *testing.T, arch cnn.Architecture, rounds int) (mean []float64, zero []float64) {
	t.Helper()
	m, b, windows, _ := fixture(t, arch, 2, 1)
	theta := slices.Concat(modeltest.Net(m).Weights.Conv1, modeltest.Net(m).Weights.Conv1Bias, modeltest.Net(m).Weights.Conv2, modeltest.Net(m).Weights.Conv2Bias)
	out := make([]float32, 2*b.Flat)
	mean, zero = make([]float64, b.Flat), make([]float64, b.Flat)
	for range rounds {
		if err := b.load(windows, b.step+1); err != nil {
			t.Fatal(err)
		}
		b.Forward(theta, out)
		for i, v := range out[b.Flat:] {
			mean[i] += float64(v) / float64(rounds)
			if v == 0 {
				zero[i] += 1 / float64(rounds)
			}
		}
	}
	return mean, zero
}

// With a pool of one value the mean over masks is the value itself, in the head
// and in the padding alike, and a share p is 0; so for other p than 0.5 too.
func TestDropoutKeepsTheMean(t *testing.T) {
	for _, p := range []float64{0.5, 0.2} {
		arch := cnn.DefaultArchitecture(5)
		arch.Pool = [2]int{1, 1}
		arch.Hidden = 2
		arch.Dropout = 0
		want, dead := trunkMean(t, arch, 1)
		arch.Dropout = p
		const rounds = 2000
		got, zero := trunkMean(t, arch, rounds)
		worst, share, live := 0.0, 0.0, 0.0
		for i, w := range want {
			if dead[i] == 1 {
				if got[i] != 0 {
					t.Fatalf("p %v: value %d is %v, want 0", p, i, got[i])
				}
				continue
			}
			worst = max(worst, math.Abs(got[i]-w)/w)
			share += zero[i]
			live++
		}
		if live == 0 || worst > 6*math.Sqrt(p/(1-p)/rounds) {
			t.Errorf("p %v: over %v values a mean is %.3f of its value away", p, live, worst)
		}
		if math.Abs(share/live-p) > 0.01 {
			t.Errorf("p %v: a share %.3f is dropped", p, share/live)
		}
	}
}

// fixedMasks is the weighted sum of a window's trunk outputs by definition, in
// float64, with the maxima where the last forward pass found them.
func fixedMasks(s shape, in *instance, theta []float32, p float64, weight []float32) float64 {
	w1, b1, w2, b2 := s.split(theta)
	f1, f2 := s.Filters[0], s.Filters[1]
	conv1 := func(row, col, f int) float64 {
		v := float64(b1[f])
		for t := range s.Kernel1 {
			v += float64(w1[t*f1+f]) * float64(in.rows[row][col+t])
		}
		return max(v, 0)
	}
	sum := 0.0
	for i, from := range in.source {
		if from == noSource {
			continue
		}
		place, f := i/f2, i%f2
		row, col := int(from)/s.Cols2, int(from)%s.Cols2
		if place%s.PoolCols >= in.head { // all values of the pool are the same
			row, col = place/s.PoolCols*s.Pool[0], place%s.PoolCols*s.Pool[1]
		}
		v := float64(b2[f])
		for y := range s.Kernel2[0] {
			for x := range s.Kernel2[1] {
				for c := range f1 {
					v += float64(w2[((y*s.Kernel2[1]+x)*f1+c)*f2+f]) * conv1(row+y, col+x, c)
				}
			}
		}
		sum += max(v, 0) / (1 - p) * float64(weight[i])
	}
	return sum
}

// With the masks fixed, the output is the definition's and the gradient its slope.
func TestDropoutGradientIsASlope(t *testing.T) {
	for _, p := range []float64{0.5, 0.2} {
		arch := cnn.DefaultArchitecture(5)
		arch.Dropout = p
		m, b, windows, _ := fixture(t, arch, 3, 1)
		theta := slices.Concat(modeltest.Net(m).Weights.Conv1, modeltest.Net(m).Weights.Conv1Bias, modeltest.Net(m).Weights.Conv2, modeltest.Net(m).Weights.Conv2Bias)
		out, weight := make([]float32, b.Flat), make([]float32, b.Flat)
		for i := range weight {
			weight[i] = float32(i%7) / 7e3
		}
		if err := b.load(windows[2:], b.step+1); err != nil {
			t.Fatal(err)
		}
		b.windows = b.windows[:1]
		b.Forward(theta, out)
		grad := make([]float32, b.parameters())
		b.Backward(weight, grad)
		in, got := b.windows[0], 0.0
		for i, v := range out {
			got += float64(v) * float64(weight[i])
		}
		if want := fixedMasks(b.shape, in, theta, p, weight); math.Abs(got-want) > 1e-5*want {
			t.Errorf("p %v: output %v, want %v", p, got, want)
		}
		size := farthest(grad, make([]float32, len(grad)))
		for _, i := range []int{0, 33, 79, 80, 81, 82, 111, 141, 142, 143} {
			const h = 1.0 / (1 << 14)
			old := theta[i]
			theta[i] = old + h
			up := fixedMasks(b.shape, in, theta, p, weight)
			theta[i] = old - h
			down := fixedMasks(b.shape, in, theta, p, weight)
			theta[i] = old
			if slope := (up - down) / (2 * h); math.Abs(slope-float64(grad[i])) > 0.005*size {
				t.Errorf("p %v parameter %d: gradient %g, slope %g, largest %g", p, i, grad[i], slope, size)
			}
		}
	}
}
