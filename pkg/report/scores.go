package report

// This file draws a model's score: confusion matrices, confidence, local flows,
// verdicts by seconds.

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/iotsense/iotsense/pkg/model/score"
)

var (
	rightColour = color.RGBA{R: 0x2e, G: 0x9e, B: 0x5b, A: 0xff}
	wrongColour = color.RGBA{R: 0xd0, G: 0x3b, B: 0x3b, A: 0xff}
	plainColour = color.RGBA{R: 0xb4, G: 0xbc, B: 0xc8, A: 0xff}
)

// Sizes of a confusion matrix.
const (
	cellSize   = 0.27 * vg.Inch
	smallCell  = 0.09 * vg.Inch // of a matrix with more classes than cells can carry numbers
	mostCells  = 64
	labelSpace = 1.9 * vg.Inch // beside the cells: of names as long as most
	axisSpace  = 0.5 * vg.Inch // of that what is no name
	longest    = 48            // characters of a name
)

// matrix is a confusion matrix as a plotter: row 0 on top, each row's shares.
type matrix struct {
	rows, columns []int // classes shown
	counts        [][]int
	size          vg.Length // of a cell
}

// confusionPlot draws a confusion matrix, rows true, in per cent of each row. It
// shows classes that are true or were given; nil when there are none.
func confusionPlot(file string, labels []string, counts [][]int) (*Picture, error) {
	m := matrix{counts: counts, size: cellSize}
	for i := range labels {
		row, column := 0, 0
		for j := range labels {
			row += counts[i][j]
			column += counts[j][i]
		}
		if row > 0 {
			m.rows = append(m.rows, i)
		}
		if row+column > 0 {
			m.columns = append(m.columns, i)
		}
	}
	if len(m.rows) == 0 {
		return nil, nil
	}
	if len(m.columns) > mostCells {
		m.size = smallCell
	}
	p := newPlot("true class", float64(len(m.rows)))
	p.X.Label.Text = "given class"
	p.X.Min, p.X.Max = 0, float64(len(m.columns))
	p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/2, text.XRight, text.YCenter
	p.X.Tick.Length, p.Y.Tick.Length = 0, 0
	if m.size == smallCell {
		p.X.Tick.Label.Font.Size, p.Y.Tick.Label.Font.Size = 5, 5
	}
	var x, y []plot.Tick
	space := labelSpace
	for i, class := range m.columns { // the rows are among them
		name := shortened(labels[class])
		space = max(space, axisSpace+p.Y.Tick.Label.Width(name))
		x = append(x, plot.Tick{Value: float64(i) + 0.5, Label: name + "    "}) // rotated, a label ends above the axis without these
	}
	for i, class := range m.rows {
		y = append(y, plot.Tick{Value: float64(len(m.rows)-i) - 0.5, Label: shortened(labels[class])})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(x), plot.ConstantTicks(y)
	p.Add(m)
	return p.render(file, space+vg.Length(len(m.columns))*m.size, space+vg.Length(len(m.rows))*m.size)
}

// shortened is a name without its middle where it is too long for a picture: names
// of one series end in what tells them apart.
func shortened(name string) string {
	r := []rune(name)
	if len(r) <= longest {
		return name
	}
	return string(r[:longest/2]) + "…" + string(r[len(r)-longest/2+1:])
}

// Plot implements plot.Plotter.
func (m matrix) Plot(c draw.Canvas, p *plot.Plot) {
	trX, trY := p.Transforms(&c)
	style := p.X.Tick.Label
	style.Rotation, style.XAlign, style.YAlign = 0, text.XCenter, text.YCenter
	for i, row := range m.rows {
		total := 0
		for _, n := range m.counts[row] {
			total += n
		}
		top := float64(len(m.rows) - i)
		for j, column := range m.columns {
			n := m.counts[row][column]
			share := float64(n) / float64(total)
			x0, x1, y0, y1 := trX(float64(j)), trX(float64(j+1)), trY(top-1), trY(top)
			corners := []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}}
			c.FillPolygon(blue(share), corners)
			c.StrokeLines(draw.LineStyle{Color: gridColour, Width: 0.3}, append(corners, corners[0]))
			if n == 0 || m.size < cellSize {
				continue
			}
			style.Color = color.Black
			if share > 0.55 {
				style.Color = color.White
			}
			c.FillText(style, vg.Point{X: (x0 + x1) / 2, Y: (y0 + y1) / 2}, percentText(share))
		}
	}
}

// percentText is a share in whole per cent; what is there is not rounded away.
func percentText(share float64) string {
	if share < 0.005 {
		return "<1"
	}
	return strconv.Itoa(int(math.Round(100 * share)))
}

// blue is a colour from white to dark blue for a share of 0 to 1.
func blue(share float64) color.RGBA {
	return blend(color.RGBA{R: 0xff, G: 0xff, B: 0xff, A: 0xff}, color.RGBA{R: 0x0b, G: 0x3d, B: 0x91, A: 0xff}, share)
}

// confidencePlot is Fig. 15: how right and wrong windows share out over
// confidence, each in per cent of its own. Nil when there is no window.
func confidencePlot(file string, bins []score.Bin, threshold float64) (*Picture, error) {
	right, wrong, most := 0, 0, 0.0
	for _, b := range bins {
		right += b.Correct
		wrong += b.Wrong
	}
	if right+wrong == 0 {
		return nil, nil
	}
	share := func(n, of int) float64 { return 100 * float64(n) / math.Max(1, float64(of)) }
	p := newPlot("% of right, of wrong windows", 1)
	p.X.Label.Text = "confidence"
	p.X.Min, p.X.Max = 0, 1
	for _, b := range bins {
		middle := (b.From + b.To) / 2
		most = max(most, share(b.Correct, right), share(b.Wrong, wrong))
		p.bar(b.From, middle, share(b.Correct, right), rightColour)
		p.bar(middle, b.To, share(b.Wrong, wrong), wrongColour)
	}
	p.Y.Max = most
	p.Y.Tick.Marker = perCent(most)
	p.line(plotter.XYs{{X: threshold, Y: 0}, {X: threshold, Y: most}}, color.Black, 0.7, vg.Points(3), vg.Points(2))
	return p.render(file, 6*vg.Inch, 2.6*vg.Inch)
}

// perCent are the marks of an axis of per cent.
func perCent(most float64) plot.ConstantTicks {
	step := 20
	if most <= 40 {
		step = 10
	}
	var ticks []plot.Tick
	for v := 0; float64(v) <= most; v += step {
		ticks = append(ticks, plot.Tick{Value: float64(v), Label: strconv.Itoa(v)})
	}
	return ticks
}

// localPlot is Fig. 16: low-confidence windows, and all windows beside them, by
// their number of local flows. Nil when there is no window.
func localPlot(file string, by []score.LocalFlows) (*Picture, error) {
	windows, low, most := 0, 0, 0.0
	for _, l := range by {
		windows += l.Windows
		low += l.Low
	}
	if windows == 0 {
		return nil, nil
	}
	p := newPlot("% of low, of all windows", 1)
	p.X.Label.Text = "local flows in a window"
	p.X.Min, p.X.Max = -0.5, float64(len(by))-0.5
	var ticks []plot.Tick
	for _, l := range by {
		at := float64(l.Local)
		ticks = append(ticks, plot.Tick{Value: at, Label: strconv.Itoa(l.Local)})
		ofLow, ofAll := 100*float64(l.Low)/math.Max(1, float64(low)), 100*float64(l.Windows)/float64(windows)
		most = max(most, ofLow, ofAll)
		p.bar(at-0.38, at, ofLow, lineColour)
		p.bar(at, at+0.38, ofAll, plainColour)
	}
	p.Y.Max = most
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(ticks), perCent(most)
	return p.render(file, 5*vg.Inch, 2.6*vg.Inch)
}

// secondsPlot shows verdicts by the seconds since devices' first packets: devices
// with a window, devices named rightly. Nil when there is no window.
func secondsPlot(file string, moments []score.Moment, devices int) (*Picture, error) {
	if len(moments) == 0 || devices == 0 {
		return nil, nil
	}
	p := newPlot("% of devices", 100)
	p.X.Label.Text = "seconds since the device's first packet"
	p.X.Scale = plot.LogScale{}
	first, last := float64(moments[0].Seconds), float64(moments[len(moments)-1].Seconds)
	p.X.Min, p.X.Max = first, max(last, 2*first)
	var seen, right plotter.XYs
	var ticks []plot.Tick
	for _, m := range moments {
		at := float64(m.Seconds)
		ticks = append(ticks, plot.Tick{Value: at, Label: strconv.Itoa(m.Seconds)})
		seen = append(seen, plotter.XY{X: at, Y: 100 * float64(m.Devices) / float64(devices)})
		if m.Accuracy != nil {
			right = append(right, plotter.XY{X: at, Y: 100 * *m.Accuracy})
		}
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(ticks), perCent(100)
	p.Add(plotter.NewGrid())
	p.line(seen, plainColour, 1.4)
	p.dots(seen, plainColour)
	p.line(right, rightColour, 1.4)
	p.dots(right, rightColour)
	return p.render(file, 6*vg.Inch, 2.6*vg.Inch)
}
