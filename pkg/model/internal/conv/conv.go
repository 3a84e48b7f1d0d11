// Package conv holds the few inner loops that the live engine and the training
// graph share, in plain Go and in the vector code of amd64 and arm64. In go
// slices of float32, out come slices; it allocates nothing and knows no layer.
//
// Every loop adds in one fixed order, whatever the length, so that two callers
// that cut the same columns differently get the same bits, as long as both use
// the same [Path]. Two paths differ in rounding: vector code fuses
// multiplication and addition.
package conv

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
		correlateGo(dst, xs, ws, RoundUp(n, Lanes), false)
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

// Octets writes src[i] / 255, correctly rounded, to dst[i]: the same on every path.
// It runs on the [Fastest].
func Octets(dst []float32, src []byte) { fastest.octets(dst, src) }

func (p Path) octets(dst []float32, src []byte) {
	dst = dst[:len(src)]
	if whole := len(src) / Lanes * Lanes; p != Go && whole > 0 {
		scaleOctets(dst[:whole], src[:whole])
		dst, src = dst[whole:], src[whole:]
	}
	octetsGo(dst, src)
}

// ReLU sets what is negative to 0.
func ReLU(v []float32) { reluGo(v) }

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
			correlateGo(d, xs, kernel, end, false)
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

// Tile is the number of columns that [Path.ConvolveRows] computes at once.
const Tile = 24

// RowsReach is how many values [Path.ConvolveRows] reads of a plane that is
// constant from column cols on, for a kernel of taps.
func RowsReach(cols, taps int) int {
	if cols == 0 {
		return 0
	}
	return RoundUp(cols, Tile) + RoundUp(taps, Taps)
}

// RowBank is the filters of a convolution over rows of planes, each row with a
// column from which on its planes are constant.
type RowBank struct {
	Bank
	planes int         // of a row
	shares [][]float32 // [filters/2][row][2]: what a row comes to where it is constant
}

// NewRowBank prepares filters of [row*plane][taps] weights, as [NewBank] does, for
// planes that become the given constants. Its sums are those of path p.
func (p Path) NewRowBank(filters [][][]float32, bias, constant []float32) RowBank {
	b := RowBank{Bank: NewBank(filters, bias), planes: len(constant)}
	var xs [][]float32
	for _, v := range constant {
		x := make([]float32, RowsReach(1, b.taps))
		Fill(x, v)
		xs = append(xs, x)
	}
	for f := 0; f < len(filters); f += 2 {
		var shares []float32
		for r := 0; r < len(filters[f]); r += b.planes {
			for _, kernel := range [][][]float32{filters[f], filters[min(f+1, len(filters)-1)]} {
				one := RowBank{NewBank([][][]float32{kernel[r : r+b.planes]}, []float32{0}), b.planes, [][]float32{{0, 0}}}
				column := make([]float32, Tile)
				p.ConvolveRows([][]float32{column}, xs, []int{1}, &one, 1)
				shares = append(shares, column[0])
			}
		}
		b.shares = append(b.shares, shares)
	}
	return b
}

// ConvolveRows writes the bias and every row's correlation to one plane of dst for
// each filter: columns [0, n), and up to n rounded up to [Tile] what nobody may
// use. xs are the planes of all rows, those of row r constant from column cols[r]
// on. A row's correlation is a sum of its own: of a row that has become constant it
// is known, and that changes no bit.
func (p Path) ConvolveRows(dst, xs [][]float32, cols []int, b *RowBank, n int) {
	xs = xs[:len(b.filters[0])]
	cols = cols[:len(xs)/b.planes]
	for i, x := range xs {
		_ = x[:RowsReach(cols[i/b.planes], b.taps)]
	}
	if p == Go || n <= 0 {
		for f, kernel := range b.filters {
			convolveRowsGo(dst[f][:RoundUp(n, 4)], xs, cols, kernel, b.bias[f], b.shares[f/2][f%2:])
		}
		return
	}
	end := RoundUp(n, Tile)
	for i, w := range b.pairs {
		f, g := 2*i, min(2*i+1, len(b.filters)-1)
		correlateRows(dst[f][:end], dst[g][:end], xs, cols, w, b.shares[i], b.planes, b.taps, b.bias[f], b.bias[g])
	}
}

// checkPlanes panics when a plane is shorter than what n columns read: vector
// code has no bounds checks of its own.
func checkPlanes(xs [][]float32, n, taps int) {
	for _, x := range xs {
		_ = x[:RoundUp(n, Lanes)+taps-1]
	}
}

// PadRows copies the weights of a dense layer, [rows, width], to rows that are as
// long as vector code takes them: [rows, RoundUp(width, Lanes)], zeros appended.
func PadRows(w []float32, width int) []float32 {
	padded := RoundUp(width, Lanes)
	rows := make([]float32, len(w)/width*padded)
	for r := 0; r*width < len(w); r++ {
		copy(rows[r*padded:], w[r*width:][:width])
	}
	return rows
}

// block is the number of columns whose inputs vector code sums by themselves: a
// multiple of Lanes. A thousand terms added one after the other lose more to
// rounding than sums of sums, and the weights of a block, 26 KB with the paper's
// two filters, stay in the fastest cache while all windows of a batch use them.
const block = 32

// Live lists the inputs of a dense layer that are not zero, about half of them
// after a ReLU: the others cost nothing.
type Live struct {
	index []int32 // row of the weights
	value []float32
	ends  []int // of each block in the list
	rows  int   // no index is larger or equal
}

// NewLive has room for n inputs.
func NewLive(n int) Live {
	n += Lanes // vector code writes whole lanes
	return Live{index: make([]int32, n), value: make([]float32, n)}
}

// Reset empties the list.
func (l *Live) Reset() { l.ends, l.rows = l.ends[:0], 0 }

// len is the number of inputs in the list.
func (l *Live) len() int {
	if len(l.ends) == 0 {
		return 0
	}
	return l.ends[len(l.ends)-1]
}

// List appends the values of the planes that are not zero to l, block by block,
// so that Dense reads the weights in order: planes[f][c] belongs to the weights'
// row first + c*len(planes) + f. It panics when there is no room.
func (p Path) List(l *Live, planes [][]float32, cols, first int) {
	n := l.len()
	_ = l.index[:n+cols*len(planes)+Lanes]
	for c := 0; c < cols; c += block {
		for f, plane := range planes {
			x := plane[c:min(c+block, cols)]
			row := first + c*len(planes) + f
			if whole := len(x) / Lanes * Lanes; p != Go && whole > 0 {
				n += list(l.index[n:], l.value[n:], x[:whole], row, len(planes))
				x, row = x[whole:], row+whole*len(planes)
			}
			n += listGo(l.index[n:], l.value[n:], x, row, len(planes))
		}
		l.ends = append(l.ends, n)
	}
	l.rows = first + cols*len(planes)
}

// Dense adds each list's inputs times their rows of w, [rows, width], to that
// list's dst. Every dst is as long as a row of w, a multiple of [Lanes]; w is
// finite. A dst has the same bits whatever lists it is computed with.
func (p Path) Dense(dst [][]float32, w []float32, lists []Live) {
	blocks := 0
	for i := range lists {
		l := &lists[i]
		if p == Go { // not so fast that weights from a slower cache would hold it up
			denseGo(dst[i], w, l.index[:l.len()], l.value[:l.len()])
			continue
		}
		if l.len() > 0 {
			_ = w[:l.rows*len(dst[i])]
			blocks = max(blocks, len(l.ends))
		}
	}
	for b := range blocks {
		for i := range lists {
			l, from := &lists[i], 0
			if b >= len(l.ends) {
				continue
			}
			if b > 0 {
				from = l.ends[b-1]
			}
			index, value := l.index[from:l.ends[b]], l.value[from:l.ends[b]]
			if len(index) > 0 {
				dense(dst[i], w, index, value)
			}
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

// Pool writes the maxima of successive stretches of width values of src to dst, 0
// where all of a stretch are negative. Widths other than the paper's three run in plain Go.
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
