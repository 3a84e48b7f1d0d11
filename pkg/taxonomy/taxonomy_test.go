package taxonomy_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/taxonomy"
)

func TestRead(t *testing.T) {
	const header = "label,path\n"
	for _, tt := range []struct {
		name, text string
		want       taxonomy.Taxonomy
		err        string // part of it; "": none
	}{
		{"labels at different depths", header + "HS110,TP-Link/plug/HS110\nAria,Aria\n", taxonomy.Taxonomy{"HS110": "TP-Link/plug/HS110", "Aria": "Aria"}, ""},
		{"columns by name", "\ufeff note, path , label\n,a/b,b\n,,\n\nx,\"c,d/e\",e\n", taxonomy.Taxonomy{"b": "a/b", "e": "c,d/e"}, ""},
		{"a label with a slash", header + "b/c,a/b/c\n", taxonomy.Taxonomy{"b/c": "a/b/c"}, ""},
		{"no header", "HS110,TP-Link/plug/HS110\n", nil, "label and path"},
		{"nothing", "", nil, "label and path"},
		{"a header alone", header, nil, "no label"},
		{"twice", header + "a,x/a\nb,x/b\na,x/a\n", nil, `line 4: label "a" has a line already`},
		{"another's path", header + "a,x/b\n", nil, `does not end in it`},
		{"a path that ends in the letters alone", header + "plug,x/waterplug\n", nil, `does not end in it`},
		{"an empty part", header + "a,x//a\n", nil, `the part ""`},
		{"an empty first part", header + "a,/a\n", nil, `the part ""`},
		{"a space beside a slash", header + "a,x /y/a\n", nil, `the part "x "`},
		{"no path", header + "a,\n", nil, "does not end in it"},
		{"no label", header + ",x/a\n", nil, "a label is empty"},
		{"a value too many", header + "a,x/a,\n", nil, "line 2: 3 values"},
		{"no UTF-8", header + "a\xff,x/a\xff\n", nil, "not UTF-8"},
		{"a character that steers", header + "a\u202e,x/a\u202e\n", nil, "U+202E"},
		{"too deep", header + "a,1/2/3/4/5/6/7/8/a\n", nil, "9 levels"},
		{"a class that is a level of another", header + "plug,TP-Link/plug\nHS110,TP-Link/plug/HS110\n", nil, `is a level above "HS110"`},
		{"too long", header + strings.Repeat("#", 5<<20), nil, "is it the right file?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := taxonomy.Read(strings.NewReader(tt.text))
			if tt.err == "" && (err != nil || !maps.Equal(got, tt.want)) {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	tax := taxonomy.Taxonomy{"HS110": "TP-Link/plug/HS110", "Aria": "Aria", "b/c": "a/b/c"}
	for label, want := range map[string][]string{
		"HS110": {"TP-Link", "plug", "HS110"}, "Aria": {"Aria"}, "b/c": {"a", "b/c"}, "no/where": {"no/where"},
	} {
		if got := tax.Levels(label); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", label, got, want)
		}
	}
}

func TestBelow(t *testing.T) {
	tax := taxonomy.Taxonomy{"HS110": "TP-Link/plug/HS110"}
	for path, want := range map[string]bool{"TP-Link": true, "TP-Link/plug": true, "TP-Link/plug/HS110": true, "TP": false, "TP-Link/camera": false, "HS110": false} {
		if got := tax.Below("HS110", path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if !tax.Below("Aria", "Aria") || tax.Below("Aria", "Fitbit") {
		t.Error("a label without a path")
	}
}

// Whatever the bytes, what is read is valid, and each label ends its levels.
func FuzzRead(f *testing.F) {
	f.Add([]byte("label,path\nHS110,TP-Link/plug/HS110\nAria,Aria\n"))
	f.Add([]byte("\ufeffpath,note,label\n\"a/\"\"b/c\",,c\n,,\n"))
	f.Add([]byte("label,path\na,//a\nb\xff,x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tax, err := taxonomy.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		if err := tax.Validate(); err != nil {
			t.Fatal(err)
		}
		for label, path := range tax {
			levels := tax.Levels(label)
			if strings.Join(levels, "/") != path || levels[len(levels)-1] != label || len(levels) > taxonomy.MaxLevels {
				t.Fatalf("%q: %q are no levels of %q", label, levels, path)
			}
		}
	})
}
