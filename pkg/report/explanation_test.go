package report

import (
	"bytes"
	"image/png"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// smallRecord has two packets and 120 payload values.
var smallRecord = model.RecordSpec{RecordSpec: flows.RecordSpec{Packets: 2, Prefix: 100, Payload: 120}}

// explained is an explanation of so many rows: the first is missing, the others hold "<b>"
// and a byte that is no letter.
func explained(rows int) *v1.Explanation {
	x := &v1.Explanation{Device: "02:00:00:00:00:01", Label: "A&B", Output: "logit", Value: 3, BaseValue: 1, JoinedProbability: .5}
	for i := range rows {
		raw := slices.Repeat([]float64{flows.Missing}, smallRecord.Width())
		if i > 0 {
			copy(raw, []float64{1.5e6, 1, 2, 3, 4, 6, 40000, 80, 900, 2, 0, -1, 576, -1, 1, -1})
		}
		for j := smallRecord.MetaValues(); j < len(raw); j++ {
			raw[j] = flows.PayloadPadding
		}
		if i > 0 {
			copy(raw[smallRecord.MetaValues():], []float64{flows.PayloadStart, '<', 'b', '>', 0x1b, flows.PayloadEnd})
		}
		x.Raw, x.Phi = append(x.Raw, raw), append(x.Phi, make([]float64, len(raw)))
	}
	add := func(row, column int, phi float64, f v1.ExplainedField) {
		x.Phi[row][column] = phi
		f.Row, f.Column, f.Phi, f.Raw = row, column, phi, x.Raw[row][column]
		x.Fields = append(x.Fields, f)
	}
	add(1, 7, 2, v1.ExplainedField{Name: "remote_port", Part: v1.Metadata})
	add(0, smallRecord.MetaValues()+60, -1, v1.ExplainedField{Name: "payload_61", Part: v1.Padding})
	return x
}

// The page is laid out as the paper's figures, holds what the records hold and nothing
// else, and loads nothing.
func TestExplanationPage(t *testing.T) {
	x := explained(5)
	r, err := Explanation(x, smallRecord)
	if err != nil {
		t.Fatal(err)
	}
	page := string(r.HTML)
	for _, want := range []string{
		`http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`, "<title>iotsense: Why A&amp;B</title>",
		"remote port 80, 2nd flow", "<th>1 missing", "<th>2 tcp/80", "1 to 50", "51 to 100",
		`<i>3c</i><b>&lt;</b>`, `<i>1b</i><b>.</b>`, `class="d">[`, `class="d">]`, `class="x o8" title="padding behind the payload, place 61, 1st flow: -1.0000">`,
		`class="p12" title="remote port 80, 2nd flow: &#43;2.0000">80`, "Places 101 to 120 are padding of every flow",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if found := regexp.MustCompile(`<script|src=|href=|url\(|@import|<b>\n`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	if chunk := strings.Count(page[strings.Index(page, "51 to 100"):], "<tr>"); chunk != 5 {
		t.Errorf("%d rows in a chunk, want 5", chunk)
	}
	again, err := Explanation(x, smallRecord)
	if err != nil || !bytes.Equal(again.HTML, r.HTML) || !bytes.Equal(again.Pictures[0].Content, r.Pictures[0].Content) {
		t.Errorf("the same explanation gives another page: %v", err)
	}
}

// Of many flows a chunk has those that hold something there, or rest on padding.
func TestExplanationOfManyFlows(t *testing.T) {
	v := layOut(explained(8), smallRecord)
	var rows [][]string
	for _, chunk := range v.Payload {
		var names []string
		for _, row := range chunk.Rows {
			names = append(names, row.Flow)
		}
		rows = append(rows, names)
	}
	if len(rows) != 2 || len(rows[0]) != 7 || !slices.Equal(rows[1], []string{"1 missing"}) {
		t.Errorf("rows %q", rows)
	}
}

// The pictures have the same cells, in hex and as ASCII.
func TestExplanationPictures(t *testing.T) {
	r, err := Explanation(explained(5), smallRecord)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Pictures) != 2 || r.Pictures[0].Name != "explain-hex.png" || r.Pictures[1].Name != "explain-ascii.png" ||
		bytes.Equal(r.Pictures[0].Content, r.Pictures[1].Content) {
		t.Fatalf("%d pictures", len(r.Pictures))
	}
	full, _ := levelColour(shadeLevels)
	half, _ := levelColour(-8)
	for _, p := range r.Pictures {
		img, err := png.Decode(bytes.NewReader(p.Content))
		if err != nil {
			t.Fatal(err)
		}
		purple, orange := 0, 0
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				switch img.At(x, y) {
				case full:
					purple++
				case half:
					orange++
				}
			}
		}
		scale := cellHeight * cellHeight // one of the legend
		if purple < scale+valueWidth*cellHeight/2 || orange < scale+byteWidth*cellHeight/2 {
			t.Errorf("%s: %d and %d pixels of the shares' colours", p.Name, purple, orange)
		}
	}
}

func TestShareLevel(t *testing.T) {
	for _, tt := range []struct {
		phi, greatest float64
		want          int
	}{{2, 2, 12}, {-2, 2, -12}, {.5, 2, 6}, {0, 2, 0}, {0, 0, 0}, {-.0001, 2, 0}} {
		if got := shareLevel(tt.phi, tt.greatest); got != tt.want {
			t.Errorf("%v of %v: level %d, want %d", tt.phi, tt.greatest, got, tt.want)
		}
	}
}
