package dataset_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

func TestHoldout(t *testing.T) {
	examples := func(label string, captures, windows int) (list []dataset.Example) {
		for c := range captures {
			for w := range windows {
				list = append(list, dataset.Example{
					Step:   flows.Step{Row: flows.Row{Record: &flows.Record{FirstSeen: int64(w)}}, Number: w},
					Device: dataset.Device{Label: label}, Capture: fmt.Sprintf("%s-%02d", label, c),
				})
			}
		}
		return list
	}
	of := func(device string, list []dataset.Example) []dataset.Example {
		for i := range list {
			list[i].Name = device
		}
		return list
	}
	// late is a copy, half a year later, without so many rows before.
	late := func(list []dataset.Example, lost int64) []dataset.Example {
		for i := range list {
			list[i].Later = 1 << 44
			list[i].Record.FirstSeen += list[i].Later + lost
		}
		return list
	}
	// turns deals equal parts of a list one by one.
	turns := func(list []dataset.Example, parts int) (dealt []dataset.Example) {
		n := len(list) / parts
		for i := range n {
			for p := range parts {
				dealt = append(dealt, list[p*n+i])
			}
		}
		return dealt
	}
	for _, tt := range []struct {
		name         string
		in           []dataset.Example
		fraction     float64
		captures     []string // held
		kept, number int
	}{
		{"a fifth of ten captures", examples("a", 10, 3), .2, []string{"a-02", "a-07"}, 24, 6},
		{"at least one of two", examples("a", 2, 4), .2, []string{"a-01"}, 4, 4},
		{"not both of two", examples("a", 2, 4), .9, []string{"a-01"}, 4, 4},
		{"each class for itself", append(examples("a", 5, 1), examples("b", 5, 1)...), .2, []string{"a-02", "b-02"}, 8, 2},
		{"one capture: its end, without windows that share records", examples("a", 1, 100), .2, []string{"a-00"}, 76, 20},
		{"one capture with one window is kept", examples("a", 1, 1), .2, nil, 1, 0},
		{"captures that take turns", turns(examples("a", 10, 3), 10), .2, []string{"a-02", "a-07"}, 24, 6},
		{"two devices of one capture: the end of each", turns(append(of("1", examples("a", 1, 100)), of("2", examples("a", 1, 100))...), 2), .2, []string{"a-00"}, 152, 40},
		{"a copy of one capture's first half: nothing of the end", append(examples("a", 1, 100), examples("a", 1, 50)...), .2, []string{"a-00"}, 126, 20},
		{"a copy of its second half: no more than of the end", append(examples("a", 1, 100), late(examples("a", 1, 50), 50)...), .2, []string{"a-00"}, 102, 40},
		{"nothing held", examples("a", 3, 3), 0, nil, 9, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := dataset.NewStore(dataset.DefaultMemory)
			for _, e := range tt.in {
				if err := store.Add(e, true); err != nil {
					t.Fatal(err)
				}
			}
			kept, held := dataset.Holdout(store, store.All(), 5, tt.fraction)
			captures := map[string]bool{}
			for _, i := range held {
				captures[store.Source(i).Capture] = true
			}
			if got := slices.Sorted(maps.Keys(captures)); !slices.Equal(got, tt.captures) {
				t.Errorf("held captures %v, want %v", got, tt.captures)
			}
			if len(kept) != tt.kept || len(held) != tt.number {
				t.Errorf("%d kept, %d held, want %d and %d", len(kept), len(held), tt.kept, tt.number)
			}
		})
	}
}

// Of a short capture a network with a long memory still has something to learn from.
func TestHoldoutOfLongSpans(t *testing.T) {
	for _, tt := range []struct{ span, rows, kept int }{
		{5, 24, 16}, {20, 24, 10}, {20, 100, 61}, {20, 6, 1}, {0, 24, 20},
	} {
		store := dataset.NewStore(dataset.DefaultMemory)
		for i := range tt.rows {
			e := dataset.Example{Step: flows.Step{Row: flows.Row{Record: &flows.Record{}}, Number: i}, Device: dataset.Device{Label: "a"}, Capture: "c"}
			if err := store.Add(e, true); err != nil {
				t.Fatal(err)
			}
		}
		kept, held := dataset.Holdout(store, store.All(), tt.span, .2)
		if len(kept) != tt.kept || len(held) != tt.rows/5 {
			t.Errorf("span %d of %d rows: %d kept, %d held; want %d, %d", tt.span, tt.rows, len(kept), len(held), tt.kept, tt.rows/5)
		}
	}
}
