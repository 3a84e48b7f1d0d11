package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// guarded is a copy of v whose last value ends a page, with pages before and
// behind that fault when they are touched: what vector code reads or writes past
// an end ends the test.
func guarded(t *testing.T, v []float32) []float32 {
	t.Helper()
	page := syscall.Getpagesize()
	size := RoundUp(4*len(v)+1, page)
	mem, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	for _, p := range [][]byte{mem[:page], mem[page+size:]} {
		if err := syscall.Mprotect(p, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	end := mem[page+size-4*len(v) : page+size]
	g := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(end))), len(v))
	copy(g, v)
	return g
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = r.Float32()*2 - 1
	}
	return v
}

// notNegative is random with half of the values 0.
func notNegative(r *rand.Rand, n int) []float32 {
	v := random(r, n)
	reluGo(v)
	return v
}

func onEachPath(t *testing.T, test func(t *testing.T, p Path)) {
	for _, p := range Paths() {
		t.Run(p.String(), func(t *testing.T) { test(t, p) })
	}
}

// correlation is sum over p and t of ws[p][t]*xs[p][j+t], in float64.
func correlation(xs, ws [][]float32, j int) float64 {
	sum := 0.0
	for p, w := range ws {
		for i, v := range w {
			sum += float64(v) * float64(xs[p][j+i])
		}
	}
	return sum
}

func near(got float32, want float64) bool { return math.Abs(float64(got)-want) <= 1e-5 }

// sizes are column counts, kernel widths and planes: the network's own, those
// around a tile's end, and others.
var sizes = []struct{ n, taps, planes int }{
	{1, 1, 1}, {8, 5, 6}, {9, 40, 1}, {24, 40, 1}, {25, 5, 6}, {32, 40, 1}, {33, 5, 6}, {40, 40, 2}, {41, 7, 1},
	{63, 5, 6}, {64, 5, 6}, {65, 5, 6}, {100, 3, 2}, {440, 40, 1}, {3001, 40, 1}, {2997, 5, 6}, {40, 3000, 1}, {17, 11, 3}, {9, 0, 1}, {8, 5, 0},
}

func TestCorrelate(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, c := range sizes {
			var xs, ws [][]float32
			for range c.planes {
				xs = append(xs, guarded(t, random(r, Reach(c.n, c.taps)-1)))
				ws = append(ws, guarded(t, PadTaps(random(r, c.taps))))
			}
			before := random(r, RoundUp(c.n, Lanes))
			dst := guarded(t, before)
			p.Correlate(dst, xs, ws, c.n)
			for j, v := range dst {
				if want := float64(before[j]) + correlation(xs, ws, j); math.Abs(float64(v)-want) > 1e-6*float64(c.taps*c.planes+10) {
					t.Fatalf("%+v: column %d is %v, want %v", c, j, v, want)
				}
			}
		}
	})
}

func TestConvolve(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, c := range sizes {
			if c.taps == 0 || c.planes == 0 {
				continue // no layer's kernel is empty
			}
			for filters := 1; filters <= 4; filters++ {
				var xs, dst [][]float32
				for range c.planes {
					xs = append(xs, guarded(t, random(r, Reach(c.n, c.taps)-1)))
				}
				kernels := make([][][]float32, filters)
				for f := range kernels {
					for range c.planes {
						w := random(r, c.taps)
						for i := range w {
							w[i] /= float32(c.taps)
						}
						kernels[f] = append(kernels[f], PadTaps(w))
					}
					dst = append(dst, guarded(t, random(r, RoundUp(c.n, Lanes))))
				}
				bias := random(r, filters)
				bank := NewBank(kernels, bias)
				p.Convolve(dst, xs, &bank, c.n)
				for f := range dst {
					for j, v := range dst[f] {
						if want := max(0, float64(bias[f])+correlation(xs, kernels[f], j)); !near(v, want) {
							t.Fatalf("%+v, filter %d of %d: column %d is %v, want %v", c, f+1, filters, j, v, want)
						}
					}
				}
			}
		}
	})
}

// A column's bits must not depend on how many columns are computed with it.
func TestSameBitsForAnyLength(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(3, 4))
		const most = 200
		xs, ws := [][]float32{random(r, Reach(most, 40))}, [][]float32{random(r, 40)}
		bank := NewBank([][][]float32{ws}, random(r, 1))
		correlated, convolved := make([]float32, most), make([]float32, most)
		p.Correlate(correlated, xs, ws, most)
		p.Convolve([][]float32{convolved}, xs, &bank, most)
		for n := 1; n < most; n++ {
			one, other := make([]float32, RoundUp(n, Lanes)), make([]float32, RoundUp(n, Lanes))
			p.Correlate(one, xs, ws, n)
			p.Convolve([][]float32{other}, xs, &bank, n)
			for j := range one {
				if one[j] != correlated[j] || other[j] != convolved[j] {
					t.Fatalf("n %d: column %d is %v and %v, want %v and %v", n, j, one[j], other[j], correlated[j], convolved[j])
				}
			}
		}
	})
}

func TestDense(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, width := range []int{1, 3, 7, 8, 9, 16, 27, 31, 100, 128} {
			for _, inputs := range []int{0, 1, 3, 4, 5, 64, 333} {
				planes := [][]float32{notNegative(r, inputs), notNegative(r, inputs)}
				w := guarded(t, random(r, (2*inputs+1)*width))
				before := random(r, width)
				dst := guarded(t, before)
				live := NewLive(2 * inputs)
				live.Reset()
				live.Add(planes, inputs, 1)
				if inputs == 0 {
					w = nil
				}
				p.Dense(dst, w, &live)
				for h, v := range dst {
					want := float64(before[h])
					for f, p := range planes {
						for c, u := range p {
							want += float64(u) * float64(w[(1+2*c+f)*width+h])
						}
					}
					if math.Abs(float64(v)-want) > 1e-6*float64(2*inputs+10) {
						t.Fatalf("width %d, %d inputs: output %d is %v, want %v", width, inputs, h, v, want)
					}
				}
			}
		}
	})
}

func TestFill(t *testing.T) {
	for n := range 100 {
		s := make([]float32, n+1)
		Fill(s[:n], 7)
		for i, v := range s {
			if want := map[bool]float32{true: 7}[i < n]; v != want {
				t.Fatalf("%d values: value %d is %v, want %v", n, i, v, want)
			}
		}
	}
}

func TestMax(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(9, 10))
		for n := range 70 {
			before, src := notNegative(r, n), guarded(t, notNegative(r, n))
			dst := guarded(t, before)
			p.Max(dst, src)
			for i, v := range dst {
				if want := max(before[i], src[i]); v != want {
					t.Fatalf("%d values: value %d is %v, want %v", n, i, v, want)
				}
			}
		}
	})
}

func TestPool(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(11, 12))
		for _, width := range []int{1, 2, 3, 4, 100} {
			for n := range 40 {
				for _, slack := range []int{0, 1, 2, 5} {
					src := guarded(t, notNegative(r, n*width+slack))
					dst := guarded(t, random(r, n))
					p.Pool(dst, src, width)
					for i, v := range dst {
						want := float32(0)
						for _, u := range src[i*width:][:width] {
							want = max(want, u)
						}
						if v != want {
							t.Fatalf("width %d, %d stretches and %d values: maximum %d is %v, want %v", width, n, slack, i, v, want)
						}
					}
				}
			}
		}
	})
}

// Vector code checks no bounds, so its callers must.
func TestShortSlicesPanic(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	const n, taps = 32, 5
	kernel := [][]float32{random(r, taps)}
	bank := NewBank([][][]float32{kernel}, random(r, 1))
	enough := [][]float32{random(r, Reach(n, taps))}
	short := [][]float32{make([]float32, n+taps-2)}
	live := NewLive(4)
	live.Reset()
	live.Add([][]float32{{1, 1}}, 2, 0)
	for name, call := range map[string]func(p Path){
		"correlate, input":  func(p Path) { p.Correlate(make([]float32, n), short, kernel, n) },
		"correlate, output": func(p Path) { p.Correlate(make([]float32, n-1), enough, kernel, n) },
		"correlate, kernel": func(p Path) {
			p.Correlate(make([]float32, n), [][]float32{enough[0], enough[0]}, [][]float32{kernel[0], kernel[0][:4:4]}, n)
		},
		"convolve, input":  func(p Path) { p.Convolve([][]float32{make([]float32, n)}, short, &bank, n) },
		"convolve, output": func(p Path) { p.Convolve([][]float32{make([]float32, n-1)}, enough, &bank, n) },
		"convolve, planes": func(p Path) { p.Convolve([][]float32{make([]float32, n)}, nil, &bank, n) },
		"dense":            func(p Path) { p.Dense(make([]float32, 8), make([]float32, 15), &live) },
		"max":              func(p Path) { p.Max(make([]float32, 8), make([]float32, 7)) },
		"pool":             func(p Path) { p.Pool(make([]float32, 9), make([]float32, 26), 3) },
	} {
		for _, p := range Paths() {
			t.Run(fmt.Sprintf("%s/%s", name, p), func(t *testing.T) {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				call(p)
			})
		}
	}
}

// benchmark runs every path over the same input, so that one run shows ratios.
func benchmark(b *testing.B, macs int, run func(p Path)) {
	for _, p := range Paths() {
		b.Run(p.String(), func(b *testing.B) {
			for b.Loop() {
				run(p)
			}
			b.ReportMetric(float64(macs)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "MAC/ns")
		})
	}
}

func benchmarkConvolve(b *testing.B, taps, planes int) {
	const n, filters = 480, 2
	r := rand.New(rand.NewPCG(1, 2))
	var xs [][]float32
	var kernels [][][]float32
	for range planes {
		xs = append(xs, random(r, Reach(n, taps)))
	}
	for range filters {
		var kernel [][]float32
		for range planes {
			kernel = append(kernel, PadTaps(random(r, taps)))
		}
		kernels = append(kernels, kernel)
	}
	bank := NewBank(kernels, random(r, filters))
	dst := [][]float32{make([]float32, n), make([]float32, n)}
	benchmark(b, n*taps*planes*filters, func(p Path) { p.Convolve(dst, xs, &bank, n) })
}

func BenchmarkConv1(b *testing.B) { benchmarkConvolve(b, 40, 1) }
func BenchmarkConv2(b *testing.B) { benchmarkConvolve(b, 5, 6) }

func BenchmarkCorrelate(b *testing.B) {
	const n, taps = 480, 40
	r := rand.New(rand.NewPCG(1, 2))
	xs, ws := [][]float32{random(r, Reach(n, taps))}, [][]float32{random(r, taps)}
	dst := make([]float32, n)
	benchmark(b, n*taps, func(p Path) { p.Correlate(dst, xs, ws, n) })
}

func BenchmarkDense(b *testing.B) {
	const inputs, width = 1998, 100
	r := rand.New(rand.NewPCG(1, 2))
	x, w, dst := notNegative(r, inputs), random(r, inputs*width), make([]float32, width)
	live := NewLive(inputs)
	benchmark(b, inputs*width, func(p Path) {
		live.Reset()
		live.Add([][]float32{x}, inputs, 0)
		p.Dense(dst, w, &live)
	})
}

func BenchmarkPool(b *testing.B) {
	const n = 300
	r := rand.New(rand.NewPCG(1, 2))
	src, dst := notNegative(r, 3*n+8), make([]float32, n)
	benchmark(b, 3*n, func(p Path) { p.Pool(dst, src, 3) })
}
