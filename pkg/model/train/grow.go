package train

// This file keeps of each class what others can be told from it by later, and adds classes
// to a model by that.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

// Grower is a [Design] of networks to which classes can be added without the captures that
// the others were learned from. Their models have a background: of each class, in the order
// of the labels, as many entries, each of one training window.
type Grower interface {
	Design
	// Entries is a model like m that has the entry of a row's window for its outputs.
	Entries(m *model.Model) *model.Model
	// Grow is n with outputs more, which are then those at the places added, ascending.
	// They are trained on what draw gives, an entry and the output of its class; what n
	// computes for its own classes stays as it is, bit for bit.
	Grow(n model.Net, added []int, draw func(*rand.Rand) (entry []float32, class int), seed int64) (model.Net, error)
	// Logits are the outputs of n for an entry.
	Logits(n model.Net, entry []float32) []float32
}

const (
	// keptEntries are a class's in a background.
	keptEntries = 16
	// keepStream keeps these random numbers apart from others of the same seed.
	keepStream = 3 << 32
)

// background draws entries of each of the set's classes: of its training captures in turn,
// so that they differ.
func (s *set) background(g Grower, m *model.Model, each int, o Options) ([]float32, error) {
	drawn := s.drawn(s.training, each, rand.New(rand.NewPCG(uint64(o.Seed), keepStream)))
	entries, err := s.entries(g, m, drawn, o.Threads)
	all := slices.Concat(entries...)
	for i, v := range all {
		all[i] = model.Rounded(v)
	}
	return all, err
}

// byRecording are windows by their recording.
func (s *set) byRecording(windows []int) map[recording][]int {
	of := map[recording][]int{}
	for _, i := range windows {
		r := recordingOf(s.store, i)
		of[r] = append(of[r], i)
	}
	return of
}

// entries are those of windows.
func (s *set) entries(g Grower, m *model.Model, windows []int, threads int) ([][]float32, error) {
	entries := make([][]float32, len(windows))
	err := Predict(g.Entries(m), s.store, windows, threads, func(i int, entry, _ []float32) {
		entries[i] = slices.Clone(entry)
	})
	return entries, err
}

// shelf is entries by class and recording; those of a background count as one recording.
type shelf [][][][]float32

// draw gives an entry: each class as often as another, of it each recording.
func (s shelf) draw(rng *rand.Rand) (entry []float32, class int) {
	class = rng.IntN(len(s))
	of := s[class][rng.IntN(len(s[class]))]
	return of[rng.IntN(len(of))], class
}

// scores are the logits of all entries, weighed as they are drawn.
func (s shelf) scores(logits func(entry []float32) []float32) *scores {
	all := &scores{}
	for class, recordings := range s {
		for _, of := range recordings {
			for _, entry := range of {
				all.logits = append(all.logits, logits(entry))
				all.labels = append(all.labels, class)
				all.weights = append(all.weights, 1/float64(len(recordings)*len(of)))
			}
		}
	}
	return all
}

// stack puts the entries of windows on a copy of the shelf.
func (s *set) stack(on shelf, g Grower, m *model.Model, windows []int, threads int) (shelf, error) {
	on = slices.Clone(on)
	recordings, of := s.recordings(windows), s.byRecording(windows)
	for _, label := range s.labels {
		for _, r := range recordings[label] {
			entries, err := s.entries(g, m, of[r], threads)
			if err != nil {
				return nil, err
			}
			class := s.class[label]
			on[class] = append(slices.Clip(on[class]), entries)
		}
	}
	return on, nil
}

// Add gives a model the classes of training windows, of which it knows none. They are told
// from the others by the model's background alone. The validation windows fit the
// temperature, together with the background, of which the model is surer than of anything
// else: so it falls no lower than it was. Then they are learned from too. g is of old's
// network.
func Add(g Grower, old *model.Model, store *dataset.Store, training, validation []int, o Options) (*model.Model, *Report, error) {
	m, report, err := add(g, old, store, training, validation, o)
	if err != nil {
		return nil, nil, fmt.Errorf("add classes: %w", err)
	}
	return m, report, nil
}

func add(g Grower, old *model.Model, store *dataset.Store, training, validation []int, o Options) (*model.Model, *Report, error) {
	o.Threads, o.Patience = workers.Or(o.Threads), 0
	_, judged := g.Cut()
	s, err := choose(store, old.Net.Span(), judged, training, validation, o, rand.New(rand.NewPCG(uint64(o.Seed), 1)))
	if err != nil {
		return nil, nil, err
	}
	if known := slices.DeleteFunc(slices.Clone(s.labels), func(l string) bool { return !slices.Contains(old.Labels, l) }); len(known) > 0 {
		return nil, nil, fmt.Errorf("the model knows %s already: leave these lines of the manifest out, or train anew on all captures", strings.Join(known, ", "))
	}
	network := *old
	network.Facts = nil   // the network alone: facts are added to apart
	network.Centres = nil // of the old classes in the old layer
	old = &network
	m := *old
	added := s.among(&m)
	kept, each, err := s.kept(old, added)
	if err != nil {
		return nil, nil, err
	}
	lessons, err := s.stack(kept, g, old, s.training, o.Threads)
	if err != nil {
		return nil, nil, err
	}
	if m.Net, err = g.Grow(old.Net, added, lessons.draw, o.Seed); err != nil {
		return nil, nil, err
	}
	held, err := s.stack(kept, g, old, s.validation, o.Threads)
	if err != nil {
		return nil, nil, err
	}
	c := model.Calibration{Least: max(m.LeastTemperature(), old.Temperature()), Captures: s.count(s.validation)}
	c.Temperature = max(c.Least, held.scores(func(e []float32) []float32 { return g.Logits(m.Net, e) }).temperature())
	m.Calibration = c
	for _, class := range added { // of five captures one counts
		lessons[class] = append(lessons[class], held[class]...)
	}
	if m.Net, err = g.Grow(old.Net, added, lessons.draw, o.Seed); err != nil {
		return nil, nil, err
	}
	if err := s.widen(g, old, &m, added, each, o); err != nil {
		return nil, nil, err
	}
	if err := s.record(&m, o); err != nil {
		return nil, nil, err
	}
	return &m, &Report{
		Classes: s.classes, Windows: len(s.training), Validation: len(s.validation), Skipped: s.skipped,
		Stopped: Added, Temperature: c.Temperature, Calibration: c,
	}, m.Validate()
}

// among gives the model the set's labels among its own, and the places they have there.
func (s *set) among(m *model.Model) (places []int) {
	m.Labels = slices.Sorted(slices.Values(slices.Concat(m.Labels, s.labels)))
	for _, label := range s.labels {
		s.class[label], _ = slices.BinarySearch(m.Labels, label)
		places = append(places, s.class[label])
	}
	return places
}

// kept is a model's background on a shelf with room for added classes, and how many
// entries a class has there.
func (s *set) kept(m *model.Model, added []int) (on shelf, each int, err error) {
	size := (model.Tensor{Shape: m.Net.Input(m.Record)}).Size()
	each = len(m.Background) / (size * len(m.Labels))
	if each == 0 || len(m.Background) != each*size*len(m.Labels) {
		return nil, 0, fmt.Errorf("the model has a background of %d entries for %d classes, none that classes can be told from: train it anew", len(m.Background)/size, len(m.Labels))
	}
	on = make(shelf, len(m.Labels)+len(added))
	entries := slices.Collect(slices.Chunk(m.Background, size))
	for class := range on {
		if !slices.Contains(added, class) {
			on[class], entries = [][][]float32{entries[:each]}, entries[each:]
		}
	}
	return on, each, nil
}

// widen gives the model's background the added classes.
func (s *set) widen(g Grower, old, m *model.Model, added []int, each int, o Options) error {
	fresh, err := s.background(g, old, each, o)
	if err != nil {
		return err
	}
	class := len(fresh) / len(added)
	m.Background = slices.Clone(old.Background)
	for _, at := range added {
		m.Background = slices.Insert(m.Background, at*class, fresh[:class]...)
		fresh = fresh[class:]
	}
	return nil
}

// record says in the model where its added classes come from, beside what it says already.
func (s *set) record(m *model.Model, o Options) error {
	digest, err := s.digest()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(m.Training.Digest + digest))
	m.Training.Digest, m.Training.Seed, m.Training.Threads = hex.EncodeToString(sum[:]), o.Seed, o.Threads
	options := map[string]string{}
	maps.Copy(options, m.Training.Options)
	options["add-class"] = strings.TrimPrefix(options["add-class"]+","+strings.Join(s.labels, ","), ",")
	m.Training.Options = options
	return nil
}
