package report

// This file draws Fig. 2: entropy of metadata fields.

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"github.com/iotsense/iotsense/pkg/analyze"
)

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
