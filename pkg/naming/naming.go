package naming

// This file lets models and programs name the same devices.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/pcap"
	"github.com/iotsense/iotsense/pkg/stress"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Namers that are no peers.
const (
	Own   = "iotsense"              // verdicts, and the MAC's maker where no level is safe
	Alone = "iotsense, model alone" // verdicts
	Heard = "iotsense, facts alone" // the words of facts, read as those of peers are
)

// Comparison says who names what.
type Comparison struct {
	Bundle   model.Bundle
	Classify classify.Options
	Taxonomy taxonomy.Taxonomy // of labels that the bundle lacks
	Table    Table
	Peers    []Peer
	Times    []time.Duration                 // after a device's first packet
	Warn     func(text string, about ...any) // of programs that fail
}

// Data is labelled captures of one name. With Part, the devices of the bundle's classes
// have rows of their own.
type Data struct {
	Name string
	Set  *dataset.Set
	Part bool
}

// Count is what was said at a level, of devices of which the truth is known.
type Count struct {
	Right int `json:"right"`
	Wrong int `json:"wrong"`
	Blank int `json:"blank"`
}

// Row is how one namer did on some devices after some time.
type Row struct {
	Set     string  `json:"set"`
	Devices int     `json:"devices"`
	Namer   string  `json:"namer"`
	Seconds float64 `json:"seconds"`
	Maker   Count   `json:"maker"`
	Kind    Count   `json:"kind"`
	Model   Count   `json:"model"`
	Score   float64 `json:"score"` // right, less twice the wrong, of all counted; 1 at most
}

// Named is what one namer said of one device.
type Named struct {
	Set     string  `json:"set"`
	Capture string  `json:"capture"`
	Device  string  `json:"device"`
	Label   string  `json:"label"`
	Namer   string  `json:"namer"`
	Seconds float64 `json:"seconds"`
	Maker   string  `json:"maker"` // names parted by bars; "": nothing
	Kind    string  `json:"kind"`
	Model   string  `json:"model"`
}

// Result is all that was said.
type Result struct {
	Rows    []Row          `json:"rows"`
	Devices []Named        `json:"devices"`
	Failed  map[string]int `json:"failed"`  // captures that a peer could not read
	Unknown []string       `json:"unknown"` // words, after the peer's name, that the table lacks
}

// Run compares on all data. With a result, the error is of captures that could be read in
// part only.
func (c Comparison) Run(ctx context.Context, data []Data) (*Result, error) {
	dir, err := os.MkdirTemp("", "iotsense-naming-")
	if err != nil {
		return nil, fmt.Errorf("captures for other programs: %w", err)
	}
	defer os.RemoveAll(dir)
	r := &run{Comparison: c, dir: dir, result: &Result{Failed: map[string]int{}, Unknown: []string{}}, unknown: map[string]bool{}, classes: classify.Classes(c.Bundle), paths: classify.Taxonomy(c.Bundle)}
	for label, path := range c.Taxonomy {
		if !slices.Contains(r.classes, label) {
			r.paths[label] = path
		}
	}
	var damaged error
	for _, d := range data {
		for i, at := range c.Times {
			err := r.read(ctx, d, at)
			if err != nil && !dataset.OnlyPartial(err) {
				return nil, err
			}
			if i == 0 { // the others say the same
				damaged = errors.Join(damaged, err)
			}
		}
	}
	for words := range r.unknown {
		r.result.Unknown = append(r.result.Unknown, words)
	}
	slices.Sort(r.result.Unknown)
	return r.result, damaged
}

// run is a comparison under way.
type run struct {
	Comparison
	dir     string
	result  *Result
	unknown map[string]bool
	classes []string
	paths   taxonomy.Taxonomy
}

// read reads the data as far as there is of it at a time.
func (r *run) read(ctx context.Context, d Data, at time.Duration) error {
	first := stress.First(at)
	var cut *cut
	err := d.Set.Change(func(name string, devices []string) capture.Changer {
		cut = newCut(first.Begin(0, name, devices), filepath.Join(r.dir, "capture.pcap"), devices)
		return cut
	})
	if err != nil {
		return err
	}
	return classify.Captures(ctx, d.Set, r.Bundle, r.Classify, nil, func(s dataset.CaptureSummary, k *classify.Classifier) error {
		if err := cut.close(); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		r.own(d, s, k, at)
		for _, p := range r.Peers {
			words, err := p.run(ctx, cut.path, r.dir)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.result.Failed[p.Name]++
				r.Warn("a program could not read a capture", "capture", s.Name, "error", err)
			}
			for _, device := range s.Devices {
				r.add(d, s.Name, device, p.Name, at, r.mean(p.Name, words.of(device.Name, cut.addrs[device.Name])))
			}
		}
		return nil
	})
}

// own takes the verdicts, as classify gives them.
func (r *run) own(d Data, s dataset.CaptureSummary, k *classify.Classifier, at time.Duration) {
	verdicts := map[string]v1.Verdict{}
	if k != nil {
		for _, v := range k.Registry().Devices() {
			verdicts[v.Device] = v.Verdict
		}
	}
	for _, device := range s.Devices {
		v, known := verdicts[device.Name], k.Facts(device.Name)
		known.Tell(&v)
		a := answered(&v, classify.Taxonomy(r.Bundle))
		r.add(d, s.Name, device, Alone, at, a)
		if v.Vendor != nil && a[Maker] == nil {
			a[Maker] = r.mean(Own, []string{makerWords(*v.Vendor)})[Maker]
		}
		r.add(d, s.Name, device, Own, at, a)
		var words []string
		for _, f := range known.Lines(device.Name, nil) {
			if f.Source != facts.Heard.String() {
				words = append(words, f.Kind+"="+f.Value)
			}
		}
		r.add(d, s.Name, device, Heard, at, r.mean(Heard, words))
	}
}

// mean is what words mean by the table.
func (r *run) mean(namer string, words []string) Answer {
	a, unknown := r.Table.Answer(namer, words)
	for _, w := range unknown {
		r.unknown[namer+": "+w] = true
	}
	return a
}

// answered is what a verdict says, at the deepest level that is safe.
func answered(v *v1.Verdict, paths taxonomy.Taxonomy) (a Answer) {
	if v.Label == nil {
		if v.Path != nil { // its maker, before the first window
			a[0] = []string{*v.Path}
		}
		return a
	}
	all := paths.Levels(*v.Label)
	for i, name := range all[:v.Level] {
		if level := i + levels - len(all); level >= 0 {
			a[level] = []string{name}
		}
	}
	return a
}

// openTruth is what a taxonomy has in place of a level that nobody knows.
const openTruth = "?"

// add counts an answer.
func (r *run) add(d Data, capture string, device dataset.Device, namer string, at time.Duration, a Answer) {
	set := d.Name
	if d.Part {
		set += ", strangers"
		if slices.Contains(r.classes, device.Label) {
			set = d.Name + ", known types"
		}
	}
	r.result.Devices = append(r.result.Devices, Named{
		Set: set, Capture: capture, Device: device.Name, Label: device.Label, Namer: namer, Seconds: at.Seconds(),
		Maker: strings.Join(a[Maker], "|"), Kind: strings.Join(a[Kind], "|"), Model: strings.Join(a[Model], "|"),
	})
	row := r.row(set, namer, at.Seconds())
	row.Devices++
	truth := r.paths.Levels(device.Label)
	counts := [levels]*Count{&row.Maker, &row.Kind, &row.Model}
	for i, name := range truth {
		level := i + levels - len(truth)
		switch {
		case level < 0 || name == openTruth:
		case len(a[level]) == 0:
			counts[level].Blank++
		case slices.Contains(a[level], name):
			counts[level].Right++
		default:
			counts[level].Wrong++
		}
	}
	score, all := 0, 0
	for _, c := range counts {
		score += c.Right - 2*c.Wrong
		all += c.Right + c.Wrong + c.Blank
	}
	row.Score = float64(score) / float64(max(1, all))
}

// row is the row of that name, a new one if there is none.
func (r *run) row(set, namer string, seconds float64) *Row {
	for i := range r.result.Rows {
		if row := &r.result.Rows[i]; row.Set == set && row.Namer == namer && row.Seconds == seconds {
			return row
		}
	}
	r.result.Rows = append(r.result.Rows, Row{Set: set, Namer: namer, Seconds: seconds})
	return &r.result.Rows[len(r.result.Rows)-1]
}

// cut is a Changer that also writes what is given to a file for other programs, and notes
// the addresses that devices sent from.
type cut struct {
	capture.Changer
	path  string
	addrs map[string]map[netip.Addr]bool // by device
	young map[flows.MAC]netip.Addr       // who sent from no address yet
	file  *os.File
	to    *pcapgo.Writer
	link  int
	last  time.Time
	err   error
}

// snapLen is what the file's header says; a reader takes no more of a packet.
const snapLen = 1 << 18

func newCut(change capture.Changer, path string, devices []string) *cut {
	c := &cut{Changer: change, path: path, link: int(layers.LinkTypeEthernet), addrs: map[string]map[netip.Addr]bool{}, young: map[flows.MAC]netip.Addr{}}
	for _, d := range devices {
		c.addrs[d] = map[netip.Addr]bool{}
		if addr, err := netip.ParseAddr(strings.TrimPrefix(d, "ip:")); err == nil {
			c.addrs[d][addr] = true
		}
	}
	return c
}

// Packet implements capture.Changer.
func (c *cut) Packet(p pcap.Packet, give func(pcap.Packet)) {
	c.Changer.Packet(p, func(p pcap.Packet) {
		c.write(p)
		give(p)
	})
}

func (c *cut) write(p pcap.Packet) {
	if c.to == nil && c.err == nil {
		c.link = p.Link
		c.open()
	}
	if p.Timed {
		c.last = p.Time
	}
	var parsed flows.Packet
	flows.Parse(&parsed, flows.Link(p.Link), p.Data, p.Length)
	switch addrs := c.addrs[parsed.SrcMAC.String()]; {
	case !parsed.Src.IsValid():
	case parsed.Src.IsUnspecified():
		c.young[parsed.SrcMAC] = parsed.Src
	case addrs != nil:
		addrs[parsed.Src] = true
	}
	switch {
	case c.err != nil:
	case p.Link != c.link:
		c.err = fmt.Errorf("packets of links %d and %d: other programs want them in a file each", c.link, p.Link)
	default:
		data := p.Data[:min(len(p.Data), snapLen)]
		c.err = c.to.WritePacket(gopacket.CaptureInfo{Timestamp: c.last, CaptureLength: len(data), Length: max(p.Length, len(data))}, data)
	}
}

func (c *cut) open() {
	if c.file, c.err = os.Create(c.path); c.err != nil {
		return
	}
	c.to = pcapgo.NewWriter(c.file)
	c.err = c.to.WriteFileHeader(snapLen, layers.LinkType(c.link))
}

// close ends the file, without packets where none was given. What was sent without an
// address is the device's if no other sent so.
func (c *cut) close() error {
	for mac, unspecified := range c.young {
		if addrs := c.addrs[mac.String()]; addrs != nil && len(c.young) == 1 {
			addrs[unspecified] = true
		}
	}
	if c.to == nil && c.err == nil {
		c.open()
	}
	if c.file != nil {
		if err := c.file.Close(); c.err == nil {
			c.err = err
		}
	}
	return c.err
}
