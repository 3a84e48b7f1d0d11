package join

// This file says which flows of a device are evidence of their own.

import "slices"

// seenFlows is how many of a device's flows are remembered, of which no two are alike.
const seenFlows = 32

// Seen remembers what a device's flows were like, 16 bytes of each: those of its last kinds.
// The zero Seen has seen none.
type Seen struct{ newest []sight } // first

// sight is when flows of a kind were first and last seen, s since the Unix epoch.
type sight struct {
	likeness    uint64
	first, last uint32
}

// Like is when flows near-identical to one were first and last seen before it, us since the
// Unix epoch, to the second. The zero Like: none was.
type Like struct{ First, Last int64 }

// Clone remembers the same flows, and goes its own way.
func (s *Seen) Clone() Seen { return Seen{slices.Clone(s.newest)} }

// Again reports whether a flow is like one that is remembered, and remembers it.
func (s *Seen) Again(likeness uint64) bool {
	_, again := s.At(likeness, 0)
	return again
}

// At is Again for a flow of a time, us since the Unix epoch, and tells when there were others
// like it.
func (s *Seen) At(likeness uint64, time int64) (before Like, again bool) {
	const second = 1_000_000
	now := sight{likeness: likeness, first: uint32(max(0, time) / second), last: uint32(max(0, time) / second)}
	at := slices.IndexFunc(s.newest, func(x sight) bool { return x.likeness == likeness })
	if again = at >= 0; again {
		x := s.newest[at]
		before = Like{int64(x.first) * second, int64(x.last) * second}
		now.first = x.first
	} else if at = len(s.newest); at < seenFlows {
		s.newest = append(s.newest, sight{})
	} else {
		at--
	}
	copy(s.newest[1:at+1], s.newest[:at])
	s.newest[0] = now
	return before, again
}
