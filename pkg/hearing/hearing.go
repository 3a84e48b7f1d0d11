// Package hearing trains what judges devices by what they say of themselves. In go samples
// and rows of a store's captures, out come the facts' part of a model, and what that and the
// network say of the store's examples together.
package hearing

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/facts/linear/learn"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

// Listener keeps what devices had said of themselves by each example of a store. A nil one
// hears nothing.
type Listener struct {
	store   *dataset.Store
	deaf    bool // there is data without samples
	known   *facts.Collector
	devices map[string]*listened // of the capture that is read, by their names in packets
	sets    [][]string           // distinct tokens
	number  map[string]int32     // of them
	of      []int32              // by example
}

// listened is how far a device has been listened to.
type listened struct {
	until   int64
	changes uint32
	count   int
	set     int32
}

// New listens to what a store is filled with.
func New(store *dataset.Store) *Listener {
	return &Listener{store: store, number: map[string]int32{}}
}

// Told is a Listener that has been told what devices say: it needs no samples.
func Told(store *dataset.Store, known *facts.Collector) *Listener {
	h := New(store)
	h.known, h.devices = known, map[string]*listened{}
	return h
}

// Listen listens to the captures of a set from now on. It reports a set that has records
// files: they hold nothing of what devices say, and nothing is heard any more.
func (h *Listener) Listen(set *dataset.Set) (deaf bool) {
	if h == nil || h.deaf {
		return false
	}
	if h.deaf = set.RecordsFiles() > 0; h.deaf {
		return true
	}
	set.Observe(h.begin, func(device string, sent bool, at int64, s *flows.Sample) { h.known.Sample(device, sent, at, s) })
	return false
}

// begin forgets the devices of the capture before.
func (h *Listener) begin() {
	h.known, h.devices = facts.NewCollector(maxListened), map[string]*listened{}
}

// maxListened is more devices than a capture has.
const maxListened = 1 << 20

// Row takes a row that the store has got, and whether it is an example: what
// [dataset.Set.Fill] tells.
func (h *Listener) Row(e dataset.Example, judged bool) {
	if h == nil || h.deaf {
		return
	}
	d := h.devices[e.Record.Device]
	if d == nil {
		d = &listened{set: -1}
		h.devices[e.Record.Device] = d
	}
	d.until = max(d.until, e.LastDescribed())
	if !judged {
		return
	}
	if s := h.known.Of(e.Record.Device); s != nil {
		if changes, count := s.State(d.until); d.set < 0 || changes != d.changes || count != d.count {
			d.changes, d.count, d.set = changes, count, h.intern(s.Tokens(d.until))
		}
	}
	for len(h.of) < h.store.Len()-1 {
		h.of = append(h.of, -1)
	}
	h.of = append(h.of, d.set)
}

// intern numbers tokens.
func (h *Listener) intern(tokens []string) int32 {
	key := strings.Join(tokens, "\n")
	n, ok := h.number[key]
	if !ok {
		n = int32(len(h.sets))
		h.number[key], h.sets = n, append(h.sets, tokens)
	}
	return n
}

// Tokens are those of example i; ok is false where nothing is known.
func (h *Listener) Tokens(i int) (tokens []string, ok bool) {
	if h == nil || i >= len(h.of) || h.of[i] < 0 {
		return nil, false
	}
	return h.sets[h.of[i]], true
}

// examples are those of a part of the data, of the model's classes, alike ones of a stream
// as one.
func (h *Listener) examples(m *model.Model, part []int) (list []learn.Example) {
	type key struct {
		stream int
		set    int32
	}
	place, windows, streams := map[key]int{}, map[int]float64{}, []int(nil)
	sources, units := map[dataset.Source]int{}, map[string]int{}
	for _, i := range part {
		tokens, ok := h.Tokens(i)
		class, known := slices.BinarySearch(m.Labels, h.store.Label(i))
		if !ok || !known {
			continue
		}
		source := *h.store.Source(i)
		from, unit := number(sources, source), number(units, cmp.Or(source.Unit, source.Name))
		stream, _ := h.store.Stream(i)
		k := key{stream, h.of[i]}
		at, seen := place[k]
		if !seen {
			at = len(list)
			place[k], streams = at, append(streams, stream)
			list = append(list, learn.Example{Tokens: tokens, Class: class, From: from, Unit: unit})
		}
		list[at].Weight++
		windows[stream]++
	}
	for at := range list {
		list[at].Weight /= windows[streams[at]]
	}
	return list
}

// number is that of a thing, counted as they come.
func number[K comparable](of map[K]int, thing K) int {
	n, seen := of[thing]
	if !seen {
		n = len(of)
		of[thing] = n
	}
	return n
}

// Train gives a model its facts' part, learned from the examples of one part of the data and
// calibrated on another: both with machines of no class, and without chimeras, which say
// nothing. The error is [learn.ErrTooLittle] where there is too little to learn from.
func (h *Listener) Train(m *model.Model, training, validation []int, seed int64) (err error) {
	if h == nil || h.deaf {
		return nil
	}
	m.Facts, err = learn.Train(h.examples(m, training), h.examples(m, validation), h.config(m, seed))
	return err
}

// config is of a facts' part of the model.
func (h *Listener) config(m *model.Model, seed int64) learn.Config {
	c := learn.Config{Classes: len(m.Labels), None: -1, Least: m.LeastTemperature(), Seed: seed}
	if none, ok := m.None(); ok {
		c.None = none
	}
	for _, l := range m.Labels {
		c.Models = append(c.Models, modelName(l))
	}
	return c
}

var lastWord = regexp.MustCompile(`(\b[a-z]+|[A-Z]*)[0-9][A-Za-z0-9]*$`)

// modelName is the name of a model that a label ends in, as HS110, in lower case: with a digit, of
// four letters and digits or more. "" if there is none.
func modelName(label string) string {
	name := strings.ToLower(lastWord.FindString(label))
	if len(name) < 4 {
		return ""
	}
	return name
}

// Add gives a model that has classes more than one with a facts' part such a part too,
// learned from examples of the classes that are more.
func (h *Listener) Add(m, old *model.Model, training []int, seed int64) (err error) {
	if h == nil || h.deaf || old.Facts == nil {
		return nil
	}
	var added []int
	for class, label := range m.Labels {
		if !slices.Contains(old.Labels, label) {
			added = append(added, class)
		}
	}
	m.Facts, err = learn.Add(old.Facts, added, h.examples(m, training), h.config(m, seed))
	return err
}

// Judge gives what joins a model's facts with what its network says of examples, those of
// a stream in order.
func (h *Listener) Judge(m *model.Model) func(i int, network join.Window) (joint join.Window) {
	judge, devices := m.Judge(), map[int]*linear.Device{}
	return func(i int, w join.Window) join.Window {
		if judge == nil {
			return w
		}
		stream, _ := h.store.Stream(i)
		d := devices[stream]
		if d == nil {
			d = &linear.Device{}
			devices[stream] = d
		}
		if tokens, ok := h.Tokens(i); ok {
			judge.HearTokens(d, tokens)
		}
		return judge.Window(d, w)
	}
}
