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
	if n := testing.AllocsPerRun(100, func() { s.Again(7); s.Again(8) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
