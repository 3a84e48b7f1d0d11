// Package negatives makes what a model learns model.NoneLabel from: machines of the
// captures that no line of the manifest names, thinned; chimeras, streams of flows of
// several classes mixed; and invented machines, which say what classes say in words, sizes
// and ports of their own. In go examples of a store, one part of the data at a time, out
// come those with these among them. What is learned from and what is validated on share
// no row.
package negatives

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
)

const (
	// portion is how many pieces of the classes' streams there are for one of unlisted
	// machines, at least, for one of a chimera and for one of an invented machine.
	portion = 12
	// A chimera's flows, and the classes that they are of.
	leastFlows, mostFlows     = 4, 20
	leastClasses, mostClasses = 3, 6
)

// Maker adds negatives to parts of a store's examples.
type Maker struct {
	Store  *dataset.Store
	Judged int   // successive rows that a network learns from as one piece
	First  int   // number of the first row of a stream that is judged
	Seed   int64 // of all that is drawn

	made int // chimeras and invented machines so far
}

// Holdout is dataset.Holdout with examples of model.NoneLabel on the side of what else
// their capture holds; those of captures with nothing else are a class like others.
func Holdout(s *dataset.Store, examples []int, span int, fraction float64) (kept, held []int) {
	listed := map[string]bool{} // captures of other classes
	for _, i := range examples {
		if s.Label(i) != model.NoneLabel {
			listed[s.Source(i).Capture] = true
		}
	}
	beside := func(i int) bool { return s.Label(i) == model.NoneLabel && listed[s.Source(i).Capture] }
	kept, held = dataset.Holdout(s, slices.DeleteFunc(slices.Clone(examples), beside), span, fraction)
	learned := map[string]bool{}
	for _, i := range kept {
		learned[s.Source(i).Capture] = true
	}
	validated := map[string]bool{}
	for _, i := range held {
		validated[s.Source(i).Capture] = true
	}
	for _, i := range examples {
		switch from := s.Source(i).Capture; {
		case !beside(i):
		case validated[from] && !learned[from]:
			held = append(held, i)
		case !validated[from]:
			kept = append(kept, i)
		}
	}
	return kept, held
}

// Add is the examples of one part of the data with its share of negatives: of its
// unlisted machines, each as many pieces as another as far as it has them, and chimeras
// and invented machines of its own rows. Parts differ by their numbers.
func (m *Maker) Add(examples []int, part uint64) ([]int, error) {
	rng := rand.New(rand.NewPCG(uint64(m.Seed), drawStream+part))
	var named, strange []int
	for _, i := range examples {
		if m.Store.Label(i) == model.NoneLabel {
			strange = append(strange, i)
		} else {
			named = append(named, i)
		}
	}
	most := (len(m.pieces(named)) + portion - 1) / portion
	named = append(named, m.thin(strange, most, rng)...)
	classes := m.rows(named)
	all, err := m.mix(named, classes, most, rng)
	if err != nil {
		return nil, err
	}
	return m.invent(all, classes, most, rng)
}

// drawStream keeps these random numbers apart from others of the same seed.
const drawStream = 2 << 32

// streams are the examples of each stream, in the order they begin.
func (m *Maker) streams(examples []int) (streams [][]int) {
	place := map[int]int{}
	for _, i := range examples {
		stream, _ := m.Store.Stream(i)
		at, known := place[stream]
		if !known {
			at = len(streams)
			place[stream], streams = at, append(streams, nil)
		}
		streams[at] = append(streams[at], i)
	}
	return streams
}

// pieces are successive examples of a stream, as many as are learned from together.
func (m *Maker) pieces(examples []int) (pieces [][]int) {
	for _, s := range m.streams(examples) {
		pieces = slices.AppendSeq(pieces, slices.Chunk(s, m.Judged))
	}
	return pieces
}

// thin draws pieces, of each machine one after the other, until there are as many as may
// be. A gateway is in every capture, a visitor in one.
func (m *Maker) thin(examples []int, most int, rng *rand.Rand) []int {
	var machines [][][]int // pieces, in the order the machines come
	place := map[string]int{}
	for _, p := range m.pieces(examples) {
		name := m.Store.Source(p[0]).Name
		at, known := place[name]
		if !known {
			at = len(machines)
			place[name], machines = at, append(machines, nil)
		}
		machines[at] = append(machines[at], p)
	}
	for _, all := range machines {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	var kept []int
	for turn, taken, left := 0, 0, true; left; turn++ {
		left = false
		for _, all := range machines {
			if turn < len(all) && taken < most {
				kept, left = append(kept, all[turn]...), true
				taken++
			}
		}
	}
	slices.Sort(kept)
	return kept
}

// mix adds chimeras until there are so many pieces of them; none where there are too few
// classes.
func (m *Maker) mix(examples []int, classes [][][]uint32, most int, rng *rand.Rand) ([]int, error) {
	if len(classes) < leastClasses {
		return examples, nil
	}
	for most > 0 {
		rows, first := chimera(classes, rng)
		made, err := m.Store.Mix(m.source("chimera"), rows, max(first, m.First))
		if err != nil {
			return nil, err
		}
		most -= max(1, (len(made)+m.Judged-1)/m.Judged)
		examples = append(examples, made...)
	}
	return examples, nil
}

// source is where the next negative comes from: no capture that there is.
func (m *Maker) source(kind string) dataset.Source {
	m.made++
	name := fmt.Sprintf("%s %d", kind, m.made)
	return dataset.Source{Device: dataset.Device{Name: name, Label: model.NoneLabel}, Capture: name}
}

// rows are those of the examples by class and stream, in the order they come.
func (m *Maker) rows(examples []int) [][][]uint32 {
	var classes [][][]uint32
	class := map[string]int{}
	for _, s := range m.streams(examples) {
		label := m.Store.Label(s[0])
		if label == model.NoneLabel {
			continue
		}
		at, known := class[label]
		if !known {
			at = len(classes)
			class[label], classes = at, append(classes, nil)
		}
		var rows []uint32
		for _, i := range s {
			rows = append(rows, m.Store.Members(i, 1)...)
		}
		classes[at] = append(classes[at], rows)
	}
	return classes
}

// chimera draws rows from a stream of each of some classes. The first that is judged is
// the one with which it holds flows of three: those before may well be of one device.
func chimera(classes [][][]uint32, rng *rand.Rand) (rows []uint32, first int) {
	var from [][]uint32
	for _, at := range rng.Perm(len(classes))[:min(len(classes), leastClasses+rng.IntN(mostClasses-leastClasses+1))] {
		from = append(from, classes[at][rng.IntN(len(classes[at]))])
	}
	seen := map[int]bool{}
	for n := leastFlows + rng.IntN(mostFlows-leastFlows+1); len(rows) < n; {
		of := rng.IntN(len(from))
		rows = append(rows, from[of][rng.IntN(len(from[of]))])
		if seen[of] = true; len(seen) < leastClasses {
			first = len(rows)
		}
	}
	return rows, first
}
