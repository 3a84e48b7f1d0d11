package page

// This file makes the page of all devices, and the strip of the sensor's health.

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	maxRows  = 180 // of a list: who has more devices narrows it down
	maxCards = 6
	maxQuery = 100 // characters of a search
)

// Health is how the sensor fares.
type Health struct {
	Stats v1.Stats
	// PacketsPerS and CPU, a share of one processor, are of the last seconds; below 0: not
	// known yet.
	PacketsPerS, CPU float64
}

// Between is the health at the later of two looks at a sensor.
func Between(before, now v1.Stats) Health {
	h := Health{Stats: now, PacketsPerS: -1, CPU: -1}
	if took := now.UptimeS - before.UptimeS; before.Sensor == now.Sensor && took > 0 {
		h.PacketsPerS = float64(now.Packets.Seen-before.Packets.Seen) / took
		h.CPU = (now.UserCPUS - before.UserCPUS) / took
	}
	return h
}

// Filter says which devices a list has.
type Filter struct {
	Text  string // in its name, addresses, vendor, label, path or facts
	State v1.State
	Sort  string // a column's; empty: what wants somebody's eyes comes first
}

// ParseFilter reads a path's query.
func ParseFilter(query url.Values) Filter {
	return Filter{Text: shorten(strings.TrimSpace(query.Get("q")), maxQuery), State: v1.State(shorten(query.Get("state"), maxQuery)), Sort: shorten(query.Get("sort"), maxQuery)}
}

func (f Filter) query() string {
	v := url.Values{}
	if f.Text != "" {
		v.Set("q", f.Text)
	}
	if f.State != "" {
		v.Set("state", string(f.State))
	}
	if f.Sort != "" {
		v.Set("sort", f.Sort)
	}
	if len(v) == 0 {
		return ListPath
	}
	return ListPath + "?" + v.Encode()
}

// Has reports whether a device's text has the filter's.
func (f Filter) Has(d *v1.DeviceVerdict) bool {
	wanted := strings.ToLower(f.Text)
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), wanted) }
	for _, s := range []*string{&d.Device, d.Name, d.UserLabel, d.Vendor, d.Label, d.Path} {
		if s != nil && in(*s) {
			return true
		}
	}
	for _, value := range d.Facts {
		if in(value) {
			return true
		}
	}
	return slices.ContainsFunc(d.Addresses, in) || slices.ContainsFunc(d.MACs, in)
}

// row is a device of a list, and what a card says of it.
type row struct {
	*v1.DeviceVerdict
	Link, Name, Address, What string
	Sure                      string // empty: nothing is said
	Bar                       int    // of 100
	Says                      []said
	Behaves, Sentence, Needs  string
	Notes                     []string
	Traffic                   chart
}

func rowOf(d *v1.DeviceVerdict, t v1.Traffic) row {
	r := row{DeviceVerdict: d, Traffic: chartOf(t, d.Open), Link: link(d.Device), Name: shorten(Name(d), 60), Address: Address(d.Addresses)}
	text, sure := what(&d.Verdict)
	if r.What = text; sure != nil {
		r.Sure, r.Bar = percent(*sure), int(100**sure)
	}
	r.Says, r.Behaves, r.Sentence, r.Needs, r.Notes = telling(&d.Verdict, 4), behaves(&d.Verdict), Sentence(&d.Verdict), Needs(&d.Verdict), notes(d)
	return r
}

// Label is what to call it where there is room for one name.
func (r row) Label() string { return cmp.Or(r.Name, r.Device) }

// Address is the one to know a device by, and how many more it has; empty: it has none.
func Address(all []string) string {
	if len(all) == 0 {
		return ""
	}
	text := all[0]
	if i := slices.IndexFunc(all, func(a string) bool { return !strings.Contains(a, ":") }); i >= 0 {
		text = all[i]
	}
	if more := len(all) - 1; more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

// choice is a state that a list can be narrowed down to.
type choice struct {
	Name, Link string
	Count      int
	Chosen     bool
}

// listing is what the template of a list takes.
type listing struct {
	Title   string
	Filter  Filter
	Health  strip
	Choices []choice
	Cards   []row
	MoreNew int // strangers without a card
	Rows    []row
	Sorts   []order
	Left    int // devices that match and have no row
	Names   []string
	All     int
	Empty   string // why there is no device
}

// List is what is known of all devices.
type List struct {
	Devices []v1.DeviceVerdict
	Traffic func(device string) v1.Traffic // is asked for those that have a row; nil: there is none
	Health  Health
	Names   []string // labels to suggest
}

// Page is that of the devices which the filter lets through.
func (d *List) Page(f Filter) ([]byte, error) {
	devices, h := d.Devices, d.Health
	l := listing{Title: "iotsense", Filter: f, Health: stripOf(h), All: len(devices), Names: d.Names}
	if len(devices) == 0 {
		l.Empty = "The sensor has seen no device yet."
		if h.Stats.UptimeS > 5 {
			l.Empty += " So far: " + v1.WhyNoDevice(h.Stats.Packets)
		}
	}
	counts := map[v1.State]int{}
	var found []*v1.DeviceVerdict
	for i := range devices {
		d := &devices[i]
		if f.Text != "" && !f.Has(d) {
			continue
		}
		counts[d.State]++
		if f.State == "" || d.State == f.State {
			found = append(found, d)
		}
	}
	l.choices(f, counts)
	l.Sorts = f.sort(found)
	for _, one := range found[:min(len(found), maxRows)] {
		l.Rows = append(l.Rows, rowOf(one, d.traffic(one)))
	}
	l.Left = len(found) - len(l.Rows)
	l.cards(found)
	return render("list", &l)
}

func (d *List) traffic(one *v1.DeviceVerdict) v1.Traffic {
	if d.Traffic == nil {
		return v1.Traffic{}
	}
	return d.Traffic(one.Device)
}

func (l *listing) choices(f Filter, counts map[v1.State]int) {
	all := 0
	for _, s := range v1.States {
		all += counts[s]
	}
	to := func(s v1.State) string { return Filter{f.Text, s, f.Sort}.query() }
	l.Choices = []choice{{"all", to(""), all, f.State == ""}}
	for _, s := range ranked {
		if counts[s] > 0 || s == f.State {
			l.Choices = append(l.Choices, choice{string(s), to(s), counts[s], s == f.State})
		}
	}
}

// cards are those of strangers, the newest first.
func (l *listing) cards(found []*v1.DeviceVerdict) {
	var strangers []*v1.DeviceVerdict
	for _, d := range found {
		if stranger(d.State) {
			strangers = append(strangers, d)
		}
	}
	slices.SortStableFunc(strangers, func(a, b *v1.DeviceVerdict) int { return b.FirstSeen.Compare(a.FirstSeen.Time) })
	for _, d := range strangers[:min(len(strangers), maxCards)] {
		l.Cards = append(l.Cards, rowOf(d, v1.Traffic{}))
	}
	l.MoreNew = len(strangers) - len(l.Cards)
}

// strip is the health as the template takes it.
type strip struct {
	PacketsPerS, Packets, CPU, Ring string
	Lost                            []Loss
	Interfaces                      []v1.Interface
	Model, Uptime                   string
}

// Loss is a counter of what got lost, in words.
type Loss struct{ Name, Count, Means string }

// losses are the keys of counters that should be 0, and what a strip calls them.
var losses = map[string]string{
	"packets.table_full": "packets refused", "packets.malformed": "packets malformed", "samples.ring_full": "samples lost",
	"dropped_verdicts": "verdicts dropped", "evicted_devices": "devices evicted", "facts.forgotten": "devices' facts dropped",
	"registry.write_failures": "writes failed", "registry.unwritten": "events lost",
}

func stripOf(h Health) strip {
	s := strip{
		Interfaces: h.Stats.Interfaces, Packets: count(h.Stats.Packets.Seen), PacketsPerS: "…", CPU: "…", Ring: "–",
		Model: "no model: records only", Uptime: Uptime(h.Stats.UptimeS),
	}
	if h.Stats.Model != nil {
		s.Model = *h.Stats.Model
	}
	if h.PacketsPerS >= 0 {
		s.PacketsPerS, s.CPU = count(uint64(h.PacketsPerS+0.5)), fmt.Sprintf("%.1f %%", 100*h.CPU)
	}
	if size := h.Stats.Ring.SizeBytes; size > 0 {
		s.Ring = percent(float64(h.Stats.Ring.MostBytes) / float64(size))
	}
	s.Lost = Losses(h.Stats)
	return s
}

// Losses are those counters of a sensor that should be 0 and are not.
func Losses(s v1.Stats) (list []Loss) {
	for _, c := range v1.Counters(s) {
		if n, _ := c.Value.(uint64); n > 0 && losses[c.Key] != "" {
			means := c.Means
			if c.Do != "" {
				means += "; to do: " + c.Do
			}
			list = append(list, Loss{losses[c.Key], count(n), means})
		}
	}
	return list
}

// Uptime is a time that a sensor runs, in words.
func Uptime(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
