package train

// This file keeps what explanations of a model compare with.

import (
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
)

const (
	// references are a class's among those of a model.
	references = 1
	// referenceStream keeps these random numbers apart from others of the same seed.
	referenceStream = 4 << 32
)

// compare gives a model references, if its network takes any: of each class training
// windows of as many rows as there are, of its captures in turn.
func (s *set) compare(m *model.Model, seed int64) error {
	e, ok := m.Net.(model.Explainable)
	if !ok {
		return nil
	}
	rng := rand.New(rand.NewPCG(uint64(seed), referenceStream))
	var all []float32
	for number, i := range s.drawn(s.longest(e.Span()), references, rng) {
		rows, err := s.store.Read(i, e.Span(), &dataset.Buffer{})
		if err != nil {
			return err
		}
		reference, err := e.Refer(m.Record, m.Scaling, rows, number)
		if err != nil {
			return err
		}
		all = append(all, reference...)
	}
	return m.SetReferences(all)
}

// longest are the training windows that no other of their recording has more rows than.
func (s *set) longest(span int) (windows []int) {
	most := map[recording]int{}
	for _, i := range s.training {
		r := recordingOf(s.store, i)
		most[r] = max(most[r], len(s.store.Members(i, span)))
	}
	for _, i := range s.training {
		if len(s.store.Members(i, span)) == most[recordingOf(s.store, i)] {
			windows = append(windows, i)
		}
	}
	return windows
}

// drawn are as many windows of each of the set's classes: of its captures in turn, so
// that they differ.
func (s *set) drawn(among []int, each int, rng *rand.Rand) (drawn []int) {
	recordings, windows := s.recordings(among), s.byRecording(among)
	for _, label := range s.labels {
		of := slices.Clone(recordings[label])
		rng.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		for _, r := range of {
			w := windows[r]
			rng.Shuffle(len(w), func(i, j int) { w[i], w[j] = w[j], w[i] })
		}
		for n := range each {
			w := windows[of[n%len(of)]]
			drawn = append(drawn, w[n/len(of)%len(w)])
		}
	}
	return drawn
}
