package report

// This file draws Fig. 5, a class's services and the transitions between them, as
// SVG: the services on a circle, the most frequent at the top.

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/iotsense/iotsense/pkg/analyze"
)

// Sizes of the drawing, in SVG units.
const (
	graphWidth, graphHeight = 760.0, 560.0
	ringX, ringY            = 270.0, 200.0
	nodeRadius              = 30.0
	bend                    = 0.16 // how far an arrow bows out, as a share of its length
	labelAt                 = 0.36 // where on the arrow its probability stands, from its start: two arrows of a pair keep apart
)

var fills = map[string]string{
	analyze.Significant:   "#e5584f",
	analyze.Ordinary:      "#8db8f0",
	analyze.Insignificant: "#cfcfcf",
}

// graphStyle is the style of a graph that stands in no page; style.html has its own.
const graphStyle = `<style>text{text-anchor:middle;font:11px sans-serif}.edge{paint-order:stroke;stroke:#fff;stroke-width:3px;fill:#333;font-size:10px}</style>`

// graphFile is a graph as a file of its own.
func graphFile(name string, g template.HTML) Picture {
	open, rest, _ := strings.Cut(string(g), ">")
	open = strings.Replace(open, "<svg ", `<svg xmlns="http://www.w3.org/2000/svg" `, 1)
	return Picture{name, []byte(open + ">" + graphStyle + rest)}
}

type point struct{ x, y float64 }

// graph is the SVG element; empty when there is no service.
func graph(g *analyze.ServiceGraph) template.HTML {
	if len(g.States) == 0 {
		return ""
	}
	at := map[string]point{}
	for i, s := range g.States {
		angle := 2*math.Pi*float64(i)/float64(len(g.States)) - math.Pi/2
		at[s.Service] = point{graphWidth/2 + ringX*math.Cos(angle), graphHeight/2 + ringY*math.Sin(angle)}
	}
	if len(g.States) == 1 {
		at[g.States[0].Service] = point{graphWidth / 2, graphHeight / 2}
	}
	var b, labels strings.Builder
	fmt.Fprintf(&b, `<svg class="graph" viewBox="0 0 %.0f %.0f" role="img" aria-label="transitions between services">`, graphWidth, graphHeight)
	for _, t := range g.Transitions {
		arrow(&b, &labels, t, at[t.From], at[t.To])
	}
	for _, s := range g.States {
		p := at[s.Service]
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="%.0f" fill="%s" stroke="#444"><title>%s: %d records, %.1f %%, from %d others</title></circle>`,
			p.x, p.y, nodeRadius, fills[s.Colour], template.HTMLEscapeString(s.Service), s.Records, 100*s.Share, s.InLinks)
		fmt.Fprintf(&b, `<text class="node" x="%.1f" y="%.1f">%s</text>`, p.x, p.y+4, template.HTMLEscapeString(s.Service))
	}
	b.WriteString(labels.String())
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// arrow draws a transition into b and its probability into labels, which go on
// top of everything.
func arrow(b, labels *strings.Builder, t analyze.Transition, from, to point) {
	style := `stroke="#555"`
	if t.Weak {
		style = `stroke="#b0b0b0" stroke-dasharray="2 3"`
	}
	width := 1 + 2*t.Probability
	text := fmt.Sprintf("%.0f %%", 100*t.Probability)
	if t.From == t.To {
		loop(b, labels, from, style, width, text)
		return
	}
	dx, dy := to.x-from.x, to.y-from.y
	length := math.Hypot(dx, dy)
	control := point{(from.x+to.x)/2 - dy*bend, (from.y+to.y)/2 + dx*bend}
	start, end := towards(from, control, nodeRadius), towards(to, control, nodeRadius+2)
	fmt.Fprintf(b, `<path d="M%.1f %.1fQ%.1f %.1f %.1f %.1f" fill="none" %s stroke-width="%.2f"/>`,
		start.x, start.y, control.x, control.y, end.x, end.y, style, width)
	head(b, end, control, t.Weak)
	if length > 0 {
		label(labels, bezier(start, control, end, labelAt), text)
	}
}

// loop draws a transition of a service to itself, outwards from the ring.
func loop(b, labels *strings.Builder, at point, style string, width float64, text string) {
	out := point{at.x - graphWidth/2, at.y - graphHeight/2}
	length := math.Hypot(out.x, out.y)
	if length == 0 {
		out, length = point{0, -1}, 1
	}
	ux, uy := out.x/length, out.y/length
	const r = 16.0
	c := point{at.x + ux*(nodeRadius+r*0.6), at.y + uy*(nodeRadius+r*0.6)}
	fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.0f" fill="none" %s stroke-width="%.2f"/>`, c.x, c.y, r, style, width)
	label(labels, point{c.x + ux*r, c.y + uy*r}, text)
}

// head draws an arrow's head at the end of a curve that comes from the control
// point.
func head(b *strings.Builder, end, control point, weak bool) {
	fill := "#555"
	if weak {
		fill = "#b0b0b0"
	}
	dx, dy := end.x-control.x, end.y-control.y
	length := math.Max(1, math.Hypot(dx, dy))
	ux, uy := dx/length, dy/length
	const long, half = 9.0, 4.0
	fmt.Fprintf(b, `<path d="M%.1f %.1fL%.1f %.1fL%.1f %.1fZ" fill="%s"/>`, end.x, end.y,
		end.x-ux*long-uy*half, end.y-uy*long+ux*half, end.x-ux*long+uy*half, end.y-uy*long-ux*half, fill)
}

func label(b *strings.Builder, at point, text string) {
	fmt.Fprintf(b, `<text class="edge" x="%.1f" y="%.1f">%s</text>`, at.x, at.y+4, text)
}

// towards is the point at the given distance from a on the way to b.
func towards(a, b point, distance float64) point {
	length := math.Max(1, math.Hypot(b.x-a.x, b.y-a.y))
	return point{a.x + (b.x-a.x)*distance/length, a.y + (b.y-a.y)*distance/length}
}

// bezier is the point at t of a quadratic curve.
func bezier(a, control, b point, t float64) point {
	u := 1 - t
	return point{u*u*a.x + 2*u*t*control.x + t*t*b.x, u*u*a.y + 2*u*t*control.y + t*t*b.y}
}
