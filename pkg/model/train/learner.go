package train

// This file is the door for networks that are to be trained.

import (
	"iter"
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Design is a network that is to be trained.
type Design interface {
	// Span is that of the network it becomes, see [model.Net].
	Span() int
	// Strict is that of the network it becomes, see [model.Net].
	Strict() int
	// Cut says how a stream is cut into pieces: how many successive rows a piece has
	// at most, and how many of them, the newest, bear loss at most.
	Cut() (rows, judged int)
	// Learner is the network with random values, for a model whose labels, record and
	// scaling are known. It takes at most batch pieces at once.
	Learner(m *model.Model, batch, threads int, rng *rand.Rand) (Learner, error)
}

// Surveyor is a [Design] whose shape follows from what there is to learn.
type Surveyor interface {
	Design
	// Survey is the design for rows that are to bear loss, each with the number of its
	// stream.
	Survey(rows iter.Seq2[int, flows.Row]) Design
}

// Learner is a network under training.
type Learner interface {
	// Values are its trained values, which the optimiser moves in place.
	Values() [][]float32
	// Gradients are the mean loss of the pieces, and its slope by each value, in the
	// shapes of Values. What is drawn at random follows from the step alone, the first
	// of which is 1.
	Gradients(pieces []Piece, step uint64) (loss float64, gradients [][]float32, err error)
	// Settle is called when a step has moved the values, and puts back what must not
	// move freely.
	Settle()
	// Net is the network with the values given, of the shapes of Values, as a copy.
	Net(values [][]float32) model.Net
	// Close frees what it holds.
	Close()
}

// Piece is a part of one device's stream to learn from.
type Piece struct {
	Rows   []flows.Row // oldest first
	Judged int         // how many of them, the newest, bear loss
	Class  int         // of the device
}

// cut makes pieces of examples, each by its examples' numbers in the store: those
// that follow each other in a stream, as many as bear loss together. Streams come as
// they do in the list, in which their rows may take turns.
func cut(store *dataset.Store, examples []int, judged int) [][]int {
	if judged > 1 {
		var all []int
		for _, stream := range byStream(store, examples) {
			for _, i := range stream {
				all = append(all, examples[i])
			}
		}
		examples = all
	}
	var pieces [][]int
	for from := 0; from < len(examples); {
		stream, place := store.Stream(examples[from])
		to := from + 1
		for ; to < len(examples) && to-from < judged; to++ {
			if s, p := store.Stream(examples[to]); s != stream || p != place+to-from {
				break
			}
		}
		pieces = append(pieces, examples[from:to])
		from = to
	}
	return pieces
}
