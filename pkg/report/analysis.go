package report

// This file makes the page of a data set: Table III, Figs 2 to 5, leaks.

import (
	_ "embed"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/iotsense/iotsense/pkg/analyze"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/identifiers"
)

//go:embed analysis.html
var analysisSource string

var analysisPage = parse(analysisSource)

// analysisView is what the template sees.
type analysisView struct {
	*analyze.Result
	StoredNote string
	Fields     []string
	Kinds      []kind
	Classes    []classView
}

type kind struct {
	Key, Meaning string
	analyze.Found
}

type classView struct {
	*analyze.Class
	Strips  []template.URL // Fig. 3, a strip for each packet
	Fields  *Picture       // Fig. 2
	Payload *Picture       // Fig. 3, nil: no payload
	Entropy *Picture       // Fig. 4a, nil: no such packet
	Values  *Picture       // Fig. 4b
	Graph   template.HTML  // Fig. 5
	Open    bool
}

// openClasses are shown unfolded: as many as the paper shows, the most active.
const openClasses = 3

// Analysis makes the page. The error is of a picture that could not be drawn.
func Analysis(res *analyze.Result) (*Report, error) {
	v := analysisView{Result: res, StoredNote: analyze.StoredNote, Fields: fieldTitles[:]}
	var pictures []Picture
	labels := make([]string, len(res.Classes))
	for i, c := range res.Classes {
		labels[i] = c.Label
	}
	names := fileNames(labels)
	for i := range res.Classes {
		c, err := viewClass(&res.Classes[i], names[i])
		if err != nil {
			return nil, fmt.Errorf("class %s: %w", res.Classes[i].Label, err)
		}
		c.Open = rank(res.Classes, i) < openClasses
		v.Classes = append(v.Classes, c)
		for _, p := range []*Picture{c.Fields, c.Payload, c.Entropy, c.Values} {
			if p != nil {
				pictures = append(pictures, *p)
			}
		}
		if c.Graph != "" {
			pictures = append(pictures, graphFile("services-"+names[i]+".svg", c.Graph))
		}
	}
	if res.Leaks != nil {
		for _, k := range identifiers.Infos {
			v.Kinds = append(v.Kinds, kind{k.Key, k.Meaning, res.Leaks.All[k.Key]})
		}
	}
	return execute(analysisPage, v, pictures)
}

// rank is how many classes have more records than class i.
func rank(classes []analyze.Class, i int) int {
	n := 0
	for j := range classes {
		if a, b := classes[j].Records, classes[i].Records; a > b || a == b && j < i {
			n++
		}
	}
	return n
}

// viewClass draws a class; name is the end of its pictures' names.
func viewClass(c *analyze.Class, name string) (classView, error) {
	v := classView{Class: c, Graph: graph(&c.Services)}
	for i := range c.Payload {
		strip, err := entropyStrip(c.Payload[i].Entropy)
		if err != nil {
			return v, err
		}
		v.Strips = append(v.Strips, strip)
	}
	var err error
	name += ".png"
	if v.Fields, err = metadataPlot("metadata-entropy-"+name, c.Metadata); err != nil {
		return v, err
	}
	if v.Payload, err = payloadPlot("payload-entropy-"+name, c.Payload); err != nil {
		return v, err
	}
	fifth := c.Payload[fifthPacket]
	if len(fifth.Entropy) == 0 {
		return v, nil
	}
	if v.Entropy, err = entropyPlot("fifth-packet-entropy-"+name, fifth); err != nil {
		return v, err
	}
	v.Values, err = valuesPlot("fifth-packet-values-"+name, fifth)
	return v, err
}

// fifthPacket is the packet that Fig. 4 looks at.
const fifthPacket = 4

// fieldTitles are short names of analyze.FieldNames.
var fieldTitles = [...]string{"dev port", "rem port", "remote", "O1", "O2", "O3", "O4", "packets", "bytes"}

// cellStyle colours an entropy cell; the range that the paper takes for a
// fingerprint is hatched, as in Fig. 2.
func cellStyle(entropy float64) template.CSS {
	style := fmt.Sprintf("background-color:%s;", hex(shade(entropy, fieldScale)))
	if entropy >= analyze.FingerprintLow && entropy <= analyze.FingerprintHigh {
		style += "background-image:repeating-linear-gradient(45deg,transparent 0 5px,rgba(30,90,200,.35) 5px 6px);"
	}
	return template.CSS(style)
}

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
			p.x, p.y, nodeRadius, fills[s.Colour], escape(s.Service), s.Records, 100*s.Share, s.InLinks)
		fmt.Fprintf(&b, `<text class="node" x="%.1f" y="%.1f">%s</text>`, p.x, p.y+4, escape(s.Service))
	}
	b.WriteString(labels.String())
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func escape(s string) string { return template.HTMLEscapeString(s) }

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

// Scales of colours and axes.
const (
	byteScale  = 8.0  // bits, the most a byte has
	fieldScale = 12.0 // bits, beyond what metadata fields show
	stripBins  = 100  // pixels of a packet's strip
	fifthBytes = 100  // bytes of Fig. 4
)

// entropyStrip is one packet's entropy as a row of pixels, ten places each; gray
// where no record has a byte.
func entropyStrip(entropy []float64) (template.URL, error) {
	img := image.NewRGBA(image.Rect(0, 0, stripBins, 1))
	const places = flows.PayloadPrefix / stripBins
	for bin := range stripBins {
		img.SetRGBA(bin, 0, color.RGBA{R: 0xe4, G: 0xe4, B: 0xe4, A: 0xff})
		if from := bin * places; from < len(entropy) {
			part, sum := entropy[from:min(from+places, len(entropy))], 0.0
			for _, h := range part {
				sum += h
			}
			img.SetRGBA(bin, 0, shade(sum/float64(len(part)), byteScale))
		}
	}
	content, err := encode(img)
	return Picture{Content: content}.URL(), err
}

// payloadPlot is Fig. 3: entropy of all places of all packets. Nil when no
// packet of the class has payload.
func payloadPlot(name string, packets []analyze.PacketBytes) (*Picture, error) {
	p := newPlot("entropy, bits", byteScale)
	p.X.Min, p.X.Max = 0, flows.RowPackets*flows.PayloadPrefix
	var ticks []plot.Tick
	empty := true
	for i := range packets {
		start := float64(i * flows.PayloadPrefix)
		ticks = append(ticks, plot.Tick{Value: start, Label: packets[i].Packet})
		border, err := lines(plotter.XYs{{X: start, Y: 0}, {X: start, Y: byteScale}}, gridColour, 0.5)
		if err != nil {
			return nil, err
		}
		p.Add(border)
		if len(packets[i].Entropy) == 0 {
			continue
		}
		empty = false
		points := plotter.XYs{{X: start}}
		for b, h := range packets[i].Entropy {
			points = append(points, plotter.XY{X: start + float64(b), Y: h})
		}
		points = append(points, plotter.XY{X: start + float64(len(packets[i].Entropy))})
		line, err := lines(points, lineColour, 0.6)
		if err != nil {
			return nil, err
		}
		p.Add(line)
	}
	if empty {
		return nil, nil
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	return render(name, p, 9*vg.Inch, 1.5*vg.Inch)
}

// entropyPlot is Fig. 4a: entropy of the first 100 bytes of a packet.
func entropyPlot(name string, packet analyze.PacketBytes) (*Picture, error) {
	p := newPlot("entropy, bits", byteScale)
	p.X.Label.Text = packet.Packet + ", byte"
	p.X.Min, p.X.Max = 0, fifthBytes
	var points plotter.XYs
	for b, h := range packet.Entropy[:min(fifthBytes, len(packet.Entropy))] {
		points = append(points, plotter.XY{X: float64(b), Y: h})
	}
	line, err := lines(points, lineColour, 0.7)
	if err != nil {
		return nil, err
	}
	dots, err := scatter(points)
	if err != nil {
		return nil, err
	}
	p.Add(plotter.NewGrid(), line, dots)
	return render(name, p, 4.4*vg.Inch, 1.9*vg.Inch)
}

// spread is a mean with its deviation on both sides.
type spread struct {
	plotter.XYs
	plotter.YErrors
}

// valuesPlot is Fig. 4b: mean and standard deviation of the values of these bytes.
func valuesPlot(name string, packet analyze.PacketBytes) (*Picture, error) {
	p := newPlot("value", math.MaxUint8)
	p.X.Label.Text = packet.Packet + ", byte"
	p.X.Min, p.X.Max = 0, fifthBytes
	var s spread
	for b := range packet.Mean[:min(fifthBytes, len(packet.Mean))] {
		mean, deviation := packet.Mean[b], packet.Deviation[b]
		s.XYs = append(s.XYs, plotter.XY{X: float64(b), Y: mean})
		// A byte is never below 0 or above 255: the bar ends there.
		s.YErrors = append(s.YErrors, struct{ Low, High float64 }{math.Min(deviation, mean), math.Min(deviation, math.MaxUint8-mean)})
	}
	bars, err := plotter.NewYErrorBars(s)
	if err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	bars.Color, bars.Width, bars.CapWidth = color.RGBA{R: 0xe0, G: 0x8a, B: 0x2c, A: 0xff}, vg.Points(0.6), vg.Points(2)
	dots, err := scatter(s.XYs)
	if err != nil {
		return nil, err
	}
	p.Add(plotter.NewGrid(), bars, dots)
	return render(name, p, 4.4*vg.Inch, 1.9*vg.Inch)
}

// fingerprintColour fills the range of entropy that Fig. 2 hatches.
var fingerprintColour = color.RGBA{R: 0xe3, G: 0xec, B: 0xfa, A: 0xff}

// metadataPlot is Fig. 2 for one class: a bar for each field.
func metadataPlot(file string, fields []analyze.FieldEntropy) (*Picture, error) {
	p := newPlot("entropy, bits", fieldScale)
	p.X.Min, p.X.Max = -0.5, float64(len(fields))-0.5
	// Bars start at 0: the range is drawn first, and what is below it covered.
	for _, band := range []bar{{p.X.Min, p.X.Max, analyze.FingerprintHigh, fingerprintColour}, {p.X.Min, p.X.Max, analyze.FingerprintLow, color.RGBA{R: 255, G: 255, B: 255, A: 255}}} {
		if err := band.add(p); err != nil {
			return nil, err
		}
	}
	var ticks []plot.Tick
	for i, f := range fields {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: fieldTitles[i]})
		if err := (bar{float64(i) - 0.3, float64(i) + 0.3, f.Entropy, lineColour}).add(p); err != nil {
			return nil, err
		}
		p.Y.Max = max(p.Y.Max, f.Entropy)
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	return render(file, p, 6*vg.Inch, 1.9*vg.Inch)
}
