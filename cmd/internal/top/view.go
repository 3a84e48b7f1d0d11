package top

// This file draws the list.

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Styles; the terminal's own colours, so that they can be read on its ground.
var (
	plain  = lipgloss.NewStyle()
	bold   = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	alarm  = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red)
	header = lipgloss.NewStyle().Reverse(true)
	states = map[v1.State]lipgloss.Style{
		v1.Known: plain.Foreground(lipgloss.Green), v1.Likely: plain.Foreground(lipgloss.Cyan), v1.Unknown: plain.Foreground(lipgloss.Yellow),
		v1.Conflict: alarm, v1.Changed: alarm, v1.Gathering: faint, v1.Ignored: faint,
	}
)

// View implements tea.Model.
func (m *model) View() tea.View {
	lines := m.lines()
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	if m.prompt != nil {
		v.Cursor = tea.NewCursor(min(ansi.StringWidth(m.foot()), m.width-1), len(lines)-1)
	}
	return v
}

// lines are as many as the terminal has, none wider.
func (m *model) lines() []string {
	var lines []string
	if m.open != nil {
		lines = m.deviceScreen()
	} else {
		lines = m.listScreen()
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(0, m.height-1)], m.foot())
	for i := range lines {
		lines[i] = cut(lines[i], m.width)
	}
	return lines
}

// cut is text, with its styles, that goes into so many columns.
func cut(s string, width int) string { return ansi.Truncate(s, width, "~") }

// cell is text in so many columns exactly.
func cell(s string, width int, right bool) string {
	s = cut(s, width)
	blank := strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
	if right {
		return blank + s
	}
	return s + blank
}

const headLines = 4

// room is how many rows the screen has.
func (m *model) room() int { return max(1, m.height-headLines-1) }

func (m *model) listScreen() []string {
	columns := fit(m.width - len(mark))
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = cell(c.title, c.width, c.right)
	}
	lines := []string{bold.Render(m.healthLine()), m.countLine(), m.statusLine(),
		header.Render(cell(strings.Repeat(" ", len(mark))+strings.Join(titles, " "), m.width, false))}
	for i := m.first; i < len(m.rows) && i < m.first+m.room(); i++ {
		lines = append(lines, m.rowLine(m.rows[i], columns))
	}
	if len(m.rows) == 0 && m.now.stats.Sensor != "" {
		lines = append(lines, m.whyEmpty())
	}
	return lines
}

func (m *model) whyEmpty() string {
	switch {
	case len(m.now.devices) > 0:
		return "no device has this in its name, addresses, vendor, label or facts: Esc shows all"
	case m.now.stats.UptimeS > ask.NoDeviceAfter.Seconds():
		return "no device seen: " + v1.WhyNoDevice(m.now.stats.Packets)
	}
	return "no device seen yet"
}

// mark stands before the chosen row: it is seen without colours too.
const mark = "> "

func (m *model) rowLine(r row, columns []placed) string {
	cells := make([]string, len(columns))
	chosen := r.Device == m.chosen
	for i, c := range columns {
		cells[i] = cell(c.text(m, r), c.width, c.right)
		if style, coloured := states[r.State]; c.title == stateTitle && coloured && !chosen {
			cells[i] = style.Render(cells[i])
		}
	}
	line := strings.Join(cells, " ")
	if chosen {
		return bold.Reverse(true).Render(mark + line)
	}
	return strings.Repeat(" ", len(mark)) + line
}

// healthLine says how the sensor fares, what matters most first.
func (m *model) healthLine() string {
	s := &m.now.stats
	if s.Sensor == "" {
		return "iotsense"
	}
	parts := []string{"iotsense"}
	for _, i := range s.Interfaces {
		parts = append(parts, fmt.Sprintf("%s (%s)", terminal.Cell(i.Name), i.Hook))
	}
	if m.health.PacketsPerS >= 0 {
		parts = append(parts, fmt.Sprintf("%s packets/s", rate(m.health.PacketsPerS)), fmt.Sprintf("CPU %.1f %%", 100*m.health.CPU))
	}
	if s.Ring.SizeBytes > 0 {
		parts = append(parts, fmt.Sprintf("ring %.0f %%", 100*float64(s.Ring.MostBytes)/float64(s.Ring.SizeBytes)))
	}
	return strings.Join(append(parts, fmt.Sprintf("%d flows", s.Flows.Open), "up "+page.Uptime(s.UptimeS)), "  ")
}

// countLine counts devices by state.
func (m *model) countLine() string {
	counts := map[v1.State]int{}
	for i := range m.now.devices {
		counts[m.now.devices[i].State]++
	}
	text := fmt.Sprintf("%d devices", len(m.now.devices))
	if m.filter != "" {
		text = fmt.Sprintf("%d of %s with %s", len(m.rows), text, terminal.Cell(m.filter))
	}
	if m.filter != "" { // ahead of what a narrow terminal cuts off
		text += fmt.Sprintf("  /%s: %d", terminal.Cell(m.filter), len(m.rows))
	}
	for _, s := range v1.States {
		if n := counts[s]; n > 0 {
			text += fmt.Sprintf("  %d %s", n, s)
		}
	}
	text += "  by " + orders[m.order].name
	if m.reverse {
		text += ", reversed"
	}
	return text
}

// statusLine says what is wrong, in red; louder while it goes on.
func (m *model) statusLine() string {
	text, style := m.status()
	return style.Render(text)
}

func (m *model) status() (string, lipgloss.Style) {
	switch {
	case m.lost != nil && m.now.stats.Sensor != "":
		return fmt.Sprintf("LOST for %s: %s", age(time.Since(m.lostSince)), terminal.Cell(m.lost)), alarm
	case m.lost != nil:
		return terminal.Cell(m.lost), alarm
	case m.now.stats.Sensor == "":
		return "asking the sensor", plain
	}
	for _, i := range m.now.stats.Interfaces {
		if !i.Attached {
			return terminal.Cell(i.Name) + " is not attached: see the sensor's log", alarm
		}
	}
	var lost []string
	for _, l := range page.Losses(m.now.stats) {
		lost = append(lost, l.Count+" "+l.Name)
	}
	text := "DROPS since the start: " + strings.Join(lost, ", ")
	switch {
	case len(lost) == 0:
		return "no drops", plain
	case m.now.at.Sub(m.losing) < time.Minute:
		return text + ", and it goes on", alarm
	}
	return text, plain.Foreground(lipgloss.Red)
}

// foot is what is asked, what came of a key, or which keys there are.
func (m *model) foot() string {
	switch {
	case m.prompt != nil:
		return terminal.Cell(m.prompt.asks + m.prompt.text)
	case m.said != "":
		return terminal.Cell(m.said)
	case m.open != nil:
		return "Esc back  up/down scroll  l label  e explain again  q quit"
	}
	return "Enter open  / filter  s sort  r reverse  l label  q quit"
}
