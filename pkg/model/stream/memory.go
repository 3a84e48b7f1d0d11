package stream

// This file holds what is kept of a device between two rows.

import (
	"reflect"
	"slices"

	"github.com/iotsense/iotsense/pkg/model"
)

// Memory is what a runner keeps of one device: the vectors of its last flows. Its zero
// value is a device not seen yet. It belongs to one model.
//
// The rows behind the vectors are not kept: they would take several times the room.
// So nothing of a memory can be computed again, and Trim frees nothing.
type Memory struct {
	vectors []float32 // a ring of at most Flows vectors
	flows   int       // in it
	next    int       // place of the next one, from 0
	span    int
}

// memorised is how many of the weights' slots a flow's vector is made by, the first ones.
const memorised = 7

// Remembers implements model.Remembering: what lies behind the memory may be another.
func (n *Net) Remembers(other model.Net) bool {
	o, ok := other.(*Net)
	if !ok {
		return false
	}
	a, b := n.Arch, o.Arch
	a.Hidden, a.Dropout = b.Hidden, b.Dropout
	own, others := n.Weights.Slots(), o.Weights.Slots()
	return reflect.DeepEqual(a, b) && slices.EqualFunc(own[:memorised], others[:memorised], func(x, y *[]float32) bool { return slices.Equal(*x, *y) })
}

// Rows is how many rows the next output rests on beside its own.
func (m *Memory) Rows() int { return min(m.flows, max(m.span-1, 0)) }

// Reset implements model.Memory. It keeps the room for the next device.
func (m *Memory) Reset() { m.vectors, m.flows, m.next = m.vectors[:0], 0, 0 }

// Trim implements model.Memory.
func (m *Memory) Trim() {}

// Bytes implements model.Memory.
func (m *Memory) Bytes() int { return 0 }

// Clone implements model.Memory.
func (m *Memory) Clone() model.Memory {
	c := *m
	c.vectors = slices.Clone(m.vectors)
	return &c
}

// add puts a vector behind the others, of which the last span-1 stay.
func (m *Memory) add(vector []float32, span int) {
	m.span = span
	if m.flows < span {
		if used, full := len(m.vectors), span*len(vector); used+len(vector) > cap(m.vectors) {
			m.vectors = append(make([]float32, 0, min(max(2*used, len(vector)), full)), m.vectors...)
		}
		m.vectors = append(m.vectors, vector...)
		m.flows++
	} else {
		copy(m.vectors[m.next*len(vector):], vector)
	}
	m.next = (m.next + 1) % span
}

// each calls do for the vectors, which are of that size, the oldest first: sums must
// not depend on where the ring begins.
func (m *Memory) each(size int, do func(vector []float32)) {
	first := 0
	if m.flows == m.span {
		first = m.next
	}
	for i := range m.flows {
		at := first + i
		if at >= m.flows {
			at -= m.flows
		}
		do(m.vectors[at*size:][:size])
	}
}
