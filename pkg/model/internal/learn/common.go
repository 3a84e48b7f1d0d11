package learn

import (
	"hash"
	"hash/fnv"
	"io"
)

// common is an operation's name, and what all operations here say of themselves.
type common string

// ReturnsPtr implements gorgonia.Op.
func (common) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (common) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (common) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (c common) WriteHash(h hash.Hash) { _, _ = io.WriteString(h, c.String()) } // never fails

// Hashcode implements gorgonia.Op.
func (c common) Hashcode() uint32 {
	h := fnv.New32a()
	c.WriteHash(h)
	return h.Sum32()
}

// String implements gorgonia.Op.
func (c common) String() string { return string(c) }
