package page

// This file draws an explanation as the paper's Fig 18 does, without the values: a row for each
// flow, of which each value has the colour of its share.

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	shades     = 6   // of a colour
	maxBins    = 150 // that a flow's payload is drawn in: each has the greatest share of its values
	flowValues = 10  // of metadata, before those of packets: their times, sizes, directions
	shownBytes = 120 // of a flow's payload
)

// heat is the picture.
type heat struct {
	Rows    []heatRow
	Packets int // values of a group
	Places  int // of payload that are drawn
	Bytes   bool
}

// heatRow is a flow.
type heatRow struct {
	Flow    string
	Groups  [][]shade // flow, times, sizes, directions
	Payload []shade
	Bytes   []piece // the first of its payload; none where they are not to be shown
}

// shade are all cells of one colour.
type shade struct {
	Side    string // for or against
	Opacity string
	Path    string
}

// piece are bytes of one colour.
type piece struct{ Class, Text string }

// heatOf draws an explanation; nil: it has no value. bytes has payload shown.
func heatOf(x *v1.Explanation, bytes bool) *heat {
	first, greatest := -1, 0.0
	for i := range x.Fields {
		f := &x.Fields[i]
		greatest = max(greatest, math.Abs(f.Phi))
		if n, ok := strings.CutPrefix(f.Name, "payload_"); ok && first < 0 {
			if at, err := strconv.Atoi(n); err == nil {
				first = f.Column - at + 1
			}
		}
	}
	if len(x.Phi) == 0 || first < flowValues || greatest == 0 {
		return nil
	}
	h := &heat{Packets: (first - flowValues) / 3, Bytes: bytes, Places: 1, Rows: make([]heatRow, len(x.Phi))}
	names := make([]map[string]float64, len(x.Phi))
	text := make([][]byteShare, len(x.Phi))
	for i := range x.Fields {
		f := &x.Fields[i]
		switch {
		case f.Row >= len(x.Phi):
		case f.Column >= first:
			if f.Part != v1.Padding || level(f.Phi, greatest) != 0 {
				h.Places = max(h.Places, f.Column-first+1)
			}
			if bytes && f.Part == v1.Byte {
				text[f.Row] = append(text[f.Row], byteShare{f.Column, byte(f.Raw), level(f.Phi, greatest)})
			}
		case f.Column < flowValues && f.Part != v1.Padding:
			if names[f.Row] == nil {
				names[f.Row] = map[string]float64{}
			}
			names[f.Row][f.Name] = f.Raw
		}
	}
	for row, phi := range x.Phi {
		r := &h.Rows[row]
		r.Flow = fmt.Sprintf("%d %s", row+1, flowName(names[row]))
		r.Groups = append(r.Groups, shadesOf(phi[:flowValues], greatest))
		for at := flowValues; at < first; at += h.Packets {
			r.Groups = append(r.Groups, shadesOf(phi[at:at+h.Packets], greatest))
		}
		r.Payload = shadesOf(bins(phi[first:min(len(phi), first+h.Places)]), greatest)
		r.Bytes = pieces(text[row])
	}
	return h
}

// Bins are how many cells the payload has.
func (h *heat) Bins() int { return len(bins(make([]float64, h.Places))) }

// flowName is what a flow is, in a word.
func flowName(values map[string]float64) string {
	if values == nil {
		return "missing"
	}
	name := v1.ProtocolName(uint8(values["protocol"]))
	if port := values["remote_port"]; port >= 0 {
		name += "/" + strconv.Itoa(int(port))
	}
	return name
}

// level is the shade of a share, below 0 against, by its root, so that small ones are seen beside
// the greatest.
func level(phi, greatest float64) int {
	return int(math.Copysign(math.Round(shades*math.Sqrt(math.Abs(phi)/greatest)), phi))
}

// bins are the greatest shares of so many values each that they are not too many.
func bins(phi []float64) (list []float64) {
	wide := (len(phi) + maxBins - 1) / maxBins
	for part := range slices.Chunk(phi, max(1, wide)) {
		list = append(list, slices.MaxFunc(part, func(a, b float64) int { return int(math.Copysign(1, math.Abs(a)-math.Abs(b))) }))
	}
	return list
}

// shadesOf are the cells of a strip by their colour.
func shadesOf(phi []float64, greatest float64) (list []shade) {
	paths := map[int]string{}
	for i, p := range phi {
		if l := level(p, greatest); l != 0 {
			paths[l] += fmt.Sprintf("M%d 0h1v1h-1z", i)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(paths)) {
		list = append(list, shade{side(l), strconv.FormatFloat(math.Abs(float64(l))/shades, 'f', 2, 64), paths[l]})
	}
	return list
}

func side(level int) string {
	if level < 0 {
		return "against"
	}
	return "for"
}

// byteShare is a byte of a payload.
type byteShare struct {
	column int
	value  byte
	level  int
}

// pieces are bytes as ASCII, in the order that they were sent.
func pieces(all []byteShare) (list []piece) {
	slices.SortFunc(all, func(a, b byteShare) int { return a.column - b.column })
	for _, b := range all[:min(len(all), shownBytes)] {
		class, text := "", "."
		if b.level != 0 {
			class = side(b.level)
		}
		if b.value >= ' ' && b.value <= '~' {
			text = string(rune(b.value))
		}
		if n := len(list); n > 0 && list[n-1].Class == class {
			list[n-1].Text += text
			continue
		}
		list = append(list, piece{class, text})
	}
	return list
}
