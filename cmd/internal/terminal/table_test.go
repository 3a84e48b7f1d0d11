package terminal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
)

// A column for wide terminals goes before any cell is broken, and in a file stays.
func TestWideColumns(t *testing.T) {
	for width, want := range map[int]string{
		80: " DEVICE             LABEL      MAKER\n 50:c7:bf:00:fc:a3  plug four  TP-Link\n",
		35: " DEVICE             LABEL\n 50:c7:bf:00:fc:a3  plug four\n(no room here for MAKER; --json has all)\n",
		0:  " DEVICE             LABEL      MAKER\n 50:c7:bf:00:fc:a3  plug four  TP-Link\n",
	} {
		var out bytes.Buffer
		table := NewTable(&out, "Device", "Label", "Maker")
		table.Wide(3)
		table.AppendRow([]any{"50:c7:bf:00:fc:a3", "plug four", "TP-Link"})
		if table.renderIn(width); width == 0 {
			out.Reset()
			table.Render()
		}
		if out.String() != want {
			t.Errorf("%d columns:\n%swant\n%s", width, &out, want)
		}
	}
}

// A table fits a terminal: cells are broken first, words and figures last; then go columns that
// can be spared; then each cell has its line.
func TestTableFits(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  string
	}{
		{80, " DEVICE             LABEL                          COUNT  NOTE\n" +
			" 50:c7:bf:00:fc:a3  a plug of some maker or other   1234  provisional\n"},
		{56, " DEVICE             LABEL             COUNT  NOTE\n" +
			" 50:c7:bf:00:fc:a3  a plug of some     1234  provisional\n" +
			"                    maker or other\n"},
		{45, "DEVICE            LABEL                 COUNT\n" +
			"50:c7:bf:00:fc:a3 a plug of some maker   1234\n" +
			"                  or other\n" +
			"(no room here for NOTE; --json has all)\n"},
		{30, " DEVICE 50:c7:bf:00:fc:a3\n LABEL  a plug of some maker\n        or other\n COUNT  1234\n NOTE   provisional\n"},
	} {
		var out bytes.Buffer
		table := NewTable(&out, "Device", "Label", "Count", "Note")
		table.Spare(4)
		table.AppendRow([]any{"50:c7:bf:00:fc:a3", "a plug of some maker or other", 1234, "provisional"})
		table.renderIn(tt.width)
		if out.String() != tt.want {
			t.Errorf("%d columns:\n%swant\n%s", tt.width, &out, tt.want)
		}
		for line := range strings.Lines(out.String()) {
			if n := text.StringWidth(strings.TrimRight(line, "\n")); n > tt.width {
				t.Errorf("%d columns: %q", tt.width, line)
			}
		}
	}
}
