// Package plaintext tells text that can be a name from bytes that cannot. In goes text
// from outside, such as a label of a manifest, out comes what is wrong with it. JSON and
// safetensors turn what is no UTF-8 into U+FFFD, so that two names become one and one
// is no longer equal to itself; characters that cannot be seen do the same to the
// reader, and some steer his terminal.
package plaintext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the length of the longest path, in bytes.
const maxName = 4096

// Check reports why s cannot be a name: it is not UTF-8, or holds a character that
// controls, ends a line or turns the direction of writing, or is longer than a path.
func Check(s string) error {
	if len(s) > maxName {
		return fmt.Errorf("%.40q has %d bytes: want at most %d", s, len(s), maxName)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not UTF-8: save it as UTF-8", s)
	}
	for _, r := range s {
		if controls(r) {
			return fmt.Errorf("%q holds the character %U, which cannot be seen: leave it out", s, r)
		}
	}
	return nil
}

func controls(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// Escape is a name for what may have any bytes, such as a path: those that Check
// refuses are written as \x and two digits.
func Escape(s string) string {
	if Check(s) == nil {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if part := s[:size]; r == utf8.RuneError && size == 1 || controls(r) {
			for _, c := range []byte(part) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(part)
		}
		s = s[size:]
	}
	return b.String()
}
