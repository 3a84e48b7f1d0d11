package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// failing takes so many writes.
type failing struct {
	bytes.Buffer
	left int
}

var errFull = errors.New("full")

func (f *failing) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return f.Buffer.Write(b)
}

// A table whose second line fails is not taken for whole, and nothing follows it.
func TestPrinterKeepsFirstError(t *testing.T) {
	f := &failing{left: 1}
	p := &printer{w: f}
	table := NewTable(p, "Kind", "Count")
	table.AppendRow([]any{"lamp", 3})
	table.Render()
	f.left = 9 // there is room again
	fmt.Fprintln(p, "3 lamps")
	if err := p.end(); !errors.Is(err, errFull) || f.String() != " KIND  COUNT\n" {
		t.Errorf("%v, %q", err, f.String())
	}
}

// Nothing that a file or the network says may steer the terminal or forge a line.
func TestPrinterEscapes(t *testing.T) {
	for _, tt := range []struct{ name, raw, shown string }{
		{"window title", "a\x1b]0;owned\a", `a\u001b]0;owned\u0007`},
		{"C1 introducer", "a\u009b31mb", `a\u009b31mb`},
		{"carriage return", "known\rplug", `known\u000dplug`},
		{"direction override", "a\u202eb", `a\u202eb`},
		{"tag of plane 14", "a\U000e0041", `a\udb40\udc41`},
		{"no UTF-8", "caf\xe9", `caf\xe9`},
		{"letters of all kinds", "Küche 台所\u00a0🔌", "Küche 台所\u00a0🔌"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= len(tt.raw); size++ { // a character may come in parts
				var out bytes.Buffer
				p := &printer{w: &out}
				for i := 0; i < len(tt.raw); i += size {
					fmt.Fprint(p, tt.raw[i:min(i+size, len(tt.raw))])
				}
				if err := p.end(); err != nil || out.String() != tt.shown {
					t.Errorf("in parts of %d: %q, want %q (%v)", size, out.String(), tt.shown, err)
				}
			}
		})
	}
}

// A line of JSON keeps its meaning, and a cell its line.
func TestEscapesKeepMeaning(t *testing.T) {
	var out bytes.Buffer
	p := &printer{w: &out}
	label := "a\u009b\u202e\U000e0041\x7f\n\"b\\"
	if err := PrintJSON(p, label); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\u009b\u202e\x7f") {
		t.Errorf("printed %q", out.String())
	}
	var back string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != label {
		t.Errorf("%q, want %q (%v)", back, label, err)
	}
	out.Reset()
	table := NewTable(p, "Label")
	table.AppendRow([]any{"lamp\n forged  known"})
	table.Render()
	if got, want := out.String(), " LABEL\n lamp\\n forged  known\n"; got != want {
		t.Errorf("table %q, want %q", got, want)
	}
}
