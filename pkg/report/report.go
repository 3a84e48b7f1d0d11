// Package report makes pages of what `iotsense analyze`, `evaluate` and `explain`
// found: the paper's tables and figures for the reader's own data, the paper's
// numbers beside them. In goes an [analyze.Result], a [score.Result] or a [v1.Explanation], out come
// one HTML file that needs nothing else (pictures are inside it, it loads nothing
// and runs no script) and the same pictures as files. It computes no figure that
// the result does not have, and the same result gives the same bytes.
package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/iotsense/iotsense/internal/palette"
	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/analyze"
)

// Report is one page and its pictures.
type Report struct {
	HTML     []byte
	Pictures []Picture // those of the page, but for small ones inside tables
}

// Picture is an image file.
type Picture struct {
	Name    string // file name; the ending tells PNG from SVG
	Content []byte
}

// URL holds the picture itself.
func (p Picture) URL() template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(p.Content))
}

// Write makes dir, with the page under the given name and the pictures beside it.
func (r *Report) Write(dir, name string) error {
	for _, p := range r.Pictures {
		if err := WriteFile(dir, p.Name, p.Content); err != nil {
			return err
		}
	}
	return WriteFile(dir, name, r.HTML)
}

// WritePage writes the page alone.
func (r *Report) WritePage(path string) error { return writeFile(path, r.HTML) }

// WriteFile writes a file of a report into dir, which it makes. The file appears
// under its name only when it is whole.
func WriteFile(dir, name string, content []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return writeFile(filepath.Join(dir, name), content)
}

// WriteJSON writes v as indented JSON to dir/name.
func WriteJSON(dir, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	return WriteFile(dir, name, append(text, '\n'))
}

// MakeDir makes the directory of a report ("": none): a long run must not end in a
// report that cannot be written.
func MakeDir(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := wholefile.Check(filepath.Join(dir, "report.json")); err != nil {
		return fmt.Errorf("report %s: %w", dir, err)
	}
	return nil
}

func writeFile(path string, content []byte) error {
	err := wholefile.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return fmt.Errorf("report %s: %w", path, err)
	}
	return nil
}

//go:embed style.html
var styleSource string

// parse reads a page's template when that is first asked for: most commands make no page.
func parse(source string) func() *template.Template {
	return sync.OnceValue(func() *template.Template {
		t := template.Must(template.New("page").Funcs(template.FuncMap{
			"percent": analyze.Percent,
			"share":   func(v float64) string { return analyze.Percent(&v) },
			"bits":    func(v float64) string { return fmt.Sprintf("%.2f", v) },
			"number":  number,
			"whole":   whole,
			"cell":    cellStyle,
			"bar":     barStyle,
			"meter":   meterStyle,
			"n":       thousands,
			"span":    span,
			"colour":  func(c string) template.CSS { return template.CSS(c) },
		}).Parse(source))
		template.Must(t.New("style").Parse(styleSource))
		template.Must(t.New("palette").Parse(palette.CSS))
		return t
	})
}

// gallery collects a page's pictures and what went wrong in drawing them.
type gallery struct {
	pictures []Picture
	err      error
}

// take keeps a picture; nil: there was nothing to draw.
func (g *gallery) take(p *Picture, err error) *Picture {
	g.err = cmp.Or(g.err, err)
	if p != nil {
		g.pictures = append(g.pictures, *p)
	}
	return p
}

// execute makes the page of a view.
func execute(page func() *template.Template, view any, g gallery) (*Report, error) {
	if g.err != nil {
		return nil, g.err
	}
	var b bytes.Buffer
	if err := page().Execute(&b, view); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return &Report{b.Bytes(), g.pictures}, nil
}

// number writes a score, "-" for none.
func number(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *v)
}

// whole writes a figure without decimals, "-" for none.
func whole(v *float64) string {
	if v == nil {
		return "-"
	}
	return thousands(fmt.Sprintf("%.0f", *v))
}

// thousands writes a count with commas.
func thousands(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// barStyle fills a cell from the left, as far as a share of 0 to 1.
func barStyle(share float64) template.CSS {
	return template.CSS(fmt.Sprintf("background:linear-gradient(90deg,var(--soft-ground) %.1f%%,transparent %.1f%%)", 100*share, 100*share))
}

// meterStyle is barStyle of a share that may be none.
func meterStyle(share *float64) template.CSS {
	if share == nil {
		return ""
	}
	return barStyle(*share)
}

// maxFileName is how many characters of a label a file name has: four bytes each, and
// what stands before and after, are less than the 255 that file systems take.
const maxFileName = 50

// fileName is a label as part of a file name.
func fileName(label string) string {
	name := []rune(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' || r == '+' {
			return r
		}
		return '_'
	}, label))
	return string(name[:min(len(name), maxFileName)])
}

// fileNames are labels as parts of file names, no two the same, nor but for their case:
// a report may be copied to where that makes no difference.
func fileNames(labels []string) []string {
	names := make([]string, len(labels))
	taken := map[string]bool{}
	for i, l := range labels {
		names[i] = fileName(l)
		for taken[strings.ToLower(names[i])] {
			names[i] += "_"
		}
		taken[strings.ToLower(names[i])] = true
	}
	return names
}
