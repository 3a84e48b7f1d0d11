package terminal

// This file holds stdout as all commands write to it.

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// printer is stdout. It keeps the first error of writing, which table and help
// printers drop, and fails from then on. Names and labels come from files and
// networks: whatever of them could steer a terminal is escaped here.
type printer struct {
	w    io.Writer
	mu   sync.Mutex // guards tail
	tail []byte     // the beginning of a character whose end is still to come
	err  atomic.Pointer[error]
}

// Write implements io.Writer.
func (p *printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.failed(); err != nil {
		return 0, err
	}
	text := append(p.tail, b...)
	whole := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if end := text[len(text)-back:]; utf8.RuneStart(end[0]) && !utf8.FullRune(end) {
			whole = len(text) - back
		}
	}
	if _, err := p.w.Write([]byte(printable(string(text[:whole])))); err != nil {
		p.err.Store(&err)
		return 0, err
	}
	p.tail = slices.Clone(text[whole:])
	return len(b), nil
}

// failed is the first error of writing.
func (p *printer) failed() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

// end writes what may be left and returns the first error of all.
func (p *printer) end() error {
	if !p.mu.TryLock() {
		return p.failed() // somebody still waits for the reader: what it holds is lost
	}
	defer p.mu.Unlock()
	if len(p.tail) > 0 && p.failed() == nil {
		if _, err := p.w.Write([]byte(printable(string(p.tail)))); err != nil {
			p.err.Store(&err)
		}
		p.tail = nil
	}
	return p.failed()
}

// printable escapes what is no graphic character, but for tabs and ends of lines,
// in the way of JSON, so that a line of JSON keeps its meaning.
func printable(s string) string {
	escaped := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }
	if utf8.ValidString(s) && strings.IndexFunc(s, escaped) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch _, size := utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !escaped(r):
			b.WriteRune(r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return b.String()
}
