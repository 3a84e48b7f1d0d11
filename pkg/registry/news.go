package registry

// This file notes what happens to devices.

import (
	"cmp"
	"container/list"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// MaxEvents is how many events are remembered, the newest.
const MaxEvents = 4096

// news are the events remembered, oldest first.
type news struct {
	events []v1.Event
	seq    uint64        // of the newest
	next   chan struct{} // closed with the next one; nil: nobody waits for it
}

// note notes an event, and says that there is one.
func (r *Registry) note(e v1.Event) {
	if r.cfg.Noted == nil {
		return
	}
	r.seq++
	e.Seq = r.seq
	if len(r.events) >= 2*MaxEvents { // now and then, not with each
		r.events = append(r.events[:0], r.events[MaxEvents:]...)
	}
	r.events = append(r.events, e)
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
	r.cfg.Noted(e)
}

// News is the number of the newest event, and what is closed with the next one.
func (r *Registry) News() (newest uint64, next <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	return r.seq, r.next
}

// Note notes an event that is no device's.
func (r *Registry) Note(e v1.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(e)
}

// Events are those behind the one of that number that are remembered, oldest first, at most
// so many, the newest.
func (r *Registry) Events(after uint64, most int) []v1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, _ := slices.BinarySearchFunc(r.events, after+1, func(e v1.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	list := r.events[max(at, len(r.events)-min(most, MaxEvents)):]
	return append([]v1.Event{}, list...)
}

// RestoreEvents takes events back, oldest first, in a registry without any.
func (r *Registry) RestoreEvents(list []v1.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, list[max(0, len(list)-MaxEvents):]...)
	if n := len(list); n > 0 {
		r.seq = max(r.seq, list[n-1].Seq)
	}
}

// happened notes what happened to a device.
func (r *Registry) happened(d *device, what string, at int64) {
	d.changed = true
	name := d.name
	r.note(v1.Event{Time: v1.UnixMicro(at), Event: what, Device: &name})
}

// saidAnew notes that another verdict is said of a device. That there is none yet is no news.
func (r *Registry) saidAnew(d *device, v *v1.Verdict, now said) {
	if d.said == (said{}) && now.state == v1.Gathering {
		return
	}
	name := d.name
	r.note(v1.Event{
		Time: v.Time, Event: string(now.state), Device: &name, Label: v.Label, Path: v.Path, Old: d.said.text(), New: now.text(),
	})
}

// text is a verdict in a word; nil: there was none.
func (s said) text() *string {
	text := cmp.Or(s.as, string(s.state))
	if text == "" {
		return nil
	}
	return &text
}

// Presence tells whether a device is there, by its being active. One that is mostly silent
// is given the longer, so that it does not come and go.
type Presence struct {
	Gone  bool
	Since int64 // it has been active since, us since the Unix epoch
	After int64 // us of silence after which it is gone; 0: GoneAfter
}

const (
	// GoneAfter is how long a device is silent that is gone, and GoneMost how long one may
	// be that is silent by nature: each time for longer than it was active.
	GoneAfter = 15 * time.Minute
	GoneMost  = 6 * time.Hour
)

// heard notes that a device is active; it was before until last. back is true where it was
// gone.
func (p *Presence) heard(at, last int64) (back bool) {
	if p.Since == 0 {
		p.Since = at
	}
	if !p.Gone {
		return false
	}
	p.Gone = false
	silent, active := at-last, last-p.Since
	p.Since, p.After = at, 0
	if silent > active {
		p.After = min(max(2*silent, GoneAfter.Microseconds()), GoneMost.Microseconds())
	}
	return true
}

// silent reports whether a device has become one that is gone.
func (p *Presence) silent(now, last int64) bool {
	if p.Gone || now-last < cmp.Or(p.After, GoneAfter.Microseconds()) {
		return false
	}
	p.Gone = true
	return true
}

// A device is forgotten that has not been seen for KeepFor; one that goes by a random MAC,
// which it may have left for another, after KeepRandom.
const (
	KeepFor    = 365 * 24 * time.Hour
	KeepRandom = 30 * 24 * time.Hour
)

// Look notes which devices are gone at a time, us since the Unix epoch, by a sensor that has
// seen what there was to see since another, and forgets those that have been gone for long.
func (r *Registry) Look(now, since int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.each {
		if d.flows == 0 {
			continue
		}
		if d.silent(now, max(d.last, since)) {
			r.happened(d, v1.EventGone, d.last)
		}
		keep := KeepFor
		if RandomMAC(d.name) {
			keep = KeepRandom
		}
		// A clock that is years ahead at the start is set meanwhile.
		watched := now-since > GoneMost.Microseconds()
		if watched && now-d.last > keep.Microseconds() && d.in != r.kept {
			r.drop(d, false)
		}
	}
}

// each gives the devices, the most recently active of each list first; one may be dropped
// meanwhile.
func (r *Registry) each(yield func(*device) bool) {
	for _, l := range []*list.List{r.kept, r.known, r.unknown} {
		for e := l.Front(); e != nil; {
			next := e.Next()
			if !yield(e.Value.(*device)) {
				return
			}
			e = next
		}
	}
}
