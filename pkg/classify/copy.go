package classify

// This file copies devices to another Classifier, where flows that are open can be judged.

import (
	"slices"

	"github.com/iotsense/iotsense/pkg/facts"
)

// Apart is [Classifier.Another] for another goroutine, with memories and buffers of its own
// over the same weights. What is known of its devices facts tells; opts.Verdict,
// opts.Presumed and opts.Judged are not called. It is meant for copies of devices, see [Classifier.Copy].
func (c *Classifier) Apart(facts func(device string) *facts.Set) *Classifier {
	a := c.Another()
	a.opts = Options{Facts: facts, Ignored: c.opts.Ignored}
	a.cache = newCache(0)
	for _, s := range a.streams {
		s.engine = s.engine.Clone()
		s.probs, s.all = slices.Clone(s.probs), slices.Clone(s.all)
		if h := s.heard; h != nil {
			h.judge, h.probs, h.joint, h.named, h.revised = h.judge.Clone(), slices.Clone(h.probs), slices.Clone(h.joint), slices.Clone(h.named), slices.Clone(h.revised)
		}
	}
	return a
}

// Copy makes a device known to another Classifier that [Classifier.Apart] made as c knows
// it: it has a verdict there, and goes its own way. Forget drops it again.
func (c *Classifier) Copy(device string, to *Classifier) {
	c.registry.Copy(device, to.registry)
	for service, s := range c.streams {
		t := to.streams[service]
		s.rows.Copy(device, t.rows)
		if v := c.cache.entries[cacheKey{s, device}]; v != nil {
			to.cache.entries[cacheKey{t, device}] = &cached{memory: v.memory.Clone(), seen: v.seen.Clone()}
		}
		if s.heard != nil && s.heard.devices[device] != nil {
			t.heard.devices[device] = s.heard.devices[device].Clone()
		}
	}
}

// Forget drops all that is known of a device.
func (c *Classifier) Forget(device string) {
	c.registry.Forget(device)
	c.forget(device)
}
