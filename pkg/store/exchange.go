package store

// This file gives what a file holds to other programs, and takes it from them.

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
)

// Bounds of what is imported.
const (
	maxLine  = 1 << 20 // bytes
	maxLines = 1 << 16
)

// line is a device as JSON has it; times are us since the Unix epoch.
type line struct {
	Device    string        `json:"device"`
	ID        uint64        `json:"id"`
	MACs      []string      `json:"macs"`
	UserLabel string        `json:"user_label"`
	Labelled  int64         `json:"labelled"`
	Locked    bool          `json:"locked"`
	Ignored   bool          `json:"ignored"`
	First     int64         `json:"first_seen"`
	Last      int64         `json:"last_seen"`
	Flows     uint64        `json:"flows"`
	IPv6      uint64        `json:"ipv6_flows"`
	Packets   uint64        `json:"packets"`
	Bytes     uint64        `json:"bytes"`
	Newest    int64         `json:"newest"`
	Shared    bool          `json:"shared_mac"`
	Addresses []usedAddress `json:"addresses"`
	Gone      bool          `json:"gone"`
	Since     int64         `json:"active_since"`
	After     int64         `json:"gone_after"`
	State     v1.State      `json:"state"`
	Said      string        `json:"said"`
	Model     string        `json:"model"`
	Judged    []byte        `json:"judged"`
	Facts     []knownFact   `json:"facts"`
}

type usedAddress struct {
	Address netip.Addr `json:"address"`
	Last    int64      `json:"last"`
	Back    int64      `json:"back"`
}

// knownFact is a fact; which of a device's MACs said it is not told.
type knownFact struct {
	Kind   facts.Kind   `json:"kind"`
	Source facts.Source `json:"source"`
	Value  string       `json:"value"`
	Count  uint32       `json:"count"`
	First  int64        `json:"first"`
	Last   int64        `json:"last"`
}

// Read reads a file that is there, and changes nothing but its schema, where that is older.
// What is wrong with it is the error.
func Read(path string) (*Content, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	s := &Store{path: path, versions: versions}
	c, err := s.read()
	if err != nil {
		var damage *damageError
		if errors.As(err, &damage) {
			return nil, fmt.Errorf("registry %s is damaged: %w", path, err)
		}
		return nil, fmt.Errorf("registry %s: %w", path, s.explain(err))
	}
	return c, s.disconnect()
}

// Export writes the devices and their facts, a line of JSON each.
func (c *Content) Export(w io.Writer) error {
	out := json.NewEncoder(w)
	for i := range c.Devices {
		if err := out.Encode(c.line(&c.Devices[i])); err != nil {
			return err
		}
	}
	return nil
}

func (c *Content) line(d *registry.Saved) *line {
	l := &line{
		d.Name, d.ID, append([]string{}, d.MACs...), d.Label, d.Labelled, d.Locked, d.Ignored, d.First, d.Last, d.Flows, d.IPv6, d.Packets, d.Bytes, d.Newest, d.Shared,
		[]usedAddress{}, d.Presence.Gone, d.Presence.Since, d.Presence.After, d.State, d.As, d.Model, d.Judged, []knownFact{},
	}
	for _, a := range d.Addresses {
		l.Addresses = append(l.Addresses, usedAddress{a.Addr, a.Last, a.Back})
	}
	for _, name := range d.Names() {
		for _, f := range c.Facts[name] {
			l.Facts = append(l.Facts, knownFact{f.Kind, f.Source, f.Value, f.Count, f.First, f.Last})
		}
	}
	return l
}

// header names the columns of CSV; the first five are what an import takes.
var header = []string{"device", "user_label", "macs", "locked", "ignored", "id", "first_seen", "last_seen", "packets", "bytes", "state", "said"}

// ExportCSV writes the devices, without what only this program can read.
func (c *Content) ExportCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	for i := range c.Devices {
		d := &c.Devices[i]
		err := out.Write([]string{
			d.Name, d.Label, strings.Join(d.MACs, " "), strconv.FormatBool(d.Locked), strconv.FormatBool(d.Ignored), strconv.FormatUint(d.ID, 10), day(d.First), day(d.Last),
			strconv.FormatUint(d.Packets, 10), strconv.FormatUint(d.Bytes, 10), string(d.State), d.As,
		})
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// day is a time in words; empty: never.
func day(us int64) string {
	if us == 0 {
		return ""
	}
	return v1.UnixMicro(us).UTC().Format("2006-01-02T15:04:05Z")
}

// Import reads what Export or ExportCSV wrote, or another program like it. The error names
// the line.
func Import(r io.Reader) (*Content, error) {
	in := bufio.NewReader(r)
	first, err := in.Peek(1)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	c := &Content{Facts: map[string][]facts.Fact{}}
	if first[0] == '{' {
		return c, c.importJSON(in)
	}
	return c, c.importCSV(in)
}

func (c *Content) importJSON(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var l line
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		err := d.Decode(&l)
		if err == nil {
			err = c.add(&l)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

func (c *Content) importCSV(r io.Reader) error {
	rows := csv.NewReader(r)
	names, err := rows.Read()
	if err != nil {
		return err
	}
	column := func(row []string, name string) string {
		if i := slices.Index(names, name); i >= 0 {
			return row[i]
		}
		return ""
	}
	if !slices.Contains(names, "device") {
		return fmt.Errorf("line 1: no column device, but %s", strings.Join(names, ", "))
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // which names the line
		}
		l := &line{Device: column(row, "device"), UserLabel: column(row, "user_label"), MACs: strings.Fields(column(row, "macs"))}
		for name, into := range map[string]*bool{"locked": &l.Locked, "ignored": &l.Ignored} {
			if text := column(row, name); text != "" && err == nil {
				*into, err = strconv.ParseBool(text)
			}
		}
		if err == nil {
			err = c.add(l)
		}
		if err != nil {
			n, _ := rows.FieldPos(0)
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// lastTime is the end of the last year that times in answers can have, us since the Unix epoch.
var lastTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() - 1

// checkTimes refuses a line with a time that no answer can tell.
func (l *line) checkTimes() error {
	times := []int64{l.Labelled, l.First, l.Last, l.Newest, l.Since, l.After}
	for _, a := range l.Addresses {
		times = append(times, a.Last, a.Back)
	}
	for _, f := range l.Facts {
		times = append(times, f.First, f.Last)
	}
	for _, t := range times {
		if t < 0 || t > lastTime {
			return fmt.Errorf("time %d: want us since the Unix epoch, up to %d", t, lastTime)
		}
	}
	return nil
}

// add adds a line's device.
func (c *Content) add(l *line) error {
	if len(c.Devices) == maxLines {
		return fmt.Errorf("more than %d devices", maxLines)
	}
	if len(l.MACs) > registry.MaxMACs {
		return fmt.Errorf("device with %d MACs: want %d at most", len(l.MACs), registry.MaxMACs)
	}
	for _, name := range append([]string{l.Device}, l.MACs...) {
		if !registry.IsName(name) {
			return fmt.Errorf("device %.40q: want a MAC like 50:c7:bf:00:fc:a3, or ip:ADDR", name)
		}
	}
	if l.UserLabel != "" {
		if err := registry.CheckLabel(l.UserLabel); err != nil {
			return err
		}
	}
	if err := l.checkTimes(); err != nil {
		return err
	}
	d := registry.Saved{
		Name: l.Device, Label: l.UserLabel, Labelled: l.Labelled, Locked: l.Locked, Ignored: l.Ignored, First: l.First, Last: l.Last,
		Flows: l.Flows, IPv6: l.IPv6, Packets: l.Packets, Bytes: l.Bytes, Newest: l.Newest, Shared: l.Shared,
		Presence: registry.Presence{Gone: l.Gone, Since: l.Since, After: l.After}, State: l.State, As: l.Said, Model: l.Model, Judged: l.Judged,
	}
	for _, mac := range l.MACs { // `devices` lists the device's own among them
		if mac != d.Name && !slices.Contains(d.MACs, mac) {
			d.MACs = append(d.MACs, mac)
		}
	}
	for _, a := range l.Addresses {
		if !a.Address.IsValid() || a.Address.Zone() != "" || len(d.Addresses) == registry.MaxAddresses {
			return fmt.Errorf("address %v: it is none, or one too many", a.Address)
		}
		d.Addresses = append(d.Addresses, registry.SavedAddress{Addr: a.Address, Last: a.Last, Back: a.Back})
	}
	for _, f := range l.Facts {
		if len(f.Value) > facts.MaxValue || len(c.Facts[l.Device]) == facts.MaxKept*(1+len(l.MACs)) {
			return fmt.Errorf("facts of %s: too many, or too long", l.Device)
		}
		c.Facts[l.Device] = append(c.Facts[l.Device], facts.Fact{Kind: f.Kind, Source: f.Source, Count: f.Count, Value: f.Value, First: f.First, Last: f.Last})
	}
	c.Devices = append(c.Devices, d)
	return nil
}

// Merge says what to write of an import: devices that have none of its MACs yet as they are,
// with a number of their own; of others what the operator said.
func (c *Content) Merge(in *Content) *Change {
	change := &Change{Facts: map[string][]facts.Fact{}}
	byName, last := map[string]int{}, uint64(0)
	devices := slices.Clone(c.Devices)
	note := func(i int) {
		for _, name := range devices[i].Names() {
			byName[name] = i
		}
	}
	for i := range devices {
		last = max(last, devices[i].ID)
		note(i)
	}
	changed := map[int]bool{}
	for _, d := range in.Devices {
		at := -1
		for _, name := range d.Names() {
			if i, there := byName[name]; there {
				at = i
				break
			}
		}
		if at < 0 {
			last++
			d.ID = last
			at = len(devices)
			devices = append(devices, d)
			note(at)
			if list := in.Facts[d.Name]; list != nil {
				change.Facts[d.Name] = list
			}
		} else if d.Label != "" || d.Locked || d.Ignored {
			devices[at].Label, devices[at].Labelled, devices[at].Locked, devices[at].Ignored = d.Label, d.Labelled, d.Locked, d.Ignored
		}
		changed[at] = true
	}
	for i := range devices {
		if changed[i] {
			change.Devices = append(change.Devices, devices[i])
		}
	}
	return change
}
