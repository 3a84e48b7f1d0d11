package model

// This file holds what is kept of a device between two windows, and the memory
// that it lies in.

import (
	"github.com/iotsense/iotsense/pkg/flows"
)

// State is what an engine keeps of one device between two windows. The zero
// value is empty: the next window is computed from all its rows, so a state can be
// dropped at any time. Its size follows the lengths of its present rows without
// padding, about 17 KB at the data set's median row. It belongs to one model;
// [State.Reset] it before another model's engine takes it.
type State struct {
	rows  []*flows.Record // the last window's, oldest first
	since []int64
	conv1 []planes1 // of the last rows that conv2's kernel spans, oldest first, which is empty
	conv2 []pooled2 // the last window's conv2 rows, oldest first, which is empty
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

// Reset forgets the device's rows and keeps the memory for the next.
func (s *State) Reset() {
	clear(s.rows)
	s.rows, s.since = s.rows[:0], s.since[:0]
}

// Bytes is about how much memory the state holds, the records apart.
func (s *State) Bytes() int {
	n := cap(s.rows)*8 + cap(s.since)*8
	for _, p := range s.conv1[:cap(s.conv1)] {
		n += cap(p.values)*floatBytes + 40
	}
	for _, p := range s.conv2[:cap(s.conv2)] {
		n += cap(p.values)*floatBytes + 32
	}
	return n
}

// follows reports whether w is the window after the state's: the same rows
// moved up by one, and a new one.
func (s *State) follows(w flows.Window, k int) bool {
	old := len(s.rows)
	if old == 0 || len(w.Rows) != min(old+1, k) {
		return false
	}
	drop := old + 1 - len(w.Rows)
	for i, r := range w.Rows[:len(w.Rows)-1] {
		if s.rows[drop+i] != r.Record || s.since[drop+i] != r.Since {
			return false
		}
	}
	return true
}

func (s *State) remember(w flows.Window) {
	clear(s.rows)
	s.rows, s.since = s.rows[:0], s.since[:0]
	for _, r := range w.Rows {
		s.rows = append(s.rows, r.Record)
		s.since = append(s.since, r.Since)
	}
}

// clear makes s the state of a window of missing rows only.
func (n *network) clear(s *State, m *memory) {
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
func (p *planes1) resize(cols, stride, count int, m *memory) {
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

// memory is what states' values are made of. It keeps what they give back for
// the next that needs as much, or up to a fifth less, so that devices whose rows
// change in length cost neither garbage nor the size of their longest row.
type memory struct {
	free [][][]float32 // by size class
	kept int           // values in free
}

const (
	sizeClass = 128     // values: lengths are rounded up to it
	keepFree  = 1 << 19 // values that memory keeps at most, 2 MB
)

// get is a slice of n values; what they are is anything.
func (m *memory) get(n int) []float32 {
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
func (m *memory) put(s []float32) {
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
