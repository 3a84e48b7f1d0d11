package train

import (
	"reflect"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
)

// Rows of devices in one capture take turns in the store; pieces are of one device all
// the same, and as long as they can be.
func TestCutStreamsThatTakeTurns(t *testing.T) {
	var turns []dataset.Example
	rows := examples(1, 5)[:5]
	for _, e := range rows {
		for _, name := range []string{"a", "b"} {
			e.Name = name
			turns = append(turns, e)
		}
	}
	store, n := stored(t, turns)
	defer store.Close()
	for judged, want := range map[int][][]int{
		1: {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}},
		3: {{0, 2, 4}, {6, 8}, {1, 3, 5}, {7, 9}},
	} {
		if got := cut(store, n[0], judged); !reflect.DeepEqual(got, want) {
			t.Errorf("%d rows a piece: %v, want %v", judged, got, want)
		}
	}
}
