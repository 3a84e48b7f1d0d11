package facts

// This file makes text of bytes that a stranger sent.

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean is value as a fact may have it: printable, without space around it or twice in a
// row, at most MaxValue bytes. It is valid until the next call.
func (v *voice) clean(value []byte) []byte {
	if isClean(value) {
		return value
	}
	out := v.text[:0]
	space := false
	for len(value) > 0 {
		r, size := utf8.DecodeRune(value)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) || r == ' ' {
			space = len(out) > 0
		} else {
			need := size
			if space {
				need++
			}
			if len(out)+need > MaxValue {
				break
			}
			if space {
				out = append(out, ' ')
			}
			out, space = append(out, value[:size]...), false
		}
		value = value[size:]
	}
	v.text = out
	return out
}

// isClean reports whether clean would change nothing, for most values.
func isClean(value []byte) bool {
	if len(value) > MaxValue {
		return false
	}
	for i, c := range value {
		if c < ' ' || c > '~' || c == ' ' && (i == 0 || i == len(value)-1 || value[i-1] == ' ') {
			return false
		}
	}
	return true
}

// lower is b in lower case, ASCII letters alone, in place.
func lower(b []byte) []byte {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// header cuts the next line "Key: value" off a message's head. Without a colon the key is
// the line. more is false at the empty line or the end; a line without an end is not given.
func header(b []byte) (key, value, rest []byte, more bool) {
	line, rest, found := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	if !found || len(line) == 0 {
		return nil, nil, rest, false
	}
	key, value, _ = bytes.Cut(line, []byte(":"))
	return bytes.TrimSpace(key), bytes.TrimSpace(value), rest, true
}

// is compares a protocol's word whatever its case.
func is(b []byte, word string) bool { return len(b) == len(word) && strings.EqualFold(string(b), word) }

// element is the text of the next XML element of that name, its prefix left out, and what
// follows it. ok is false when none ends before b does.
func element(b []byte, name string) (text, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, []byte(name))
		if i < 0 {
			return nil, nil, false
		}
		before, after := b[:i], b[i+len(name):]
		b = after
		open := bytes.LastIndexByte(before, '<')
		if open < 0 || bytes.ContainsAny(before[open:], " />") || len(after) == 0 || after[0] != '>' && after[0] != ' ' {
			continue
		}
		attributes, text, ok := bytes.Cut(after, []byte(">"))
		if !ok {
			return nil, nil, false
		}
		if bytes.HasSuffix(attributes, []byte("/")) { // it ends there
			continue
		}
		text, rest, ok = bytes.Cut(text, []byte("</"))
		return text, rest, ok
	}
}
