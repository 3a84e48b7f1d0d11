package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	longestFunc = 60 // lines
	mostFiles   = 12 // of a package, tests aside
)

// larger are packages that may have more files.
var larger = []string{
	"cmd/internal/box", "cmd/iotsense", // a file for each command
}

// Functions fit on a screen, and packages in a head. What is generated may be as it is.
func TestFunctionsAndPackagesAreSmall(t *testing.T) {
	for _, p := range packages(t) {
		files := sources(t, p.ImportPath)
		if large := len(files) > mostFiles; large != slices.Contains(larger, p.ImportPath) {
			t.Errorf("%s has %d files, %d are enough: give one of its jobs a package below it, or mend the list of exceptions", p.ImportPath, len(files), mostFiles)
		}
		for _, file := range files {
			for name, lines := range functions(t, file) {
				if lines > longestFunc {
					t.Errorf("%s: %s has %d lines, more than %d", file, name, lines, longestFunc)
				}
			}
		}
	}
}

// sources are the files of a package without tests and what is generated.
func sources(t *testing.T, pkg string) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(pkg), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && !strings.HasPrefix(string(text), "// Code generated") {
			files = append(files, f)
		}
	}
	return files
}

// functions are the lengths of those in a file, in lines from func to the last brace.
func functions(t *testing.T, file string) map[string]int {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	length := map[string]int{}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		length[fmt.Sprintf("%s of line %d", f.Name.Name, set.Position(f.Pos()).Line)] = 1 + set.Position(f.End()).Line - set.Position(f.Pos()).Line
	}
	return length
}
