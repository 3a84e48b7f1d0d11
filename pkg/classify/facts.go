package classify

// This file joins what devices say of themselves with what networks make of their rows.

import (
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Facts is what is known of a device of the capture that is being read; nil if nothing is.
func (c *Classifier) Facts(device string) *facts.Set {
	if c == nil || c.opts.Facts == nil {
		return nil
	}
	return c.opts.Facts(device)
}

// heard is a stream's devices as their facts judge them; nil: nothing does.
type heard struct {
	judge   *linear.Judge
	devices map[string]*linear.Device
	probs   []float32 // in the order of the bundle's labels
	joint   []float32
	named   []bool
	revised []float64
}

// row tells how far a device's stream has come.
func (h *heard) row(device string, until int64) *linear.Device {
	d := h.devices[device]
	if d == nil {
		d = &linear.Device{}
		h.devices[device] = d
	}
	d.Row(until)
	return d
}

// presume says what the facts alone do of a device that joins the network with flows of which
// the model makes no rows.
func (c *Classifier) presume(s *stream, r *flows.Record) {
	if s.heard == nil || c.opts.Facts == nil || !r.AsksForRouter() {
		return
	}
	var d linear.Device // rows are judged as without this
	d.Row(r.LastDescribed())
	s.heard.judge.Hear(&d, c.opts.Facts(r.Device))
	if level, p := s.heard.judge.Presume(&d); level != "" {
		c.registry.Presume(r.Device, level, p)
		if c.opts.Presumed != nil {
			c.opts.Presumed(c.registry.Verdict(r.Device))
		}
	}
}

// window makes of a network's probabilities those of both.
func (s *stream) window(d *linear.Device, known *facts.Set, j *Judged) {
	h := s.heard
	h.judge.Hear(d, known)
	network := j.Window
	network.Probs = s.probs
	both := h.judge.Window(d, network)
	if both.Revised != nil {
		clear(h.revised)
		for i, at := range s.index {
			h.revised[at] = both.Revised[i]
		}
		j.Revised = h.revised
	}
	if both.Named == nil {
		return
	}
	clear(h.named)
	for i, at := range s.index {
		h.probs[at], h.joint[at], h.named[at] = d.Probabilities()[i], both.Probs[i], both.Named[i]
	}
	j.Facts, j.Probs, j.Named = h.probs, h.joint, h.named
	j.Maker, j.Told = both.Maker, both.Told
}
