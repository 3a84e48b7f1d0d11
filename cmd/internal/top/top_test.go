package top

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// deviceOf is a device of a state, first seen so many minutes ago.
func deviceOf(mac string, state v1.State, minutes int) v1.DeviceVerdict {
	label, sure := "TP-LinkPlugHS110", 0.91
	d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: mac, State: state, Label: &label, Confidence: &sure, Known: state == v1.Known, Windows: 3, Bytes: 1234}}
	if d.Known {
		path := "TP-Link/plug/" + label
		d.Path, d.PathConfidence, d.Level = &path, &sure, 3
	}
	d.MACs, d.Addresses = []string{mac}, []string{"192.168.178.21"}
	d.FirstSeen = v1.Time{Time: time.Now().Add(time.Duration(-minutes) * time.Minute)}
	d.LastSeen = v1.Time{Time: time.Now()}
	return d
}

// lookOf is what a sensor with these devices says.
func lookOf(devices ...v1.DeviceVerdict) look {
	return look{at: time.Now(), stats: v1.Stats{Sensor: "5e", UptimeS: 99, Interfaces: []v1.Interface{{Name: "eth0", Hook: "tcx", Attached: true}}}, devices: devices, flows: []v1.Flow{}}
}

// modelOf is a model that has taken a look.
func modelOf(width, height int, l look) *model {
	m := newModel(context.Background(), nil)
	m.width, m.height = width, height
	m.take(l)
	return m
}

// press is what a key does.
func press(m *model, keys ...string) (last tea.Cmd) {
	codes := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp, "end": tea.KeyEnd, "backspace": tea.KeyBackspace}
	for _, k := range keys {
		key := tea.Key{Code: codes[k]}
		if key.Code == 0 {
			key.Code, key.Text = []rune(k)[0], k
		}
		_, last = m.Update(tea.KeyPressMsg(key))
	}
	return last
}

// A paragraph's lines are full, the first too.
func TestParagraph(t *testing.T) {
	for _, tt := range []struct {
		text   string
		width  int
		margin string
		want   []string
	}{
		{"key  one two three four", 12, "     ", []string{"key  one two", "     three", "     four"}},
		{"key  one", 12, "     ", []string{"key  one"}},
		{"one\\u001btwo-three four", 10, "  ", []string{"one\\u001bt", "  wo-three", "  four"}},
	} {
		if got := paragraph(tt.text, tt.width, tt.margin); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// The columns that matter most are there, whatever the width; none is wider than the terminal.
func TestColumns(t *testing.T) {
	for width := range 300 {
		used := -1
		for _, c := range fit(width) {
			used += c.width + 1
		}
		if used > width && len(fit(width)) > 1 {
			t.Errorf("width %d: columns take %d", width, used)
		}
	}
	for width, want := range map[int]string{
		38:  "State, Device, What it is",
		78:  "State, Device, Vendor, What it is, Sure, Pkts/s, Seen",
		198: "State, Device, MAC, Address, Vendor, What it is, Sure, Pkts/s, Traffic, Seen, Note",
	} {
		var titles []string
		for _, c := range fit(width) {
			titles = append(titles, c.title)
		}
		if got := strings.Join(titles, ", "); got != want {
			t.Errorf("width %d: %s, want %s", width, got, want)
		}
	}
}

// What devices say of themselves is text, and no screen has a line more or a column more than
// the terminal.
func TestScreensFit(t *testing.T) {
	hostile := "a\x1b[2J\x1b]0;owned\a\nb\u202e\u009b31m台所🔌" + strings.Repeat("x", 300)
	d := deviceOf("50:c7:bf:00:fc:a3", v1.Unknown, 1)
	from, path := "fact", "TP-Link/plug"
	d.Name, d.NameFrom, d.Vendor, d.UserLabel, d.Path, d.PathConfidence = &hostile, &from, &hostile, &hostile, &path, d.Confidence
	l := lookOf(d, deviceOf("50:c7:bf:00:fc:a4", v1.Known, 2))
	l.flows = []v1.Flow{{Device: &d.Device, Remote: hostile, Proto: 6, DevPort: -1, RemPort: 443, Packets: 3, Bytes: 4000}}
	for _, size := range [][2]int{{80, 24}, {40, 12}, {200, 60}, {10, 3}, {1, 1}, {2, 5}} {
		m := modelOf(size[0], size[1], l)
		check := func(of string) {
			lines := m.lines()
			if len(lines) != size[1] {
				t.Errorf("%s at %v: %d lines", of, size, len(lines))
			}
			for _, line := range lines {
				bare := ansi.Strip(line)
				if ansi.StringWidth(line) > size[0] || strings.ContainsAny(bare, "\x1b\n\a\u202e\u009b") || strings.Contains(line, "\x1b]") || strings.Contains(line, "2J") && !strings.Contains(line, `\u001b[2J`) {
					t.Errorf("%s at %v: %q", of, size, line)
				}
			}
		}
		check("list")
		m.lost, m.lostSince = errors.New(hostile), time.Now()
		check("lost")
		m.lost = nil
		press(m, "enter")
		m.Update(told{device: d.Device, facts: []v1.Fact{{Kind: "dhcp_host", Value: hostile, Source: "sent", Count: 1}}})
		m.Update(explained{device: d.Device, why: &v1.Explanation{Label: hostile, Facts: []v1.ExplainedFact{{Kind: "dhcp_host", Value: hostile, Phi: 2}}}})
		check("device")
		press(m, "end")
		check("end of device")
		m.Update(explained{device: d.Device, err: errors.New(hostile)})
		check("no explanation")
		press(m, "l")
		check("prompt")
	}
}

// names are those of the rows, by the last two digits of their MACs.
func names(m *model) (all string) {
	for _, r := range m.rows {
		all += r.Device[15:] + " "
	}
	return strings.TrimSpace(all)
}

// Strangers come first, the newest of them first of all; s and r order otherwise, / narrows the
// list, and the chosen device stays chosen wherever it goes.
func TestList(t *testing.T) {
	a, b, c := deviceOf("50:c7:bf:00:00:0a", v1.Known, 1), deviceOf("50:c7:bf:00:00:0b", v1.Unknown, 3), deviceOf("50:c7:bf:00:00:0c", v1.Unknown, 2)
	b.LastSeen.Time = b.LastSeen.Add(-time.Hour)
	host, from := "Kettle", "fact"
	a.Name, a.NameFrom = &host, &from
	m := modelOf(80, 24, lookOf(a, b, c))
	if got := names(m); got != "0c 0b 0a" || m.chosen != c.Device {
		t.Errorf("%s, chosen %s", got, m.chosen)
	}
	press(m, "down", "down", "down")
	if m.chosen != a.Device {
		t.Errorf("chosen %s", m.chosen)
	}
	for _, tt := range []struct{ key, by, want string }{
		{"s", "traffic", "0a 0b 0c"}, {"s", "last seen", "0a 0c 0b"}, {"s", "name", "0b 0c 0a"}, {"r", "reversed", "0a 0c 0b"},
	} {
		press(m, tt.key)
		if got := names(m); tt.by != "last seen" && got != tt.want || !strings.Contains(m.lines()[1], tt.by) || m.chosen != a.Device {
			t.Errorf("%s: %s, want %s; chosen %s\n%s", tt.by, got, tt.want, m.chosen, m.lines()[1])
		}
	}
	press(m, "/", "k", "E", "x", "backspace")
	if got := names(m); got != "0a" || !strings.Contains(m.lines()[23], "/kE") {
		t.Errorf("narrowed: %s, %s", got, m.lines()[23])
	}
	press(m, "enter", "q")
	if press(m, "esc"); names(m) != "0a 0c 0b" {
		t.Errorf("all again: %s", names(m))
	}
	press(m, "/", "z", "z")
	if text := strings.Join(m.lines(), "\n"); !strings.Contains(text, "Esc shows all") {
		t.Error(text)
	}
	if press(m, "esc"); names(m) != "0a 0c 0b" {
		t.Errorf("all again: %s", names(m))
	}
}

// Packets of devices are counted between two looks, flow by flow.
func TestRates(t *testing.T) {
	x, y := "x", "y"
	begin := time.Unix(1_700_000_000, 0)
	flow := func(device *string, port int32, began int64, packets uint64) v1.Flow {
		return v1.Flow{Device: device, RemPort: port, FirstSeen: v1.UnixMicro(began), Packets: packets}
	}
	at := func(seconds int, sensor string, flows ...v1.Flow) *look {
		return &look{at: begin.Add(time.Duration(seconds) * time.Second), stats: v1.Stats{Sensor: sensor}, flows: flows}
	}
	before := at(0, "5e", flow(&x, 443, 1, 10), flow(&y, 53, 1, 2), flow(nil, 1, 1, 9))
	for _, tt := range []struct {
		name string
		now  *look
		want map[string]float64
	}{
		{"more packets, a new flow, one that is over", at(2, "5e", flow(&x, 443, 1, 14), flow(&x, 443, 2, 6), flow(nil, 1, 1, 99)), map[string]float64{"x": 5}},
		{"another sensor", at(2, "5f", flow(&x, 443, 1, 14)), nil},
		{"too many flows", &look{at: begin.Add(time.Second), stats: v1.Stats{Sensor: "5e"}}, nil},
	} {
		if got := rates(before, tt.now); !maps.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The line of status says what is wrong; what is lost now is alarming.
func TestStatus(t *testing.T) {
	m := newModel(context.Background(), nil)
	if got := m.statusLine(); got != "asking the sensor" {
		t.Error(got)
	}
	m.take(look{at: time.Now(), err: errors.New("nobody answers")})
	if got := ansi.Strip(m.statusLine()); got != "nobody answers" {
		t.Error(got)
	}
	good := lookOf()
	m.take(good)
	if got := m.statusLine(); got != "no drops" {
		t.Error(got)
	}
	worse := good
	worse.at, worse.stats.Samples.RingFull, worse.stats.Packets.TableFull = good.at.Add(time.Second), 12, 1
	m.take(worse)
	if got := ansi.Strip(m.statusLine()); got != "DROPS since the start: 1 packets refused, 12 samples lost, and it goes on" || m.statusLine() == got {
		t.Errorf("%q", m.statusLine())
	}
	later := worse
	later.at = worse.at.Add(2 * time.Minute)
	m.take(later)
	if got := ansi.Strip(m.statusLine()); got != "DROPS since the start: 1 packets refused, 12 samples lost" {
		t.Error(got)
	}
	m.take(look{at: later.at.Add(time.Second), err: errors.New("nobody answers")})
	if got := ansi.Strip(m.statusLine()); got != "LOST for 0s: nobody answers" {
		t.Error(got)
	}
	later.stats.Interfaces = []v1.Interface{{Name: "eth0"}}
	later.at = later.at.Add(2 * time.Second)
	m.take(later)
	if got := ansi.Strip(m.statusLine()); got != "eth0 is not attached: see the sensor's log" {
		t.Error(got)
	}
}

// house is a sensor that takes names.
type house struct {
	sensor
	said []string
	err  error
}

func (h *house) Correct(_ context.Context, device, do string, word v1.Correction) (v1.Corrected, error) {
	h.said = append(h.said, fmt.Sprintf("%s %s %q", do, device, word.Label))
	return v1.Corrected{Device: device, Kept: true}, h.err
}

func (h *house) Stats(context.Context) (v1.Stats, error)       { return v1.Stats{}, nil }
func (h *house) Flows(context.Context) ([]v1.Flow, int, error) { return nil, 0, nil }
func (h *house) Devices(context.Context) ([]v1.DeviceVerdict, error) {
	return nil, nil
}

// A device is given a name with l, which is taken back by an empty one; Esc says nothing.
func TestLabel(t *testing.T) {
	h := &house{}
	m := modelOf(80, 24, lookOf(deviceOf("50:c7:bf:00:00:0a", v1.Unknown, 1)))
	m.sensor = h
	press(m, "l", "x", "esc")
	m.Update(press(m, "l", "h", " ", "ö", "enter")())
	if got := m.lines()[23]; got != "50:c7:bf:00:00:0a: labelled h ö" {
		t.Error(got)
	}
	m.Update(press(m, "l", "enter")())
	if got := m.lines()[23]; got != "50:c7:bf:00:00:0a: its name is taken back" {
		t.Error(got)
	}
	h.err = errors.New("only root may")
	press(m, "l")
	m.Update(tea.PasteMsg{Content: "a\x1b\nb"})
	m.Update(press(m, "enter")())
	if got := m.lines()[23]; got != "50:c7:bf:00:00:0a: only root may" {
		t.Error(got)
	}
	if want := []string{`label 50:c7:bf:00:00:0a "h ö"`, `label 50:c7:bf:00:00:0a ""`, `label 50:c7:bf:00:00:0a "ab"`}; !slices.Equal(h.said, want) {
		t.Errorf("%q, want %q", h.said, want)
	}
}
