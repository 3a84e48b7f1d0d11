// Package docs tests that these pages say what is so: which package may import which,
// and that the files and tests they name are there.
package docs

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/iotsense/iotsense/"

// goPackage is what `go list` says of one.
type goPackage struct {
	ImportPath string
	Imports    []string // without those of tests
}

// packages are those of this module.
func packages(t *testing.T) (list []goPackage) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		list = append(list, p)
	}
}

// table is the rows of a page's table whose header begins with that name, each cell's
// words in backquotes.
func table(t *testing.T, page, header string) (rows [][][]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "\n| "+header+" |")
	if !found {
		t.Fatalf("%s has no table %q", page, header)
	}
	for _, line := range strings.Split(after, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		var cells [][]string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			var words []string
			for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
				words = append(words, m[1])
			}
			cells = append(cells, words)
		}
		rows = append(rows, cells)
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]+)`")

// family is what a name with /... at its end stands for.
func family(name string) (parent string, ok bool) { return strings.CutSuffix(name, "/...") }

func matches(name, pkg string) bool {
	parent, ok := family(name)
	return name == pkg || ok && (pkg == parent || strings.HasPrefix(pkg, parent+"/"))
}

// place is where a package stands: the row, and the name there, the longest that fits.
func place(rows [][][]string, pkg string) (row int, name string) {
	for i, cells := range rows {
		for _, n := range cells[1] {
			if matches(n, pkg) && (len(n) > len(name) || n == pkg) && name != pkg {
				row, name = i+1, n
			}
		}
	}
	return row, name
}

func TestImportsGoOneWay(t *testing.T) {
	rows := table(t, "ARCHITECTURE.md", "row")
	doors := table(t, "ARCHITECTURE.md", "module")
	used := map[string]bool{}
	for _, p := range packages(t) {
		row, name := place(rows, p.ImportPath)
		if row == 0 {
			t.Errorf("%s has no place in the table of ARCHITECTURE.md", p.ImportPath)
			continue
		}
		used[name] = true
		for _, i := range p.Imports {
			if i, ours := strings.CutPrefix(i, module); ours {
				at, other := place(rows, i)
				_, related := family(name)
				if at >= row && (!related || other != name) {
					t.Errorf("%s of row %d imports %s of row %d", p.ImportPath, row, i, at)
				}
				continue
			}
			for _, door := range doors {
				behind := func(n string) bool { return matches(n, p.ImportPath) }
				if matches(door[0][0]+"/...", i) && !slices.ContainsFunc(door[1], behind) {
					t.Errorf("%s imports %s: only %s may", p.ImportPath, i, strings.Join(door[1], ", "))
				}
			}
		}
	}
	for _, cells := range rows {
		for _, name := range cells[1] {
			if !used[name] {
				t.Errorf("ARCHITECTURE.md gives %s a place: there is no such package", name)
			}
		}
	}
}

// What an import would have to break is found.
func TestPlace(t *testing.T) {
	rows := [][][]string{{nil, {"pkg/a", "pkg/a/b/x"}}, {nil, {"pkg/a/...", "pkg/a/b/..."}}}
	for _, tt := range []struct {
		pkg  string
		row  int
		name string
	}{
		{"pkg/a", 1, "pkg/a"}, {"pkg/a/c", 2, "pkg/a/..."}, {"pkg/a/b", 2, "pkg/a/b/..."}, {"pkg/a/b/x", 1, "pkg/a/b/x"},
		{"pkg/ab", 0, ""}, {"pkg", 0, ""},
	} {
		if row, name := place(rows, tt.pkg); row != tt.row || name != tt.name {
			t.Errorf("%s stands in row %d as %q, want %d as %q", tt.pkg, row, name, tt.row, tt.name)
		}
	}
}

var (
	ofRepository = regexp.MustCompile(`^(bpf|cmd|dist|docs|gen|internal|pkg|scripts)/[\w./-]*$`)
	ofTest       = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
	ofPackage    = regexp.MustCompile(`^([a-z]\w*)\.([A-Z]\w*)$`)
)

// Files, packages, types and tests that a page for contributors names exist.
func TestPagesNameWhatIsThere(t *testing.T) {
	tests, exported := declarations(t)
	for _, page := range []string{"ARCHITECTURE.md", "EXTENDING.md", "GLOSSARY.md", "TRUST.md", "SYSTEMD.md", "../SECURITY.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			name := strings.TrimSuffix(m[1], "/...")
			switch {
			case ofRepository.MatchString(name):
				if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(name))); err != nil {
					t.Errorf("%s names %s: %v", page, name, err)
				}
			case ofTest.MatchString(name):
				if !tests[name] {
					t.Errorf("%s names %s: there is no such test", page, name)
				}
			case ofPackage.MatchString(name):
				pkg, _, _ := strings.Cut(name, ".")
				if exported[pkg] && !exported[name] {
					t.Errorf("%s names %s: package %s has no such thing", page, name, pkg)
				}
			default:
				continue
			}
			found++
		}
		if found == 0 {
			t.Errorf("%s names nothing that this test knows", page)
		}
	}
}

// Packages and sources that scripts name exist; a glob's directory does.
func TestScriptsNameWhatIsThere(t *testing.T) {
	scripts, err := filepath.Glob("../scripts/*")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)(?:^|[\s"'=(]|\./)((?:bpf|cmd|internal|pkg)/[\w./-]*)`)
	found := 0
	for _, script := range append(scripts, "../Makefile", "../Dockerfile", "../.ci/run") {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(text, -1) {
			name := strings.TrimRight(string(m[1]), ".")
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(name))); err != nil {
				t.Errorf("%s names %s: %v", script, name, err)
			}
			found++
		}
	}
	if found < 10 {
		t.Errorf("found %d names: this test looks at the wrong place", found)
	}
}

// declarations are the names of all tests of the repository, and of what its packages
// export at the top, with the packages themselves: flows, flows.Record.
func declarations(t *testing.T) (tests, exported map[string]bool) {
	t.Helper()
	tests, exported = map[string]bool{}, map[string]bool{}
	declared := regexp.MustCompile(`(?m)^(?:func|type|var|const) ([A-Z]\w*)`)
	for _, p := range packages(t) {
		files, err := filepath.Glob(path.Join("..", p.ImportPath, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		pkg := path.Base(p.ImportPath)
		exported[pkg] = true
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllSubmatch(text, -1) {
				if strings.HasSuffix(f, "_test.go") {
					tests[string(m[1])] = true
				} else {
					exported[pkg+"."+string(m[1])] = true
				}
			}
		}
	}
	return tests, exported
}
