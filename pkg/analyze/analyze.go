package analyze

// This file sorts records into classes and puts the result together.

import (
	"cmp"
	"maps"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
)

// maxClasses bounds the classes told apart; records of more are one, "(other)".
const maxClasses = 256

const otherClass = "(other)"

// Config says what is measured.
type Config struct {
	IPv6  bool // the figures, and windows, cover IPv6 records too; the paper's are of IPv4
	Leaks bool // measure leaks
	Rows  int  // K of the windows that leaks are counted in; 0: the paper's five
	First int  // rows that a window has before it counts, less one
}

// Analyzer takes records and keeps counters.
type Analyzer struct {
	cfg      Config
	classes  map[string]*class
	captures map[string]bool
	last     map[string]map[string]service // state of each device, by capture
	shares   shares                        // of all classes
	leaks    *leaks
	stored   uint64 // records of records files
}

// class is what is counted for one label.
type class struct {
	records, ipv6, incomplete, packets, bytes uint64
	captures, units, devices                  map[string]bool
	shares                                    shares
	metadata                                  metadata
	payload                                   payload
	services                                  services
}

// New returns an Analyzer that has seen nothing.
func New(cfg Config) *Analyzer {
	a := &Analyzer{cfg: cfg, classes: map[string]*class{}, captures: map[string]bool{}, last: map[string]map[string]service{}}
	if cfg.Leaks {
		a.leaks = newLeaks(cfg)
	}
	return a
}

// Add takes the next record of its device, with whole payloads if it was read from a
// capture (capture.Config). A record without a label is of the class of its own
// device, one without a unit of that unit.
func (a *Analyzer) Add(r flows.LabelledRecord) {
	r.Label, r.Unit = cmp.Or(r.Label, r.Device), cmp.Or(r.Unit, r.Device)
	c := a.classes[r.Label]
	if c == nil && len(a.classes) >= maxClasses {
		r.Label = otherClass
		c = a.classes[otherClass]
	}
	if c == nil {
		c = &class{captures: map[string]bool{}, units: map[string]bool{}, devices: map[string]bool{}, services: newServices()}
		a.classes[r.Label] = c
	}
	a.captures[r.Capture] = true
	if !r.RemoteAddr.IsValid() { // never part of a file
		a.stored++
	}
	c.records++
	c.packets += r.PacketCount
	c.bytes += r.TotalBytes
	c.captures[r.Capture] = true
	c.devices[r.Device] = true
	c.units[r.Unit] = true
	if r.Incomplete {
		c.incomplete++
	}
	if r.IsIPv6() {
		c.ipv6++
	}
	if !r.IsIPv6() || a.cfg.IPv6 {
		a.figures(c, &r)
	}
	if a.leaks != nil {
		r.Record = r.RowPayload() // what a model sees
		a.leaks.add(r)
	}
}

// figures counts a record for Figs 2 to 5 and the shares.
func (a *Analyzer) figures(c *class, r *flows.LabelledRecord) {
	c.shares.add(r.Record)
	a.shares.add(r.Record)
	if !r.IsIPv6() { // the fields are those of IPv4
		c.metadata.add(r.Record)
	}
	if !r.Incomplete {
		c.payload.add(r.Record)
	}
	state := c.services.add(serviceOf(r.Record))
	devices := a.last[r.Capture]
	if devices == nil {
		devices = map[string]service{}
		a.last[r.Capture] = devices
	}
	if before, ok := devices[r.Device]; ok {
		c.services.transition(before, state)
	}
	devices[r.Device] = state
}

// EndCapture says that no further record of the capture comes: nothing of it but
// its counts is kept.
func (a *Analyzer) EndCapture(name string) {
	delete(a.last, name)
	if a.leaks != nil {
		a.leaks.endCapture(name)
	}
}

// Class is what was found for one label.
type Class struct {
	Label      string         `json:"label"`
	Records    uint64         `json:"records"`
	IPv6       uint64         `json:"ipv6_records"`
	Incomplete uint64         `json:"incomplete_records"`
	Captures   int            `json:"captures"`
	Units      int            `json:"units"`
	Devices    int            `json:"devices"` // addresses
	Packets    uint64         `json:"packets"` // all of them, described one by one or not
	Bytes      uint64         `json:"bytes"`
	Shares     Shares         `json:"shares"`
	Metadata   []FieldEntropy `json:"metadata"`
	Services   ServiceGraph   `json:"services"`
	Payload    []PacketBytes  `json:"payload"`
}

// Paper is what the paper says of its own data set.
type Paper struct {
	Note   string             `json:"note"`
	Table3 []PaperRecords     `json:"table_3"`
	Shares map[string]float64 `json:"shares"`
}

// Result is all that was found. Classes are sorted by label.
type Result struct {
	Captures int     `json:"captures"`
	Records  uint64  `json:"records"`
	IPv6     uint64  `json:"ipv6_records"`
	IPv6Used bool    `json:"ipv6_in_figures"`
	Stored   uint64  `json:"stored_records,omitempty"` // of records files: [StoredNote]
	Shares   Shares  `json:"shares"`                   // of all records
	Classes  []Class `json:"classes"`
	Paper    Paper   `json:"paper"`
	Leaks    *Leaks  `json:"leaks"` // nil unless asked for
}

// StoredNote says of stored records what they are of and what cannot be found in them.
const StoredNote = "records files, which hold no local address and no payload beyond 3,000 values of a flow: " +
	"a device's own address passes for another local one or is not found, and payload is that of the first packets; of captures the figures are whole"

// Result puts together what has been counted so far.
func (a *Analyzer) Result() *Result {
	res := &Result{
		Captures: len(a.captures), IPv6Used: a.cfg.IPv6, Stored: a.stored, Shares: a.shares.result(), Classes: []Class{},
		Paper: Paper{"of the paper's own data set, which is another one", PaperTableIII, PaperShares},
	}
	for _, label := range slices.Sorted(maps.Keys(a.classes)) {
		c := a.classes[label]
		res.Records += c.records
		res.IPv6 += c.ipv6
		res.Classes = append(res.Classes, Class{
			Label: label, Records: c.records, IPv6: c.ipv6, Incomplete: c.incomplete,
			Captures: len(c.captures), Units: len(c.units), Devices: len(c.devices), Packets: c.packets, Bytes: c.bytes,
			Shares: c.shares.result(), Metadata: c.metadata.result(), Services: c.services.result(), Payload: c.payload.result(),
		})
	}
	if a.leaks != nil {
		res.Leaks = a.leaks.result()
	}
	return res
}
