package join

// This file says which flows of a device are evidence of their own.

import "slices"

// seenFlows is how many of a device's flows are remembered, of which no two are alike.
const seenFlows = 32

// Seen remembers what a device's flows were like, 8 bytes of each: those of its last kinds.
// The zero Seen has seen none.
type Seen struct{ newest []uint64 } // first

// Clone remembers the same flows, and goes its own way.
func (s *Seen) Clone() Seen { return Seen{slices.Clone(s.newest)} }

// Again reports whether a flow is like one that is remembered, and remembers it.
func (s *Seen) Again(likeness uint64) bool {
	at := slices.Index(s.newest, likeness)
	again := at >= 0
	if !again {
		if at = len(s.newest); at < seenFlows {
			s.newest = append(s.newest, 0)
		} else {
			at--
		}
	}
	copy(s.newest[1:at+1], s.newest[:at])
	s.newest[0] = likeness
	return again
}
