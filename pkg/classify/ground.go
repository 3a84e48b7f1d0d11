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
	Missing int           // of Rows: they made room for other devices'
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
// is kept ([Options.Ground]). A capture that gave no record has no Classifier, so nil has none.
func (c *Classifier) Ground(device string) *Ground {
	if c == nil {
		return nil
	}
	var newest footing
	for _, s := range c.streams {
		if e := c.cache.entries[cacheKey{s, device}]; e != nil && e.judged > newest.judged {
			newest = e.footing
		}
	}
	return newest.ground
}

// Grounds are the devices and services of which rows are kept, and the bytes that these take.
func (c *Classifier) Grounds() (count, bytes int) {
	for _, e := range c.cache.entries {
		if e.size > 0 {
			count++
			bytes += e.size
		}
	}
	return count, bytes
}

// ForgottenGrounds is how often the rows of one made room for those of others.
func (c *Classifier) ForgottenGrounds() uint64 { return c.cache.forgotten }

// footing is what is kept of a device's stream.
type footing struct {
	rows   []flows.Row // the last ones; handed out, so it stays as it is
	size   int         // bytes that they take
	count  int         // rows that there were
	ground *Ground     // of the newest output; nil: there is none
	judged uint64      // inferences by then
}

// add takes the next row; the last span stay.
func (f *footing) add(row flows.Row, span int) {
	f.count++
	old := f.rows[max(0, len(f.rows)+1-span):]
	f.rows = append(append(make([]flows.Row, 0, len(old)+1), old...), row)
	f.size = 0
	for _, r := range f.rows {
		f.size += rowBytes(r)
	}
}

// lose drops all of it but how many rows there were.
func (f *footing) lose() { *f = footing{count: f.count, judged: f.judged, ground: f.ground.lost()} }

// lost is a ground without its rows.
func (g *Ground) lost() *Ground {
	if g == nil {
		return nil
	}
	return &Ground{Service: g.Service, Window: g.Window, Missing: len(g.Rows) + g.Missing}
}

// stand keeps what a device's newest output rests on.
func (c *Classifier) stand(s *stream, f *footing, window int, device string, heard *linear.Device) *Ground {
	g := &Ground{Service: s.service, Window: window, Rows: f.rows, Missing: min(f.count, s.span) - len(f.rows)}
	if heard != nil {
		g.known, g.until = c.opts.Facts(device), heard.Until()
	}
	f.ground, f.judged = g, c.inferences
	return g
}

// keep adds a row to those of a device; nil without [Options.Ground].
func (c *Classifier) keep(s *stream, d *cached, row flows.Row) *footing {
	if !c.opts.Ground {
		return nil
	}
	d.footing.add(row, s.span)
	return &d.footing
}

// Bytes of a record beside its packets, of a packet beside its payload, and of a row.
const (
	recordBytes = 176
	packetBytes = 40
	rowSize     = 16
)

// rowBytes is what a kept row takes.
func rowBytes(row flows.Row) int {
	n := rowSize + recordBytes + cap(row.Packets)*packetBytes
	for i := range row.Packets {
		n += cap(row.Packets[i].Payload)
	}
	return n
}
