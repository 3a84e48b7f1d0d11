package conv

// This file holds the loops in plain Go: the only ones on a CPU without vector
// code here, and what the vector code is tested against.

import "math"

// correlateGo is [Correlate].
func correlateGo(dst []float32, xs, ws [][]float32, n int) {
	for j := 0; j < n; j += Lanes {
		d := (*[Lanes]float32)(dst[j:])
		a0, a1, a2, a3, a4, a5, a6, a7 := d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
		for p, w := range ws {
			x := xs[p]
			for t := 0; t < len(w); t += Taps {
				k := (*[Taps]float32)(w[t:])
				v := (*[Lanes + Taps - 1]float32)(x[j+t:])
				c := k[0]
				a0 += c * v[0]
				a1 += c * v[1]
				a2 += c * v[2]
				a3 += c * v[3]
				a4 += c * v[4]
				a5 += c * v[5]
				a6 += c * v[6]
				a7 += c * v[7]
				c = k[1]
				a0 += c * v[1]
				a1 += c * v[2]
				a2 += c * v[3]
				a3 += c * v[4]
				a4 += c * v[5]
				a5 += c * v[6]
				a6 += c * v[7]
				a7 += c * v[8]
				c = k[2]
				a0 += c * v[2]
				a1 += c * v[3]
				a2 += c * v[4]
				a3 += c * v[5]
				a4 += c * v[6]
				a5 += c * v[7]
				a6 += c * v[8]
				a7 += c * v[9]
				c = k[3]
				a0 += c * v[3]
				a1 += c * v[4]
				a2 += c * v[5]
				a3 += c * v[6]
				a4 += c * v[7]
				a5 += c * v[8]
				a6 += c * v[9]
				a7 += c * v[10]
				c = k[4]
				a0 += c * v[4]
				a1 += c * v[5]
				a2 += c * v[6]
				a3 += c * v[7]
				a4 += c * v[8]
				a5 += c * v[9]
				a6 += c * v[10]
				a7 += c * v[11]
			}
		}
		d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7] = a0, a1, a2, a3, a4, a5, a6, a7
	}
}

// reluGo is [ReLU].
func reluGo(v []float32) {
	for i, x := range v {
		b := math.Float32bits(x)
		v[i] = math.Float32frombits(b &^ uint32(int32(b)>>31)) // no branch, and -0 becomes 0
	}
}

// listGo is [Path.List] of one plane's part; it returns the length of the list.
// index and value have room for every value of x.
func listGo(index []int32, value, x []float32, row, stride int) int {
	n := 0
	for _, v := range x {
		index[n], value[n] = int32(row), v
		row += stride
		if math.Float32bits(v) != 0 { // compiled without a branch: nobody can guess which values are zero
			n++
		}
	}
	return n
}

// denseGo is [Path.Dense] of one block.
func denseGo(dst, w []float32, index []int32, value []float32) {
	index = index[:len(value)]
	for h := 0; h < len(dst); h += Lanes {
		var a0, a1, a2, a3, a4, a5, a6, a7 float32
		for i, v := range value {
			r := (*[Lanes]float32)(w[int(index[i])*len(dst)+h:])
			a0 += v * r[0]
			a1 += v * r[1]
			a2 += v * r[2]
			a3 += v * r[3]
			a4 += v * r[4]
			a5 += v * r[5]
			a6 += v * r[6]
			a7 += v * r[7]
		}
		d := (*[Lanes]float32)(dst[h:])
		d[0] += a0
		d[1] += a1
		d[2] += a2
		d[3] += a3
		d[4] += a4
		d[5] += a5
		d[6] += a6
		d[7] += a7
	}
}

// maxGo is [Path.Max].
func maxGo(dst, src []float32) {
	for i, v := range src[:len(dst)] {
		dst[i] = larger(dst[i], v)
	}
}

// poolGo is [Path.Pool].
func poolGo(dst, src []float32, width int) {
	for c := range dst {
		p := src[c*width:][:width]
		best := p[0]
		for _, v := range p[1:] {
			best = larger(best, v)
		}
		dst[c] = best
	}
}

// larger is max(a, b) of two values that are not negative. Their bits have the
// order of their values, and an integer maximum needs no branch.
func larger(a, b float32) float32 {
	return math.Float32frombits(max(math.Float32bits(a), math.Float32bits(b)))
}
