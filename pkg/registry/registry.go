// Package registry keeps what is known of each device. In go records, for the
// counters and addresses, and window probabilities, for the verdict; out come
// verdicts. It holds a bounded number of devices in memory, never runs a model
// and never decides which records form a window.
package registry

import (
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
)

const (
	// DefaultMaxDevices is how many devices are kept when nothing else is said.
	DefaultMaxDevices = 4096
	// sharedWithin is the span in which two IPv4 addresses behind one MAC make it shared.
	sharedWithin = time.Minute
	// MaxAddresses bounds what is kept of a device that changes addresses, or of
	// a router's MAC.
	MaxAddresses = 16
)

// Config says what the registry's verdicts are made of.
type Config struct {
	Labels     []string     // all class names
	Levels     *join.Levels // theirs; nil: there is no class
	MaxDevices int          // 0: DefaultMaxDevices
	// Evicted is called with each name of a device that is dropped, Anew with each that is to be
	// judged as if it had had no window. They must not ask the registry; may be nil.
	Evicted, Anew func(device string)
	// Ignored reports whether a record makes its device one that gets no verdict from
	// then on; nil: never.
	Ignored func(*flows.Record) bool
	// Model names what judges: of a device that is restored, what another has judged is void.
	Model string
	// Noted is called after each event, on the way of records: it must neither wait nor ask
	// the registry; nil: events are not remembered.
	Noted func(v1.Event)
}

// Registry is safe for concurrent use.
type Registry struct {
	cfg     Config
	mu      sync.Mutex
	devices map[string]*list.Element // of *device, by each of its names
	unknown *list.List               // most recently active first
	known   *list.List
	kept    *list.List // of which the operator has said something: they never make room
	evicted uint64
	ids     uint64 // the highest number that a device was given
	gone    []Gone // devices that were stored and are no more
	news
}

type device struct {
	id        uint64
	name      string
	word      word
	first     int64
	last      int64
	flows     uint64
	ipv6      uint64 // of flows
	packets   uint64
	bytes     uint64
	newest    int64 // last packet of the newest windowed record
	addresses []address
	traffic   *traffic // nil: none since the start
	shared    bool
	said      said
	ignored   bool
	judgement
	Presence
	dirt
	explained             // its newest explanation
	former    *v1.Verdict // said by a model before; nil: there was none, or what is judged since is enough
	in        *list.List
}

// judgement is what is known of a device by its model, and by what it does for others.
type judgement struct {
	joined joined
	forwarding
	change
	contradiction count // of network and facts
	hold
}

// said is what a device's last verdict was.
type said struct {
	state v1.State
	as    string // label of a known device, path of one that is likely
}

func saidIn(v *v1.Verdict) said {
	s := said{state: v.State}
	switch { // of an unknown device the best guess may be another each time
	case v.Known:
		s.as = *v.Label
	case v.Level > 0:
		s.as = *v.Path
	}
	return s
}

// address is one of a device's IP addresses and when it was last active, us
// since the Unix epoch.
type address struct {
	addr netip.Addr
	last int64
	back int64 // when it was last used again after another that was used since
}

// isIPv4 reports whether it is one that a device has been given.
func (a *address) isIPv4() bool { return a.addr.Is4() && !a.addr.IsLinkLocalUnicast() }

// New returns an empty registry.
func New(cfg Config) *Registry {
	if cfg.MaxDevices <= 0 {
		cfg.MaxDevices = DefaultMaxDevices
	}
	if cfg.Levels == nil {
		cfg.Levels = join.NewLevels(nil, -1, nil, 0)
	}
	return &Registry{cfg: cfg, devices: map[string]*list.Element{}, unknown: list.New(), known: list.New(), kept: list.New()}
}

// Record counts one record of a device, and reports whether the device is ignored:
// its windows are not wanted. When the registry is full the least recently active
// device makes room, one without a known verdict first.
func (r *Registry) Record(rec *flows.Record) (ignored bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.touch(rec)
	if d.flows == 0 { // it was but spoken of, if that
		d.first = rec.FirstSeen
		r.happened(d, v1.EventNew, rec.FirstSeen)
	}
	if d.heard(rec.FirstSeen, d.last) {
		r.happened(d, v1.EventBack, rec.FirstSeen)
	}
	d.changed = true
	d.last = max(d.last, rec.LastSeen)
	d.flows++
	if rec.IsIPv6() {
		d.ipv6++
	}
	d.packets += rec.PacketCount
	d.bytes += rec.TotalBytes
	if d.traffic == nil {
		d.traffic = &traffic{}
	}
	d.traffic.add(rec.LastSeen, rec.SentBytes, rec.TotalBytes-rec.SentBytes)
	d.active(rec)
	if d.serve(rec); d.served > 0 {
		d.joined.Presume("", 0)
	}
	if r.cfg.Ignored != nil && !d.ignored && r.cfg.Ignored(rec) {
		d.ignored = true
		d.void() // what was said before is taken back
		r.move(d, r.unknown)
	}
	return d.isIgnored()
}

// find is the device of a name; nil: there is none.
func (r *Registry) find(name string) *device {
	if e := r.devices[name]; e != nil {
		return e.Value.(*device)
	}
	return nil
}

// touch finds or adds the record's device and makes it the most recently active.
func (r *Registry) touch(rec *flows.Record) *device {
	e, ok := r.devices[rec.Device]
	if !ok {
		e = r.add(rec.Device)
	}
	d := e.Value.(*device)
	d.in.MoveToFront(e)
	return d
}

// add adds a device of which nothing is known.
func (r *Registry) add(name string) *list.Element {
	if r.unknown.Len()+r.known.Len() >= r.cfg.MaxDevices {
		r.evict()
	}
	r.ids++
	return r.put(&device{id: r.ids, name: name, in: r.unknown})
}

// put makes a device the most recently active of the list that it is in.
func (r *Registry) put(d *device) *list.Element {
	e := d.in.PushFront(d)
	for _, name := range d.names() {
		r.devices[name] = e
	}
	return e
}

// take takes a device out of its list, and its names.
func (r *Registry) take(d *device) {
	d.in.Remove(r.devices[d.name])
	for _, name := range d.names() {
		delete(r.devices, name)
	}
}

func (r *Registry) evict() {
	from := r.unknown
	if from.Len() == 0 {
		from = r.known
	}
	r.drop(from.Back().Value.(*device), false)
	r.evicted++
}

// drop forgets a device, and what was said of it too where said is set.
func (r *Registry) drop(d *device, said bool) {
	r.take(d)
	if d.stored || said {
		r.gone = append(r.gone, Gone{d.id, d.names(), said})
	}
	if r.cfg.Evicted != nil {
		for _, name := range d.names() {
			r.cfg.Evicted(name)
		}
	}
}

// active notes the record's own address, and whether other IPv4 addresses were
// active within a minute of it.
func (d *device) active(rec *flows.Record) {
	addr := rec.DeviceAddr
	if !addr.IsValid() || addr.IsUnspecified() {
		return
	}
	now := address{addr: addr, last: rec.LastSeen}
	at := slices.IndexFunc(d.addresses, func(a address) bool { return a.addr == addr })
	if at >= 0 {
		now.last, now.back = max(now.last, d.addresses[at].last), d.addresses[at].back
	}
	if now.isIPv4() {
		d.beside(&now, at, rec)
	}
	if at >= 0 {
		d.addresses = slices.Delete(d.addresses, at, at+1)
	} else if len(d.addresses) == MaxAddresses {
		d.addresses = d.addresses[:MaxAddresses-1]
	}
	d.addresses = slices.Insert(d.addresses, 0, now)
}

// Window joins one window of a device to its verdict. rec is the window's newest
// record, which Record has counted; its probabilities are in the order of the registry's
// labels. What may not be said of the device now is written to w.Held.
func (r *Registry) Window(rec *flows.Record, w *Window) v1.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.touch(rec)
	joined := d.judge(w, rec.FirstSeen, r.cfg.Levels)
	d.newest = rec.LastSeen
	v := r.say(d, joined)
	now := saidIn(&v)
	if v.News = now != d.said; v.News {
		r.saidAnew(d, &v, now)
	}
	d.said, d.changed = now, true
	r.move(d, map[bool]*list.List{true: r.known, false: r.unknown}[v.Known])
	return v
}

// move puts the most recently active device into the list it belongs to.
func (r *Registry) move(d *device, to *list.List) {
	if d.spoken() {
		to = r.kept
	}
	if to != d.in {
		r.take(d)
		d.in = to
		r.put(d)
	}
}

// verdict is what is said of a device between two windows.
func (r *Registry) verdict(d *device) v1.Verdict {
	if d.nameless() { // of its records too
		d.joined.Hold(1)
	}
	return r.say(d, r.cfg.Levels.Verdict(&d.joined.Mean))
}

// say makes a device's joined verdict one in words.
func (r *Registry) say(d *device, joined join.Verdict) v1.Verdict {
	return d.orFormer(r.judged(d, joined))
}

// judged is what is said by the model of now.
func (r *Registry) judged(d *device, joined join.Verdict) v1.Verdict {
	v := v1.Verdict{
		Device: d.name, Windows: d.joined.windows,
		Flows: d.flows, Packets: d.packets, Bytes: d.bytes, Votes: map[string]int{}, Others: d.word.macs,
	}
	if d.word.label != "" {
		label := d.word.label
		v.UserLabel = &label
	}
	s := &spoken{Verdict: joined, windowP: d.joined.lastP}
	v.State = d.state(&s.Verdict)
	if v.Level = s.Level; v.Level > 0 {
		v.Path, v.PathConfidence = &s.Path, &s.Sum
	}
	if s.Class < 0 {
		return v
	}
	for l, n := range d.joined.votes {
		v.Votes[r.cfg.Labels[l]] = n
	}
	s.label, s.windowLabel = r.cfg.Labels[s.Class], r.cfg.Labels[d.joined.last]
	v.Time = v1.UnixMicro(d.newest)
	v.Label, v.Confidence = &s.label, &s.Probability
	if s.away, s.measured = d.joined.Distance(); s.measured {
		v.Distance = &s.away
	}
	v.WindowLabel, v.WindowConfidence = &s.windowLabel, &s.windowP
	v.Known = s.Known
	if d.explained.once {
		v.Explained(d.explained.padding)
	}
	return v
}

// state is what a device's joined verdict, and what else is known of it, come to.
func (d *device) state(s *join.Verdict) v1.State {
	switch {
	case d.isIgnored():
		return v1.Ignored
	case d.gateway():
		return v1.Gateway
	case d.left:
		return v1.Changed
	case d.contradiction.holds:
		return v1.Conflict
	case s.Class < 0 && s.Level == 0 || s.Gathering:
		return v1.Gathering
	case s.Known:
		return v1.Known
	case s.Level > 0:
		return v1.Likely
	}
	return v1.Unknown
}

// spoken is what a verdict points to, in one piece.
type spoken struct {
	join.Verdict
	label, windowLabel string
	windowP, away      float64
	measured           bool
}

// Devices lists all devices, by name.
func (r *Registry) Devices() []v1.DeviceVerdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]v1.DeviceVerdict, 0, r.unknown.Len()+r.known.Len()+r.kept.Len())
	for d := range r.each {
		list = append(list, r.listed(d))
	}
	slices.SortFunc(list, func(a, b v1.DeviceVerdict) int { return strings.Compare(a.Device, b.Device) })
	return list
}

// Device is the one that goes by a name; ok is false where none is known.
func (r *Registry) Device(name string) (v v1.DeviceVerdict, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.find(name)
	if d == nil {
		return v, false
	}
	return r.listed(d), true
}

func (r *Registry) listed(d *device) v1.DeviceVerdict {
	v := v1.DeviceVerdict{
		Verdict: r.verdict(d), Addresses: []string{}, SameAs: []string{}, ID: d.id, MACs: d.names(), Locked: d.word.locked, Gone: d.Gone,
		FirstSeen: moment(d.first), LastSeen: moment(d.last), SharedMAC: d.shared, IPv6Flows: d.ipv6,
		RandomMAC: RandomMAC(d.name),
	}
	for _, a := range d.addresses {
		v.Addresses = append(v.Addresses, a.addr.String())
	}
	return v
}

// moment is a time, none where nothing has been.
func moment(us int64) v1.Time {
	if us == 0 {
		return v1.Time{}
	}
	return v1.UnixMicro(us)
}

// Knows reports whether a device's verdict is a known one, or the operator has said
// something of it: it makes room last.
func (r *Registry) Knows(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.find(name)
	return d != nil && d.in != r.unknown
}

// Evicted is the number of devices dropped to make room.
func (r *Registry) Evicted() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.evicted
}
