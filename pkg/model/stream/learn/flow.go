package learn

// This file computes one flow's vector as the live engine does, and its gradient.

import (
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/stream"
)

// flow is one flow on its way through the trunk.
type flow struct {
	stream.Flow
	best   [stream.Filters]float32 // each filter's strongest sum, 0 or more
	from   [stream.Filters]int32   // the position it comes from; nowhere
	vector []float32               // after ReLU and dropout
	slope  []float32               // the gradient at the vector, then before its ReLU
}

// nowhere marks a filter that no position raises above 0.
const nowhere = -1

func newFlow(size int) *flow {
	return &flow{vector: make([]float32, size), slope: make([]float32, size)}
}

// forward computes the vector, without dropout.
func (b *batch) forward(f *flow) {
	f.strongest(&b.table)
	w, units := &b.w, b.arch.Units
	for i, bias := range w.KernelBias {
		f.vector[i] = f.best[i] + bias
	}
	sums, words := f.vector[stream.Filters:][:units], f.vector[stream.Filters+units:]
	copy(sums, w.NumbersBias)
	for i, v := range f.Numbers {
		if v != 0 {
			add(sums, v, w.Numbers[i*units:][:units])
		}
	}
	copy(words, w.TokensBias)
	for _, t := range f.Tokens {
		add(words, 1, w.Tokens[int(t)*len(words):][:len(words)])
	}
	conv.ReLU(f.vector)
}

// add adds v times x to sums.
func add(sums []float32, v float32, x []float32) {
	x = x[:len(sums)]
	for i := range sums {
		sums[i] += v * x[i]
	}
}

// block is how many positions are searched for the strongest one: few enough to be
// computed again, many enough for the loop that finds the block.
const block = 16

// strongest finds each filter's strongest position.
func (f *flow) strongest(table *conv.ByteTable) {
	clear(f.best[:])
	for i := range f.from {
		f.from[i] = nowhere
	}
	path := conv.Fastest()
	for first := 0; first < f.Positions; first += block {
		var best [stream.Filters]float32
		path.Strongest(&best, table, f.Symbols[first*stream.Stride:], min(block, f.Positions-first))
		for i, v := range best {
			if v > f.best[i] {
				f.best[i], f.from[i] = v, int32(first)
			}
		}
	}
	for i, first := range f.from {
		if first == nowhere {
			continue
		}
		for f.sum(table, first, i) != f.best[i] { // it is one of the block's, with the same bits
			first++
		}
		f.from[i] = first
	}
}

// sum is a filter at a position: the same additions as in [conv.Path.Strongest].
func (f *flow) sum(table *conv.ByteTable, position int32, filter int) float32 {
	rows := f.Symbols[int(position)*stream.Stride:][:stream.Taps]
	sum := table[int(rows[0])+filter]
	for tap := 1; tap < stream.Taps; tap++ {
		sum += table[tap*tapSize+int(rows[tap])+filter]
	}
	return sum
}

// tapSize is how many values of a table belong to one tap.
const tapSize = len(conv.ByteTable{}) / stream.Taps

// dropper draws what dropout drops of a piece.
func dropper(seed, piece uint64) *rand.PCG { return rand.NewPCG(seed, piece) }

// drop zeroes that share of the vector at random and raises the rest to make up for it.
func (f *flow) drop(rng *rand.PCG, share float64) {
	if share == 0 {
		return
	}
	limit, raise := uint64(share*(1<<16)), float32(1/(1-share))
	var bits uint64
	for i, v := range f.vector {
		if i%4 == 0 {
			bits = rng.Uint64()
		}
		if bits&0xFFFF < limit {
			f.vector[i] = 0
		} else {
			f.vector[i] = v * raise
		}
		bits >>= 16
	}
}

// undrop takes the gradient back through dropout and ReLU: what they let pass is above
// 0.
func (f *flow) undrop(share float64) {
	raise := float32(1 / (1 - share))
	for i, v := range f.vector {
		if v > 0 {
			f.slope[i] *= raise
		} else {
			f.slope[i] = 0
		}
	}
}

// backward adds a flow's share to the gradients, the convolution's to b.slopes.
func (b *batch) backward(f *flow, to *stream.Weights) {
	units := b.arch.Units
	for i, g := range f.slope[:stream.Filters] {
		if g == 0 {
			continue
		}
		to.KernelBias[i] += g
		if f.from[i] == nowhere {
			continue
		}
		for tap, row := range f.Symbols[int(f.from[i])*stream.Stride:][:stream.Taps] {
			b.slopes[tap*tapSize+int(row)+i] += g
		}
	}
	sums, words := f.slope[stream.Filters:][:units], f.slope[stream.Filters+units:]
	add(to.NumbersBias, 1, sums)
	for i, v := range f.Numbers {
		if v != 0 {
			add(to.Numbers[i*units:][:units], v, sums)
		}
	}
	add(to.TokensBias, 1, words)
	for _, t := range f.Tokens {
		add(to.Tokens[int(t)*len(words):][:len(words)], 1, words)
	}
}

// untabulate makes gradients of embedding and kernel of those of the table.
func (b *batch) untabulate(to *stream.Weights) {
	for tap := range stream.Taps {
		for symbol := range stream.Symbols {
			row := b.slopes.At(tap, symbol)
			if *row == ([stream.Filters]float32{}) {
				continue
			}
			for e := range stream.Embedding {
				at := symbol*stream.Embedding + e
				kernel := (tap*stream.Embedding + e) * stream.Filters
				sum := float32(0)
				for i, k := range b.w.Kernel[kernel:][:stream.Filters] {
					sum += row[i] * k
				}
				to.Embedding[at] += sum
				add(to.Kernel[kernel:][:stream.Filters], b.w.Embedding[at], row[:])
			}
		}
	}
}
