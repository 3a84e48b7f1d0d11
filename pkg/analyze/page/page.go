// Package page makes one HTML page of what package analyze found: the paper's
// Table III and Figs 2 to 5 for the reader's own data, the paper's numbers beside
// them, and the leaks. In goes an [analyze.Result], out comes a file that needs
// nothing else: pictures are inside it, it loads nothing and runs no script. The
// same result gives the same bytes.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/iotsense/iotsense/pkg/analyze"
)

//go:embed page.html
var source string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": analyze.Percent,
	"share":   func(v float64) string { return analyze.Percent(&v) },
	"bits":    func(v float64) string { return fmt.Sprintf("%.2f", v) },
	"cell":    cellStyle,
	"n":       thousands,
}).Parse(source))

// view is what the template sees.
type view struct {
	*analyze.Result
	Fields  []string
	Kinds   []kind
	Classes []classView
}

type kind struct {
	Key, Meaning string
	analyze.Found
}

type classView struct {
	*analyze.Class
	Strips  []template.URL // Fig. 3, a strip for each packet
	Payload template.URL   // Fig. 3, empty: no payload
	Entropy template.URL   // Fig. 4a, empty: no such packet
	Values  template.URL   // Fig. 4b
	Graph   template.HTML  // Fig. 5
	Open    bool
}

// openClasses are shown unfolded: as many as the paper shows, the most active.
const openClasses = 3

// Write writes the page. The error is of a picture that could not be drawn, or w's.
func Write(w io.Writer, res *analyze.Result) error {
	v := view{Result: res, Fields: fieldTitles[:]}
	for i := range res.Classes {
		c, err := viewClass(&res.Classes[i])
		if err != nil {
			return fmt.Errorf("class %s: %w", res.Classes[i].Label, err)
		}
		c.Open = rank(res.Classes, i) < openClasses
		v.Classes = append(v.Classes, c)
	}
	if res.Leaks != nil {
		for _, k := range analyze.IdentifierKinds {
			v.Kinds = append(v.Kinds, kind{k.Key, k.Meaning, res.Leaks.All[k.Key]})
		}
	}
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
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

func viewClass(c *analyze.Class) (classView, error) {
	v := classView{Class: c, Graph: graph(&c.Services)}
	for i := range c.Payload {
		strip, err := entropyStrip(c.Payload[i].Entropy)
		if err != nil {
			return v, err
		}
		v.Strips = append(v.Strips, strip)
	}
	var err error
	if v.Payload, err = payloadPlot(c.Payload); err != nil {
		return v, err
	}
	fifth := c.Payload[fifthPacket]
	if len(fifth.Entropy) == 0 {
		return v, nil
	}
	if v.Entropy, err = entropyPlot(fifth); err != nil {
		return v, err
	}
	v.Values, err = valuesPlot(fifth)
	return v, err
}

// fifthPacket is the packet that Fig. 4 looks at.
const fifthPacket = 4

// fieldTitles are short names of analyze.FieldNames.
var fieldTitles = [...]string{"dev port", "rem port", "remote", "O1", "O2", "O3", "O4", "packets", "bytes"}

// thousands writes a count with commas.
func thousands(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// cellStyle colours an entropy cell; the range that the paper takes for a
// fingerprint is hatched, as in Fig. 2.
func cellStyle(entropy float64) template.CSS {
	style := fmt.Sprintf("background-color:%s;", hex(shade(entropy, fieldScale)))
	if entropy >= analyze.FingerprintLow && entropy <= analyze.FingerprintHigh {
		style += "background-image:repeating-linear-gradient(45deg,transparent 0 5px,rgba(30,90,200,.35) 5px 6px);"
	}
	return template.CSS(style)
}
