package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// formats are packages and files whose tags are another program's file format.
var formats = []string{"pkg/model/interchange/", "pkg/model/safetensors.go", "pkg/notify/discovery.go", "pkg/mud/"}

func TestAPIDocumentNamesEveryKey(t *testing.T) {
	root := filepath.Join("..", "..")
	document, err := os.ReadFile(filepath.Join(root, "docs", "API.md"))
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, dir := range []string{"cmd", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name, err := filepath.Rel(root, path)
			for _, format := range formats {
				if err != nil || strings.HasPrefix(filepath.ToSlash(name), format) {
					return err
				}
			}
			for _, key := range wireKeys(t, path) {
				keys++
				if !strings.Contains(string(document), "`"+key+"`") && !strings.Contains(string(document), "."+key+"`") {
					t.Errorf("docs/API.md does not say what `%s` of %s is", key, name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if keys < 100 {
		t.Errorf("found %d keys in cmd and pkg: this test looks at the wrong place", keys)
	}
}

// wireKeys are the JSON keys in the struct tags of a source file.
func wireKeys(t *testing.T, path string) (keys []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok || field.Tag == nil {
			return true
		}
		tag, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			t.Fatalf("%s: tag %s: %v", path, field.Tag.Value, err)
		}
		key, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if key != "" && key != "-" {
			keys = append(keys, key)
		}
		return true
	})
	return keys
}
