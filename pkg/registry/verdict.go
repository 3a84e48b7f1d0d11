package registry

// This file holds what a device's windows say together.

import (
	"github.com/iotsense/iotsense/pkg/join"
)

// joined is what a device's windows say together, and each by itself.
type joined struct {
	join.Mean
	windows int
	votes   map[int]int
	last    int     // class of the newest window, but for none
	lastP   float64 // its probability
}

// judge joins a window, and says what may not be said of the device now: its verdict is
// without that.
func (d *device) judge(w *Window, at int64, l *join.Levels) join.Verdict {
	d.change.window(w, at, l)
	d.contradiction.add(contradicts(w, l))
	w.Held = 0
	d.joined.add(w.Window, l.None())
	v := l.Verdict(&d.joined.Mean)
	if d.nameless() {
		w.Held = 1
	} else if said := d.hold.say(&v); said < v.Level {
		w.Held = said + 1
	}
	if w.Held == 0 {
		return v
	}
	d.joined.Hold(w.Held)
	return l.Verdict(&d.joined.Mean)
}

// void takes back all that is known of the device by its windows.
func (d *device) void() {
	d.judgement, d.explained = judgement{forwarding: d.forwarding}, explained{}
}

// Presume says of a device that has no window, and serves nobody, that an outermost level is
// safe, and its probability.
func (r *Registry) Presume(name, level string, probability float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.find(name); d != nil && d.served == 0 {
		d.joined.Presume(level, probability)
	}
}

// nameless reports whether the device gets no name, however sure the model is.
func (d *device) nameless() bool { return d.gateway() || d.left || d.contradiction.holds }

// add joins one window, see [Registry.Window]; none is the class that no device is given.
func (j *joined) add(w join.Window, none int) {
	if j.votes == nil {
		j.votes = map[int]int{}
	}
	j.Join(w)
	j.last = join.BestBut(w.Probs, none)
	j.lastP = float64(w.Probs[j.last])
	j.votes[join.Best(w.Probs)]++
	j.windows++
}

// explained is what a device's newest explanation found.
type explained struct {
	once    bool    // there was one
	padding float64 // its padding fraction
}

// Explained takes the padding fraction of an explanation of a label's logit in a device's
// newest window, for its verdicts from now on. One of another label than its verdict's says
// nothing of that.
func (r *Registry) Explained(name, label string, padding float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.find(name)
	if d == nil {
		return
	}
	if v := r.verdict(d); v.Label != nil && *v.Label == label {
		d.explained = explained{true, padding}
	}
}
