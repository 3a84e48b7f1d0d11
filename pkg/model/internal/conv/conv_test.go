package conv

import (
	"math/rand/v2"
	"testing"
)

func TestCorrelate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ n, taps int }{{1, 1}, {8, 5}, {9, 40}, {100, 3}, {3001, 40}, {17, 11}} {
		x := random(r, Reach(c.n, c.taps))
		w := PadTaps(random(r, c.taps))
		dst := random(r, RoundUp(c.n, Lanes))
		want := append([]float32(nil), dst...)
		for j := range want {
			for i, v := range w {
				want[j] += v * x[j+i]
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
	x, w := random(r, Reach(200, 40)), random(r, 40)
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

func BenchmarkCorrelate40(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	x, w, dst := random(r, Reach(480, 40)), random(r, 40), make([]float32, 480)
	for b.Loop() {
		Correlate(dst, x, w, 480)
	}
	b.ReportMetric(480*40/float64(b.Elapsed().Nanoseconds())*float64(b.N), "MAC/ns")
}

func BenchmarkCorrelate5(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	x, w, dst := random(r, Reach(480, 5)), random(r, 5), make([]float32, 480)
	for b.Loop() {
		Correlate(dst, x, w, 480)
	}
	b.ReportMetric(480*5/float64(b.Elapsed().Nanoseconds())*float64(b.N), "MAC/ns")
}
