package report

// This file holds what all plots share: style, size, encoding.

import (
	"bytes"
	"cmp"
	"fmt"
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
)

const dpi = 110

var (
	lineColour = color.RGBA{R: 0x1e, G: 0x5a, B: 0xc8, A: 0xff}
	gridColour = color.RGBA{R: 0xdd, G: 0xdd, B: 0xdd, A: 0xff}
)

// shade is a colour from white to dark orange for a value of 0 to scale.
func shade(v, scale float64) color.RGBA {
	return blend(color.RGBA{R: 255, G: 252, B: 240, A: 0xff}, color.RGBA{R: 217, G: 95, B: 14, A: 0xff}, v/scale)
}

// blend is the colour at t, 0 to 1, between two.
func blend(from, to color.RGBA, t float64) color.RGBA {
	t = math.Min(1, math.Max(0, t))
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (float64(b)-float64(a))*t)) }
	return color.RGBA{R: mix(from.R, to.R), G: mix(from.G, to.G), B: mix(from.B, to.B), A: 0xff}
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func encode(img image.Image) ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	return b.Bytes(), nil
}

// chart is a plot whose first error is that of its picture.
type chart struct {
	*plot.Plot
	err error
}

// newPlot is an empty plot in the page's style.
func newPlot(y string, top float64) *chart {
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
	return &chart{Plot: p}
}

// render draws a plot into a picture of the given name.
func (p *chart) render(name string, width, height vg.Length) (*Picture, error) {
	if p.err != nil {
		return nil, fmt.Errorf("plot: %w", p.err)
	}
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	p.Draw(draw.New(c))
	content, err := encode(c.Image())
	return &Picture{name, content}, err
}

// failed notes an error.
func (p *chart) failed(err error) bool {
	p.err = cmp.Or(p.err, err)
	return err != nil
}

func (p *chart) line(points plotter.XYs, c color.Color, width float64, dashes ...vg.Length) {
	if l, err := plotter.NewLine(points); !p.failed(err) {
		l.Color, l.Width, l.Dashes = c, vg.Points(width), dashes
		p.Add(l)
	}
}

func (p *chart) dots(points plotter.XYs, c color.Color) {
	if s, err := plotter.NewScatter(points); !p.failed(err) {
		s.Color, s.Shape, s.Radius = c, draw.CircleGlyph{}, vg.Points(1.3)
		p.Add(s)
	}
}

// bar is a filled rectangle on the X axis.
func (p *chart) bar(from, to, height float64, c color.Color) {
	if height == 0 {
		return
	}
	if shape, err := plotter.NewPolygon(plotter.XYs{{X: from}, {X: from, Y: height}, {X: to, Y: height}, {X: to}}); !p.failed(err) {
		shape.Color, shape.LineStyle.Width = c, 0
		p.Add(shape)
	}
}
