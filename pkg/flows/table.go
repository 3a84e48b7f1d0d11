package flows

// This file holds a flow's identity - addresses, ends and the five-tuple - and the
// user-space flow table: what bpf/flow.h does in the kernel for a live interface, done
// here for packets from a file.

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/netip"
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

// MAC is a 48-bit link-layer address. The zero value means "none": the link has
// no addresses, or the end's address is not part of the flow's identity.
type MAC [6]byte

// ParseMAC reads a 48-bit address in any form that [net.ParseMAC] takes.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("parse MAC: %w", err)
	}
	if len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("parse MAC %q: %d bytes, want 6", s, len(hw))
	}
	return MAC(hw), nil
}

// String is the address in lower case with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsZero reports whether m is the zero value, "none".
func (m MAC) IsZero() bool { return m == MAC{} }

// IsGroup reports whether m is a multicast or broadcast address (IEEE 802, I/G bit).
func (m MAC) IsGroup() bool { return m[0]&1 == 1 }

// IsLocal reports whether no manufacturer has assigned m (IEEE 802, U/L bit): as a
// rule it is random, and the device has another one on another network or day.
func (m MAC) IsLocal() bool { return m[0]&2 != 0 }

// End is one end of a flow. MAC is set only when the end is local: the MAC of a
// local end is part of the flow's identity, the MAC of a remote end is not (two
// directions may cross different routers).
type End struct {
	Addr netip.Addr
	MAC  MAC
	Port uint16 // 0 when the flow has no ports
}

// compare orders two ends by address, port and MAC.
func (e End) compare(o End) int {
	if c := e.Addr.Compare(o.Addr); c != 0 {
		return c
	}
	if e.Port != o.Port {
		return int(e.Port) - int(o.Port)
	}
	return bytes.Compare(e.MAC[:], o.MAC[:])
}

// Key is a flow's identity: the five-tuple of the paper's section III-A with
// the MAC of each local end. In a bidirectional flow the ends stand in an order
// that both directions share; in a unidirectional one A sent and B received.
type Key struct {
	A, B     End
	Proto    uint8 // IP protocol number; IPv6: the last header reached
	HasPorts bool  // TCP and UDP, first or only fragments; port 0 is a port
}

// Direction says which packets one record covers.
type Direction uint8

const (
	// Bi records cover both directions of a five-tuple (paper III-A).
	Bi Direction = iota
	// Uni records cover only packets the device sent (paper V).
	Uni
)

// String is the direction's name in flags, model files and parquet metadata.
func (d Direction) String() string {
	if d == Uni {
		return "uni"
	}
	return "bi"
}

// ParseDirection reads "bi" or "uni".
func ParseDirection(s string) (Direction, error) {
	switch s {
	case "bi":
		return Bi, nil
	case "uni":
		return Uni, nil
	}
	return Bi, fmt.Errorf("direction %q: want bi or uni", s)
}
