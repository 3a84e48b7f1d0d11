package notify

// This file keeps noise from those who are told.

import (
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// mostHeld is how many new devices wait for a name at once.
	mostHeld = 4096
	// lookAgain is how old a list of all devices may be that is asked whose other MAC one is.
	lookAgain = 10 * time.Second
)

// held is a new device that waits for a name, or for its time.
type held struct {
	event v1.Event
	since time.Time
}

// take is called for each event, in their order.
func (n *Notifier) take(e v1.Event) error {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.mu.Lock()
	n.seq = e.Seq
	told := n.tells()
	switch {
	case e.Device == nil:
		n.mu.Unlock()
		n.tell(notice(&e, nil))
		return nil
	case told && e.Event == v1.EventNew && n.cfg.Hold > 0:
		n.hold(&e, time.Now())
		told = false
	}
	n.changed(*e.Device)
	n.mu.Unlock()
	if told {
		n.judge(&e)
	}
	return nil
}

// hold has a new device wait, as it does since a time; the lock is held.
func (n *Notifier) hold(e *v1.Event, since time.Time) {
	if len(n.held) == mostHeld {
		n.held = slices.Delete(n.held, 0, 1)
		n.counts.dropped.Add(1)
	}
	// The time may be of a clock that is set meanwhile, or of traffic that is played faster than it was.
	now := time.Now()
	since = now.Add(min(0, since.Sub(now)))
	if last := len(n.held) - 1; last >= 0 && since.Before(n.held[last].since) {
		since = n.held[last].since
	}
	n.held = append(n.held, held{*e, since})
	if n.holding == nil {
		n.rearm()
	}
}

// rearm has new devices told of in their time; the lock is held.
func (n *Notifier) rearm() {
	if n.holding != nil {
		n.holding.Stop()
	}
	if n.holding = nil; len(n.held) > 0 {
		n.holding = time.AfterFunc(time.Until(n.held[0].since.Add(n.cfg.Hold)), n.release)
	}
}

// judge tells of an event, unless a rule is against it.
func (n *Notifier) judge(e *v1.Event) {
	d, ok := n.source.Device(*e.Device) // without the lock: it may wait for who waits for that
	if !ok {
		n.counts.quiet.Add(1)
		return
	}
	list := []v1.Notice{notice(e, &d)}
	n.mu.Lock()
	if slices.ContainsFunc(n.held, isOf(&d)) {
		if !slices.Contains([]string{string(v1.Known), string(v1.Conflict), v1.EventLabelled}, e.Event) {
			n.counts.quiet.Add(1)
			n.mu.Unlock()
			return
		}
		first := n.letGo(&d)
		list = slices.Insert(list, 0, notice(&first, &d))
	}
	quiet := n.allowed(&d)
	n.mu.Unlock()
	if quiet || n.noNews(list, &d) {
		n.counts.quiet.Add(uint64(len(list)))
		if list[0].Event.Event != v1.EventNew {
			return
		}
		list = nil // it is done with all the same
	}
	n.tell(list...)
}

// isOf reports of what is held whether it is a device's, by any of its MACs.
func isOf(d *v1.DeviceVerdict) func(held) bool {
	return func(h held) bool { return slices.Contains(d.MACs, *h.event.Device) }
}

// letGo holds nothing of a device any more, and returns the first event that it held; the lock
// is held.
func (n *Notifier) letGo(d *v1.DeviceVerdict) (first v1.Event) {
	if at := slices.IndexFunc(n.held, isOf(d)); at >= 0 {
		first = n.held[at].event
		n.held = slices.DeleteFunc(n.held, isOf(d))
	}
	return first
}

// release tells of new devices whose time has come.
func (n *Notifier) release() {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.mu.Lock()
	waits := slices.IndexFunc(n.held, func(h held) bool { return h.since.Add(n.cfg.Hold).After(time.Now()) })
	if waits < 0 {
		waits = len(n.held)
	}
	due := n.held[:waits:waits]
	n.held = slices.Clone(n.held[waits:])
	n.rearm()
	n.mu.Unlock()
	n.tellNew(due)
}

// tellNew tells of new devices as they are now.
func (n *Notifier) tellNew(due []held) {
	if len(due) == 0 {
		return
	}
	var list []v1.Notice
	all := n.all()
	if slices.ContainsFunc(due, func(h held) bool { return all[*h.event.Device].Device == "" }) { // it may have come since
		n.lookAnew()
		all = n.all()
	}
	for i := range due {
		e := &due[i].event
		d, ok := all[*e.Device]
		one := []v1.Notice{notice(e, &d)}
		n.mu.Lock()
		quiet := !ok || n.allowed(&d) || slices.ContainsFunc(due[:i], isOf(&d))
		n.letGo(&d) // of a device that was two
		n.mu.Unlock()
		if quiet || n.noNews(one, &d) {
			n.counts.quiet.Add(1)
			continue
		}
		list = append(list, one...)
	}
	n.tell(list...)
}

// allowed reports whether nothing is to be told of a device: only the operator's own label
// counts, what a network makes of it a stranger could imitate.
func (n *Notifier) allowed(d *v1.DeviceVerdict) bool {
	return slices.ContainsFunc(n.cfg.Allow, func(s string) bool {
		return slices.Contains(d.MACs, strings.ToLower(s)) || d.UserLabel != nil && (*d.UserLabel == s || strings.HasPrefix(*d.UserLabel, s+"/"))
	})
}

// noNews reports whether a new device is one that is ignored, or what happened is but that a
// device goes by another random MAC: it is new, while the other was there before, or gone,
// while the other is there.
func (n *Notifier) noNews(list []v1.Notice, d *v1.DeviceVerdict) bool {
	what := list[0].Event.Event
	if what != v1.EventNew && what != v1.EventGone {
		return false
	}
	if what == v1.EventNew && d.State == v1.Ignored {
		return true
	}
	all := n.all()
	return slices.ContainsFunc(all[d.Device].SameAs, func(name string) bool {
		other, ok := all[name]
		return ok && (what == v1.EventGone && !other.Gone || what == v1.EventNew && other.FirstSeen.Before(d.FirstSeen.Time))
	})
}

// all are the devices by each of their names, as they were a moment ago.
func (n *Notifier) all() map[string]v1.DeviceVerdict {
	n.looking.Lock()
	defer n.looking.Unlock()
	if n.looked != nil {
		return n.looked
	}
	n.looked = map[string]v1.DeviceVerdict{}
	for _, d := range n.source.Devices() {
		for _, name := range d.MACs {
			n.looked[name] = d
		}
	}
	all := n.looked
	time.AfterFunc(lookAgain, n.lookAnew)
	return all
}

func (n *Notifier) lookAnew() {
	n.looking.Lock()
	defer n.looking.Unlock()
	n.looked = nil
}

// notice tells an event with what is known of its device, if it is one's.
func notice(e *v1.Event, d *v1.DeviceVerdict) v1.Notice {
	n := v1.Notice{Event: *e, Count: 1}
	if d != nil {
		state := d.State
		n.Name, n.Vendor, n.State, n.Confidence = d.Name, d.Vendor, &state, d.Confidence
		if e.Event == v1.EventNew {
			n.Label, n.Path = d.Label, d.Path
		}
	}
	n.Text = line(&n)
	return n
}
