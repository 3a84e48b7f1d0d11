package stress

// This file joins changes to copies of a capture that a model learns from beside it.

import (
	"math/rand/v2"
	"time"

	"github.com/iotsense/iotsense/pkg/pcap"
)

// Copies are changes that make, of one capture, others to learn from: each in another
// home, and begun late, lost in part, seen twice or one way as it is drawn.
func Copies() []Change {
	return []Change{
		{"copy-late", "another home, begun 10 to 75 s late", func(c *changer) {
			c.chain(late(10*time.Second+time.Duration(c.random.Int64N(int64(65*time.Second)))), anotherHome)
		}},
		{"copy-one", "another home, and twice, one way, or 5 or 20 % lost", func(c *changer) {
			c.chain(one(c.random, twice(1), way((*changer).sent), lost(0.05), lost(0.2)), anotherHome)
		}},
		{"copy-any-1", "another home, and any of it", anyOf},
		{"copy-any-2", "another home, and any of it", anyOf},
	}
}

// anyOf draws of each kind of change whether there is any of it.
func anyOf(c *changer) {
	seen := func(*changer) { c.packet = unchanged }
	switch kind := c.random.Float64(); {
	case kind < 0.25:
		seen = twice(1)
	case kind < 0.45:
		seen = way((*changer).sent)
	case c.random.Float64() < 0.3:
		seen = twice(0.1)
	}
	share := one(c.random, 0, 0, 0.02, 0.05, 0.1, 0.2, 0.3)
	seconds := one(c.random, 0, 0, 0, 10, 20, 30, 45, 60)
	c.chain(late(time.Duration(seconds)*time.Second), lost(share), seen, anotherHome)
}

// one is one of the values.
func one[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func unchanged(p pcap.Packet, give func(pcap.Packet)) { give(p) }

// chain makes changes one after the other. What knows devices by their names comes
// before what renames them.
func (c *changer) chain(changes ...func(*changer)) {
	packet := unchanged
	for _, begin := range changes {
		begin(c)
		before, last := packet, c.packet
		packet = func(p pcap.Packet, give func(pcap.Packet)) {
			before(p, func(p pcap.Packet) { last(p, give) })
		}
	}
	c.packet = packet
}
