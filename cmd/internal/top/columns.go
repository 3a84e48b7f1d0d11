package top

// This file says which columns the list has, and which where there is little room.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// column is one of the list.
type column struct {
	title             string
	place             int // of those that go where there is no room: the greatest first
	least, good, most int // columns of the terminal
	right             bool
	text              func(*model, row) string
}

// placed is a column of so many columns of the terminal.
type placed struct {
	column
	width int
}

const stateTitle = "State"

var all = []column{
	{stateTitle, 1, 9, 9, 9, false, func(_ *model, r row) string { return string(r.State) }},
	{"Device", 0, 12, 17, 24, false, func(_ *model, r row) string { return nameOf(r) }},
	{"MAC", 6, 17, 17, 17, false, func(_ *model, r row) string { return r.Device }},
	{"Address", 5, 15, 15, 18, false, func(_ *model, r row) string { return ask.AddressText(r.Addresses) }},
	{"Vendor", 4, 10, 10, 20, false, func(_ *model, r row) string { return orDash(r.Vendor) }},
	{"What it is", 0, 14, 30, 70, false, func(_ *model, r row) string { text, _ := what(r); return text }},
	{"Sure", 2, 5, 5, 5, true, func(_ *model, r row) string { _, sure := what(r); return sure }},
	{"Pkts/s", 3, 6, 6, 6, true, func(_ *model, r row) string { return rate(r.rate) }},
	{"Traffic", 7, 8, 8, 8, true, func(_ *model, r row) string { return terminal.Bytes(r.Bytes).String() }},
	{"Seen", 2, 4, 4, 4, true, func(m *model, r row) string { return age(m.now.at.Sub(r.LastSeen.Time)) }},
	{"Note", 8, 16, 16, 16, false, func(_ *model, r row) string { return ask.Note(r.DeviceVerdict) }},
}

// fit are the columns that a width has room for.
func fit(width int) (list []placed) {
	need := -1
	for _, c := range all {
		list = append(list, placed{c, c.least})
		need += c.least + 1
	}
	for need > width && len(list) > 1 {
		last := 0
		for i, c := range list {
			if c.place >= list[last].place {
				last = i
			}
		}
		need -= list[last].least + 1
		list = slices.Delete(list, last, last+1)
	}
	for _, most := range []func(placed) int{func(p placed) int { return p.good }, func(p placed) int { return p.most }} {
		for i := range list {
			more := max(0, min(width-need, most(list[i])-list[i].width))
			list[i].width += more
			need += more
		}
	}
	return list
}

// what is a row's verdict in text: of a known device its whole path; and how sure that is.
func what(r row) (text, sure string) {
	text, sure = ask.GuessText(&r.Verdict)
	if r.Known && r.Path != nil {
		text = terminal.Cell(*r.Path)
	}
	return text, sure
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return terminal.Cell(*s)
}

// rate is so many a second; below 0: not known.
func rate(v float64) string {
	switch {
	case v < 0:
		return "-"
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	case v < 1e5:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.0fk", v/1e3)
}

// age is a time that has passed, short: 5m.
func age(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		most time.Duration
		name string
	}{{time.Second, time.Minute, "s"}, {time.Minute, time.Hour, "m"}, {time.Hour, 48 * time.Hour, "h"}, {24 * time.Hour, 999 * 24 * time.Hour, "d"}} {
		if d < unit.most {
			return fmt.Sprintf("%d%s", max(0, d/unit.of), unit.name)
		}
	}
	return "-"
}

// paragraph is text in lines of a width, with a margin from the second on.
func paragraph(s string, width int, margin string) []string {
	margin = margin[:min(len(margin), width/2)]
	lines := wrapped(s, width)[:1]
	if rest := strings.TrimSpace(strings.TrimPrefix(s, lines[0])); rest != "" {
		for _, line := range wrapped(rest, width-len(margin)) {
			lines = append(lines, margin+line)
		}
	}
	return lines
}
