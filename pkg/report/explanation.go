package report

// This file lays an explanation out as the paper's Figs 18 and 19 draw it: the raw values
// of all flows in cells of the colour of their shares, metadata apart, payload in chunks of
// 50 values of a row for each flow.

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

//go:embed explanation.html
var explanationSource string

var explanationPage = parse(explanationSource)

const (
	chunkValues = 50  // of a row of payload
	shadeLevels = 12  // of colour, on each side of white
	shownShares = 30  // in words
	visible     = .01 // of the greatest share: less is not looked for in padding
)

// grid is a table of values, a row for each flow.
type grid struct {
	Title   string
	Columns []string
	Rows    []gridRow
}

// gridRow is a flow's part of a grid.
type gridRow struct {
	Flow  string // what it is, by its number from 1
	Cells []gridCell
}

// gridCell is a value.
type gridCell struct {
	Hex, ASCII string // of a byte; of all other values the same
	Level      int    // of colour: above 0 purple, below orange
	Mark       string // class: x padding, d delimiter
	Title      string // what it is, of those that weigh
}

// Class is the cell's in the page.
func (c gridCell) Class() string {
	switch {
	case c.Level > 0:
		return strings.TrimSpace(c.Mark + " p" + strconv.Itoa(c.Level))
	case c.Level < 0:
		return strings.TrimSpace(c.Mark + " o" + strconv.Itoa(-c.Level))
	}
	return c.Mark
}

// explanationView is what the template sees.
type explanationView struct {
	*v1.Explanation
	Top      []v1.Share
	Greatest float64 // of all sizes of shares in words
	Metadata []grid
	Payload  []grid // chunks
	Rest     string // what is said of the places that are not drawn; empty: all are
	Trusted  float64
}

// Explanation makes the page of an explanation of a model for such records, and its
// pictures, with the payload in hex and as ASCII.
func Explanation(x *v1.Explanation, record model.RecordSpec) (*Report, error) {
	v := layOut(x, record)
	var g gallery
	for _, ascii := range []bool{false, true} {
		g.take(explanationPicture(v, ascii))
	}
	return execute(explanationPage, v, g)
}

// layOut makes grids of an explanation's values.
func layOut(x *v1.Explanation, record model.RecordSpec) *explanationView {
	v := &explanationView{Explanation: x, Top: x.Shares(true), Trusted: v1.TrustedPadding}
	v.Top = v.Top[:min(len(v.Top), shownShares)]
	if len(v.Top) > 0 {
		v.Greatest = math.Abs(v.Top[0].Phi)
	}
	greatest, words := 0.0, map[[2]int]string{}
	for i := range x.Fields {
		f := &x.Fields[i]
		greatest = max(greatest, math.Abs(f.Phi))
		if math.Abs(f.Phi) >= visible*greatest { // the first is the greatest
			words[[2]int{f.Row, f.Column}] = fmt.Sprintf("%s: %+.4f", f.Words(), f.Phi)
		}
	}
	rows := make([]gridRow, len(x.Phi))
	for row, raw := range x.Raw {
		cells := make([]gridCell, len(raw))
		for column, value := range raw {
			c := valueCell(record, raw, column, value)
			c.Level = shareLevel(x.Phi[row][column], greatest)
			c.Title = words[[2]int{row, column}]
			cells[column] = c
		}
		rows[row] = gridRow{fmt.Sprintf("%d %s", row+1, flowName(raw)), cells}
	}
	v.metadata(rows, record)
	v.payload(rows, record, visible*greatest)
	return v
}

// part is a row's part from one column on, up to another.
func (r gridRow) part(from, to int) gridRow { return gridRow{r.Flow, r.Cells[from:to]} }

// metadata are the grids of what is no payload.
func (v *explanationView) metadata(rows []gridRow, record model.RecordSpec) {
	add := func(title string, from int, columns ...string) {
		g := grid{Title: title, Columns: columns}
		for _, row := range rows {
			g.Rows = append(g.Rows, row.part(from, from+len(columns)))
		}
		v.Metadata = append(v.Metadata, g)
	}
	add("Flow", 0, "after, s", "remote", "", "", "", "protocol", "port", "to port", "bytes", "packets")
	packets := make([]string, record.Packets)
	for i := range packets {
		packets[i] = strconv.Itoa(i + 1)
	}
	for group, title := range []string{"Packets: seconds since the first", "Packets: sizes", "Packets: directions"} {
		add(title, 10+group*record.Packets, packets...)
	}
}

// payload are the chunks up to the last that holds a value, or a share in padding that is
// no less than least. Of more rows than the paper has, those with neither are left out of a chunk.
func (v *explanationView) payload(rows []gridRow, record model.RecordSpec, least float64) {
	first, width := record.MetaValues(), record.Width()
	drawn := first
	sum := 0.0
	for from := first; from < width; from += chunkValues {
		to := min(from+chunkValues, width)
		g := grid{Title: fmt.Sprintf("%d to %d", from-first+1, to-first)}
		for column := from; column < to; column += 10 {
			g.Columns = append(g.Columns, strconv.Itoa(column-first+1))
		}
		empty := true
		for i, row := range rows {
			holds := false
			for column := from; column < to; column++ {
				phi := v.Phi[i][column]
				sum += phi
				holds = holds || row.Cells[column].Mark != padding || math.Abs(phi) >= least && least > 0
			}
			empty = empty && !holds
			if holds || !v.Sparse() {
				g.Rows = append(g.Rows, row.part(from, to))
			}
		}
		v.Payload = append(v.Payload, g)
		if !empty {
			drawn, sum = to, 0
		}
	}
	v.Payload = v.Payload[:(drawn-first+chunkValues-1)/chunkValues]
	if drawn < width {
		v.Rest = fmt.Sprintf("Places %d to %d are padding of every flow, of which none has a hundredth of the greatest share; together %+.4f.", drawn-first+1, width-first, sum)
	}
}

// Marks of cells.
const (
	padding   = "x"
	delimiter = "d"
)

// valueCell is a value of a row, without its share.
func valueCell(record model.RecordSpec, raw []float64, column int, value float64) gridCell {
	text := func(s string) gridCell { return gridCell{Hex: s, ASCII: s} }
	switch group := (column - 10) / record.Packets; {
	case raw[0] < 0 || column >= record.MetaValues() && value == flows.PayloadPadding:
		return gridCell{Mark: padding}
	case column >= record.MetaValues() && value == flows.PayloadStart:
		return gridCell{"[", "[", 0, delimiter, ""}
	case column >= record.MetaValues() && value == flows.PayloadEnd:
		return gridCell{"]", "]", 0, delimiter, ""}
	case column >= record.MetaValues():
		c := gridCell{Hex: fmt.Sprintf("%02x", int(value)), ASCII: "."}
		if value >= ' ' && value <= '~' {
			c.ASCII = string(rune(value))
		}
		return c
	case value < 0:
		return gridCell{Mark: padding}
	case column == 0 || column >= 10 && group == 0:
		return text(fmt.Sprintf("%.4g", value/1e6))
	case column >= 10 && group == 2:
		return text(map[bool]string{true: "out", false: "in"}[value == 1])
	case column == 5:
		return text(protocolText(value))
	}
	return text(strconv.FormatFloat(value, 'f', -1, 64))
}

// flowName is what a row is, in a word.
func flowName(raw []float64) string {
	switch {
	case raw[0] < 0:
		return "missing"
	case raw[7] < 0:
		return protocolText(raw[5])
	}
	return fmt.Sprintf("%s/%.0f", protocolText(raw[5]), raw[7])
}

func protocolText(v float64) string {
	if name, ok := map[float64]string{1: "icmp", 6: "tcp", 17: "udp"}[v]; ok {
		return name
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// shareLevel is the level of colour of a share, by its root, so that small ones are seen
// beside the greatest.
func shareLevel(phi, greatest float64) int {
	if greatest == 0 {
		return 0
	}
	return int(math.Copysign(math.Round(shadeLevels*math.Sqrt(math.Abs(phi)/greatest)), phi))
}

// Scale are the levels for a legend, the least first.
func (explanationView) Scale() (levels []gridCell) {
	for l := -shadeLevels; l <= shadeLevels; l += 2 {
		levels = append(levels, gridCell{Level: l})
	}
	return levels
}

// Bar is the share of the greatest, for a line's bar.
func (v explanationView) Bar(s v1.Share) int {
	if v.Greatest == 0 {
		return 0
	}
	return int(math.Round(100 * math.Abs(s.Phi) / v.Greatest))
}

// Signed writes a share.
func (v explanationView) Signed(phi float64) string {
	if v.Output == explain.Probability.String() {
		return fmt.Sprintf("%+.4f", phi)
	}
	return fmt.Sprintf("%+.3f", phi)
}

// FactsBy are the facts' own output and what it is compared with, if there are any.
func (v explanationView) FactsBy() []float64 {
	if v.FactsValue == nil {
		return nil
	}
	return []float64{*v.FactsValue, *v.FactsBaseValue}
}

// Sparse reports whether chunks leave rows out.
func (v explanationView) Sparse() bool { return len(v.Phi) > cnn.DefaultRows }

// Style is the rule of a level's class.
func (explanationView) Style(level gridCell) template.CSS {
	back, text := levelColour(level.Level)
	return template.CSS(fmt.Sprintf(".%s{background-color:%s;color:%s}", level.Class(), hex(back), hex(text)))
}

// Levels are all of them that have a colour.
func (explanationView) Levels() (levels []gridCell) {
	for l := 1; l <= shadeLevels; l++ {
		levels = append(levels, gridCell{Level: l}, gridCell{Level: -l})
	}
	return levels
}
