package train

// This file chooses what is trained on: classes, windows, scaling, and the digest
// of it all.

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// set is the examples of a run. Labels are indices into labels, which are sorted.
type set struct {
	labels     []string
	classes    []Class
	training   []Example
	validation []Example
	skipped    int // validation examples of classes that are left out
}

// choose applies the limits per class. Classes are taken in the order of their
// names, so that the caller's order of labels does not matter.
func choose(names []string, k int, training, validation []Example, o Options, rng *rand.Rand) (*set, error) {
	if len(validation) == 0 {
		return nil, errors.New("no validation windows: keep some captures apart, early stopping needs them")
	}
	for _, part := range [][]Example{training, validation} {
		for _, e := range part {
			if err := check(e, len(names), k); err != nil {
				return nil, err
			}
		}
	}
	count := make([]int, len(names))
	for _, e := range training {
		count[e.Label]++
	}
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if names[a] < names[b] {
			return -1
		}
		return 1
	})
	s := &set{}
	index := make([]int, len(names)) // label in the model, or -1
	for _, l := range order {
		index[l] = -1
		c := Class{Label: names[l], Available: count[l]}
		if count[l] >= max(o.MinPerClass, 1) {
			index[l] = len(s.labels)
			s.labels = append(s.labels, names[l])
			c.Used = count[l]
			if o.MaxPerClass > 0 {
				c.Used = min(c.Used, o.MaxPerClass)
			}
		}
		s.classes = append(s.classes, c)
	}
	if len(s.labels) < 2 {
		return nil, fmt.Errorf("%d classes with at least %d training windows, want 2 or more", len(s.labels), max(o.MinPerClass, 1))
	}
	for i, l := range order {
		if index[l] >= 0 {
			s.take(training, l, index[l], s.classes[i].Used, rng)
		}
	}
	for _, e := range validation {
		if index[e.Label] < 0 {
			s.skipped++
			continue
		}
		s.validation = append(s.validation, Example{e.Window, index[e.Label]})
	}
	if len(s.validation) == 0 {
		return nil, errors.New("no validation window belongs to a class that is trained")
	}
	return s, nil
}

// check reports an example that cannot be trained on.
func check(e Example, classes, k int) error {
	if e.Label < 0 || e.Label >= classes {
		return fmt.Errorf("a window of %s has class %d of %d", e.Window.Device, e.Label, classes)
	}
	if n := len(e.Window.Rows); n < 1 || n > k {
		return fmt.Errorf("a window of %s has %d rows, want 1 to %d", e.Window.Device, n, k)
	}
	for _, r := range e.Window.Rows {
		if r.Record == nil {
			return fmt.Errorf("a window of %s has a row without a record", e.Window.Device)
		}
	}
	return nil
}

// take adds want of a class's training examples, drawn at random when there are more.
func (s *set) take(training []Example, label, index, want int, rng *rand.Rand) {
	left := 0
	for _, e := range training {
		if e.Label == label {
			left++
		}
	}
	for _, e := range training {
		if e.Label != label {
			continue
		}
		if left == want || rng.IntN(left) < want { // each subset of that size is equally likely
			s.training = append(s.training, Example{e.Window, index})
			want--
		}
		if left--; want == 0 {
			return
		}
	}
}

// scaling is the mean and deviation of log(1+x) over the rows of the training
// windows, each record once.
func (s *set) scaling() model.Scaling {
	seen := map[*flows.Record]bool{}
	var size, packets moments
	for _, e := range s.training {
		for _, r := range e.Window.Rows {
			if !seen[r.Record] {
				seen[r.Record] = true
				size.add(math.Log1p(float64(r.TotalBytes)))
				packets.add(math.Log1p(float64(r.PacketCount)))
			}
		}
	}
	return model.Scaling{Bytes: size.result(), Packets: packets.result()}
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

// digest is the SHA-256 over the contents of all examples, in their order.
func (s *set) digest() string {
	h := sha256.New()
	for _, part := range [][]Example{s.training, s.validation} {
		number(h, int64(len(part)))
		for _, e := range part {
			h.Write([]byte(s.labels[e.Label]))
			number(h, int64(len(e.Window.Rows)))
			for _, r := range e.Window.Rows {
				hashRow(h, r)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
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
