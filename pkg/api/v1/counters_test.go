package v1

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each counter of an identity is missed when it is off by one; those that are parts
// of another are not in any.
func TestPacketStatsCheck(t *testing.T) {
	whole := PacketStats{
		Seen: 31, Counted: 16, NotIP: 8, Malformed: 4, TableFull: 2, Duplicate: 1,
		Truncated: 5, Fragment: 6, Late: 7, InOpen: 3, InClosed: 13, WithDevice: 9, NoDevice: 4,
	}
	if err := whole.Check(); err != nil {
		t.Fatal(err)
	}
	free := map[string]bool{"Truncated": true, "Fragment": true, "Late": true}
	for i := range reflect.TypeFor[PacketStats]().NumField() {
		name := reflect.TypeFor[PacketStats]().Field(i).Name
		off := whole
		field := reflect.ValueOf(&off).Elem().Field(i)
		field.SetUint(field.Uint() + 1)
		err := off.Check()
		var wrong *AccountingError
		if errors.As(err, &wrong) == free[name] {
			t.Errorf("%s off by one: %v", name, err)
		}
	}
	whole.Seen = 77
	if err := whole.Check(); err == nil || !strings.Contains(err.Error(), "77, [16 8 4 2 1]") {
		t.Errorf("%v, want an error with the numbers", err)
	}
}

// everything is what the documents have to name: all that stats answers.
func everything() []Counter {
	list := Counters(Stats{})
	for _, c := range Counters(Interface{}) {
		c.Key = "interfaces." + c.Key
		list = append(list, c)
	}
	return list
}

// What is declared has a key and a meaning, and is made of what is there.
func TestDeclarations(t *testing.T) {
	keys := map[string]bool{}
	for _, c := range everything() {
		if keys[c.Key] {
			t.Errorf("%s: twice", c.Key)
		}
		keys[c.Key] = true
	}
	for _, c := range everything() {
		if c.Means == "" || strings.HasSuffix(c.Key, ".") || c.Key == "" || strings.ContainsAny(c.Means+c.Do, "|\n") {
			t.Errorf("%q means %q", c.Key, c.Means)
		}
		under := c.Key[:strings.LastIndex(c.Key, ".")+1]
		for _, part := range append(c.Sum, c.Of) {
			if part != "" && !keys[under+part] {
				t.Errorf("%s is made of %s, which there is not", c.Key, part)
			}
		}
	}
	for path, want := range map[string]string{"packets.seen": "every packet", "samples.ring_full": "lost", "dropped_verdicts": "nobody read"} {
		if i := slices.IndexFunc(everything(), func(c Counter) bool { return c.Key == path }); i < 0 || !strings.Contains(everything()[i].Means, want) {
			t.Errorf("%s is not declared as it was", path)
		}
	}
}

func TestPacketStatsAdd(t *testing.T) {
	sum := PacketStats{Seen: 1, NoDevice: 2}
	sum.Add(PacketStats{Seen: 10, Late: 3, NoDevice: 20})
	if want := (PacketStats{Seen: 11, Late: 3, NoDevice: 22}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
}

var update = flag.Bool("update", false, "write the tables of the documents")

// The tables between the marks in docs/ are what is declared: -update writes them.
func TestDocuments(t *testing.T) {
	for name, row := range map[string]func(c Counter) string{
		"API.md": func(c Counter) string { return fmt.Sprintf("| `%s` | %s |\n", c.Key, c.Meaning()) },
		"DROPS.md": func(c Counter) string {
			if _, counts := c.Value.(uint64); !counts {
				return ""
			}
			return fmt.Sprintf("| `%s` | %s | %s |\n", c.Key, c.Meaning(), c.Do)
		},
	} {
		path := filepath.Join("..", "..", "..", "docs", name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, begins := strings.Cut(string(text), "<!-- counters: written by go test ./pkg/api/v1 -update -->\n")
		head, rest, _ := strings.Cut(rest, "| --- |")
		dashes, rest, _ := strings.Cut(rest, "\n")
		_, after, ends := strings.Cut(rest, "<!-- end of counters -->")
		if !begins || !ends {
			t.Fatalf("%s has no marks of its table of counters", path)
		}
		var want strings.Builder
		want.WriteString(before + "<!-- counters: written by go test ./pkg/api/v1 -update -->\n" + head + "| --- |" + dashes + "\n")
		for _, c := range everything() {
			want.WriteString(row(c))
		}
		want.WriteString("<!-- end of counters -->" + after)
		if want.String() == string(text) {
			continue
		}
		if !*update {
			t.Errorf("%s does not say what is declared: go test ./pkg/api/v1 -update", path)
			continue
		}
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Who asks a sensor links nothing of the kernel, of files of records, of models.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../client").Output()
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"github.com/iotsense/iotsense/pkg/api/v1", "github.com/iotsense/iotsense/pkg/api/client"}
	found := 0
	for _, dep := range strings.Fields(string(out)) {
		switch host, _, _ := strings.Cut(strings.TrimPrefix(dep, "vendor/"), "/"); {
		case slices.Contains(own, dep):
			found++
		case strings.Contains(host, ".") && !strings.HasPrefix(dep, "vendor/"):
			t.Errorf("a client links %s", dep)
		}
	}
	if found != len(own) {
		t.Errorf("found %d of %v", found, own)
	}
}
