package top

// This file draws a device.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	mostShares = 15 // of an explanation
	flowsShown = 50
)

// device is what is shown of one.
type device struct {
	name     string
	first    int // line on the screen
	facts    []v1.Fact
	factsErr error
	why      *v1.Explanation
	whyErr   error
	asked    bool // for why
}

// wrapped are lines of a width.
func wrapped(s string, width int) []string {
	return strings.Split(ansi.Wrap(s, max(1, width), ""), "\n")
}

// deviceRoom is how many lines of a device the screen has.
func (m *model) deviceRoom() int { return max(1, m.height-3) }

func (m *model) deviceScreen() []string {
	lines := m.deviceLines()
	room := m.deviceRoom()
	m.open.first = min(max(0, m.open.first), max(0, len(lines)-room))
	title := "device " + m.open.name
	if d := m.device(m.open.name); d != nil {
		if name := nameOf(row{DeviceVerdict: d}); name != d.Device {
			title = name + "  " + d.Device
		}
	}
	shown := lines[m.open.first:min(len(lines), m.open.first+room)]
	return slices.Concat([]string{header.Render(cell(title, m.width, false)), m.statusLine()}, shown)
}

// deviceLines are all that is known of the device that is open.
func (m *model) deviceLines() (lines []string) {
	const margin = "            "
	say := func(key, format string, args ...any) {
		lines = append(lines, paragraph(fmt.Sprintf("%-10s  ", key)+terminal.Cell(fmt.Sprintf(format, args...)), m.width, margin)...)
	}
	d := m.device(m.open.name)
	if d == nil {
		return append(lines, "The sensor does not know it any more.")
	}
	text, sure := what(row{DeviceVerdict: d})
	say("verdict", "%s  %s  (%s)", text, sure, d.State)
	say("", "%s", page.Sentence(&d.Verdict))
	if needs := page.Needs(&d.Verdict); needs != "" {
		say("to see", "%s", needs)
	}
	if note := ask.Note(d); note != "" {
		say("note", "%s", note)
	}
	say("maker", "%s", orDash(d.Vendor))
	say("MAC", "%s", strings.Join(d.MACs, ", "))
	say("addresses", "%s", strings.Join(d.Addresses, ", "))
	say("seen", "%s to %s", d.FirstSeen.Local().Format(time.DateTime), d.LastSeen.Local().Format(time.DateTime))
	say("traffic", "%d flows, %d packets, %s; %d windows", d.Flows, d.Packets, terminal.Bytes(d.Bytes), d.Windows)
	lines = append(lines, m.factLines()...)
	lines = append(lines, m.flowLines()...)
	return append(lines, m.whyLines()...)
}

// titled are lines below a title.
func titled(title string, lines []string) []string {
	return slices.Concat([]string{"", bold.Render(title)}, lines)
}

func (m *model) factLines() (lines []string) {
	switch {
	case m.open.factsErr != nil:
		lines = wrapped(terminal.Cell(m.open.factsErr), m.width)
	case len(m.open.facts) == 0:
		lines = []string{"nothing"}
	}
	for i := range m.open.facts {
		f := &m.open.facts[i]
		lines = append(lines, paragraph(fmt.Sprintf("%-14s %s (%s, %dx)", f.Kind, terminal.Cell(f.Value), f.Source, f.Count), m.width, "  ")...)
	}
	return titled("What it says of itself", lines)
}

func (m *model) flowLines() (lines []string) {
	d := m.device(m.open.name)
	var list []*v1.Flow
	for i := range m.now.flows {
		if f := &m.now.flows[i]; f.Device != nil && (*f.Device == d.Device || slices.Contains(d.MACs, *f.Device)) {
			list = append(list, f)
		}
	}
	slices.SortStableFunc(list, func(a, b *v1.Flow) int { return b.FirstSeen.Compare(a.FirstSeen.Time) })
	for _, f := range list[:min(len(list), flowsShown)] {
		lines = append(lines, fmt.Sprintf("%s  %-6s %6d packets %7s  %s -> %s %s", f.FirstSeen.Local().Format(time.TimeOnly), v1.ProtocolName(f.Proto),
			f.Packets, terminal.Bytes(f.Bytes), ask.PortText(f.DevPort), terminal.Cell(f.Remote), ask.PortText(f.RemPort)))
	}
	switch {
	case m.now.flows == nil:
		lines = []string{fmt.Sprintf("more than %d flows are open: `iotsense flows` lists them", mostFlows)}
	case len(list) == 0:
		lines = []string{"none"}
	case len(list) > flowsShown:
		lines = append(lines, fmt.Sprintf("and %d more", len(list)-flowsShown))
	}
	return titled("Open flows", lines)
}

func (m *model) whyLines() (lines []string) {
	o := m.open
	switch {
	case o.whyErr != nil:
		lines = wrapped(terminal.Cell(o.whyErr), m.width)
	case o.why == nil && o.asked:
		lines = []string{"asking"}
	case o.why != nil:
		lines = append(lines, wrapped(fmt.Sprintf("%s: probability %.3f in its newest window", terminal.Cell(o.why.Title()), o.why.JoinedProbability), m.width)...)
		shares := o.why.Shares(true)
		for _, s := range shares[:min(len(shares), mostShares)] {
			lines = append(lines, paragraph(fmt.Sprintf("%+8.2f  %-7s  %s", s.Phi, s.Of, terminal.Cell(s.Words)), m.width, "                   ")...)
		}
	}
	return titled("Why", lines)
}
