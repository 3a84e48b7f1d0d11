//go:build !purego && (amd64 || arm64)

package conv

// This file declares the loops of the assembly files. They check
// nothing: their callers in conv.go do. The taps of a kernel row are a multiple of
// Taps. They take slices so that `go vet` checks the offsets of what they read.

// correlateOne adds the correlations of xs with ws to dst, whose length is a
// multiple of Lanes and not 0; xs[p][:len(dst)+taps-1] is read.
//
//go:noescape
func correlateOne(dst []float32, xs, ws [][]float32, taps int)

// correlatePair writes max(0, bias + correlation) of xs with two filters, w being
// [plane][taps][2], to dst0 and dst1. Their length is a multiple of Lanes and not
// 0; xs[p][:len(dst0)+taps-1] is read.
//
//go:noescape
func correlatePair(dst0, dst1 []float32, xs [][]float32, w []float32, taps int, bias0, bias1 float32)

// correlateRows writes bias + the correlation of every row with two filters to
// dst0 and dst1, w being [row][plane][taps][2] and shares, [row][2], what a row
// comes to from column cols[row] on. Their length is a multiple of Tile and not 0;
// of a row's planes RowsReach(cols[row], taps) is read.
//
//go:noescape
func correlateRows(dst0, dst1 []float32, xs [][]float32, cols []int, w, shares []float32, planes, taps int, bias0, bias1 float32)

// dense adds the sum of value[i] times row index[i] of w, [rows, len(dst)], to
// dst. len(dst) is a multiple of Lanes, len(index) is not 0.
//
//go:noescape
func dense(dst, w []float32, index []int32, value []float32)

// maxInto writes max(dst[i], src[i]) to dst[i].
//
//go:noescape
func maxInto(dst, src []float32)

// poolThree writes the maxima of triples of src, at least 0, to dst, whose length is a
// multiple of Lanes and not 0; src[:3*len(dst)+2] is read.
//
//go:noescape
func poolThree(dst, src []float32)

// scaleOctets writes src[i] / 255 to dst[i]. Their length is a multiple of Lanes and
// not 0.
//
//go:noescape
func scaleOctets(dst []float32, src []byte)

// strongest raises best to the sums of the rows of table at each position, the
// positions ByteStride symbols apart; there is one. Each of rows begins a row in the
// table's first tap; ByteReach(positions) of them are read.
//
//go:noescape
func strongest(best *[ByteFilters]float32, table *ByteTable, rows []uint32, positions int)
