// Package conv holds the few inner loops that the live engine and the training
// graph share. Every loop adds in one fixed order, whatever the length, so that
// two callers that cut the same columns differently get the same bits.
package conv

import "math"

// Lanes is the number of columns that [Correlate] works on at once, Taps the
// number of kernel columns.
const (
	Lanes = 8
	Taps  = 5
)

// RoundUp is the smallest multiple of m that is at least n.
func RoundUp(n, m int) int { return (n + m - 1) / m * m }

// PadTaps appends zeros to a kernel row until its length is a multiple of [Taps].
func PadTaps(w []float32) []float32 {
	return append(w, make([]float32, RoundUp(len(w), Taps)-len(w))...)
}

// Gather takes every stride-th value of w from offset on, n of them: one kernel
// row out of an interleaved weight tensor, padded like [PadTaps].
func Gather(w []float32, n, stride, offset int) []float32 {
	row := make([]float32, n, RoundUp(n, Taps))
	for t := range row {
		row[t] = w[t*stride+offset]
	}
	return PadTaps(row)
}

// Reach is how many values of x [Correlate] reads for n columns of a kernel of taps.
func Reach(n, taps int) int { return RoundUp(n, Lanes) + RoundUp(taps, Taps) }

// Correlate adds the correlations of the planes xs with the kernel rows ws to
// dst: for j in [0, n) rounded up to [Lanes], dst[j] += sum over p and t of
// ws[p][t]*xs[p][j+t], one product after the other. The kernel rows are as long
// as each other, a multiple of [Taps]; len(xs[p]) >= Reach(n, len(ws[p])), all of
// it finite.
func Correlate(dst []float32, xs, ws [][]float32, n int) {
	for j := 0; j < n; j += Lanes {
		d := (*[Lanes]float32)(dst[j:])
		a0, a1, a2, a3, a4, a5, a6, a7 := d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
		for p, w := range ws {
			x := xs[p][j:]
			for t := 0; t < len(w); t += Taps {
				k := (*[Taps]float32)(w[t:])
				v := (*[Lanes + Taps - 1]float32)(x[t:])
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

// ReLU sets what is negative to 0.
func ReLU(v []float32) {
	for i, x := range v {
		b := math.Float32bits(x)
		v[i] = math.Float32frombits(b &^ uint32(int32(b)>>31)) // no branch, and -0 becomes 0
	}
}

// Spread adds v times x to dst.
func Spread(dst, x *[Taps]float32, v float32) {
	dst[0] += v * x[0]
	dst[1] += v * x[1]
	dst[2] += v * x[2]
	dst[3] += v * x[3]
	dst[4] += v * x[4]
}
