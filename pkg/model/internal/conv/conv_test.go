package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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

// Rows that become constant, each at a column of its own: the sums are those of
// the definition, and the same to the bit when the constants are computed too.
func TestConvolveRows(t *testing.T) {
	const planes, filters = 2, 3
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(17, 18))
		for _, c := range []struct {
			taps, n int
			cols    []int
		}{
			{5, 1, []int{1}}, {5, 24, []int{24, 0, 7}}, {5, 25, []int{3, 25, 24}}, {5, 100, []int{48, 100, 49}},
			{5, 96, []int{100, 96, 97}}, {7, 60, []int{60, 0}}, {1, 48, []int{0, 0, 48, 24}}, {40, 333, []int{333, 200}},
		} {
			constant := random(r, planes)
			var xs, full [][]float32
			var all []int
			for _, cols := range c.cols {
				for i := range planes {
					long := random(r, RowsReach(max(c.n, cols), c.taps))
					Fill(long[cols:], constant[i])
					full = append(full, long)
					xs = append(xs, guarded(t, long[:RowsReach(cols, c.taps)]))
				}
				all = append(all, max(c.n, cols))
			}
			kernels := make([][][]float32, filters)
			var dst, whole [][]float32
			for f := range kernels {
				for range full {
					kernels[f] = append(kernels[f], PadTaps(random(r, c.taps)))
				}
				dst = append(dst, guarded(t, random(r, RoundUp(c.n, Tile))))
				whole = append(whole, make([]float32, RoundUp(c.n, Tile)))
			}
			bias := random(r, filters)
			bank := p.NewRowBank(kernels, bias, constant)
			p.ConvolveRows(dst, xs, c.cols, &bank, c.n)
			p.ConvolveRows(whole, full, all, &bank, c.n)
			for f := range dst {
				for j, v := range dst[f][:c.n] {
					if want := float64(bias[f]) + correlation(full, kernels[f], j); math.Abs(float64(v)-want) > 1e-5 {
						t.Fatalf("%+v, filter %d: column %d is %v, want %v", c, f, j, v, want)
					}
					if math.Float32bits(v) != math.Float32bits(whole[f][j]) {
						t.Fatalf("%+v, filter %d: column %d is %v, and %v with all constants computed", c, f, j, v, whole[f][j])
					}
				}
			}
		}
	})
}

// What vector code lists is what plain Go lists, in the same blocks.
func TestList(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(15, 16))
		for _, filters := range []int{1, 2, 3} {
			for _, cols := range []int{0, 1, 7, 8, 9, 31, 32, 33, 64, 100, 333} {
				got, want := NewLive((2*cols+5)*filters), NewLive((2*cols+5)*filters)
				for range 2 { // the second time over what the first left
					got.Reset()
					want.Reset()
					for _, part := range []struct{ cols, first int }{{cols, 3}, {cols + 5, 3 + cols*filters}} {
						var planes [][]float32
						for range filters {
							planes = append(planes, guarded(t, notNegative(r, part.cols)))
						}
						p.List(&got, planes, part.cols, part.first)
						Go.List(&want, planes, part.cols, part.first)
						checkList(t, &want, planes, part.cols, part.first)
					}
				}
				if n := want.ends[len(want.ends)-1]; !slices.Equal(got.ends, want.ends) || got.rows != want.rows ||
					!slices.Equal(got.index[:n], want.index[:n]) || !slices.Equal(got.value[:n], want.value[:n]) {
					t.Fatalf("%d planes of %d columns: the list is %+v, want %+v", filters, cols, got, want)
				}
			}
		}
	})
}

// checkList checks that the end of a list is what is not zero of the planes.
func checkList(t *testing.T, l *Live, planes [][]float32, cols, first int) {
	t.Helper()
	values := map[int32]float32{}
	for f, p := range planes {
		for c, v := range p[:cols] {
			if v != 0 {
				values[int32(first+c*len(planes)+f)] = v
			}
		}
	}
	end := 0
	if len(l.ends) > 0 {
		end = l.ends[len(l.ends)-1]
	}
	from := end - len(values)
	for i, row := range l.index[from:end] {
		if v := l.value[from+i]; v != values[row] || v == 0 {
			t.Fatalf("row %d has the value %v in the list, want %v", row, v, values[row])
		}
		delete(values, row)
	}
	if len(values) != 0 {
		t.Fatalf("not in the list: %v", values)
	}
}

func TestDense(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, width := range []int{1, 8, 9, 16, 27, 32, 40, 100, 104, 128, 210} {
			for _, inputs := range []int{0, 1, 3, 16, 17, 64, 333} {
				testDense(t, p, r, width, inputs)
			}
		}
	})
}

// testDense runs lists of up to inputs columns through a layer, together and each
// alone.
func testDense(t *testing.T, p Path, r *rand.Rand, width, inputs int) {
	padded := RoundUp(width, Lanes)
	var w []float32
	if inputs > 0 {
		w = random(r, (2*inputs+1)*width)
	}
	rows := guarded(t, PadRows(w, width))
	var planes, before, together, alone [][]float32
	var lists []Live
	for i := range 3 {
		cols := max(0, inputs-20*i)
		planes = append(planes, notNegative(r, inputs), notNegative(r, inputs))
		l := NewLive(2 * inputs)
		l.Reset()
		p.List(&l, planes[2*i:2*i+2], cols, 1)
		clear(planes[2*i][cols:])
		clear(planes[2*i+1][cols:])
		lists = append(lists, l)
		before = append(before, random(r, padded))
		together = append(together, guarded(t, before[i]))
		alone = append(alone, slices.Clone(before[i]))
	}
	p.Dense(together, rows, lists)
	for i := range lists {
		p.Dense(alone[i:i+1], rows, lists[i:i+1])
		for h, v := range together[i] {
			if math.Float32bits(v) != math.Float32bits(alone[i][h]) {
				t.Fatalf("width %d, %d inputs: output %d of list %d is %v, and %v alone", width, inputs, h, i, v, alone[i][h])
			}
			want := float64(before[i][h])
			for f, x := range planes[2*i : 2*i+2] {
				for c, u := range x {
					if h < width {
						want += float64(u) * float64(w[(1+2*c+f)*width+h])
					}
				}
			}
			if math.Abs(float64(v)-want) > 1e-6*float64(2*inputs+10) {
				t.Fatalf("width %d, %d inputs: output %d of list %d is %v, want %v", width, inputs, h, i, v, want)
			}
		}
	}
}

func TestOctets(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		for n := range 300 {
			src := make([]byte, n)
			for i := range src {
				src[i] = byte(i + n)
			}
			dst := guarded(t, make([]float32, n))
			p.octets(dst, src)
			for i, b := range src {
				if want := float32(float64(b) / 255); dst[i] != want {
					t.Fatalf("%d octets: %d is %v, want %v", n, b, dst[i], want)
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
					src := guarded(t, random(r, n*width+slack))
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
	rows := Go.NewRowBank([][][]float32{{kernel[0], kernel[0]}}, random(r, 1), random(r, 1)) // two rows of one plane
	live := NewLive(4)
	live.Reset()
	Go.List(&live, [][]float32{{1, 1}}, 2, 0)
	lists := []Live{live}
	for name, call := range map[string]func(p Path){
		"correlate, input":  func(p Path) { p.Correlate(make([]float32, n), short, kernel, n) },
		"correlate, output": func(p Path) { p.Correlate(make([]float32, n-1), enough, kernel, n) },
		"correlate, kernel": func(p Path) {
			p.Correlate(make([]float32, n), [][]float32{enough[0], enough[0]}, [][]float32{kernel[0], kernel[0][:4:4]}, n)
		},
		"convolve, input":  func(p Path) { p.Convolve([][]float32{make([]float32, n)}, short, &bank, n) },
		"convolve, output": func(p Path) { p.Convolve([][]float32{make([]float32, n-1)}, enough, &bank, n) },
		"convolve, planes": func(p Path) { p.Convolve([][]float32{make([]float32, n)}, nil, &bank, n) },
		"rows, input": func(p Path) {
			p.ConvolveRows([][]float32{make([]float32, n)}, [][]float32{enough[0], make([]float32, 28)}, []int{24, 24}, &rows, 24)
		},
		"rows, output": func(p Path) {
			p.ConvolveRows([][]float32{make([]float32, 23)}, [][]float32{enough[0], enough[0]}, []int{24, 24}, &rows, 24)
		},
		"rows, planes": func(p Path) { p.ConvolveRows([][]float32{make([]float32, n)}, enough, []int{24, 24}, &rows, 24) },
		"rows, columns": func(p Path) {
			p.ConvolveRows([][]float32{make([]float32, n)}, [][]float32{enough[0], enough[0]}, []int{24}, &rows, 24)
		},
		"dense":         func(p Path) { p.Dense([][]float32{make([]float32, 8)}, make([]float32, 15), lists) },
		"list, room":    func(p Path) { p.List(&live, [][]float32{make([]float32, 8)}, 8, 0) },
		"list, columns": func(p Path) { p.List(&live, [][]float32{{}, {1}}, 1, 0) },
		"max":           func(p Path) { p.Max(make([]float32, 8), make([]float32, 7)) },
		"pool":          func(p Path) { p.Pool(make([]float32, 9), make([]float32, 26), 3) },
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

// Three rows of the paper's two planes, the lengths of successive rows.
func BenchmarkConv2(b *testing.B) {
	const n, taps, planes, filters = 480, 5, 2, 2
	r := rand.New(rand.NewPCG(1, 2))
	cols := []int{n, n / 2, n}
	var xs [][]float32
	kernels, macs := make([][][]float32, filters), 0
	for _, c := range cols {
		macs += c * taps * planes * filters
		for range planes {
			xs = append(xs, random(r, RowsReach(n, taps)))
			for f := range kernels {
				kernels[f] = append(kernels[f], random(r, taps))
			}
		}
	}
	dst := [][]float32{make([]float32, n), make([]float32, n)}
	banks, bias, constant := map[Path]RowBank{}, random(r, filters), random(r, planes)
	for _, p := range Paths() {
		banks[p] = p.NewRowBank(kernels, bias, constant)
	}
	benchmark(b, macs, func(p Path) {
		bank := banks[p]
		p.ConvolveRows(dst, xs, cols, &bank, n)
	})
}

func BenchmarkConv1(b *testing.B) { benchmarkConvolve(b, 40, 1) }

func BenchmarkCorrelate(b *testing.B) {
	const n, taps = 480, 40
	r := rand.New(rand.NewPCG(1, 2))
	xs, ws := [][]float32{random(r, Reach(n, taps))}, [][]float32{random(r, taps)}
	dst := make([]float32, n)
	benchmark(b, n*taps, func(p Path) { p.Correlate(dst, xs, ws, n) })
}

func BenchmarkList(b *testing.B) {
	const inputs = 999
	r := rand.New(rand.NewPCG(1, 2))
	planes, live := [][]float32{notNegative(r, inputs), notNegative(r, inputs)}, NewLive(2*inputs)
	benchmark(b, 2*inputs, func(p Path) {
		live.Reset()
		p.List(&live, planes, inputs, 0)
	})
}

// benchmarkDense runs as many lists as windows through a layer of the paper's size.
func benchmarkDense(b *testing.B, windows int) {
	const inputs, width = 999, 104
	r := rand.New(rand.NewPCG(1, 2))
	w := random(r, 2*inputs*width)
	var dst [][]float32
	var lists []Live
	for range windows {
		live := NewLive(2 * inputs)
		live.Reset()
		Go.List(&live, [][]float32{notNegative(r, inputs), notNegative(r, inputs)}, inputs, 0)
		dst, lists = append(dst, make([]float32, width)), append(lists, live)
	}
	benchmark(b, 2*inputs*width*windows, func(p Path) { p.Dense(dst, w, lists) })
}

func BenchmarkDense1(b *testing.B)  { benchmarkDense(b, 1) }
func BenchmarkDense8(b *testing.B)  { benchmarkDense(b, 8) }
func BenchmarkDense16(b *testing.B) { benchmarkDense(b, 16) }

func BenchmarkPool(b *testing.B) {
	const n = 300
	r := rand.New(rand.NewPCG(1, 2))
	src, dst := notNegative(r, 3*n+8), make([]float32, n)
	benchmark(b, 3*n, func(p Path) { p.Pool(dst, src, 3) })
}
