// Package page makes pages for people of what a sensor answers. What stands in them comes
// from a network, and may have been written by whoever wants to attack the reader: all of it
// goes through html/template, and the pages forbid every script and style but their own.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/iotsense/iotsense/internal/palette"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Policy is the Content-Security-Policy of every page: nothing from elsewhere, nothing
// inline, no frame around it.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Paths of the pages.
const (
	ListPath   = "/"
	LoginPath  = "/login"
	AssetsPath = "/assets/" // below it [Assets]

	devicesPath = "/devices/"
)

// DevicePath is the page of a device, by its name in a verdict; with "{device}" for the name
// it is the pattern of all such paths.
func DevicePath(device string) string { return devicesPath + device }

//go:embed page.html page.css page.js icon.svg
var files embed.FS

// Asset is a file that pages refer to.
type Asset struct {
	Kind  string // of its content
	Bytes []byte
	Tag   string // another for other bytes
}

// Assets are those files, by their names.
var Assets = map[string]Asset{
	"page.css": asset("page.css", "text/css; charset=utf-8"),
	"page.js":  asset("page.js", "text/javascript; charset=utf-8"),
	"icon.svg": asset("icon.svg", "image/svg+xml"),
}

func asset(name, kind string) Asset {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	if name == "page.css" {
		b = append([]byte(palette.CSS), b...)
	}
	sum := sha256.Sum256(b)
	return Asset{kind, b, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// templates are read when the first page is asked for, not in each command's start-up.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"time":  timeOf,
		"count": count,
		"bytes": sizeText,
	}).ParseFS(files, "page.html"))
})

// render fills in a template.
func render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// Login is the page that asks for the token; wrong says that another one was given.
func Login(wrong bool) ([]byte, error) {
	return render("login", struct {
		Title string
		Wrong bool
	}{"iotsense: log in", wrong})
}

// Sorry is a page that says what went wrong.
func Sorry(what string) ([]byte, error) {
	first, size := utf8.DecodeRuneInString(what)
	return render("sorry", struct{ Title, What string }{"iotsense: " + what, string(unicode.ToUpper(first)) + what[size:]})
}

// moment is a time as pages show it.
type moment struct{ Machine, People string }

func timeOf(t v1.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{t.UTC().Format(time.RFC3339), t.UTC().Format("2006-01-02 15:04:05 UTC")}
}

// count is a number with a comma before each three digits.
func count(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// sizeText is a number of bytes with its unit.
func sizeText(n uint64) string {
	v, unit := float64(n), "B"
	for _, larger := range []string{"kB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, larger
	}
	if unit == "B" || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// percent is a share, never 0 or 100 of what is not.
func percent(p float64) string {
	switch {
	case p > 0.99 && p < 1:
		return ">\u00a099\u00a0%"
	case p > 0 && p < 0.01:
		return "<\u00a01\u00a0%"
	}
	return fmt.Sprintf("%.0f\u00a0%%", 100*p)
}

// link is the address of a device's page.
func link(device string) string { return DevicePath(url.PathEscape(device)) }

// shorten cuts a text that is longer than so many characters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return strings.TrimSpace(string(r[:most-1])) + "…"
	}
	return s
}
