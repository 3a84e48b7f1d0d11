package top

// This file holds what is shown, and changes it by what keys and the sensor say.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// row is a device of the list.
type row struct {
	*v1.DeviceVerdict
	rate float64 // packets a second; below 0: not known
}

// model is all that is shown.
type model struct {
	ctx           context.Context
	sensor        sensor
	width, height int

	now       look // the newest that succeeded
	health    page.Health
	rates     map[string]float64
	lost      error     // why the sensor does not answer; nil: it does
	lostSince time.Time // zero: it does
	losing    time.Time // when a count of losses rose last

	rows    []row // as they are shown
	first   int   // of rows on the screen
	chosen  string
	moved   bool // by keys: else the first row is the chosen one
	order   int  // of orders
	reverse bool
	filter  string
	prompt  *prompt
	said    string // what came of a key
	open    *device
}

func newModel(ctx context.Context, s sensor) *model {
	return &model{ctx: ctx, sensor: s, width: 80, height: 24}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.askAll }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case look:
		return m, tea.Batch(m.take(msg), tea.Tick(askEvery, func(time.Time) tea.Msg { return askNow{} }))
	case refreshed:
		return m, m.take(look(msg))
	case askNow:
		return m, m.askAll
	case told:
		if m.open != nil && m.open.name == msg.device {
			m.open.facts, m.open.factsErr = msg.facts, msg.err
		}
	case explained:
		if m.open != nil && m.open.name == msg.device {
			m.open.why, m.open.whyErr, m.open.asked = msg.why, msg.err, false
		}
	case labelled:
		return m, m.takeLabel(msg)
	case tea.PasteMsg:
		if m.prompt != nil {
			m.prompt.add(msg.Content)
			m.prompted()
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// askNow says that it is time to ask again.
type askNow struct{}

// refreshed is a look between two of those.
type refreshed look

// take takes what the sensor said; what it said before stays where it says nothing.
func (m *model) take(l look) tea.Cmd {
	if l.at.Before(m.now.at) {
		return nil // it was slower than the one after it
	}
	if m.lost = l.err; l.err != nil {
		if m.lostSince.IsZero() {
			m.lostSince = l.at
		}
		return nil
	}
	before := m.now
	m.now, m.lostSince = l, time.Time{}
	if l.at.Sub(before.at) > askEvery/2 { // else there is little to count
		m.health, m.rates = page.Between(before.stats, l.stats), rates(&before, &l)
	}
	if before.stats.Sensor == l.stats.Sensor && !slices.Equal(page.Losses(before.stats), page.Losses(l.stats)) {
		m.losing = l.at
	}
	m.arrange()
	if m.open == nil {
		return nil
	}
	return m.askFacts(m.open.name)
}

func (m *model) takeLabel(l labelled) tea.Cmd {
	switch {
	case l.err != nil:
		m.said = fmt.Sprintf("%s: %v", l.device, l.err)
	case l.label == "":
		m.said = l.device + ": its name is taken back"
	default:
		m.said = fmt.Sprintf("%s: labelled %s", l.device, l.label)
	}
	if l.err == nil && !l.done.Kept {
		m.said += " (until the sensor ends, without --state)"
	}
	return func() tea.Msg { return refreshed(m.look()) }
}

// orders are those of the list.
var orders = []struct {
	name    string
	compare func(a, b row) int
}{
	{"strangers first", func(a, b row) int {
		return page.StrangersFirst(a.DeviceVerdict, b.DeviceVerdict)
	}},
	{"traffic", func(a, b row) int { return cmp.Compare(b.rate, a.rate) }},
	{"last seen", func(a, b row) int { return b.LastSeen.Compare(a.LastSeen.Time) }},
	{"name", func(a, b row) int { return strings.Compare(strings.ToLower(nameOf(a)), strings.ToLower(nameOf(b))) }},
}

// nameOf is what a device is called where there is room for one name.
func nameOf(r row) string {
	return terminal.Cell(cmp.Or(page.Name(r.DeviceVerdict), r.Device))
}

// arrange makes the rows of what the sensor said last.
func (m *model) arrange() {
	m.rows = m.rows[:0]
	filter := page.Filter{Text: m.filter}
	for i := range m.now.devices {
		d := &m.now.devices[i]
		if m.filter != "" && !filter.Has(d) {
			continue
		}
		r := row{d, -1}
		if m.rates != nil {
			r.rate = m.rates[d.Device]
		}
		m.rows = append(m.rows, r)
	}
	compare := orders[m.order].compare
	slices.SortStableFunc(m.rows, func(a, b row) int {
		way := compare(a, b)
		if m.reverse {
			way = -way
		}
		return cmp.Or(way, strings.Compare(a.Device, b.Device))
	})
	if m.moved {
		m.choose(m.place())
	} else {
		m.choose(0)
	}
}

// place is that of the chosen row; below 0: it is not there.
func (m *model) place() int {
	return slices.IndexFunc(m.rows, func(r row) bool { return r.Device == m.chosen })
}

// choose chooses the row at a place, or the nearest, and has it on the screen.
func (m *model) choose(place int) {
	if len(m.rows) == 0 {
		m.chosen, m.first = "", 0
		return
	}
	place = min(max(place, 0), len(m.rows)-1)
	m.chosen = m.rows[place].Device
	m.first = min(m.first, place, max(0, len(m.rows)-m.room()))
	m.first = max(m.first, place-m.room()+1)
}

// device is the one that is open, wherever it stands in the list; nil: it is not there.
func (m *model) device(name string) *v1.DeviceVerdict {
	for i := range m.now.devices {
		if d := &m.now.devices[i]; d.Device == name || slices.Contains(d.MACs, name) {
			return d
		}
	}
	return nil
}
