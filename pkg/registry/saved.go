package registry

// This file gives what is known of devices to who keeps it beyond the process, and takes
// it back.

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
)

// Saved is what outlasts the process of a device. Times are us since the Unix epoch.
type Saved struct {
	ID          uint64   // never another device's, never 0
	Name        string   // MAC or "ip:ADDR", as verdicts have it
	MACs        []string // others that are its too
	Label       string   // that the operator gave it; empty: none
	Labelled    int64    // when; 0: never
	Locked      bool     // what the operator said of it stays
	Ignored     bool     // it is counted and not judged
	First, Last int64
	Flows, IPv6 uint64
	Packets     uint64
	Bytes       uint64
	Newest      int64 // last packet of the newest record that was judged
	Shared      bool
	Addresses   []SavedAddress // most recently active first
	Presence    Presence
	State       v1.State // that was said last, and as what: label of a known device, path of a likely one
	As          string
	// Model names the model that Judged is by; another's says nothing.
	Model  string
	Judged []byte // what the device's windows say together, and what it was
}

// Names are all that the device goes by, its own first.
func (s *Saved) Names() []string { return append([]string{s.Name}, s.MACs...) }

// SavedAddress is one of a device's addresses.
type SavedAddress struct {
	Addr       netip.Addr
	Last, Back int64 // active, and used again after another that was used since
}

// Gone is a device that is no more.
type Gone struct {
	ID    uint64
	Names []string
	Said  bool // nothing may be left of it, events neither
}

// dirt is what is to be written of a device.
type dirt struct {
	changed bool
	stored  bool // it has been given to who keeps it
}

// Changed are devices that have changed since they were given the last time, at most so
// many, and those that were given and are no more. Who could not keep them
// says so to Unsaved.
func (r *Registry) Changed(most int) (changed []Saved, gone []Gone) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.each {
		if len(changed) == most {
			break
		}
		if d.changed {
			changed = append(changed, r.save(d))
			d.changed, d.stored = false, true
		}
	}
	gone, r.gone = r.gone, nil
	return changed, gone
}

// Unsaved takes back what Changed gave and could not be kept.
func (r *Registry) Unsaved(changed []Saved, gone []Gone) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range changed {
		if d := r.find(changed[i].Name); d != nil && d.id == changed[i].ID {
			d.changed = true
		}
	}
	r.gone = append(r.gone, gone...)
}

// Resave has Changed give every device anew.
func (r *Registry) Resave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.each {
		d.changed = true
	}
	r.gone = nil
}

func (r *Registry) save(d *device) Saved {
	s := Saved{
		ID: d.id, Name: d.name, MACs: d.word.macs, Label: d.word.label, Labelled: d.word.labelled, Locked: d.word.locked, Ignored: d.word.ignored, First: d.first, Last: d.last, Flows: d.flows, IPv6: d.ipv6, Packets: d.packets, Bytes: d.bytes,
		Newest: d.newest, Shared: d.shared, Presence: d.Presence, State: d.said.state, As: d.said.as,
		Model: r.cfg.Model, Judged: d.pack(len(r.cfg.Labels)),
	}
	for _, a := range d.addresses {
		s.Addresses = append(s.Addresses, SavedAddress{a.addr, a.last, a.back})
	}
	return s
}

// Restore takes devices back, in a registry that has seen none yet: the most recently
// active ones, if there are more than it has room for. What another model judged begins
// anew; restarted counts those.
func (r *Registry) Restore(saved []Saved) (restarted int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	saved = slices.Clone(saved)
	slices.SortStableFunc(saved, func(a, b Saved) int { return int(a.Last - b.Last) })
	for i := range saved {
		s := &saved[i]
		if s.ID == 0 || slices.ContainsFunc(s.Names(), func(name string) bool { return r.devices[name] != nil }) {
			continue
		}
		d := &device{
			id: s.ID, name: s.Name, word: word{s.MACs, s.Label, s.Labelled, s.Locked, s.Ignored}, first: s.First, last: s.Last, flows: s.Flows, ipv6: s.IPv6, packets: s.Packets, bytes: s.Bytes,
			newest: s.Newest, shared: s.Shared, Presence: s.Presence, said: said{s.State, s.As}, dirt: dirt{stored: true}, in: r.unknown,
		}
		for _, a := range s.Addresses[:min(len(s.Addresses), MaxAddresses)] {
			d.addresses = append(d.addresses, address{a.Addr, a.Last, a.Back})
		}
		if s.Model != r.cfg.Model || !d.unpack(s.Judged, len(r.cfg.Labels)) {
			d.judgement = judgement{}
			restarted++
		} else if r.cfg.Levels.Verdict(&d.joined.Mean).Known {
			d.in = r.known
		}
		if d.spoken() {
			d.in = r.kept
		} else if r.unknown.Len()+r.known.Len() >= r.cfg.MaxDevices {
			r.evict()
		}
		r.put(d)
		r.ids = max(r.ids, s.ID)
	}
	return restarted
}

// judged is the version of what pack makes.
const judged = 2

// pack makes bytes of what is known of a device by a model of so many classes.
func (d *device) pack(classes int) []byte {
	b := d.joined.Append([]byte{judged})
	b = binary.AppendUvarint(b, uint64(d.joined.windows))
	b = binary.AppendUvarint(b, uint64(len(d.joined.votes)))
	for class := range classes { // in order, so that equal judgements are equal bytes
		if n, voted := d.joined.votes[class]; voted {
			b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(class)), uint64(n))
		}
	}
	b = binary.AppendUvarint(b, uint64(d.joined.last))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(d.joined.lastP)))
	b = binary.AppendUvarint(b, uint64(len(d.hold.path)))
	b = append(append(b, d.hold.path...), d.hold.wait)
	b = binary.AppendUvarint(b, uint64(d.served))
	b = binary.AppendVarint(binary.AppendVarint(b, d.servedAt), d.inTurnAt)
	for _, p := range []*past{&d.network, &d.facts} {
		b = p.mean.Append(b)
		b = binary.AppendVarint(binary.AppendVarint(b, p.first), p.last)
	}
	b = binary.AppendVarint(b, d.since)
	return append(b, d.strange.n, bit(d.strange.holds), d.contradiction.n, bit(d.contradiction.holds), bit(d.left))
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

const longestPath = 1 << 10 // of a taxonomy's, in bytes

// unpack reads what pack made for as many classes; ok is false for anything else.
func (d *device) unpack(b []byte, classes int) (ok bool) {
	r := join.Unpacker{Rest: b}
	r.Bad = r.Upto(judged) != judged
	mean := func(m *join.Mean) {
		rest, ok := m.Unpack(r.Rest, classes)
		r.Rest, r.Bad = rest, r.Bad || !ok
	}
	mean(&d.joined.Mean)
	d.joined.windows = r.Upto(math.MaxInt)
	if n := r.Upto(classes); d.joined.windows > 0 {
		d.joined.votes = map[int]int{}
		for range n {
			class := r.Upto(classes - 1)
			d.joined.votes[class] = r.Upto(math.MaxInt)
		}
	}
	d.joined.last = r.Upto(max(0, classes-1))
	d.joined.lastP = r.Float()
	d.hold.path = string(r.Bytes(r.Upto(longestPath)))
	d.hold.wait = uint8(r.Upto(math.MaxUint8))
	d.served = r.Upto(math.MaxInt)
	d.servedAt, d.inTurnAt = r.Int(), r.Int()
	for _, p := range []*past{&d.network, &d.facts} {
		mean(&p.mean)
		p.first, p.last = r.Int(), r.Int()
	}
	d.since = r.Int()
	d.strange = count{uint8(r.Upto(Windows)), r.Upto(1) == 1}
	d.contradiction = count{uint8(r.Upto(Windows)), r.Upto(1) == 1}
	d.left = r.Upto(1) == 1
	return !r.Bad && len(r.Rest) == 0
}

// RandomMAC reports whether a device goes by a MAC that nobody assigned.
func RandomMAC(name string) bool {
	mac, err := flows.ParseMAC(name)
	return err == nil && mac.IsLocal()
}
