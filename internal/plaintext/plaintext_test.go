package plaintext_test

import (
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/plaintext"
)

func TestCheckAndEscape(t *testing.T) {
	for _, tt := range []struct{ name, text, escaped, says string }{
		{"nothing", "", "", ""},
		{"plain", "Smart Plug, 2nd", "Smart Plug, 2nd", ""},
		{"other scripts", "Türklingel 门铃 👩‍🔧", "Türklingel 门铃 👩‍🔧", ""},
		{"the character itself", "a\ufffdb", "a\ufffdb", ""},
		{"Latin-1", "T\xfcr", `T\xfcr`, `"T\xfcr" is not UTF-8`},
		{"half a character", "T\xc3", `T\xc3`, "not UTF-8"},
		{"a surrogate", "\xed\xa0\x80", `\xed\xa0\x80`, "not UTF-8"},
		{"NUL", "a\x00", `a\x00`, "U+0000"},
		{"two lines", "a\nb", `a\x0ab`, "U+000A"},
		{"an escape sequence", "\x1b[31mred", `\x1b[31mred`, "U+001B"},
		{"C1", "a\u009bm", `a\xc2\x9bm`, "U+009B"},
		{"end of a line", "a\u2028b", `a\xe2\x80\xa8b`, "U+2028"},
		{"right to left", "a\u202eb", `a\xe2\x80\xaeb`, "U+202E"},
		{"too long", strings.Repeat("a", 4097), strings.Repeat("a", 4097), "has 4097 bytes"},
	} {
		err := plaintext.Check(tt.text)
		if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.says)
		}
		got := plaintext.Escape(tt.text)
		if got != tt.escaped || plaintext.Check(got) != nil && len(got) < 4097 {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.escaped)
		}
	}
}
