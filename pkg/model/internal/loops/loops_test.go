package loops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
)

// both runs a test in plain Go and, where there is one, in assembly.
func both(t *testing.T, test func(t *testing.T, r *rand.Rand)) {
	for _, assembly := range []bool{false, true} {
		if assembly && !fast {
			continue
		}
		t.Run(fmt.Sprintf("assembly=%v", assembly), func(t *testing.T) {
			defer choose(assembly)()
			test(t, rand.New(rand.NewPCG(1, 2)))
		})
	}
}

// guard is a value that no loop may overwrite, behind every slice.
const guard = 12345

// random are n values with a sixth of zeros, and room behind them.
func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n+Lanes)
	for i := range v {
		v[i] = guard
		if i < n && r.IntN(6) > 0 {
			v[i] = r.Float32()*2 - 1
		} else if i < n {
			v[i] = 0
		}
	}
	return v[:n]
}

// near compares with values in float64 and looks for the guard.
func near(t *testing.T, name string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	for i, v := range got {
		if d := math.Abs(float64(v) - want[i]); !(d <= tolerance) {
			t.Fatalf("%s[%d] is %v, want %v", name, i, v, want[i])
		}
	}
	for i, v := range got[len(got) : len(got)+Lanes] {
		if v != guard {
			t.Fatalf("%s: %v written %d behind its end", name, v, i)
		}
	}
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

func TestKeepMax(t *testing.T) {
	both(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{0, 8, 16, 104} {
			best, from, want, place := random(r, n), make([]int32, n), make([]float64, n), make([]int32, n)
			for i := range best {
				best[i] = max(best[i], 0)
				want[i] = float64(best[i])
			}
			for round := range 3 {
				x, keep := random(r, n), make([]byte, n/8)
				for i := range keep {
					keep[i] = byte(r.Uint32())
				}
				for i, v := range x {
					if keep[i/8]>>(i%8)&1 == 1 && float64(v) > want[i] {
						want[i], place[i] = float64(v), int32(1000*round+i)
					}
				}
				KeepMax(best, from, x, keep, int32(1000*round))
			}
			near(t, "best", best, want, 0)
			for i, p := range from {
				if p != place[i] {
					t.Fatalf("the maximum %d of %d comes from %d, want %d", i, n, p, place[i])
				}
			}
		}
	})
}

func TestScatter(t *testing.T) {
	both(t, func(t *testing.T, r *rand.Rand) {
		for _, c := range []struct{ rows, taps, stride int }{{0, 8, 1}, {1, 8, 0}, {6, 8, 50}, {2, 16, 20}} {
			n := max(0, (c.rows-1)*c.stride+c.taps)
			gw, w, d, x := random(r, c.rows*c.taps), random(r, c.rows*c.taps), random(r, n), random(r, n)
			wantGW, wantD := wide(gw), wide(d)
			const v = 0.75
			for p := range c.rows {
				for tap := range c.taps {
					wantGW[p*c.taps+tap] += v * float64(x[p*c.stride+tap])
					wantD[p*c.stride+tap] += v * float64(w[p*c.taps+tap])
				}
			}
			Scatter(gw, d, x, w, c.stride, c.taps, v)
			near(t, "gw", gw, wantGW, 1e-6)
			near(t, "d", d, wantD, 1e-6)
		}
	})
}

func TestMaskSum(t *testing.T) {
	both(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{0, 8, 24, 320} {
			d, a := random(r, n), random(r, n)
			want, sum := wide(d), 0.0
			for i, v := range a {
				if v == 0 {
					want[i] = 0
				}
				sum += want[i]
			}
			got := MaskSum(d, a)
			near(t, "d", d, want, 0)
			if math.Abs(float64(got)-sum) > 1e-5 {
				t.Errorf("the sum of %d is %v, want %v", n, got, sum)
			}
		}
	})
}

func TestKernelGradient(t *testing.T) {
	both(t, func(t *testing.T, r *rand.Rand) {
		for _, c := range []struct{ n, taps int }{{0, 40}, {8, 40}, {96, 40}, {16, 5}, {24, 48}, {8, 83}} {
			g, d, x := random(r, c.taps), random(r, c.n), random(r, c.n+c.taps)
			want := wide(g)
			for tap := range want {
				for j, v := range d {
					want[tap] += float64(v) * float64(x[j+tap])
				}
			}
			KernelGradient(g, d, x)
			near(t, "g", g, want, 1e-5)
		}
	})
}

func TestAdam(t *testing.T) {
	both(t, func(t *testing.T, r *rand.Rand) {
		s := &AdamStep{Beta1: 0.9, OneMinusBeta1: 0.1, Beta2: 0.999, OneMinusBeta2: 0.001, Rate: 0.01, Scale: 3, Epsilon: 1e-8}
		for _, n := range []int{0, 5, 8, 83} {
			w, m, v, g := random(r, n), random(r, n), random(r, n), random(r, n)
			wantW, wantM, wantV := wide(w), wide(m), wide(v)
			for i := range v {
				v[i] = v[i] * v[i]
				wantV[i] = 0.999*float64(v[i]) + 0.001*float64(g[i])*float64(g[i])
				wantM[i] = 0.9*wantM[i] + 0.1*float64(g[i])
				wantW[i] -= 0.01 * wantM[i] / (math.Sqrt(wantV[i])*3 + 1e-8)
			}
			Adam(s, w, m, v, g)
			near(t, "m", m, wantM, 1e-6)
			near(t, "v", v, wantV, 1e-6)
			for i := range w {
				if wantV[i] == 0 {
					wantW[i] = float64(w[i]) // 0/epsilon: no figure to compare
				}
			}
			near(t, "w", w, wantW, 1e-4)
			near(t, "g", g, make([]float64, n), 0)
		}
	})
}

func TestSgemm(t *testing.T) {
	both(t, func(t *testing.T, r *rand.Rand) {
		for _, c := range []struct{ m, n, k int }{{64, 100, 600}, {300, 100, 64}, {64, 27, 100}, {4, 16, 1}, {5, 17, 300}, {3, 3, 3}, {7, 40, 257}} {
			for _, tA := range []blas.Transpose{blas.NoTrans, blas.Trans} {
				for _, tB := range []blas.Transpose{blas.NoTrans, blas.Trans} {
					a, b, out := random(r, c.m*c.k), random(r, c.k*c.n), random(r, c.m*c.n)
					lda, ldb := c.k, c.n
					if tA == blas.Trans {
						lda = c.m
					}
					if tB == blas.Trans {
						ldb = c.k
					}
					A, B := stored(a, lda, tA), stored(b, ldb, tB)
					want := make([]float64, c.m*c.n)
					for i := range c.m {
						for l := range c.k {
							x := float64(A.data[i*A.row+l*A.column])
							for j := range c.n {
								want[i*c.n+j] += x * float64(B.data[l*B.row+j*B.column])
							}
						}
					}
					BLAS{}.Sgemm(tA, tB, c.m, c.n, c.k, 1, a, lda, b, ldb, 0, out, c.n)
					near(t, fmt.Sprintf("%d x %d x %d %c %c", c.m, c.n, c.k, tA, tB), out, want, 1e-4)
				}
			}
		}
	})
}

// choose sets which loops run until the function it returns is called.
func choose(assembly bool) (undo func()) {
	before := fast
	fast = assembly
	return func() { fast = before }
}
