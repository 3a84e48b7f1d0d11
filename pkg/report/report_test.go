package report

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selfContained checks that a page needs no network, no other file and no script.
func selfContained(t *testing.T, html string) {
	t.Helper()
	for _, what := range []string{`<script`, `<link`, `<iframe`, `@import`, `<object`} {
		if strings.Contains(html, what) {
			t.Errorf("the page has %s", what)
		}
	}
	sources := regexp.MustCompile(`(?:src|href)="([^"]*)"|url\(([^)]*)\)`).FindAllStringSubmatch(html, -1)
	if len(sources) == 0 {
		t.Error("the page has no pictures")
	}
	for _, s := range sources {
		if !strings.HasPrefix(s[1], "data:image/png;base64,") {
			t.Errorf("the page loads %.80s", s[0])
		}
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	r := &Report{HTML: []byte("page"), Pictures: []Picture{{"a.png", []byte("picture")}}}
	if err := r.Write(dir, "r.html"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"r.html": "page", "a.png": "picture"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v; want 2", len(entries), err)
	}
	if err := r.WritePage(filepath.Join(dir, "missing", "r.html")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a directory that is not there: error %v", err)
	}
}

func TestFileName(t *testing.T) {
	for label, want := range map[string]string{
		"TP-LinkPlug+X": "TP-LinkPlug+X", "../a b": "___a_b", "Caméra 摄": "Caméra_摄", strings.Repeat("摄", 300): strings.Repeat("摄", 50),
	} {
		if got := fileName(label); got != want {
			t.Errorf("%q: %q, want %q", label, got, want)
		}
	}
}

func TestFileNamesDiffer(t *testing.T) {
	got := fileNames([]string{"Plug", "a b", "a/b", "a_b", "c", "plug"})
	if want := []string{"Plug", "a_b", "a_b_", "a_b__", "c", "plug_"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
