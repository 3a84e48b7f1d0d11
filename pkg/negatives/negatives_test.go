package negatives_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/negatives"
)

const rows = 12 // of each stream

// filled is a store of some captures of each class, a gateway in each of them, and a
// visitor in the first.
func filled(t *testing.T, classes, captures int) *dataset.Store {
	t.Helper()
	s := dataset.NewStore(dataset.DefaultMemory)
	t.Cleanup(func() { s.Close() })
	add := func(capture, name, label string) {
		for n := range rows {
			e := dataset.Example{Step: flows.Step{Row: flows.Row{Record: &flows.Record{}}, Number: n}, Device: dataset.Device{Name: name, Label: label}, Capture: capture}
			if err := s.Add(e, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	for c := range classes {
		for k := range captures {
			capture := fmt.Sprintf("%d-%d", c, k)
			add(capture, "device", fmt.Sprintf("class %d", c))
			add(capture, "gateway", model.NoneLabel)
		}
	}
	add("0-0", "visitor", model.NoneLabel)
	return s
}

// Unlisted machines are on the side of their capture; those of captures of their own are
// a class like others.
func TestHoldout(t *testing.T) {
	s := filled(t, 4, 5)
	for k := range 5 {
		e := dataset.Example{Step: flows.Step{Row: flows.Row{Record: &flows.Record{}}}, Device: dataset.Device{Name: "given", Label: model.NoneLabel}, Capture: fmt.Sprint("given ", k)}
		if err := s.Add(e, true); err != nil {
			t.Fatal(err)
		}
	}
	kept, held := negatives.Holdout(s, s.All(), 20, 0.2)
	side := map[string]string{}
	given := map[string]int{}
	for name, part := range map[string][]int{"kept": kept, "held": held} {
		for _, i := range part {
			from := s.Source(i)
			if other := side[from.Capture]; other != "" && other != name {
				t.Fatalf("capture %s is on both sides", from.Capture)
			}
			side[from.Capture] = name
			if from.Name == "given" {
				given[name]++
			}
		}
	}
	if len(kept)+len(held) != s.Len() || len(held) != 4*2*rows+1 {
		t.Errorf("%d kept, %d held of %d", len(kept), len(held), s.Len())
	}
	if given["kept"] != 4 || given["held"] != 1 {
		t.Errorf("given negatives: %v", given)
	}
}

// Each part gets its share of unlisted machines, the visitor as much as the gateway as far
// as there is of it, and chimeras of its own rows alone, the same when made again.
func TestAdd(t *testing.T) {
	for _, tt := range []struct {
		name            string
		classes, judged int
		strange         map[string]int // examples
		chimeras        bool
	}{
		{"pieces of streams", 5, 24, map[string]int{"gateway": rows, "visitor": rows}, true}, // of 20 one in twelve, rounded up
		{"windows", 5, 1, map[string]int{"gateway": 10, "visitor": 10}, true},
		{"too few classes to mix", 2, 24, map[string]int{"gateway": rows, "visitor": 0}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before []int
			for range 2 {
				s := filled(t, tt.classes, 5)
				kept, held := negatives.Holdout(s, s.All(), 20, 0.2)
				m := negatives.Maker{Store: s, Judged: tt.judged, Seed: 3}
				learn, err := m.Add(kept, 0)
				if err != nil {
					t.Fatal(err)
				}
				validate, err := m.Add(held, 1)
				if err != nil {
					t.Fatal(err)
				}
				check(t, s, learn, kept, tt.strange, tt.chimeras)
				check(t, s, validate, held, nil, tt.chimeras)
				again := ids(s, slices.Concat(learn, validate))
				if before != nil && !slices.Equal(before, again) {
					t.Error("the same seed makes others")
				}
				before = again
			}
		})
	}
}

// check holds a part with its negatives against what it was made of.
func check(t *testing.T, s *dataset.Store, got, from []int, strange map[string]int, chimeras bool) {
	t.Helper()
	own := map[uint32]string{} // classes of its rows
	for _, i := range from {
		if s.Label(i) != model.NoneLabel {
			own[s.Members(i, 1)[0]] = s.Label(i)
		}
	}
	counts, distinct := map[string]int{}, 0
	for _, i := range got {
		counts[s.Source(i).Name]++
		if slices.Contains(from, i) {
			continue
		}
		if strings.HasPrefix(s.Source(i).Name, "invented") {
			counts["invented"]++
			continue
		}
		counts["chimeras"]++
		classes := map[string]bool{}
		for _, id := range s.Members(i, 0) {
			if own[id] == "" {
				t.Fatalf("row %d of a chimera is of another part, or no class", id)
			}
			classes[own[id]] = true
		}
		distinct = max(distinct, len(slices.Compact(slices.Sorted(slices.Values(s.Members(i, 0))))))
		if n := len(s.Members(i, 0)); len(classes) < 3 || n > 20 || s.Label(i) != model.NoneLabel {
			t.Errorf("a chimera of %d rows of %d classes, %q", n, len(classes), s.Label(i))
		}
	}
	if counts["device"] != len(own) || (counts["chimeras"] > 0) != chimeras {
		t.Errorf("%v, of %d rows of classes", counts, len(own))
	}
	if counts["invented"] == 0 {
		t.Error("no machine was invented")
	}
	if chimeras && distinct <= 6 {
		t.Errorf("chimeras have no more than %d different rows", distinct)
	}
	for name, n := range strange {
		if counts[name] != n {
			t.Errorf("%s has %d examples, want %d", name, counts[name], n)
		}
	}
}

// ids are what examples rest on.
func ids(s *dataset.Store, examples []int) (all []int) {
	for _, i := range examples {
		for _, id := range s.Members(i, 0) {
			all = append(all, int(id))
		}
	}
	return all
}
