package report

// This file makes the page of a data set: Table III, Figs 2 to 5, leaks.

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"github.com/iotsense/iotsense/pkg/analyze"
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
	var g gallery
	labels := make([]string, len(res.Classes))
	for i, c := range res.Classes {
		labels[i] = c.Label
	}
	names := fileNames(labels)
	for i := range res.Classes {
		c := g.class(&res.Classes[i], names[i])
		if g.err != nil {
			return nil, fmt.Errorf("class %s: %w", c.Label, g.err)
		}
		c.Open = rank(res.Classes, i) < openClasses
		v.Classes = append(v.Classes, c)
	}
	if res.Leaks != nil {
		for _, k := range identifiers.Infos {
			v.Kinds = append(v.Kinds, kind{k.Key, k.Meaning, res.Leaks.All[k.Key]})
		}
	}
	return execute(analysisPage, v, g)
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

// class draws a class; name is the end of its pictures' names.
func (g *gallery) class(c *analyze.Class, name string) classView {
	v := classView{Class: c, Graph: graph(&c.Services)}
	for i := range c.Payload {
		strip, err := entropyStrip(c.Payload[i].Entropy)
		g.err = cmp.Or(g.err, err)
		v.Strips = append(v.Strips, strip)
	}
	v.Fields = g.take(metadataPlot("metadata-entropy-"+name+".png", c.Metadata))
	v.Payload = g.take(payloadPlot("payload-entropy-"+name+".png", c.Payload))
	if fifth := c.Payload[fifthPacket]; len(fifth.Entropy) > 0 {
		v.Entropy = g.take(entropyPlot("fifth-packet-entropy-"+name+".png", fifth))
		v.Values = g.take(valuesPlot("fifth-packet-values-"+name+".png", fifth))
	}
	if v.Graph != "" {
		g.pictures = append(g.pictures, graphFile("services-"+name+".svg", v.Graph))
	}
	return v
}

// fifthPacket is the packet that Fig. 4 looks at.
const fifthPacket = 4

// fieldTitles are short names of analyze.FieldNames.
var fieldTitles = [...]string{"dev port", "rem port", "remote", "O1", "O2", "O3", "O4", "packets", "bytes"}

// cellStyle colours an entropy cell; one in the range that the paper takes for a fingerprint has
// a frame. (Fig. 2 hatches them: each hatched cell is 0.8 MB of a PDF that Chromium prints.)
func cellStyle(entropy float64) template.CSS {
	style := fmt.Sprintf("background-color:%s;", hex(shade(entropy, fieldScale)))
	if entropy >= analyze.FingerprintLow && entropy <= analyze.FingerprintHigh {
		style += "outline:2px solid rgba(30,90,200,.6);outline-offset:-2px"
	}
	return template.CSS(style)
}

// fingerprintColour fills the range of entropy that Fig. 2 hatches.
var fingerprintColour = color.RGBA{R: 0xe3, G: 0xec, B: 0xfa, A: 0xff}

// metadataPlot is Fig. 2 for one class: a bar for each field.
func metadataPlot(file string, fields []analyze.FieldEntropy) (*Picture, error) {
	p := newPlot("entropy, bits", fieldScale)
	p.X.Min, p.X.Max = -0.5, float64(len(fields))-0.5
	// Bars start at 0: the range is drawn first, and what is below it covered.
	p.bar(p.X.Min, p.X.Max, analyze.FingerprintHigh, fingerprintColour)
	p.bar(p.X.Min, p.X.Max, analyze.FingerprintLow, color.White)
	var ticks []plot.Tick
	for i, f := range fields {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: fieldTitles[i]})
		p.bar(float64(i)-0.3, float64(i)+0.3, f.Entropy, lineColour)
		p.Y.Max = max(p.Y.Max, f.Entropy)
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	return p.render(file, 6*vg.Inch, 1.9*vg.Inch)
}
