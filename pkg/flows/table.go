package flows

// This file holds the user-space flow table: what bpf/flow.h does in the kernel
// for a live interface, done here for packets from a file.

import (
	"cmp"
	"slices"
)

// Sink takes the events of flows' lives, in the order in which they happened. An
// event is the caller's again when the call returns.
type Sink interface {
	Sample(*Sample)
	Close(*Close)
}

// Table tracks the open lives of flows and reports samples and closes to a Sink.
type Table struct {
	spec       RecordSpec
	locals     *Locals
	sink       Sink
	lives      map[Key]*Close // what each open life would end in
	order      int64
	generation uint64
	sweepAt    uint64 // generation at which old lives are looked for
	recent     [3]int64
	stats      TableStats // but for InOpen
	sample     Sample     // the one being delivered
}

// sweepEvery bounds the memory of a long capture: after this many new lives,
// those that began two lifetimes ago, or as far ahead, are closed, and so do not
// hold back their device's later records. Until then a life is closed by its own
// next packet or at the end, so that a time step in a short capture cannot close a
// life early.
const sweepEvery = 1 << 14

// NewTable returns an empty table of lives as spec says, that reports to sink.
func NewTable(spec RecordSpec, locals *Locals, sink Sink) *Table {
	return &Table{
		spec: spec.WithDefaults(), locals: locals, sink: sink,
		lives: map[Key]*Close{}, sweepAt: sweepEvery,
	}
}

// Add counts one packet; stamp is its time in us. Packets come in arrival order.
func (t *Table) Add(p *Packet, stamp int64) {
	key, fromA := t.locals.Key(p, t.spec.Direction)
	t.recent[t.order%int64(len(t.recent))] = stamp
	life := t.lives[key]
	if life != nil && t.ends(life, stamp) {
		delete(t.lives, key) // before a sweep can find it
		t.close(life)
		life = nil
	}
	if life == nil {
		t.generation++
		if t.generation >= t.sweepAt {
			t.sweep()
		}
		life = &Close{
			Life: Life{Key: key, Generation: t.generation}, Order: t.order, First: stamp, Last: stamp,
		}
		t.lives[key] = life
	}
	life.Last = max(life.Last, stamp)
	side := 1
	if fromA {
		side = 0
	}
	segments := p.Segments()
	life.Packets[side] += segments
	life.Bytes[side] += p.WireBytes()
	for k := uint64(0); k < segments && int(life.Samples) < t.spec.Packets; k++ {
		size, payload := p.segment(k)
		t.sample = Sample{
			Life: life.Life, Index: life.Samples, Order: life.Order, Stamp: stamp,
			FromA: fromA, Size: size, Payload: payload[:min(len(payload), t.spec.Prefix)],
		}
		t.sink.Sample(&t.sample)
		life.Samples++
	}
	t.order++
}

// ends reports whether a packet at stamp is not of the life but begins the next: it
// comes a lifetime or more after the life's first packet, or before it, as when the
// clock was set back.
func (t *Table) ends(life *Close, stamp int64) bool {
	lifetime := t.spec.Lifetime.Microseconds()
	back := life.First-stamp >= lifetime
	if back {
		t.stats.SetBack++
	}
	return back || stamp-life.First >= lifetime
}

// sweep closes lives that began two lifetimes from now, and is due again after as
// many new ones as are left, so that its cost per packet stays constant. Now is the
// middle one of the last three stamps: a single odd stamp ends no life.
func (t *Table) sweep() {
	now := max(min(t.recent[0], t.recent[1]), min(max(t.recent[0], t.recent[1]), t.recent[2]))
	far := 2 * t.spec.Lifetime.Microseconds()
	t.closeIf(func(life *Close) bool { return now-life.First >= far || life.First-now >= far })
	t.sweepAt = t.generation + max(sweepEvery, uint64(len(t.lives)))
}

// Flush closes every open life: the capture has ended.
func (t *Table) Flush() {
	t.closeIf(func(*Close) bool { return true })
}

// closeIf closes the lives that match, oldest first.
func (t *Table) closeIf(match func(*Close) bool) {
	var ended []*Close
	for key, life := range t.lives {
		if match(life) {
			ended = append(ended, life)
			delete(t.lives, key)
		}
	}
	slices.SortFunc(ended, func(x, y *Close) int { return cmp.Compare(x.Order, y.Order) })
	for _, life := range ended {
		t.close(life)
	}
}

// close ends a life that is no longer in the table.
func (t *Table) close(life *Close) {
	t.stats.InClosed += life.Packets[0] + life.Packets[1]
	t.sink.Close(life)
}

// TableStats counts the packets and lives of a [Table].
type TableStats struct {
	InOpen, InClosed uint64 // as in PacketStats
	SetBack          uint64 // lives that a packet ended which came a lifetime or more before their first
}

// Stats returns the counters so far.
func (t *Table) Stats() TableStats {
	s := t.stats
	for _, life := range t.lives {
		s.InOpen += life.Packets[0] + life.Packets[1]
	}
	return s
}
