// Package classify runs a model over devices' records. In go records in the
// order of their first packets per device, out come verdicts, one for each
// inference. It is the path that live traffic and capture files share from the
// record on: registry, windows, model, verdict.
package classify

import (
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/registry"
)

// Options change what the model file says.
type Options struct {
	WindowMode *model.WindowMode // nil: the model's
	MaxDevices int               // 0: registry.DefaultMaxDevices
	// CacheBytes bounds what the engines keep of devices and can compute again; 0:
	// DefaultCacheBytes. A device whose memory is trimmed costs more once, when it is
	// active again, and gets the same verdict.
	CacheBytes int
	// Ignored reports whether a record makes its device one that is counted but not
	// judged from then on; nil: never.
	Ignored func(*flows.Record) bool
	// Facts is what is known of a device, by the samples up to those of the record that
	// Record takes; nil: models judge by their networks alone.
	Facts func(device string) *facts.Set
	// Evicted takes a device that the registry dropped to make room, of which nothing need
	// be kept any more; may be nil. The Registry must not be asked in it.
	Evicted func(device string)
	// Noted is called after each event of the Registry, as [registry.Config.Noted]; may be nil.
	Noted func(v1.Event)
	// NoFacts keeps Captures from collecting any.
	NoFacts bool
	// Verdict takes the device's verdict after each inference; may be nil.
	Verdict func(v1.Verdict)
	// Presumed takes the device's verdict when an outermost level is presumed of it, which is
	// said where there is no other; may be nil.
	Presumed func(v1.Verdict)
	// Judged takes each output of a model; may be nil.
	Judged func(Judged)
	// Ground keeps of each device what its newest output rests on: its model's Span of
	// rows, with their payloads. They count as what CacheBytes bounds.
	Ground bool
}

// Judged is what a model makes of a device's newest row.
type Judged struct {
	flows.Step
	Service flows.Service // of the model; the zero Service: all traffic
	// Probabilities in the order of Labels, join.Lacking for those of other models; valid
	// during the call.
	join.Window
	Network []float32 // what its network says alone
	Facts   []float32 // what the facts say alone; nil: there are none, or the model takes none
	Ground  *Ground   // what this rests on; nil without [Options.Ground]
}

// Classifier is not safe for concurrent use; its Registry is.
type Classifier struct {
	opts       Options
	verdicts   registry.Config
	registry   *registry.Registry
	services   []flows.Service           // that flows are shared by; some may have no stream
	streams    map[flows.Service]*stream // the zero Service: all traffic
	cache      *cache
	inferences uint64
}

// stream is one model with its part of the traffic.
type stream struct {
	model   *model.Model
	spec    flows.StreamSpec
	rows    *flows.Streams
	service flows.Service
	among   []flows.Service // the services it was trained beside
	engine  *model.Engine
	ports   func(own, remote int32) (int32, int32) // as its network tells them apart
	first   int                                    // number of the first row that is judged
	span    int                                    // rows that an output rests on
	index   []int                                  // from the model's labels to the bundle's
	probs   []float32
	all     []float32 // the same, in the order of the bundle's labels
	heard   *heard
}

// New prepares a model, or a bundle of one for each service, for use. A nil
// bundle makes a Classifier that only counts records.
func New(bundle model.Bundle, opts Options) (*Classifier, error) {
	c := &Classifier{opts: opts, cache: newCache(opts.CacheBytes)}
	if err := c.load(bundle); err != nil {
		return nil, err
	}
	c.start()
	return c, nil
}

// load prepares the models of a bundle.
func (c *Classifier) load(bundle model.Bundle) error {
	labels := Labels(bundle)
	c.services, c.streams = nil, map[flows.Service]*stream{}
	for name, m := range bundle {
		s, err := newStream(m, labels, c.opts.WindowMode)
		if err != nil {
			return fmt.Errorf("model %s: %w", name, err)
		}
		var service flows.Service
		if name != "" {
			if service, err = flows.ParseService(name); err != nil {
				return err
			}
			for _, known := range append(s.among, service) {
				if !slices.Contains(c.services, known) {
					c.services = append(c.services, known)
				}
			}
		}
		s.service = service
		c.streams[service] = s
	}
	c.verdicts = registry.Config{
		Labels:     labels,
		Levels:     levels(bundle, labels),
		MaxDevices: c.opts.MaxDevices,
		Ignored:    c.opts.Ignored,
		Model:      identity(bundle),
		Noted:      c.opts.Noted,
	}
	return nil
}

// start gives c a registry without devices.
func (c *Classifier) start() {
	cfg := c.verdicts
	cfg.Anew = c.forget
	cfg.Evicted = func(device string) {
		c.forget(device)
		if c.opts.Evicted != nil {
			c.opts.Evicted(device)
		}
	}
	c.registry = registry.New(cfg)
}

// Another is a Classifier that knows no device, with c's model and options: the engines
// and what they keep of devices are shared, so that thousands take little memory. Both are
// for one goroutine. End frees what it has of what is shared.
func (c *Classifier) Another() *Classifier {
	a := &Classifier{opts: c.opts, verdicts: c.verdicts, services: c.services, streams: map[flows.Service]*stream{}, cache: c.cache}
	a.verdicts.Noted = nil
	for service, s := range c.streams {
		own := *s
		own.rows = flows.NewStreams(s.spec)
		if s.heard != nil {
			fresh := *s.heard
			fresh.devices = map[string]*linear.Device{}
			own.heard = &fresh
		}
		a.streams[service] = &own
	}
	a.start()
	return a
}

// End frees what is kept of devices, but for their verdicts.
func (c *Classifier) End() {
	for _, d := range c.registry.Devices() {
		c.forget(d.Device)
	}
}

func newStream(m *model.Model, labels []string, mode *model.WindowMode) (*stream, error) {
	spec, first := m.Record.Stream(), m.Record.WindowMode
	if mode != nil {
		first = *mode
	}
	engine, err := model.NewEngine(m)
	if err != nil {
		return nil, err
	}
	s := &stream{
		model: m, spec: spec, rows: flows.NewStreams(spec), among: spec.Among, engine: engine, ports: m.Net.Ports,
		first: first.First(m.Net.Strict()), span: max(1, m.Net.Span()), probs: make([]float32, len(m.Labels)), all: slices.Repeat([]float32{join.Lacking}, len(labels)),
	}
	for _, l := range m.Labels {
		i, _ := slices.BinarySearch(labels, l)
		s.index = append(s.index, i)
	}
	if judge := m.Judge(); judge != nil {
		s.heard = &heard{judge, map[string]*linear.Device{}, slices.Clone(s.all), slices.Clone(s.all), make([]bool, len(labels)), make([]float64, len(labels))}
	}
	return s, nil
}

// Registry holds the devices and their verdicts.
func (c *Classifier) Registry() *registry.Registry { return c.registry }

// Inferences is the number of rows that the models have judged.
func (c *Classifier) Inferences() uint64 { return c.inferences }

// Record takes a device's next record and runs the model on it if it makes a row that
// is judged. The error is the model's, on values it refuses.
func (c *Classifier) Record(r *flows.Record) error {
	if c.registry.Record(r) {
		return nil
	}
	service, _ := flows.ServiceOf(r, c.services)
	s := c.streams[service]
	if s == nil {
		return nil
	}
	step, ok := s.rows.Add(r)
	if !ok {
		c.presume(s, r)
		return nil
	}
	said := join.Window{Probs: s.all}
	var kept *footing
	err := c.cache.use(cacheKey{s, r.Device}, func(d *cached) error {
		err := s.next(d, step, &said, r)
		if err == nil {
			kept = c.keep(s, d, step.Row)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("device %s: %w", r.Device, err)
	}
	var heard *linear.Device
	if s.heard != nil && c.opts.Facts != nil {
		heard = s.heard.row(r.Device, step.LastDescribed())
	}
	if step.Number < s.first {
		return nil
	}
	c.inferences++
	for i, p := range s.probs {
		s.all[s.index[i]] = p
	}
	j := Judged{Step: step, Service: s.service, Window: said, Network: s.all}
	if heard != nil {
		s.window(heard, c.opts.Facts(r.Device), &j)
	}
	w := registry.Window{Window: j.Window, Network: j.Network, Facts: j.Facts}
	v := c.registry.Window(r, &w)
	j.Held = w.Held
	if kept != nil {
		j.Ground = c.stand(s, kept, v.Windows-1, r.Device, heard)
	}
	if c.opts.Judged != nil {
		c.opts.Judged(j)
	}
	if c.opts.Verdict != nil {
		c.opts.Verdict(v)
	}
	return nil
}

// next runs the engine on a device's next row, made of r, and says how new it is.
func (s *stream) next(d *cached, step flows.Step, said *join.Window, r *flows.Record) error {
	if step.Number < s.first {
		return s.engine.Skip(d.memory, step.Row)
	}
	if err := s.engine.Next(d.memory, step.Row, s.probs); err != nil {
		return err
	}
	said.Distance, said.Measured = s.engine.Distance()
	said.Like, said.Again = d.seen.At(r.Likeness(s.ports(r.DevPort, r.RemPort)), r.FirstSeen)
	return nil
}

// forget frees what is kept of a device that the registry dropped, or that is to be judged anew.
func (c *Classifier) forget(device string) {
	for _, s := range c.streams {
		s.rows.Forget(device)
		c.cache.forget(cacheKey{s, device})
		if s.heard != nil {
			delete(s.heard.devices, device)
		}
	}
}
