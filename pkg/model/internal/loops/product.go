package loops

// This file multiplies matrices for the dense layers. gorgonia takes its BLAS
// from the caller (gorgonia.Use); only the single-precision product is ours.

import (
	"runtime"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// BLAS is gonum's, with a faster product of float32 matrices.
type BLAS struct{ gonum.Implementation }

// A tile of the product is tileRows x tileColumns values that stay in registers;
// it is summed over depth values of a row at a time, so that the part of a that
// all tiles read stays in the cache.
const (
	tileRows    = 4
	tileColumns = 2 * Lanes
	depth       = 256
)

// enough multiplications to be worth another goroutine.
const enough = 1 << 18

// Sgemm sets c = alpha a b + beta c, as BLAS defines it.
func (g BLAS) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if !fast || alpha != 1 || beta != 0 || m < tileRows || n < tileColumns {
		g.Implementation.Sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	for i := range m {
		clear(c[i*ldc:][:n])
	}
	p := product{a: stored(a, lda, tA), b: stored(b, ldb, tB), c: c, ldc: ldc, m: m, n: n, k: k}
	panels := (n + tileColumns - 1) / tileColumns
	workers := min(runtime.GOMAXPROCS(0), panels, 1+m*n*k/enough)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var packed [depth * tileColumns]float32
			for i := int(next.Add(1)) - 1; i < panels; i = int(next.Add(1)) - 1 {
				p.panel(i*tileColumns, packed[:])
			}
		})
	}
	wg.Wait()
}

// matrix is stored so that element (i, j) is data[i*row+j*column].
type matrix struct {
	data        []float32
	row, column int
}

func stored(data []float32, ld int, t blas.Transpose) matrix {
	if t == blas.NoTrans {
		return matrix{data, ld, 1}
	}
	return matrix{data, 1, ld}
}

// product is c += a b: m x k times k x n.
type product struct {
	a, b    matrix
	c       []float32
	ldc     int
	m, n, k int
}

// panel computes the tileColumns columns of c from column j on.
func (p *product) panel(j int, packed []float32) {
	width := min(tileColumns, p.n-j)
	var edge [tileRows * tileColumns]float32
	for at := 0; at < p.k; at += depth {
		d := min(depth, p.k-at)
		p.pack(packed, at, d, j, width)
		for i := 0; i < p.m; i += tileRows {
			rows := min(tileRows, p.m-i)
			i := i - (tileRows - rows) // the last rows: a tile that overlaps the one before
			a := p.a.data[i*p.a.row+at*p.a.column:]
			if rows == tileRows && width == tileColumns {
				tileAVX2(d, &a[0], p.a.row, p.a.column, &packed[0], &p.c[i*p.ldc+j], p.ldc)
				continue
			}
			clear(edge[:])
			tileAVX2(d, &a[0], p.a.row, p.a.column, &packed[0], &edge[0], tileColumns)
			for r := tileRows - rows; r < tileRows; r++ {
				for x, v := range edge[r*tileColumns:][:width] {
					p.c[(i+r)*p.ldc+j+x] += v
				}
			}
		}
	}
}

// pack copies d rows of b from row at on, columns j to j+width, zeros behind them.
func (p *product) pack(to []float32, at, d, j, width int) {
	for i := range d {
		row := to[i*tileColumns:][:tileColumns]
		from := p.b.data[(at+i)*p.b.row+j*p.b.column:]
		if p.b.column == 1 {
			clear(row[copy(row, from[:width]):])
			continue
		}
		for x := range width {
			row[x] = from[x*p.b.column]
		}
		clear(row[width:])
	}
}
