// Package conv holds the few inner loops that the live engine and the training
// graph share, in plain Go and in the vector code of amd64 and arm64. In go
// slices of float32, out come slices; it allocates nothing and knows no layer.
//
// Every loop adds in one fixed order, whatever the length, so that two callers
// that cut the same columns differently get the same bits, as long as both use
// the same [Path]. Two paths differ in rounding: vector code fuses
// multiplication and addition.
package conv

import "math"

// Lanes is the number of columns that lengths are rounded up to, Taps the number
// of kernel columns.
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
// it finite. It runs on the [Fastest] path.
func Correlate(dst []float32, xs, ws [][]float32, n int) { fastest.Correlate(dst, xs, ws, n) }

// Correlate is the function [Correlate] on path p.
func (p Path) Correlate(dst []float32, xs, ws [][]float32, n int) {
	if p == Go {
		correlateGo(dst, xs, ws, n)
		return
	}
	if n <= 0 || len(ws) == 0 || len(ws[0]) == 0 {
		return
	}
	taps := len(ws[0])
	checkPlanes(xs[:len(ws)], n, taps)
	for _, w := range ws {
		_ = w[:taps]
	}
	correlateOne(dst[:RoundUp(n, Lanes)], xs, ws, taps)
}

// Fill sets every value to v.
func Fill(s []float32, v float32) {
	first := s[:min(len(s), 16)]
	for i := range first {
		first[i] = v
	}
	for n := len(first); n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

// ReLU sets what is negative to 0.
func ReLU(v []float32) { reluGo(v) }

// Spread adds v times x to dst.
func Spread(dst, x *[Taps]float32, v float32) {
	dst[0] += v * x[0]
	dst[1] += v * x[1]
	dst[2] += v * x[2]
	dst[3] += v * x[3]
	dst[4] += v * x[4]
}

// Bank is the filters of one convolution in the layout of the loops.
type Bank struct {
	taps    int
	bias    []float32
	filters [][][]float32 // [filter][plane][taps], for plain Go
	pairs   [][]float32   // [filters/2][plane][taps][2], for vector code
}

// NewBank prepares filters of [plane][taps] weights, as [Gather] makes them, and
// one bias each.
func NewBank(filters [][][]float32, bias []float32) Bank {
	b := Bank{taps: len(filters[0][0]), bias: bias, filters: filters}
	for f := 0; f < len(filters); f += 2 {
		first, second := filters[f], filters[min(f+1, len(filters)-1)]
		var pair []float32
		for p := range first {
			for t, w := range first[p] {
				pair = append(pair, w, second[p][t])
			}
		}
		b.pairs = append(b.pairs, pair)
	}
	return b
}

// Convolve writes max(0, bias + correlation) of the planes xs to one plane of
// dst for each filter: columns [0, n) rounded up to [Lanes]. What it reads of xs
// is what [Correlate] reads.
func (p Path) Convolve(dst, xs [][]float32, b *Bank, n int) {
	end := RoundUp(n, Lanes)
	if p == Go || n <= 0 {
		for f, kernel := range b.filters {
			d := dst[f][:end]
			Fill(d, b.bias[f])
			correlateGo(d, xs, kernel, n)
			reluGo(d)
		}
		return
	}
	xs = xs[:len(b.filters[0])]
	checkPlanes(xs, n, b.taps)
	for i, w := range b.pairs {
		f, g := 2*i, min(2*i+1, len(b.filters)-1)
		correlatePair(dst[f][:end], dst[g][:end], xs, w, b.taps, b.bias[f], b.bias[g])
	}
}

// checkPlanes panics when a plane is shorter than what n columns read: vector
// code has no bounds checks of its own.
func checkPlanes(xs [][]float32, n, taps int) {
	for _, x := range xs {
		_ = x[:RoundUp(n, Lanes)+taps-1]
	}
}

// group is the number of weight rows that [Path.Dense] adds at once.
const group = 4

// block is the number of rows that [Path.Dense] sums by themselves: a multiple of
// group. A thousand terms added one after the other lose more to rounding than sums
// of sums: 1.2e-6 of a probability on the test captures, against 0.8e-6.
const block = 64

// Live lists the inputs of a dense layer that are not zero, about half of them
// after a ReLU: the others cost nothing.
type Live struct {
	part  []float32 // of a sum, see [Path.Dense]
	index []int32   // row of the weights
	value []float32
	rows  int // no index is larger or equal
}

// NewLive has room for n inputs.
func NewLive(n int) Live {
	n = RoundUp(n+1, group)
	return Live{index: make([]int32, 0, n), value: make([]float32, 0, n)}
}

// Reset empties the list.
func (l *Live) Reset() { l.index, l.value, l.rows = l.index[:0], l.value[:0], 0 }

// Add appends the values of the planes that are not zero, column by column, so
// that Dense reads the weights in order: planes[f][c] belongs to the weights' row
// first + c*len(planes) + f. It panics when there is no room.
func (l *Live) Add(planes [][]float32, cols, first int) {
	n := len(l.index)
	end := n + cols*len(planes)
	index, value := l.index[:end], l.value[:end]
	row := int32(first)
	for c := range cols {
		for _, p := range planes {
			v := p[c]
			index[n], value[n] = row, v
			row++
			if math.Float32bits(v) != 0 { // compiled without a branch: nobody can guess which values are zero
				n++
			}
		}
	}
	l.index, l.value = index[:n], value[:n]
	l.rows = int(row)
}

// Dense adds the listed inputs times their rows of w, [rows, len(dst)], to dst.
// w must be finite.
func (p Path) Dense(dst, w []float32, l *Live) {
	if len(dst) == 0 {
		return
	}
	for len(l.index)%group != 0 { // a row of finite weights times 0 adds nothing
		l.index, l.value = append(l.index, 0), append(l.value, 0)
	}
	if len(l.index) == 0 {
		return
	}
	_ = w[l.rows*len(dst)-1]
	if len(l.part) < len(dst) {
		l.part = make([]float32, len(dst))
	}
	part := l.part[:len(dst)]
	for at := 0; at < len(l.index); at += block {
		end := min(at+block, len(l.index))
		clear(part)
		if p == Go {
			denseGo(part, w, l.index[at:end], l.value[at:end])
		} else {
			dense(part, w, l.index[at:end], l.value[at:end])
		}
		for i, v := range part {
			dst[i] += v
		}
	}
}

// Max writes the larger of dst[i] and src[i] to dst[i]. No value is negative.
func (p Path) Max(dst, src []float32) {
	src = src[:len(dst)]
	if p == Go || len(dst) == 0 {
		maxGo(dst, src)
		return
	}
	maxInto(dst, src)
}

// Pool writes the maxima of successive stretches of width values of src to dst.
// No value is negative. Widths other than the paper's three run in plain Go.
func (p Path) Pool(dst, src []float32, width int) {
	done := 0
	if p != Go && width == 3 {
		// Vector code writes whole lanes and may read two values further.
		if done = min(len(dst), (len(src)-2)/3) / Lanes * Lanes; done > 0 {
			poolThree(dst[:done], src)
		}
	}
	poolGo(dst[done:], src[done*width:], width)
}
