package page

// This file draws Figs 3 and 4 as PNG pictures inside data URLs.

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/iotsense/iotsense/pkg/analyze"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Scales of colours and axes.
const (
	byteScale  = 8.0  // bits, the most a byte has
	fieldScale = 12.0 // bits, beyond what metadata fields show
	dpi        = 110
	stripBins  = 100 // pixels of a packet's strip
	fifthBytes = 100 // bytes of Fig. 4
)

var (
	lineColour = color.RGBA{R: 0x1e, G: 0x5a, B: 0xc8, A: 0xff}
	gridColour = color.RGBA{R: 0xdd, G: 0xdd, B: 0xdd, A: 0xff}
)

// shade is a colour from white to dark orange for a value of 0 to scale.
func shade(v, scale float64) color.RGBA {
	t := math.Min(1, math.Max(0, v/scale))
	mix := func(from, to float64) uint8 { return uint8(math.Round(from + (to-from)*t)) }
	return color.RGBA{R: mix(255, 217), G: mix(252, 95), B: mix(240, 14), A: 0xff}
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

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
	return encode(img)
}

func encode(img image.Image) (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", fmt.Errorf("picture: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// newPlot is an empty plot in the page's style.
func newPlot(y string, top float64) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = y
	p.Y.Min, p.Y.Max = 0, top
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size, axis.Label.TextStyle.Font.Variant = font.Length(9), "Sans"
		axis.Tick.Label.Font.Size, axis.Tick.Label.Font.Variant = font.Length(8), "Sans"
		axis.LineStyle.Width = vg.Points(0.5)
		axis.Tick.LineStyle.Width = vg.Points(0.5)
		axis.Padding = 0
	}
	return p
}

func render(p *plot.Plot, width, height vg.Length) (template.URL, error) {
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	p.Draw(draw.New(c))
	return encode(c.Image())
}

func lines(points plotter.XYs, c color.Color, width float64) (*plotter.Line, error) {
	l, err := plotter.NewLine(points)
	if err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	l.Color, l.Width = c, vg.Points(width)
	return l, nil
}

// payloadPlot is Fig. 3: entropy of all places of all packets. Empty when no
// packet of the class has payload.
func payloadPlot(packets []analyze.PacketBytes) (template.URL, error) {
	p := newPlot("entropy, bits", byteScale)
	p.X.Min, p.X.Max = 0, flows.RowPackets*flows.PayloadPrefix
	var ticks []plot.Tick
	empty := true
	for i := range packets {
		start := float64(i * flows.PayloadPrefix)
		ticks = append(ticks, plot.Tick{Value: start, Label: packets[i].Packet})
		border, err := lines(plotter.XYs{{X: start, Y: 0}, {X: start, Y: byteScale}}, gridColour, 0.5)
		if err != nil {
			return "", err
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
			return "", err
		}
		p.Add(line)
	}
	if empty {
		return "", nil
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	return render(p, 9*vg.Inch, 1.5*vg.Inch)
}

// entropyPlot is Fig. 4a: entropy of the first 100 bytes of a packet.
func entropyPlot(packet analyze.PacketBytes) (template.URL, error) {
	p := newPlot("entropy, bits", byteScale)
	p.X.Label.Text = packet.Packet + ", byte"
	p.X.Min, p.X.Max = 0, fifthBytes
	var points plotter.XYs
	for b, h := range packet.Entropy[:min(fifthBytes, len(packet.Entropy))] {
		points = append(points, plotter.XY{X: float64(b), Y: h})
	}
	line, err := lines(points, lineColour, 0.7)
	if err != nil {
		return "", err
	}
	dots, err := scatter(points)
	if err != nil {
		return "", err
	}
	p.Add(plotter.NewGrid(), line, dots)
	return render(p, 4.4*vg.Inch, 1.9*vg.Inch)
}

func scatter(points plotter.XYs) (*plotter.Scatter, error) {
	s, err := plotter.NewScatter(points)
	if err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	s.Color, s.Shape, s.Radius = lineColour, draw.CircleGlyph{}, vg.Points(1.3)
	return s, nil
}

// spread is a mean with its deviation on both sides.
type spread struct {
	plotter.XYs
	plotter.YErrors
}

// valuesPlot is Fig. 4b: mean and standard deviation of the values of these bytes.
func valuesPlot(packet analyze.PacketBytes) (template.URL, error) {
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
		return "", fmt.Errorf("plot: %w", err)
	}
	bars.Color, bars.Width, bars.CapWidth = color.RGBA{R: 0xe0, G: 0x8a, B: 0x2c, A: 0xff}, vg.Points(0.6), vg.Points(2)
	dots, err := scatter(s.XYs)
	if err != nil {
		return "", err
	}
	p.Add(plotter.NewGrid(), bars, dots)
	return render(p, 4.4*vg.Inch, 1.9*vg.Inch)
}
