package top

// This file says what keys do.

import (
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// mostTyped bounds what somebody types.
const mostTyped = 200

// prompt is a line that somebody types.
type prompt struct {
	asks   string
	text   string
	before string                    // the text when it was asked for
	end    func(text string) tea.Cmd // with Enter
	typed  func(text string)         // with each key, and Esc; nil: nothing
}

func (p *prompt) add(s string) {
	for _, r := range s {
		if len(p.text) < mostTyped && r >= ' ' && r != utf8.RuneError {
			p.text += string(r)
		}
	}
}

// prompted tells what has been typed so far.
func (m *model) prompted() {
	if m.prompt.typed != nil {
		m.prompt.typed(m.prompt.text)
	}
}

func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "ctrl+c":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	}
	m.said = ""
	switch {
	case m.prompt != nil:
		return m.promptKey(k)
	case m.open != nil:
		return m.deviceKey(k)
	}
	return m.listKey(k)
}

func (m *model) promptKey(k tea.KeyPressMsg) tea.Cmd {
	p := m.prompt
	switch k.String() {
	case "enter":
		m.prompt = nil
		return p.end(p.text)
	case "esc":
		p.text = p.before
		m.prompted()
		m.prompt = nil
		return nil
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(p.text)
		p.text = p.text[:len(p.text)-size]
	case "ctrl+u":
		p.text = ""
	default:
		p.add(k.Text)
	}
	m.prompted()
	return nil
}

// moved is where a key leads to from a place of so many, which may be beyond them.
func moved(k tea.KeyPressMsg, place, page, all int) (to int, moves bool) {
	switch k.String() {
	case "up", "k":
		return place - 1, true
	case "down", "j":
		return place + 1, true
	case "pgup", "ctrl+b":
		return place - page, true
	case "pgdown", "ctrl+f", "space":
		return place + page, true
	case "home", "g":
		return 0, true
	case "end", "G":
		return all - 1, true
	}
	return place, false
}

func (m *model) listKey(k tea.KeyPressMsg) tea.Cmd {
	if to, moves := moved(k, m.place(), m.room(), len(m.rows)); moves {
		m.moved = true
		m.choose(to)
		return nil
	}
	switch k.String() {
	case "q":
		return tea.Quit
	case "s":
		m.order = (m.order + 1) % len(orders)
		m.arrange()
	case "r":
		m.reverse = !m.reverse
		m.arrange()
	case "esc":
		m.narrow("")
	case "/":
		m.prompt = &prompt{asks: "/", text: m.filter, before: m.filter, typed: m.narrow, end: func(string) tea.Cmd { return nil }}
	case "l":
		m.askLabel(m.chosen)
	case "enter", "right":
		return m.openDevice()
	}
	return nil
}

func (m *model) narrow(text string) {
	m.filter = text
	m.arrange()
}

// askLabel asks for the name of a device.
func (m *model) askLabel(name string) {
	d := m.device(name)
	if d == nil {
		return
	}
	p := &prompt{asks: "name of " + d.Device + ": ", end: func(text string) tea.Cmd { return m.give(name, strings.TrimSpace(text)) }}
	if d.UserLabel != nil {
		p.text = *d.UserLabel
	}
	m.prompt = p
}

func (m *model) openDevice() tea.Cmd {
	if m.chosen == "" {
		return nil
	}
	m.open = &device{name: m.chosen, asked: true}
	return tea.Batch(m.askFacts(m.chosen), m.askWhy(m.chosen))
}

func (m *model) deviceKey(k tea.KeyPressMsg) tea.Cmd {
	if to, moves := moved(k, m.open.first, m.deviceRoom(), len(m.deviceLines())); moves {
		m.open.first = to
		return nil
	}
	switch k.String() {
	case "q":
		return tea.Quit
	case "esc", "backspace", "left", "u":
		m.open = nil
	case "l":
		m.askLabel(m.open.name)
	case "e":
		m.open.asked = true
		return m.askWhy(m.open.name)
	}
	return nil
}
