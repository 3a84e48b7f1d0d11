package join_test

import (
	"testing"

	"github.com/iotsense/iotsense/pkg/join"
)

// What came again among the last 32 kinds of flows is known, what has not come for 32
// others is forgotten.
func TestSeen(t *testing.T) {
	var s join.Seen
	for round := range 3 {
		for kind := range uint64(32) {
			if got := s.Again(kind); got != (round > 0) {
				t.Fatalf("round %d: kind %d again: %v", round, kind, got)
			}
		}
	}
	s.Again(0) // the oldest is the newest
	s.Again(99)
	for _, tt := range []struct {
		kind uint64
		want bool
	}{{0, true}, {1, false}, {31, true}, {99, true}} {
		if got := s.Again(tt.kind); got != tt.want {
			t.Errorf("kind %d again: %v, want %v", tt.kind, got, tt.want)
		}
	}
	s = join.Seen{}
	for i, tt := range []struct {
		kind uint64
		at   int64
		want join.Like
	}{{1, 5e6, join.Like{}}, {2, 6e6, join.Like{}}, {1, 7_900_000, join.Like{First: 5e6, Last: 5e6}}, {1, 9e6, join.Like{First: 5e6, Last: 7e6}}, {3, -1, join.Like{}}} {
		if before, again := s.At(tt.kind, tt.at); before != tt.want || again != (tt.want != join.Like{}) {
			t.Errorf("%d: %+v, %v, want %+v", i, before, again, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.Again(7); s.Again(8) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
