package registry

// This file copies devices, for what would be said of them if flows that are open ended now.

import (
	"maps"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Verdict is that of one device; one without a record is gathering.
func (r *Registry) Verdict(name string) v1.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.find(name); d != nil {
		return r.verdict(d)
	}
	return v1.Verdict{Device: name, State: v1.Gathering, Votes: map[string]int{}}
}

// Copy makes all that is known of a device known to another registry, which goes its own
// way.
func (r *Registry) Copy(name string, to *Registry) {
	r.mu.Lock()
	d := r.find(name)
	if d == nil {
		r.mu.Unlock()
		return
	}
	d = d.clone()
	r.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	d.in = to.unknown
	to.put(d)
}

// Forget drops a device.
func (r *Registry) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.find(name); d != nil {
		r.drop(d, false)
	}
}

// Settled reports whether a device's verdict needs no flow that is still open, of which the
// earliest began at first, us since the Unix epoch: it rests on enough, and the flows that
// began within a time after the device's first are all over.
func (r *Registry) Settled(name string, first int64, within time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.find(name)
	return d != nil && (d.isIgnored() || !d.joined.Gathering() && first-d.first >= within.Microseconds())
}

// clone is the same device, and goes its own way.
func (d *device) clone() *device {
	c := *d
	c.joined = d.joined.clone()
	c.addresses, c.traffic = slices.Clone(d.addresses), nil
	c.dirt = dirt{}
	c.network.mean, c.facts.mean = d.network.mean.Clone(), d.facts.mean.Clone()
	return &c
}

func (j *joined) clone() joined {
	c := *j
	c.Mean, c.votes = j.Mean.Clone(), maps.Clone(j.votes)
	return c
}

// SayOther reports whether two verdicts say something else of a device: another state or
// name.
func SayOther(a, b *v1.Verdict) bool { return saidIn(a) != saidIn(b) }
