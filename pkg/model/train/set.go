package train

// This file chooses what is trained on: classes, windows, scaling, and the digest
// of it all.

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// set is the windows of a run, by their numbers in a store.
type set struct {
	store      *dataset.Store
	span       int            // rows that an output rests on, 0: all of a stream's
	labels     []string       // sorted
	class      map[string]int // index into labels
	classes    []Class
	training   []int
	validation []int
	choosing   []int // of these, what the epoch is chosen by
	fitting    []int // and what the temperature is fitted on; all of them for both, where there are few
	skipped    int   // validation windows of classes that are left out
}

// TooLittleError says that there is too little labelled data for a model.
type TooLittleError struct{ reason string }

// TooLittle makes a [TooLittleError] of a format and its values.
func TooLittle(format string, args ...any) error {
	return &TooLittleError{fmt.Sprintf(format, args...)}
}

func (e *TooLittleError) Error() string { return e.reason }

// choose applies the limits per class. Classes are taken in the order of their
// names.
func choose(store *dataset.Store, span int, training, validation []int, o Options, rng *rand.Rand) (*set, error) {
	if len(validation) == 0 {
		return nil, TooLittle("no validation windows: keep some captures apart, early stopping needs them")
	}
	byLabel := map[string][]int{}
	for _, i := range training {
		l := store.Label(i)
		byLabel[l] = append(byLabel[l], i)
	}
	for _, i := range validation { // a class that is only validated is reported too
		byLabel[store.Label(i)] = byLabel[store.Label(i)]
	}
	s := &set{store: store, span: span, class: map[string]int{}}
	for _, label := range slices.Sorted(maps.Keys(byLabel)) {
		windows := byLabel[label]
		c := Class{Label: label, Available: len(windows)}
		if len(windows) >= max(o.MinPerClass, 1) {
			s.class[label] = len(s.labels)
			s.labels = append(s.labels, label)
			c.Used = len(windows)
			if o.MaxPerClass > 0 {
				c.Used = min(c.Used, o.MaxPerClass)
			}
			s.take(windows, c.Used, rng)
		}
		s.classes = append(s.classes, c)
	}
	if len(s.labels) < 2 {
		return nil, TooLittle("%d classes with at least %d training windows, want 2 or more", len(s.labels), max(o.MinPerClass, 1))
	}
	for _, i := range validation {
		if _, ok := s.class[store.Label(i)]; !ok {
			s.skipped++
			continue
		}
		s.validation = append(s.validation, i)
	}
	if len(s.validation) == 0 {
		return nil, TooLittle("no validation window belongs to a class that is trained")
	}
	s.choosing, s.fitting = s.apart()
	return s, nil
}

// calibrationCaptures is how many validation captures a class must have for its
// share of the calibration: two to choose the epoch by and two others to fit the
// temperature on. With fewer, single captures would decide on the weights.
const calibrationCaptures = 4

// apart divides the validation windows in those that choose the epoch and those
// that only the temperature is fitted on: every second capture of each class that
// has enough. If fewer than half of the classes have, all windows do both: a
// temperature of a few classes is worth less than one of an epoch chosen by luck.
func (s *set) apart() (choosing, fitting []int) {
	type capture struct{ label, name string }
	of := func(i int) capture { return capture{s.store.Label(i), s.store.Source(i).Capture} }
	place := map[capture]int{} // in its class, in the order they come
	captures := map[string]int{}
	for _, i := range s.validation {
		c := of(i)
		if _, known := place[c]; !known {
			place[c] = captures[c.label]
			captures[c.label]++
		}
	}
	enough := 0
	for _, n := range captures {
		if n >= calibrationCaptures {
			enough++
		}
	}
	if 2*enough < len(captures) {
		return s.validation, s.validation
	}
	for _, i := range s.validation {
		if c := of(i); captures[c.label] >= calibrationCaptures && place[c]%2 == 1 {
			fitting = append(fitting, i)
		} else {
			choosing = append(choosing, i)
		}
	}
	return choosing, fitting
}

// take adds want of a class's training windows, drawn at random when there are more.
func (s *set) take(windows []int, want int, rng *rand.Rand) {
	left := len(windows)
	for _, i := range windows {
		if left == want || rng.IntN(left) < want { // each subset of that size is equally likely
			s.training = append(s.training, i)
			want--
		}
		if left--; want == 0 {
			return
		}
	}
}

// scaling is the mean and deviation of log(1+x) over the rows of the training
// windows, each row once.
func (s *set) scaling() (model.Scaling, error) {
	var size, packets moments
	var b dataset.Buffer
	for id := range s.store.Distinct(s.training, s.span) {
		r, err := s.store.Row(id, &b)
		if err != nil {
			return model.Scaling{}, err
		}
		size.add(math.Log1p(float64(r.TotalBytes)))
		packets.add(math.Log1p(float64(r.PacketCount)))
	}
	return model.Scaling{Bytes: size.result(), Packets: packets.result()}, nil
}

// survey shows the training rows to a design that wants to see them.
func (s *set) survey(d Design) (Design, error) {
	surveyor, ok := d.(Surveyor)
	if !ok {
		return d, nil
	}
	var b dataset.Buffer
	var failed error
	d = surveyor.Survey(func(yield func(int, flows.Row) bool) {
		for _, i := range s.training {
			stream, _ := s.store.Stream(i)
			rows, err := s.store.Read(i, 1, &b)
			if err != nil {
				failed = err
				return
			}
			if !yield(stream, rows[0]) {
				return
			}
		}
	})
	return d, failed
}

// moments accumulates a mean and a variance (Welford).
type moments struct{ n, mean, m2 float64 }

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / m.n
	m.m2 += d * (x - m.mean)
}

func (m *moments) result() model.Moments {
	dev := math.Sqrt(m.m2 / max(m.n, 1))
	if dev < 1e-6 {
		dev = 1 // all the same: nothing to scale by
	}
	return model.Moments{Mean: m.mean, Deviation: dev}
}

// digest is the SHA-256 over the contents of all windows, in their order: first
// the rows, each once in the order of its first use, then which rows and what
// label each window has.
func (s *set) digest() (string, error) {
	h := sha256.New()
	var b dataset.Buffer
	all := slices.Concat(s.training, s.validation)
	place := make([]int64, s.store.Rows()) // in the order of first use
	next := int64(0)
	for id := range s.store.Distinct(all, s.span) {
		r, err := s.store.Row(id, &b)
		if err != nil {
			return "", err
		}
		hashRow(h, r)
		place[id] = next
		next++
	}
	number(h, int64(len(s.training)))
	for _, i := range all {
		number(h, int64(s.class[s.store.Label(i)]))
		members := s.store.Members(i, s.span)
		number(h, int64(len(members)))
		if s.span == 0 { // the rows before are known from the stream's earlier examples
			members = members[len(members)-1:]
		}
		for _, id := range members {
			number(h, place[id])
		}
	}
	for _, l := range s.labels {
		number(h, int64(len(l)))
		h.Write([]byte(l))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashRow writes everything of a row that the network can see.
func hashRow(h hash.Hash, r flows.Row) {
	for _, v := range r.Meta() {
		number(h, int64(v))
	}
	number(h, int64(len(r.Packets)))
	for _, p := range r.Packets {
		number(h, int64(len(p.Payload)))
		h.Write(p.Payload)
	}
}

func number(h hash.Hash, v int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	h.Write(b[:])
}
