package train

// This file finds where the rows of a model's classes lie, and how far from there is far.

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

const (
	centresPerClass = 8
	centreRounds    = 15
	centreSteps     = 127 // a value is rounded to this part of 1, which packs
	centreKept      = 0.95
	centreMargin    = 2 // of the distance that so many validation captures stay below
)

// Centre gives a model its centres: k-means of each class over the training examples' rows
// that count, scaled to length 1, and the threshold: twice what 95 % of the validation
// devices' mean distances stay below. Changed copies are left out of both. A model whose
// network shows no layer, or that nothing validates, gets none.
func Centre(m *model.Model, store *dataset.Store, training, validation []int, seed int64) error {
	if _, ok := m.Net.(model.Units); !ok {
		return nil
	}
	rows, err := unitsOf(m, store, training)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 2))
	centres := &model.Centres{Threshold: 1}
	for _, label := range m.Classes() {
		for _, c := range kmeans(rows[label], rng) {
			for _, v := range c {
				centres.Vectors = append(centres.Vectors, float32(math.Round(v*centreSteps)/centreSteps))
			}
		}
	}
	if len(centres.Vectors) == 0 {
		return nil
	}
	with := *m
	with.Centres = centres
	far, err := distances(&with, store, validation)
	if err != nil || len(far) == 0 {
		return err
	}
	slices.Sort(far)
	centres.Captures = len(far)
	if centres.Threshold = centreMargin * far[int(centreKept*float64(len(far)-1))]; centres.Threshold > 0 {
		m.Centres = centres
	}
	return nil
}

// unitsOf are the values of the layer for the rows of examples that count, by class.
func unitsOf(m *model.Model, store *dataset.Store, examples []int) (map[string][][]float64, error) {
	rows := map[string][][]float64{}
	err := counted(m, store, examples, func(i int, e *model.Engine) {
		row := make([]float64, len(e.Units()))
		for u, v := range e.Units() {
			row[u] = float64(v)
		}
		if scale(row) {
			rows[store.Label(i)] = append(rows[store.Label(i)], row)
		}
	})
	return rows, err
}

// distances are the mean ones of the devices of examples.
func distances(m *model.Model, store *dataset.Store, examples []int) (far []float64, err error) {
	means, order := map[int]*join.Mean{}, []int(nil)
	err = counted(m, store, examples, func(i int, e *model.Engine) {
		stream, _ := store.Stream(i)
		if means[stream] == nil {
			means[stream], order = &join.Mean{}, append(order, stream)
		}
		w := join.Window{Measured: true}
		w.Distance, _ = e.Distance()
		means[stream].Join(w)
	})
	for _, stream := range order {
		d, _ := means[stream].Distance()
		far = append(far, d)
	}
	return far, err
}

// counted runs the model over those examples of its classes' unchanged streams whose newest
// flows are not alike earlier ones.
func counted(m *model.Model, store *dataset.Store, examples []int, each func(i int, e *model.Engine)) error {
	engine, err := model.NewEngine(m)
	if err != nil {
		return err
	}
	classes, first := m.Classes(), map[dataset.Source]int{}
	own := slices.DeleteFunc(slices.Clone(examples), func(i int) bool {
		stream, _ := store.Stream(i)
		if _, known := first[*store.Source(i)]; !known {
			first[*store.Source(i)] = stream
		}
		return first[*store.Source(i)] != stream || !slices.Contains(classes, store.Label(i))
	})
	r, again := newStreamRunner(m, store, engine), Repeats(m, store)
	var wrong error
	for _, part := range byStream(store, own) {
		if err := r.run(own, part, func(at int, _, _ []float32) {
			switch repeated, err := again(own[at]); {
			case err != nil:
				wrong = err
			case !repeated:
				each(own[at], engine)
			}
		}); err != nil {
			return err
		}
	}
	return wrong
}

// Repeats tells of examples, those of a stream in order, whose newest flow is alike one
// before.
func Repeats(m *model.Model, store *dataset.Store) func(i int) (bool, error) {
	seen, buffer := map[int]*join.Seen{}, &dataset.Buffer{}
	return func(i int) (bool, error) {
		rows, err := store.Read(i, 1, buffer)
		if err != nil {
			return false, err
		}
		stream, _ := store.Stream(i)
		if seen[stream] == nil {
			seen[stream] = &join.Seen{}
		}
		r := rows[0].Record
		return seen[stream].Again(r.Likeness(m.Net.Ports(r.DevPort, r.RemPort))), nil
	}
}

// scale makes a row one of length 1; false: it has none.
func scale(row []float64) bool {
	squares := 0.0
	for _, v := range row {
		squares += float64(v * v)
	}
	if squares == 0 {
		return false
	}
	for u := range row {
		row[u] /= math.Sqrt(squares)
	}
	return true
}

// kmeans are at most centresPerClass means of rows, of length 1: begun at rows drawn by their
// squared distance from those before (k-means++).
func kmeans(rows [][]float64, rng *rand.Rand) [][]float64 {
	if len(rows) == 0 {
		return nil
	}
	centres := [][]float64{slices.Clone(rows[rng.IntN(len(rows))])}
	off := slices.Repeat([]float64{math.Inf(1)}, len(rows))
	for len(centres) < centresPerClass {
		sum := 0.0
		for i, r := range rows {
			off[i] = min(off[i], apart(r, centres[len(centres)-1]))
			sum += off[i]
		}
		if sum <= 0 {
			break
		}
		next, left := 0, rng.Float64()*sum
		for next < len(rows)-1 && left >= off[next] {
			left -= off[next]
			next++
		}
		centres = append(centres, slices.Clone(rows[next]))
	}
	for range centreRounds {
		move(centres, rows)
	}
	return slices.DeleteFunc(centres, func(c []float64) bool { return !scale(c) })
}

// move puts each centre amid the rows that it is the nearest of.
func move(centres, rows [][]float64) {
	sums, count := make([][]float64, len(centres)), make([]int, len(centres))
	for _, r := range rows {
		nearest, least := 0, math.Inf(1)
		for c := range centres {
			if d := apart(r, centres[c]); d < least {
				nearest, least = c, d
			}
		}
		if sums[nearest] == nil {
			sums[nearest] = make([]float64, len(r))
		}
		for u, v := range r {
			sums[nearest][u] += v
		}
		count[nearest]++
	}
	for c, sum := range sums {
		for u, v := range sum {
			centres[c][u] = v / float64(count[c])
		}
	}
}

// apart is the squared distance of two points.
func apart(a, b []float64) float64 {
	sum := 0.0
	for u, v := range a {
		sum += float64((v - b[u]) * (v - b[u]))
	}
	return sum
}
