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
	judged     int            // rows that bear loss together
	byWindow   bool           // validation figures are means over windows
	labels     []string       // sorted
	class      map[string]int // index into labels
	classes    []Class
	training   []int
	validation []int
	choosing   []int // of these, what the validation loss is of
	fitting    []int // and what the temperature is fitted on
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
func choose(store *dataset.Store, span, judged int, training, validation []int, o Options, rng *rand.Rand) (*set, error) {
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
	s := &set{store: store, span: span, judged: judged, byWindow: o.ByWindow, class: map[string]int{}}
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
	s.choosing, s.fitting = s.apart(o.Patience > 0)
	return s, nil
}

// take adds want of a class's training windows, drawn at random when there are more:
// single ones, or where a network learns from several rows at once, whole pieces of
// streams, so that what it learns from still follows each other.
func (s *set) take(windows []int, want int, rng *rand.Rand) {
	if s.judged > 1 && want < len(windows) {
		windows = s.draw(windows, want, rng)
	}
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

// draw takes pieces at random until they have as many windows as wanted, the last of
// them in part, and gives those in the order they were in.
func (s *set) draw(windows []int, want int, rng *rand.Rand) []int {
	pieces := cut(s.store, windows, s.judged)
	drawn := map[int]bool{}
	for _, p := range rng.Perm(len(pieces)) {
		for _, i := range pieces[p][:min(len(pieces[p]), want-len(drawn))] {
			drawn[i] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(windows), func(i int) bool { return !drawn[i] })
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
