package report

// This file makes the page of a capture measurement: the figures of the comparison of
// Python tools (Silva and Batista), with every tool that was measured.

import (
	_ "embed"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/iotsense/iotsense/pkg/capturebench"
)

//go:embed capture.html
var captureSource string

var capturePage = parse(captureSource)

// figure is one of the paper's, over scenarios of some groups.
type figure struct {
	name, title, y string
	groups         []string
	limited        bool // only scenarios whose traffic has a rate
	value          func(*capturebench.Row) *capturebench.Range
}

func figures() []figure {
	rates, lengths := []string{"loopback", "veth"}, []string{"length"}
	cpu := func(r *capturebench.Row) *capturebench.Range { return r.CPUPercent }
	memory := func(r *capturebench.Row) *capturebench.Range { return r.PeakRSSMB }
	counted := func(r *capturebench.Row) *capturebench.Range { return r.Counted }
	perPacket := func(r *capturebench.Row) *capturebench.Range { return r.PerPacketUS }
	return []figure{
		{"figure-1", "Figure 1. CPU by protocol and bit rate", "% of a core", rates, false, cpu},
		{"figure-2", "Figure 2. Peak of memory by protocol and bit rate", "MB", rates, false, memory},
		{"figure-3", "Figure 3. Packets counted by protocol and bit rate", "packets", rates, false, counted},
		{"figure-4", "Figure 4. The same, UDP with a limited bit rate", "packets", rates, true, counted},
		{"figure-5", "Figure 5. CPU by number of packets and length", "% of a core", lengths, false, cpu},
		{"figure-6", "Figure 6. Peak of memory by number of packets and length", "MB", lengths, false, memory},
		{"figure-7", "Figure 7. Packets counted by number of packets and length", "packets", lengths, false, counted},
		{"figure-home", "Beyond the paper: CPU a packet in a home", "us a packet", []string{"home"}, false, perPacket},
	}
}

// captureView is what the template sees.
type captureView struct {
	*capturebench.Result
	Key     []keyEntry
	Figures []figureView
	Tables  []scenarioView
}

// Busy reports whether others wanted the machine's CPUs too.
func (v captureView) Busy() bool {
	return max(v.Machine.LoadBefore, v.Machine.LoadAfter) > float64(v.Machine.CPUs)
}

// keyEntry is a tool and its colour.
type keyEntry struct{ Name, Colour string }

type figureView struct {
	Title   string
	Picture *Picture
}

// scenarioView is a scenario's table.
type scenarioView struct {
	capturebench.Scenario
	Rows []capturebench.Row
}

// CaptureReport makes the page. The error is of a picture that could not be drawn.
func CaptureReport(r *capturebench.Result) (*Report, error) {
	view := captureView{Result: r}
	colours := map[string]color.RGBA{}
	for _, t := range r.Tools {
		if t.Missing == "" && t.Name != capturebench.None {
			c := toolColour(len(colours))
			colours[t.Name] = c
			view.Key = append(view.Key, keyEntry{t.Name, hex(c)})
		}
	}
	var g gallery
	for _, f := range figures() {
		if p := g.take(f.draw(r, view.Key, colours)); p != nil {
			view.Figures = append(view.Figures, figureView{f.title, p})
		}
	}
	for _, s := range r.Scenarios {
		v := scenarioView{Scenario: s}
		for _, row := range r.Rows {
			if row.Scenario == s.Name {
				v.Rows = append(v.Rows, row)
			}
		}
		view.Tables = append(view.Tables, v)
	}
	return execute(capturePage, view, g)
}

// toolColour is the n-th of a dozen that can be told apart.
func toolColour(n int) color.RGBA {
	list := []color.RGBA{
		{0x08, 0x30, 0x6b, 0xff}, {0x1e, 0x5a, 0xc8, 0xff}, {0x6b, 0xae, 0xd6, 0xff}, // the sensor's arms
		{0xb2, 0x18, 0x2b, 0xff}, {0xe6, 0x6c, 0x4c, 0xff}, {0xf4, 0xa5, 0x82, 0xff}, {0xfd, 0xd4, 0x9e, 0xff}, {0x7b, 0x32, 0x94, 0xff},
		{0x33, 0x33, 0x33, 0xff}, {0x77, 0x77, 0x77, 0xff}, {0x1b, 0x78, 0x37, 0xff}, {0xbb, 0xbb, 0xbb, 0xff},
	}
	return list[n%len(list)]
}

// draw makes the figure: a cluster of bars for each scenario, a bar for each tool, its
// range as a line on it; nil where nothing was measured.
func (f *figure) draw(r *capturebench.Result, key []keyEntry, colours map[string]color.RGBA) (*Picture, error) {
	var scenarios []capturebench.Scenario
	top := 0.0
	for _, s := range r.Scenarios {
		if !slices.Contains(f.groups, s.Group) || f.limited && !s.Limited {
			continue
		}
		measured := false
		for _, k := range key {
			if v := f.of(r, s.Name, k.Name); v != nil {
				top, measured = math.Max(top, v.High), true
			}
		}
		if measured {
			scenarios = append(scenarios, s)
		}
	}
	if len(scenarios) == 0 || top == 0 {
		return nil, nil
	}
	p := newPlot(f.y, 1.05*top)
	var ticks plot.ConstantTicks
	const cluster = 0.86 // of a scenario's place that its bars fill
	width := cluster / float64(len(key))
	for i, s := range scenarios {
		ticks = append(ticks, plot.Tick{Value: float64(i) + cluster/2, Label: shortName(s.Name)})
		for j, k := range key {
			v := f.of(r, s.Name, k.Name)
			if v == nil {
				continue
			}
			from := float64(i) + float64(j)*width
			p.bar(from, from+width, v.Median, colours[k.Name])
			if v.Low != v.High {
				p.line(plotter.XYs{{X: from + width/2, Y: v.Low}, {X: from + width/2, Y: v.High}}, color.Black, 0.6)
			}
		}
	}
	p.X.Min, p.X.Max = -0.1, float64(len(scenarios))
	p.X.Tick.Marker = ticks
	const perScenario = 62 // points
	return p.render(f.name+".png", vg.Points(max(300, float64(70+perScenario*len(scenarios)))), vg.Points(230))
}

func (f *figure) of(r *capturebench.Result, scenario, tool string) *capturebench.Range {
	row := r.Row(scenario, tool)
	if row == nil {
		return nil
	}
	return f.value(row)
}

// shortName is a scenario's name on an axis: in two lines.
func shortName(name string) string {
	first, rest, _ := strings.Cut(name, "-")
	return first + "\n" + rest
}

// span is a median with its range, "-" for none.
func span(r *capturebench.Range, decimals int) string {
	return r.Text(func(v float64) string {
		if decimals > 0 {
			return fmt.Sprintf("%.*f", decimals, v)
		}
		return whole(&v)
	})
}
