package cnn

// This file holds what is kept of a device between two rows, and what it lies in.

import (
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Memory is what an engine keeps of one device between two rows of its stream: the
// last K rows, and what was computed of them. Its zero value is a device not seen
// yet. Its size follows the lengths of its rows without padding, about 17 KB at the
// data set's median row. It belongs to one model; [Memory.Reset] it before another
// model's engine takes it.
type Memory struct {
	rows     []flows.Row // oldest first, at most K
	computed bool        // conv1 and conv2 are of rows
	conv1    []planes1   // of the last rows that conv2's kernel spans, oldest first, which is empty
	conv2    []pooled2   // the last window's conv2 rows, oldest first, which is empty
}

// planes1 are the conv1 planes of one row.
type planes1 struct {
	cols   int       // from here on they are constant
	stride int       // length of a plane
	values []float32 // [f1][stride]
}

// pooled2 is one conv2 row after the pool's columns, up to where it becomes constant.
type pooled2 struct {
	cols   int
	values []float32 // [f2][cols]
}

// Reset makes m a device not seen yet, and keeps the memory for the next.
func (m *Memory) Reset() {
	clear(m.rows)
	m.rows, m.computed = m.rows[:0], false
}

// Rows is how many rows it keeps.
func (m *Memory) Rows() int { return len(m.rows) }

// Trim drops what can be computed again from the rows: the device's next output costs
// more, and has the same bits.
func (m *Memory) Trim() { *m = Memory{rows: m.rows} }

// Clone implements model.Memory: what can be computed again is not in it.
func (m *Memory) Clone() model.Memory { return &Memory{rows: slices.Clone(m.rows)} }

// Bytes is about how much memory Trim would free.
func (m *Memory) Bytes() int {
	n := 0
	for _, p := range m.conv1[:cap(m.conv1)] {
		n += cap(p.values)*4 + 40
	}
	for _, p := range m.conv2[:cap(m.conv2)] {
		n += cap(p.values)*4 + 32
	}
	return n
}

// add puts a row behind the others, of which the last k-1 stay.
func (m *Memory) add(r flows.Row, k int) {
	if len(m.rows) < k {
		m.rows = append(m.rows, r)
		return
	}
	copy(m.rows, m.rows[1:])
	m.rows[k-1] = r
}

// clear makes s the memory of a window of missing rows only.
func (n *network) clear(s *Memory, m *pool) {
	if len(s.conv1) != n.arch.Kernel2[0] || len(s.conv2) != n.Rows2 {
		s.conv1, s.conv2 = make([]planes1, n.arch.Kernel2[0]), make([]pooled2, n.Rows2)
	}
	for i := range s.conv1 {
		m.put(s.conv1[i].values)
		s.conv1[i] = planes1{}
	}
	for i := range s.conv2 {
		m.put(s.conv2[i].values)
		s.conv2[i] = pooled2{}
	}
}

// resize makes room for count planes.
func (p *planes1) resize(cols, stride, count int, m *pool) {
	m.put(p.values)
	p.cols, p.stride, p.values = cols, stride, m.get(stride*count)
}

// planes writes the planes to dst.
func (p *planes1) planes(dst [][]float32) {
	for f := range dst {
		dst[f] = p.values[f*p.stride:][:p.stride]
	}
}

// rotate moves every element one place down and the first, whose memory is used
// again, to the end.
func rotate[T any](s []T) {
	first := s[0]
	copy(s, s[1:])
	s[len(s)-1] = first
}

// pool is what memories' values are made of. It keeps what they give back for
// the next that needs as much, or up to a fifth less, so that devices whose rows
// change in length cost neither garbage nor the size of their longest row.
type pool struct {
	free [][][]float32 // by size class
	kept int           // values in free
}

const (
	sizeClass = 128     // values: lengths are rounded up to it
	keepFree  = 1 << 19 // values that a pool keeps at most, 2 MB
)

// get is a slice of n values; what they are is anything.
func (m *pool) get(n int) []float32 {
	if n == 0 {
		return nil
	}
	class := (n - 1) / sizeClass
	for c := class; c <= class+class/4 && c < len(m.free); c++ {
		if last := len(m.free[c]) - 1; last >= 0 {
			s := m.free[c][last]
			m.free[c] = m.free[c][:last]
			m.kept -= cap(s)
			return s[:n]
		}
	}
	return make([]float32, n, (class+1)*sizeClass)
}

// put takes back what get gave.
func (m *pool) put(s []float32) {
	if cap(s) == 0 || m.kept+cap(s) > keepFree {
		return
	}
	class := cap(s)/sizeClass - 1
	for class >= len(m.free) { // another engine's get may have given it
		m.free = append(m.free, nil)
	}
	m.free[class] = append(m.free[class], s[:0])
	m.kept += cap(s)
}
