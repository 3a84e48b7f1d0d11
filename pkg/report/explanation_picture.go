package report

// This file draws an explanation's grids into a picture.

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Sizes in pixels.
const (
	cellHeight  = 16
	byteWidth   = 18
	valueWidth  = 62 // of metadata
	labelWidth  = 100
	edge        = 12
	lineHeight  = 18
	letterWidth = 7
	baseline    = 12
)

var (
	ink    = color.RGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}
	purple = color.RGBA{R: 0x5e, G: 0x1f, B: 0x8c, A: 0xff}
	orange = color.RGBA{R: 0xd9, G: 0x5f, B: 0x0e, A: 0xff}
	white  = color.RGBA{R: 0xff, G: 0xff, B: 0xff, A: 0xff}
	thick  = color.RGBA{A: 0xff}
	dot    = color.RGBA{R: 0xaa, G: 0xaa, B: 0xaa, A: 0xff}
)

// levelColour is that of a level, and of text on it.
func levelColour(level int) (back, text color.RGBA) {
	back, text = blend(white, purple, float64(level)/shadeLevels), ink
	if level < 0 {
		back = blend(white, orange, float64(-level)/shadeLevels)
	}
	if level > shadeLevels/2 || level < -shadeLevels*3/4 {
		text = white
	}
	return back, text
}

// canvas is a picture in the making.
type canvas struct {
	*image.RGBA
	ascii bool
}

// explanationPicture draws the grids, the payload in hex or as ASCII.
func explanationPicture(v *explanationView, ascii bool) (*Picture, error) {
	name := map[bool]string{false: "explain-hex.png", true: "explain-ascii.png"}[ascii]
	width := 2*edge + labelWidth + chunkValues*byteWidth
	height := 2*edge + 4*lineHeight
	for _, g := range v.Metadata {
		height += lineHeight + (len(g.Rows)+1)*cellHeight + edge
	}
	height += lineHeight
	for _, g := range v.Payload {
		height += (len(g.Rows)+1)*cellHeight + 2
	}
	c := canvas{image.NewRGBA(image.Rect(0, 0, width, height)), ascii}
	draw.Draw(c, c.Bounds(), image.NewUniform(white), image.Point{}, draw.Src)
	y := edge
	for _, line := range []string{
		fmt.Sprintf("%s: %s, window %d", v.Title(), v.Device, v.WindowIndex),
		fmt.Sprintf("%s of the network %.4f, of what it is compared with %.4f; off by %.0e; padding fraction %.3f", v.Output, v.Value, v.BaseValue, v.AdditivityError, v.PaddingFraction),
	} {
		c.text(edge, y, line, ink)
		y += lineHeight
	}
	y = c.legend(y) + lineHeight
	for _, g := range v.Metadata {
		c.text(edge, y, g.Title, ink)
		y = c.grid(y+lineHeight, g, valueWidth, 1) + edge
	}
	c.text(edge, y, "Payload, chunks of 50 values; [ and ] begin and end a packet's, dots are padding", ink)
	y += lineHeight
	for _, g := range v.Payload {
		c.fill(edge, y, width-2*edge, 2, thick)
		y = c.grid(y+2, g, byteWidth, 10)
	}
	content, err := encode(c)
	return &Picture{name, content}, err
}

// legend shows the scale of colours.
func (c canvas) legend(y int) int {
	x := edge
	c.text(x, y, "against", ink)
	x += 8 * letterWidth
	for _, l := range (explanationView{}).Scale() {
		back, _ := levelColour(l.Level)
		c.fill(x, y, cellHeight, cellHeight, back)
		x += cellHeight
	}
	c.text(x+letterWidth, y, "for (the root of the share)", ink)
	return y + lineHeight
}

// grid draws a table from y on, every so many columns with a heading, and returns where it
// ends.
func (c canvas) grid(y int, g grid, width, every int) int {
	left := edge + labelWidth
	for i, name := range g.Columns {
		c.text(left+i*every*width+2, y, name, ink)
	}
	y += cellHeight
	for _, row := range g.Rows {
		c.text(edge, y, fmt.Sprintf("%.13s", row.Flow), ink)
		for i, cell := range row.Cells {
			c.cell(left+i*width, y, width, cell)
		}
		c.fill(edge, y, labelWidth+len(row.Cells)*width, 1, gridColour)
		y += cellHeight
	}
	return y
}

func (c canvas) cell(x, y, width int, cell gridCell) {
	back, text := levelColour(cell.Level)
	c.fill(x, y, width-1, cellHeight, back)
	switch {
	case cell.Mark == padding:
		c.fill(x+width/2-1, y+cellHeight/2, 2, 2, dot)
	case c.ascii:
		c.text(x+2, y, cell.ASCII, text)
	default:
		c.text(x+2, y, cell.Hex, text)
	}
}

func (c canvas) fill(x, y, width, height int, colour color.RGBA) {
	draw.Draw(c, image.Rect(x, y, x+width, y+height), image.NewUniform(colour), image.Point{}, draw.Src)
}

func (c canvas) text(x, y int, s string, colour color.RGBA) {
	d := font.Drawer{Dst: c, Src: image.NewUniform(colour), Face: basicfont.Face7x13, Dot: fixed.P(x, y+baseline)}
	d.DrawString(s)
}
