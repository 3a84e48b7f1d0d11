package conv

// This file holds the loops in plain Go: the only ones on a CPU without vector
// code here, and what the vector code is tested against.

import "math"

// columns is how many columns plain Go sums at once: with more, the compiler
// keeps some of the sums in memory.
const columns = 6

// correlateGo is [Correlate] of exactly n columns. apart says that a column's
// products are added up before they are added to dst.
func correlateGo(dst []float32, xs, ws [][]float32, n int, apart bool) {
	j := 0
	for ; j+columns <= n; j += columns {
		d := (*[columns]float32)(dst[j:])
		var a0, a1, a2, a3, a4, a5 float32
		if !apart {
			a0, a1, a2, a3, a4, a5 = d[0], d[1], d[2], d[3], d[4], d[5]
		}
		for p, w := range ws {
			x := xs[p]
			for t := 0; t < len(w); t += Taps {
				k := (*[Taps]float32)(w[t:])
				v := (*[columns + Taps - 1]float32)(x[j+t:])
				c := k[0]
				a0 += c * v[0]
				a1 += c * v[1]
				a2 += c * v[2]
				a3 += c * v[3]
				a4 += c * v[4]
				a5 += c * v[5]
				c = k[1]
				a0 += c * v[1]
				a1 += c * v[2]
				a2 += c * v[3]
				a3 += c * v[4]
				a4 += c * v[5]
				a5 += c * v[6]
				c = k[2]
				a0 += c * v[2]
				a1 += c * v[3]
				a2 += c * v[4]
				a3 += c * v[5]
				a4 += c * v[6]
				a5 += c * v[7]
				c = k[3]
				a0 += c * v[3]
				a1 += c * v[4]
				a2 += c * v[5]
				a3 += c * v[6]
				a4 += c * v[7]
				a5 += c * v[8]
				c = k[4]
				a0 += c * v[4]
				a1 += c * v[5]
				a2 += c * v[6]
				a3 += c * v[7]
				a4 += c * v[8]
				a5 += c * v[9]
			}
		}
		if apart {
			a0, a1, a2, a3, a4, a5 = d[0]+a0, d[1]+a1, d[2]+a2, d[3]+a3, d[4]+a4, d[5]+a5
		}
		d[0], d[1], d[2], d[3], d[4], d[5] = a0, a1, a2, a3, a4, a5
	}
	correlateRest(dst, xs, ws, j, n, apart)
}

// correlateRest computes the columns from j to n, one by one.
func correlateRest(dst []float32, xs, ws [][]float32, j, n int, apart bool) {
	for ; j < n; j++ {
		var a float32
		if !apart {
			a = dst[j]
		}
		for p, w := range ws {
			for t, v := range xs[p][j:][:len(w)] {
				a += w[t] * v
			}
		}
		if apart {
			a = dst[j] + a
		}
		dst[j] = a
	}
}

// convolveRowsGo is [Path.ConvolveRows] of one filter; shares has every row's at
// every second place.
func convolveRowsGo(dst []float32, xs [][]float32, cols []int, kernel [][]float32, bias float32, shares []float32) {
	Fill(dst, bias)
	planes := len(kernel) / len(cols)
	for r, c := range cols {
		x, w := xs[r*planes:(r+1)*planes], kernel[r*planes:(r+1)*planes]
		live := dst[:min(RoundUp(c, 4), len(dst))]
		if planes == 2 && len(w[0]) == Taps {
			twoPlanesGo(live, x[0], x[1], (*[Taps]float32)(w[0]), (*[Taps]float32)(w[1]))
		} else {
			correlateGo(live, x, w, len(live), true)
		}
		constant, share := dst[len(live):], shares[2*r]
		for j := 0; j < len(constant)-3; j += 4 { // their number is a multiple of 4
			constant[j] += share
			constant[j+1] += share
			constant[j+2] += share
			constant[j+3] += share
		}
	}
}

// twoPlanesGo is correlateGo with sums apart for the paper's conv2, two planes and
// five taps. len(dst) is a multiple of 4.
func twoPlanesGo(dst, x0, x1 []float32, k0, k1 *[Taps]float32) {
	for j := 0; j < len(dst); j += 4 {
		d := (*[4]float32)(dst[j:])
		v, u := (*[4 + Taps - 1]float32)(x0[j:]), (*[4 + Taps - 1]float32)(x1[j:])
		c := k0[0]
		a0 := c * v[0]
		a1 := c * v[1]
		a2 := c * v[2]
		a3 := c * v[3]
		c = k0[1]
		a0 += c * v[1]
		a1 += c * v[2]
		a2 += c * v[3]
		a3 += c * v[4]
		c = k0[2]
		a0 += c * v[2]
		a1 += c * v[3]
		a2 += c * v[4]
		a3 += c * v[5]
		c = k0[3]
		a0 += c * v[3]
		a1 += c * v[4]
		a2 += c * v[5]
		a3 += c * v[6]
		c = k0[4]
		a0 += c * v[4]
		a1 += c * v[5]
		a2 += c * v[6]
		a3 += c * v[7]
		c = k1[0]
		a0 += c * u[0]
		a1 += c * u[1]
		a2 += c * u[2]
		a3 += c * u[3]
		c = k1[1]
		a0 += c * u[1]
		a1 += c * u[2]
		a2 += c * u[3]
		a3 += c * u[4]
		c = k1[2]
		a0 += c * u[2]
		a1 += c * u[3]
		a2 += c * u[4]
		a3 += c * u[5]
		c = k1[3]
		a0 += c * u[3]
		a1 += c * u[4]
		a2 += c * u[5]
		a3 += c * u[6]
		c = k1[4]
		a0 += c * u[4]
		a1 += c * u[5]
		a2 += c * u[6]
		a3 += c * u[7]
		d[0] += a0
		d[1] += a1
		d[2] += a2
		d[3] += a3
	}
}

// octets are the 256 values of [Octets].
var octets = func() (table [256]float32) {
	for v := range table {
		table[v] = float32(float64(v) / 255)
	}
	return table
}()

// octetsGo is [Octets].
func octetsGo(dst []float32, src []byte) {
	dst = dst[:len(src)]
	for i, b := range src {
		dst[i] = octets[b]
	}
}

// reluGo is [ReLU].
func reluGo(v []float32) {
	for ; len(v) >= 4; v = v[4:] {
		q := (*[4]float32)(v)
		q[0], q[1], q[2], q[3] = positive(q[0]), positive(q[1]), positive(q[2]), positive(q[3])
	}
	for i, x := range v {
		v[i] = positive(x)
	}
}

// positive is max(v, 0) without a branch; -0 becomes 0.
func positive(v float32) float32 {
	b := math.Float32bits(v)
	return math.Float32frombits(b &^ uint32(int32(b)>>31))
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

// denseGo is [Path.Dense] of one list, four rows of w and four columns at a time:
// more do not fit into the registers.
func denseGo(dst, w []float32, index []int32, value []float32) {
	n := len(dst)
	index = index[:len(value)]
	for ; len(value) >= 4; index, value = index[4:], value[4:] {
		v0, v1, v2, v3 := value[0], value[1], value[2], value[3]
		w0, w1, w2, w3 := w[int(index[0])*n:][:n], w[int(index[1])*n:][:n], w[int(index[2])*n:][:n], w[int(index[3])*n:][:n]
		for h := 0; h < len(dst)-3; h += 4 {
			dst[h] += (v0*w0[h] + v1*w1[h]) + (v2*w2[h] + v3*w3[h])
			dst[h+1] += (v0*w0[h+1] + v1*w1[h+1]) + (v2*w2[h+1] + v3*w3[h+1])
			dst[h+2] += (v0*w0[h+2] + v1*w1[h+2]) + (v2*w2[h+2] + v3*w3[h+2])
			dst[h+3] += (v0*w0[h+3] + v1*w1[h+3]) + (v2*w2[h+3] + v3*w3[h+3])
		}
	}
	for i, v := range value {
		for h, x := range w[int(index[i])*n:][:n] {
			dst[h] += v * x
		}
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
		best := float32(0)
		for _, v := range src[c*width:][:width] {
			best = larger(best, v)
		}
		dst[c] = best
	}
}

// larger is max(a, b) if that is not negative, and else one of the two. Their bits
// have the order of their values then, and an integer maximum needs no branch.
func larger(a, b float32) float32 {
	return math.Float32frombits(uint32(max(int32(math.Float32bits(a)), int32(math.Float32bits(b)))))
}
