package recording

// This file shares what room there is among devices and hours.

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
)

const (
	// anHour is how many records of a device's hour are kept at most, drawn evenly from all
	// that there were.
	anHour = 120
	// tidied is the share of the room that is left when records have made some.
	tidied = 0.9

	recordBytes, packetBytes = 200, 48 // beside the payload
)

// pool holds the records of one file to be.
type pool struct {
	room    int // bytes
	spared  func(device string) bool
	bytes   int
	period  int64 // that the records are of; 0: there are none
	devices map[string]*share
}

// share is a device's part of the pool.
type share struct {
	name  string
	bytes int
	hours map[int64]*hour
}

// hour is a device's hour.
type hour struct {
	records []*flows.Record
	seen    int // that there were
}

func newPool(room int, spared func(string) bool) *pool {
	return &pool{room: room, spared: spared, devices: map[string]*share{}}
}

// over reports whether a record of a time, us since the Unix epoch, is of another file than
// those that there are. One of just before comes late; one of long before, since a clock that
// was ahead has been set.
func (p *pool) over(at int64) bool {
	of := at / period.Microseconds()
	return p.period != 0 && (of > p.period || of < p.period-1)
}

// add takes a record, and returns how many were left out for it, itself maybe.
func (p *pool) add(r *flows.Record) (shed uint64) {
	if p.period == 0 {
		p.period = r.FirstSeen / period.Microseconds()
	}
	s := p.devices[r.Device]
	if s == nil {
		s = &share{name: r.Device, hours: map[int64]*hour{}}
		p.devices[r.Device] = s
	}
	at := r.FirstSeen / time.Hour.Microseconds()
	h := s.hours[at]
	if h == nil {
		h = &hour{}
		s.hours[at] = h
	}
	if h.seen++; len(h.records) == anHour {
		shed++
		i := rand.IntN(h.seen)
		if i >= anHour {
			return shed
		}
		p.remove(s, h, i)
	}
	h.records = append(h.records, r)
	p.count(s, size(r))
	if p.bytes > p.room {
		shed += p.tidy()
	}
	return shed
}

func (p *pool) count(s *share, n int) { s.bytes, p.bytes = s.bytes+n, p.bytes+n }

// remove takes a record out.
func (p *pool) remove(s *share, h *hour, i int) {
	p.count(s, -size(h.records[i]))
	h.records = slices.Delete(h.records, i, i+1)
}

// size is about what a record takes, in memory and in a file.
func size(r *flows.Record) int {
	n := recordBytes + packetBytes*len(r.Packets)
	for i := range r.Packets {
		n += len(r.Packets[i].Payload)
	}
	return n
}

// tidy makes room: of the devices spared and of the others, those that have more than half of
// it give, and of them the one that has most, of its fullest hour.
func (p *pool) tidy() (shed uint64) {
	var sides [2][]*share
	var bytes [2]int
	for name, s := range p.devices {
		side := 0
		if p.spared(name) {
			side = 1
		}
		sides[side] = append(sides[side], s)
		bytes[side] += s.bytes
	}
	for room := int(tidied * float64(p.room)); p.bytes > room; shed++ {
		side := 0
		if bytes[0] <= room/2 {
			side = 1
		}
		s := slices.MaxFunc(sides[side], func(a, b *share) int { return cmp.Compare(a.bytes, b.bytes) })
		var fullest *hour
		for _, h := range s.hours {
			if fullest == nil || len(h.records) > len(fullest.records) {
				fullest = h
			}
		}
		before := s.bytes
		p.remove(s, fullest, rand.IntN(len(fullest.records)))
		bytes[side] -= before - s.bytes
		if s.bytes == 0 { // of a flood of devices nothing is kept of most
			delete(p.devices, s.name)
		}
	}
	return shed
}

// drain empties the pool, and returns what was in it in order of time.
func (p *pool) drain() (records []*flows.Record) {
	for _, s := range p.devices {
		for _, h := range s.hours {
			records = append(records, h.records...)
		}
	}
	slices.SortStableFunc(records, func(a, b *flows.Record) int {
		return cmp.Or(cmp.Compare(a.FirstSeen, b.FirstSeen), cmp.Compare(a.Device, b.Device))
	})
	*p = *newPool(p.room, p.spared)
	return records
}

// forget drops a device's records.
func (p *pool) forget(device string) {
	if s := p.devices[device]; s != nil {
		p.bytes -= s.bytes
		delete(p.devices, device)
	}
}
