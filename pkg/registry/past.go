package registry

// This file tells that a device is no longer what it was, or not what it says it is.

import (
	"time"

	"github.com/iotsense/iotsense/pkg/join"
)

const (
	// Sure is the probability at which one part of a model is sure of a kind of devices by
	// itself, Strange the one up to which it rules a kind out, Own the one from which on a
	// window may be of it. What lies between tells nothing.
	Sure, Strange, Own = 0.8, 0.1, 0.5
	// Windows are how many of distinct flows it takes to tell that a device has changed, or
	// is not what it says; and how many of its own take that back.
	Windows = 5
	// PastFlows and PastFor are how many distinct flows, and for how long, one part of a
	// model has to have known a device for a past that it can leave. A set-up is none.
	PastFlows = 5
	PastFor   = time.Hour
	// LeftFor is how long a device has to be another before it has changed: what a network
	// remembers of one odd moment lasts for some windows.
	LeftFor = 10 * time.Minute
)

// Window is what is said of a window, all in the order of the registry's labels.
type Window struct {
	join.Window
	Network []float32 // by the network alone
	Facts   []float32 // by the facts alone; nil: they say nothing
}

// count goes up with what tells something and down with what tells the opposite. It holds
// from Windows on, until it is back at 0.
type count struct {
	n     uint8
	holds bool
}

func (c *count) add(tells, opposite bool) {
	switch {
	case tells && c.n < Windows:
		c.n++
	case opposite && c.n > 0:
		c.n--
	}
	c.holds = c.n == Windows || c.holds && c.n > 0
}

// past is what one part of a model has said of a device.
type past struct {
	mean        join.Mean // of distinct flows
	first, last int64     // windows of the kind that it is by the mean, us since the Unix epoch
}

// kind is a class of the kind that the device has long been; ok is false where it has none.
func (p *past) kind(l *join.Levels) (class int, ok bool) {
	class, _ = p.mean.Best()
	return class, class >= 0 && p.mean.Flows() >= PastFlows && p.last-p.first >= PastFor.Microseconds() &&
		l.Kind(&p.mean, class) >= Sure
}

// add adds a window that is of the past.
func (p *past) add(probs []float32, again bool, at int64, l *join.Levels) {
	if probs == nil {
		return
	}
	was, _ := p.mean.Best()
	if !again {
		p.mean.Add(probs)
	}
	class, _ := p.mean.Best()
	if class < 0 { // it counts beside one that was before a restart
		return
	}
	if was >= 0 && class != was && !l.Kin(class, was) {
		p.first = 0
	}
	if kind, _ := l.KindOf(probs, class); kind >= Own {
		if p.first == 0 {
			p.first = at
		}
		p.last = at
	}
}

// compare reports whether a window is strange to the kind that the device has long been, or
// may be of it. What lies between, or has no past, is neither.
func (p *past) compare(probs []float32, l *join.Levels) (strange, own bool) {
	class, ok := p.kind(l)
	if !ok || probs == nil {
		return false, false
	}
	kind, ok := l.KindOf(probs, class)
	return ok && kind <= Strange, ok && kind >= Own
}

// change compares a device with its past, as its network and its facts see it.
type change struct {
	network, facts past
	strange        count // windows that are not of the past
	since          int64 // the first of them
	left           bool  // it has changed
}

func (c *change) window(w *Window, at int64, l *join.Levels) {
	strange, own := c.network.compare(w.Network, l)
	lost := strange && c.familiar(w) && join.Best(w.Network) == l.None()
	says, said := c.facts.compare(w.Facts, l)
	strange, own, lost = strange || says, own || said, lost && !says
	c.strange.add(strange && !w.Again, own && !strange || lost)
	switch {
	case c.strange.n == 0:
		c.since, c.left = 0, false
	case c.since == 0:
		c.since = at
	case strange && c.strange.holds && at-c.since >= LeftFor.Microseconds():
		c.left = true
	}
	if c.strange.n == 0 {
		c.network.add(w.Network, w.Again, at, l)
		c.facts.add(w.Facts, w.Again, at, l)
	}
}

// familiar reports whether a window's newest flow is like one of the past, and the first of
// its kind since windows have been strange. If it too is none of them to the network, it is
// the network that is lost, not the device that is another.
func (c *change) familiar(w *Window) bool {
	return c.since != 0 && w.Again && w.Like.First <= c.since-PastFor.Microseconds() && w.Like.Last < c.since
}

// contradicts reports whether network and facts are sure of different kinds, by a flow that
// has not been counted, and agree whether that cannot be said of them.
func contradicts(w *Window, l *join.Levels) (contradict, agree bool) {
	if w.Facts == nil {
		return false, false
	}
	is, says := join.Best(w.Network), join.Best(w.Facts)
	said, _ := l.KindOf(w.Facts, says)
	like, has := l.KindOf(w.Network, says)
	if said < Own || !has || like >= Own {
		return false, has
	}
	seen, _ := l.KindOf(w.Network, is)
	other, _ := l.KindOf(w.Facts, is)
	return said >= Sure && seen >= Sure && like <= Strange && other <= Strange && !w.Again, false
}
