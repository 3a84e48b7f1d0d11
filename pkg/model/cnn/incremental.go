package cnn

// This file computes a window's verdict without the work whose result is known.
//
// Two savings, both exact in real arithmetic:
//
//   - Sliding window: of a window's K rows only the newest is new. A device's
//     [Memory] keeps the conv1 planes of the rows that the next conv2 row needs and
//     the conv2 rows, already pooled over columns, of the next window. A row's
//     values never change while it ages, so this gives the same bits.
//   - Padding: a row ends in a run of [Missing]. Where all inputs of a column are
//     Missing, conv1, conv2 and the pool come out as constants, and the dense
//     layer's share of all columns from p on is a sum computed once (network.tail).
//     Only the order of that sum differs, by about 1e-8 in probability. Where only
//     some rows of conv2's kernel are constant, their sums are known
//     ([conv.Path.ConvolveRows]), again with the same bits.

import (
	"errors"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Skip implements model.Runner. What the next output needs of the row is computed
// then.
func (e *Runner) Skip(of model.Memory, row flows.Row) error {
	m, err := own(of)
	if err != nil {
		return err
	}
	m.add(row, e.net.arch.K)
	m.computed = false
	return nil
}

// advance moves the memory on by a row and leaves the inputs of the first dense layer
// in live, and what their products are added to in sums.
func (e *Runner) advance(m *Memory, row flows.Row, live *conv.Live, sums []float32) error {
	n, b := e.net, e.buf
	if !m.computed {
		if err := e.again(m); err != nil {
			return err
		}
	}
	if err := e.push(m, row, true); err != nil {
		m.computed = false
		return err
	}
	m.add(row, n.arch.K)
	cols := n.list(m, b, live)
	copy(sums, n.tail[cols*n.hidden:])
	b.pool.put(m.conv1[0].values) // no later window has them
	b.pool.put(m.conv2[0].values)
	m.conv1[0], m.conv2[0] = planes1{}, pooled2{}
	return nil
}

// again computes what a memory lacks of its rows, but for the oldest, which the next
// window has no more.
func (e *Runner) again(m *Memory) error {
	n := e.net
	n.clear(m, &e.buf.pool)
	rows := m.rows[max(0, len(m.rows)+1-n.arch.K):]
	for i, r := range rows {
		stays := len(rows)-i < n.Rows2
		if err := e.push(m, r, stays); err != nil {
			return err
		}
	}
	m.computed = true
	return nil
}

// push computes one more row and drops the oldest. stays says that the conv2 row
// it makes is part of the window asked for.
func (e *Runner) push(s *Memory, r flows.Row, stays bool) error {
	n, b := e.net, e.buf
	length, err := e.scaler.Row(b.row, r)
	if err != nil {
		return err
	}
	cols := min(length, n.Cols1)
	if n.whole {
		cols = n.Cols1
	}
	conv.Fill(b.row[length:max(length, conv.Reach(cols, n.arch.Kernel1))], Missing)
	rotate(s.conv1)
	s.conv1[len(s.conv1)-1].resize(cols, n.plane1(cols), n.arch.Filters[0], &b.pool)
	for i := range s.conv1 {
		b.cols[i] = s.conv1[i].cols
		s.conv1[i].planes(n.rows1(b.rows, i, 1))
	}
	newest := n.rows1(b.rows, len(s.conv1)-1, 1)
	n.path.Convolve(newest, [][]float32{b.row}, &n.conv1, cols)
	for f, plane := range newest {
		conv.Fill(plane[cols:], n.const1[f])
	}
	if stays {
		n.row2(s, b)
	}
	return nil
}

// row2 computes the conv2 row of the rows in s.
func (n *network) row2(s *Memory, b *buffers) {
	cols := min(slices.Max(b.cols), n.Cols2)
	n.path.ConvolveRows(b.conv2, b.rows, b.cols, &n.conv2, cols)
	pools := min((cols+n.arch.Pool[1]-1)/n.arch.Pool[1], n.PoolCols)
	for f, p := range b.conv2 {
		conv.Fill(p[cols:max(cols, pools*n.arch.Pool[1])], n.const2[f])
	}
	rotate(s.conv2)
	p := &s.conv2[len(s.conv2)-1]
	b.pool.put(p.values)
	p.cols, p.values = pools, b.pool.get(pools*n.arch.Filters[1])
	for f, plane := range b.conv2 {
		n.path.Pool(p.values[f*pools:(f+1)*pools], plane, n.arch.Pool[1])
	}
}

// list lists the inputs of the first dense layer for the memory's window. It returns
// how many columns they are of: the layer's share of the rest is in n.tail.
func (n *network) list(s *Memory, b *buffers, live *conv.Live) int {
	channels, cols := n.arch.Filters[1], 0
	for _, p := range s.conv2 {
		cols = max(cols, p.cols)
	}
	live.Reset()
	for r := range n.PoolRows {
		rows := s.conv2[r*n.arch.Pool[0] : (r+1)*n.arch.Pool[0]]
		for f := range channels {
			n.poolRows(b.pooled[f][:cols], rows, f)
		}
		n.path.List(live, b.pooled, cols, r*n.PoolCols*channels)
	}
	return cols
}

// poolRows writes the maxima of channel f over conv2 rows, the constant columns
// included.
func (n *network) poolRows(dst []float32, rows []pooled2, f int) {
	for i, p := range rows {
		values, rest := p.values[f*p.cols:(f+1)*p.cols], dst[p.cols:]
		if i == 0 {
			copy(dst, values)
			conv.Fill(rest, n.const2[f])
			continue
		}
		n.path.Max(dst[:p.cols], values)
		for j, v := range rest {
			rest[j] = max(v, n.const2[f])
		}
	}
}

// constants computes what columns of missing input come out as, and the dense
// layer's share of all such columns from each column on.
func (n *network) constants(m *Net) error {
	row := filled(conv.Reach(1, n.arch.Kernel1), Missing)
	out := planes(n.arch.Filters[0], conv.Lanes)
	n.path.Convolve(out, [][]float32{row}, &n.conv1, 1)
	for f := range out {
		n.const1 = append(n.const1, out[f][0])
	}
	n.conv2 = n.path.NewRowBank(kernel2(m), m.Weights.Conv2Bias, n.const1)
	out, pooled := planes(n.arch.Filters[1], conv.Tile), []float32{0}
	n.path.ConvolveRows(out, make([][]float32, n.arch.Kernel2[0]*n.arch.Filters[0]), make([]int, n.arch.Kernel2[0]), &n.conv2, 1)
	for f := range out {
		n.path.Pool(pooled, out[f], 1)
		n.const2 = append(n.const2, pooled[0])
	}

	hidden := n.hidden
	n.tail = make([]float32, (n.PoolCols+1)*hidden)
	sum := make([]float64, hidden)
	for h, v := range n.bias1 {
		sum[h] = float64(v)
	}
	for p := n.PoolCols; ; p-- {
		for h, v := range sum {
			n.tail[p*hidden+h] = float32(v)
		}
		if p == 0 {
			break
		}
		for r := range n.PoolRows {
			for f, c := range n.const2 {
				w := n.dense1[((r*n.PoolCols+p-1)*n.arch.Filters[1]+f)*hidden:][:hidden]
				for h, v := range w {
					sum[h] += float64(c) * float64(v)
				}
			}
		}
	}
	if model.NotFinite(n.tail) >= 0 {
		return errors.New("dense1: sums of its weights overflow")
	}
	return nil
}
