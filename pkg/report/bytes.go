package report

// This file draws Figs 3 and 4: payload bytes by their place.

import (
	"html/template"
	"image"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/iotsense/iotsense/pkg/analyze"
	"github.com/iotsense/iotsense/pkg/flows"
)

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
		p.line(plotter.XYs{{X: start, Y: 0}, {X: start, Y: byteScale}}, gridColour, 0.5)
		if len(packets[i].Entropy) == 0 {
			continue
		}
		empty = false
		points := plotter.XYs{{X: start}}
		for b, h := range packets[i].Entropy {
			points = append(points, plotter.XY{X: start + float64(b), Y: h})
		}
		points = append(points, plotter.XY{X: start + float64(len(packets[i].Entropy))})
		p.line(points, lineColour, 0.6)
	}
	if empty {
		return nil, nil
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	return p.render(name, 9*vg.Inch, 1.5*vg.Inch)
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
	p.Add(plotter.NewGrid())
	p.line(points, lineColour, 0.7)
	p.dots(points, lineColour)
	return p.render(name, 4.4*vg.Inch, 1.9*vg.Inch)
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
	p.Add(plotter.NewGrid())
	if bars, err := plotter.NewYErrorBars(s); !p.failed(err) {
		bars.Color, bars.Width, bars.CapWidth = color.RGBA{R: 0xe0, G: 0x8a, B: 0x2c, A: 0xff}, vg.Points(0.6), vg.Points(2)
		p.Add(bars)
	}
	p.dots(s.XYs, lineColour)
	return p.render(name, 4.4*vg.Inch, 1.9*vg.Inch)
}
