package classify

// This file keeps what an output rests on, for who wants it explained.

import (
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Ground is what an output of a model rests on.
type Ground struct {
	Service flows.Service // of the model; the zero Service: all traffic
	Window  int           // which of the device's judged windows, from 0
	Rows    []flows.Row   // oldest first: the model's Span of them, or all there were
	known   *facts.Set    // nil: the model's network judged alone
	until   int64
}

// Facts are those that were heard by then.
func (g *Ground) Facts() []facts.Fact {
	if g.known == nil {
		return nil
	}
	return g.known.By(g.until)
}

// Ground is what the newest output for a device rests on; nil: there is none, or nothing
// is kept ([Options.Ground]).
func (c *Classifier) Ground(device string) *Ground {
	if c == nil {
		return nil
	}
	return c.grounds[device]
}

// stand keeps what a device's newest output rests on.
func (c *Classifier) stand(s *stream, device string, rows []flows.Row, heard *linear.Device) *Ground {
	g := &Ground{Service: s.service, Rows: rows}
	if last := c.grounds[device]; last != nil {
		g.Window = last.Window + 1
	}
	if heard != nil {
		g.known, g.until = c.opts.Facts(device), heard.Until()
	}
	c.grounds[device] = g
	return g
}

// keep adds a row to those of a device; nil without [Options.Ground]. What was handed out
// before stays as it is.
func (c *Classifier) keep(s *stream, d *cached, row flows.Row) []flows.Row {
	if c.opts.Ground {
		d.rows = append(d.rows[max(0, len(d.rows)+1-s.span):], row)
	}
	return d.rows
}
