package conv

import (
	"math/rand/v2"
	"testing"
)

func TestCorrelate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ n, taps, planes int }{{1, 1, 1}, {8, 5, 6}, {9, 40, 1}, {100, 3, 2}, {3001, 40, 1}, {17, 11, 3}} {
		var x, w [][]float32
		for range c.planes {
			x = append(x, random(r, Reach(c.n, c.taps)))
			w = append(w, PadTaps(random(r, c.taps)))
		}
		dst := random(r, RoundUp(c.n, Lanes))
		want := append([]float32(nil), dst...)
		for j := range want {
			for p := range w {
				for i, v := range w[p] {
					want[j] += v * x[p][j+i]
				}
			}
		}
		Correlate(dst, x, w, c.n)
		for j := range want {
			if diff := dst[j] - want[j]; diff > 1e-5 || diff < -1e-5 {
				t.Fatalf("n %d taps %d: column %d is %v, want %v", c.n, c.taps, j, dst[j], want[j])
			}
		}
	}
}

// A column's bits must not depend on how many columns are computed with it.
func TestCorrelateSameBitsForAnyLength(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	x, w := [][]float32{random(r, Reach(200, 40))}, [][]float32{random(r, 40)}
	whole := make([]float32, 200)
	Correlate(whole, x, w, 200)
	for n := 1; n < 200; n += 7 {
		part := make([]float32, RoundUp(n, Lanes))
		Correlate(part, x, w, n)
		for j := range part {
			if part[j] != whole[j] {
				t.Fatalf("n %d: column %d is %v, want %v", n, j, part[j], whole[j])
			}
		}
	}
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = r.Float32()*2 - 1
	}
	return v
}

func benchmark(b *testing.B, taps, planes int) {
	const n = 480
	r := rand.New(rand.NewPCG(1, 2))
	var x, w [][]float32
	for range planes {
		x, w = append(x, random(r, Reach(n, taps))), append(w, PadTaps(random(r, taps)))
	}
	dst := make([]float32, n)
	for b.Loop() {
		Correlate(dst, x, w, n)
	}
	b.ReportMetric(float64(n*taps*planes*b.N)/float64(b.Elapsed().Nanoseconds()), "MAC/ns")
}

func BenchmarkConv1(b *testing.B) { benchmark(b, 40, 1) }
func BenchmarkConv2(b *testing.B) { benchmark(b, 5, 6) }
