package analyze

// This file measures what lets a model recognise a unit or a copy.

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/identifiers"
)

// Limits on what is remembered until a capture's addresses are known.
const (
	maxPending   = 1024 // records of one capture
	maxAddresses = 256  // local addresses of one capture
)

// Found is how often an identifier of one kind occurs in a class.
type Found struct {
	Records  Ratio `json:"records"`
	Captures Ratio `json:"captures"`
	Windows  Ratio `json:"windows"` // windows with a row that holds one
}

// ClassLeaks is what was found for one label. Ratios are of the class's records,
// captures and windows; an index that had to be sampled gives them of its sample.
type ClassLeaks struct {
	Label       string           `json:"label"`
	Units       int              `json:"units"`
	Identifiers map[string]Found `json:"identifiers"`      // by the keys of identifiers.Infos
	Identical   Identical        `json:"identical_flows"`  // same protocol, ports, totals, sizes, directions and payload
	WithPayload Identical        `json:"identical_loaded"` // the same, of flows that carry payload
	SameShape   Identical        `json:"same_shape"`       // same protocol, service, sizes and directions
	Strings     Strings          `json:"strings"`          // of payloads
	Remotes     Strings          `json:"remotes"`          // remote addresses, local ones apart
}

// SharedDevice is an address with more than one label.
type SharedDevice struct {
	Device string   `json:"device"`
	Labels []string `json:"labels"`
}

// Leaks is what in the data lets a model cheat.
type Leaks struct {
	Classes           []ClassLeaks     `json:"classes"`
	All               map[string]Found `json:"identifiers"` // over all classes
	SingleUnitClasses int              `json:"single_unit_classes"`
	NamedByString     int              `json:"classes_named_by_one_string"`     // one class-only string in 90 % of their captures
	NamedByIdentifier int              `json:"classes_named_by_one_identifier"` // the same by a string that names a unit
	Splits            []SplitOverlap   `json:"splits"`
	Twins             []Twins          `json:"twins"` // by shape
	SharedDevices     []SharedDevice   `json:"shared_devices"`
	FlowSample        uint64           `json:"flow_sample"` // every n-th distinct flow was compared
	Forgotten         uint64           `json:"strings_forgotten"`
}

// namedShare is the share of a class's captures from which one string names it.
const namedShare = 0.9

type leaks struct {
	cfg      Config
	classes  map[string]*leakClass
	all      *leakClass
	groups   map[group]int
	captures map[string]int
	units    map[string]int
	devices  map[string]map[string]bool // labels by device
	pending  map[string]*pendingCapture

	identical, loaded, shapes flowIndex
	strings, remotes          stringIndex
}

type leakClass struct {
	index    int
	records  uint64
	windows  uint64
	units    map[int]bool
	captures map[int]bool
	found    [identifiers.KindCount]foundCounter
}

func newLeakClass(index int) *leakClass {
	return &leakClass{index: index, units: map[int]bool{}, captures: map[int]bool{}}
}

// paperRows are the rows of the paper's windows (IV).
const paperRows = 5

type foundCounter struct {
	records, windows uint64
	captures         map[int]bool
}

// pendingCapture holds a capture's records until its local addresses are known.
type pendingCapture struct {
	records []flows.LabelledRecord
	own     map[string][]netip.Addr        // addresses by device
	local   []netip.Addr                   // of remote ends
	recent  map[string][]identifiers.Kinds // of each device's last records, newest last
}

func newLeaks(cfg Config) *leaks {
	cfg.Rows = cmp.Or(cfg.Rows, paperRows)
	return &leaks{
		cfg: cfg, all: newLeakClass(0),
		classes: map[string]*leakClass{}, groups: map[group]int{}, captures: map[string]int{}, units: map[string]int{},
		devices: map[string]map[string]bool{}, pending: map[string]*pendingCapture{},
		identical: newFlowIndex(), loaded: newFlowIndex(), shapes: newFlowIndex(),
		strings: newStringIndex(), remotes: newStringIndex(),
	}
}

func (l *leaks) add(r flows.LabelledRecord) {
	p := l.pending[r.Capture]
	if p == nil {
		p = &pendingCapture{own: map[string][]netip.Addr{}, recent: map[string][]identifiers.Kinds{}}
		l.pending[r.Capture] = p
	}
	if identifiers.IsHost(r.DeviceAddr) {
		p.own[r.Device] = remember(p.own[r.Device], r.DeviceAddr)
	}
	if r.IsLocal() && identifiers.IsHost(r.RemoteAddr) {
		p.local = remember(p.local, r.RemoteAddr)
	}
	p.records = append(p.records, r)
	if !r.RemoteAddr.IsValid() || len(p.records) >= maxPending { // a records file has no addresses to wait for
		l.flush(p)
	}
}

func remember(known []netip.Addr, a netip.Addr) []netip.Addr {
	if len(known) >= maxAddresses || slices.Contains(known, a) {
		return known
	}
	return append(known, a)
}

func (l *leaks) endCapture(name string) {
	if p := l.pending[name]; p != nil {
		l.flush(p)
		delete(l.pending, name)
	}
}

// flush counts the records held back.
func (l *leaks) flush(p *pendingCapture) {
	finders := map[string]*identifiers.Finder{}
	for i := range p.records {
		r := &p.records[i]
		n := finders[r.Device]
		if n == nil {
			own := p.own[r.Device]
			local := slices.DeleteFunc(slices.Clone(p.local), func(a netip.Addr) bool { return slices.Contains(own, a) })
			n = identifiers.NewFinder(r.Device, own, local)
			finders[r.Device] = n
		}
		l.count(r, n, p.recent)
	}
	p.records = p.records[:0]
}

// intern numbers the keys of m in the order in which they come.
func intern[K comparable](m map[K]int, k K) int {
	id, ok := m[k]
	if !ok {
		id = len(m)
		m[k] = id
	}
	return id
}

// count takes one record into all counters.
func (l *leaks) count(r *flows.LabelledRecord, n *identifiers.Finder, recent map[string][]identifiers.Kinds) {
	c := l.classes[r.Label]
	if c == nil {
		c = newLeakClass(len(l.classes))
		l.classes[r.Label] = c
	}
	capture, unit := intern(l.captures, r.Capture), intern(l.units, r.Unit)
	c.units[unit] = true
	if l.devices[r.Device] == nil {
		l.devices[r.Device] = map[string]bool{}
	}
	l.devices[r.Device][r.Label] = true

	var k identifiers.Kinds
	found, loaded := map[string]bool{}, false
	for i := range r.Packets {
		k |= n.Kinds(r.Packets[i].Payload)
		collectStrings(found, r.Packets[i].Payload)
		loaded = loaded || len(r.Packets[i].Payload) > 0
	}
	l.strings.add(found, c.index, unit, capture)
	if identifiers.IsHost(r.Remote) {
		l.remotes.add(map[string]bool{r.Remote.String(): true}, c.index, unit, capture)
	}
	window, windowed := l.window(r, k, recent)
	for _, of := range []*leakClass{c, l.all} {
		of.add(k, window, windowed, capture)
	}
	id := intern(l.groups, group{r.Label, r.Split})
	shape, whole := flowHashes(r.Record)
	l.shapes.add(shape, id, capture)
	l.identical.add(whole, id, capture)
	if loaded {
		l.loaded.add(whole, id, capture)
	}
}

// window is what a record with these identifiers and the rows before it hold together;
// it is none where no window ends with the record.
func (l *leaks) window(r *flows.LabelledRecord, k identifiers.Kinds, recent map[string][]identifiers.Kinds) (all identifiers.Kinds, ok bool) {
	if r.Incomplete || r.IsIPv6() && !l.cfg.IPv6 { // enters no window
		return 0, false
	}
	rows := append(recent[r.Device], k)
	rows = slices.Delete(rows, 0, max(0, len(rows)-l.cfg.Rows))
	recent[r.Device] = rows
	for _, row := range rows {
		all |= row
	}
	return all, len(rows) > l.cfg.First
}

// add counts a record with these identifiers, and the window it completes.
func (c *leakClass) add(k, window identifiers.Kinds, windowed bool, capture int) {
	c.records++
	c.captures[capture] = true
	if windowed {
		c.windows++
	}
	for kind := range identifiers.KindCount {
		f := &c.found[kind]
		if k.Has(kind) {
			f.records++
			if f.captures == nil {
				f.captures = map[int]bool{}
			}
			f.captures[capture] = true
		}
		if windowed && window.Has(kind) {
			f.windows++
		}
	}
}

func (l *leaks) result() *Leaks {
	for _, name := range slices.Sorted(maps.Keys(l.pending)) { // captures that nobody ended
		l.flush(l.pending[name])
	}
	groups := make([]group, len(l.groups))
	for g, id := range l.groups {
		groups[id] = g
	}
	identical, loaded, shapes := l.identical.result(groups), l.loaded.result(groups), l.shapes.result(groups)
	out := &Leaks{
		Classes: []ClassLeaks{}, Splits: identical.splits, Twins: shapes.twins, SharedDevices: []SharedDevice{},
		FlowSample: 1 << max(l.identical.halved, l.loaded.halved, l.shapes.halved), Forgotten: l.strings.forgotten + l.remotes.forgotten,
	}
	for _, label := range slices.Sorted(maps.Keys(l.classes)) {
		c := l.classes[label]
		devices := l.devicesOf(label)
		cl := ClassLeaks{
			Label: label, Units: len(c.units), Identifiers: c.identifiers(),
			Identical: of(identical, label), WithPayload: of(loaded, label), SameShape: of(shapes, label),
			Strings: l.strings.result(c, devices), Remotes: l.remotes.result(c, nil),
		}
		if cl.Units == 1 {
			out.SingleUnitClasses++
		}
		if cl.Strings.Best.names() {
			out.NamedByString++
		}
		if cl.Strings.BestIdentifier.names() {
			out.NamedByIdentifier++
		}
		out.Classes = append(out.Classes, cl)
	}
	out.All = l.all.identifiers()
	for _, device := range slices.Sorted(maps.Keys(l.devices)) {
		if labels := l.devices[device]; len(labels) > 1 {
			out.SharedDevices = append(out.SharedDevices, SharedDevice{device, slices.Sorted(maps.Keys(labels))})
		}
	}
	return out
}

// names reports whether the string alone names its class in nearly all captures.
func (i *Identifier) names() bool { return i != nil && *i.Captures.Share >= namedShare }

// devicesOf are the finders of a class's devices, without addresses.
func (l *leaks) devicesOf(label string) []*identifiers.Finder {
	var devices []*identifiers.Finder
	for device, labels := range l.devices {
		if labels[label] {
			devices = append(devices, identifiers.NewFinder(device, nil, nil))
		}
	}
	return devices
}

// of is what an index says of a class; the zero ratios when it holds none of its
// flows.
func of(o overlap, label string) Identical {
	if i := o.classes[label]; i != nil {
		return *i
	}
	return Identical{}
}

func (c *leakClass) identifiers() map[string]Found {
	found := map[string]Found{}
	for kind, f := range c.found {
		found[identifiers.Infos[kind].Key] = Found{
			NewRatio(f.records, c.records), NewRatio(uint64(len(f.captures)), uint64(len(c.captures))), NewRatio(f.windows, c.windows),
		}
	}
	return found
}
