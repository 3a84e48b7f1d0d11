package analyze

// This file measures what lets a model recognise a unit or a copy.

import (
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
	cfg       Config
	classes   map[string]*leakClass
	order     []string // labels by class index
	groups    map[group]int
	groupList []group
	captures  map[string]int
	units     map[string]int
	devices   map[string]map[string]bool // labels by device
	pending   map[string]*pendingCapture

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
	if cfg.Rows == 0 {
		cfg.Rows = paperRows
	}
	return &leaks{
		cfg:     cfg,
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
	if isHost(r.DeviceAddr) {
		p.own[r.Device] = remember(p.own[r.Device], r.DeviceAddr)
	}
	if r.IsLocal() && isHost(r.RemoteAddr) {
		p.local = remember(p.local, r.RemoteAddr)
	}
	p.records = append(p.records, r)
	if !r.RemoteAddr.IsValid() || len(p.records) >= maxPending { // a records file has no addresses to wait for
		l.flush(p)
	}
}

// isHost reports whether a is a usable address of one host.
func isHost(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() }

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

func intern(m map[string]int, s string) int {
	id, ok := m[s]
	if !ok {
		id = len(m)
		m[s] = id
	}
	return id
}

// count takes one record into all counters.
func (l *leaks) count(r *flows.LabelledRecord, n *identifiers.Finder, recent map[string][]identifiers.Kinds) {
	c := l.classes[r.Label]
	if c == nil {
		c = &leakClass{index: len(l.order), units: map[int]bool{}, captures: map[int]bool{}}
		l.order = append(l.order, r.Label)
		l.classes[r.Label] = c
	}
	capture, unit := intern(l.captures, r.Capture), intern(l.units, unitOf(r))
	c.records++
	c.units[unit] = true
	c.captures[capture] = true
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
	if isHost(r.Remote) {
		l.remotes.add(map[string]bool{r.Remote.String(): true}, c.index, unit, capture)
	}
	l.countIdentifiers(c, r, k, capture, recent)

	g := group{r.Label, r.Split}
	id, ok := l.groups[g]
	if !ok {
		id = len(l.groupList)
		l.groups[g] = id
		l.groupList = append(l.groupList, g)
	}
	shape, whole := flowHashes(r.Record)
	l.shapes.add(shape, id, capture)
	l.identical.add(whole, id, capture)
	if loaded {
		l.loaded.add(whole, id, capture)
	}
}

// countIdentifiers counts a record's identifiers and those of the window it
// completes.
func (l *leaks) countIdentifiers(c *leakClass, r *flows.LabelledRecord, k identifiers.Kinds, capture int, recent map[string][]identifiers.Kinds) {
	windowKinds := k
	windowed := (l.cfg.IPv6 || !r.IsIPv6()) && !r.Incomplete // others enter no window
	if windowed {
		rows := recent[r.Device]
		if len(rows) == l.cfg.Rows {
			rows = slices.Delete(rows, 0, 1)
		}
		rows = append(rows, k)
		recent[r.Device] = rows
		for _, row := range rows {
			windowKinds |= row
		}
		if windowed = len(rows) > l.cfg.First; windowed {
			c.windows++
		}
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
		if windowed && windowKinds.Has(kind) {
			f.windows++
		}
	}
}

func (l *leaks) result() *Leaks {
	for _, name := range slices.Sorted(maps.Keys(l.pending)) { // captures that nobody ended
		l.flush(l.pending[name])
	}
	identical, loaded, shapes := l.identical.result(l.groupList), l.loaded.result(l.groupList), l.shapes.result(l.groupList)
	out := &Leaks{
		Classes: []ClassLeaks{}, Splits: identical.splits, Twins: shapes.twins, SharedDevices: []SharedDevice{},
		FlowSample: 1 << max(l.identical.halved, l.loaded.halved, l.shapes.halved), Forgotten: l.strings.forgotten + l.remotes.forgotten,
	}
	all := &leakClass{captures: map[int]bool{}}
	for _, label := range slices.Sorted(maps.Keys(l.classes)) {
		c := l.classes[label]
		all.merge(c)
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
	out.All = all.identifiers()
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

// merge adds the counts of o.
func (c *leakClass) merge(o *leakClass) {
	c.records += o.records
	c.windows += o.windows
	maps.Copy(c.captures, o.captures)
	for kind := range c.found {
		f, of := &c.found[kind], &o.found[kind]
		f.records += of.records
		f.windows += of.windows
		if f.captures == nil {
			f.captures = map[int]bool{}
		}
		maps.Copy(f.captures, of.captures)
	}
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
