package terminal

// This file holds what all commands share of printing: stdout, JSON, tables,
// progress, logs, errors.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotsense/iotsense/internal/wholefile"
)

// JSONFlag is that of every command with figures to print.
var JSONFlag = &cli.BoolFlag{Name: "json", Usage: "machine-readable output on stdout, nothing else there"}

// Say writes one line for people to stderr, if that takes it within half a second.
func Say(format string, args ...any) {
	written := make(chan struct{})
	go func() {
		fmt.Fprintf(os.Stderr, "iotsense: %s\n", Cell(fmt.Sprintf(format, args...)))
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(writePatience / 2):
	}
}

// Cell is a value in one line, as a table's cell.
func Cell(v any) string {
	return printable(strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(fmt.Sprint(v)))
}

// PrintJSON writes v as one line.
func PrintJSON(w io.Writer, v any) error {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// WriteFile writes a file that appears under its name only when it is whole. An error
// that write gives as an InputFault does not blame the output.
func WriteFile(path string, write func(io.Writer) error) error {
	err := wholefile.Write(path, write)
	var input inputError
	switch {
	case errors.As(err, &input):
		return input.error
	case err != nil:
		return fmt.Errorf("output %s: %w", path, err)
	}
	return nil
}

// inputError is what keeps a file from being written that is no fault of it.
type inputError struct{ error }

// InputFault is err as the fault of what is read, which WriteFile gives back as it is.
func InputFault(err error) error { return inputError{err} }

// Unwrap gives the cause.
func (e inputError) Unwrap() error { return e.error }

// TerminalWidth is what text for people fits into.
const TerminalWidth = 100

// TextTable is a plain table.
type TextTable struct {
	table.Writer
	w       io.Writer
	columns []table.ColumnConfig
}

// NewTable is a table on w. Like all tables here it keeps each row in its line.
func NewTable(w io.Writer, columns ...any) *TextTable {
	t := &TextTable{Writer: table.NewWriter(), w: w}
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(columns)
	for i := range columns {
		t.columns = append(t.columns, table.ColumnConfig{Number: i + 1, Transformer: Cell, TransformerHeader: Cell})
	}
	t.SetColumnConfigs(t.columns)
	return t
}

// Wrap breaks what is longer than width in the column with this number, from 1.
func (t *TextTable) Wrap(column, width int) {
	t.columns[column-1].WidthMax, t.columns[column-1].WidthMaxEnforcer = width, text.WrapSoft
	t.SetColumnConfigs(t.columns)
}

// Fit breaks the cells of a column, of which the longest is known, where the table
// would else be wider than a terminal.
func (t *TextTable) Fit(column, longest int) {
	widest := 0
	for line := range strings.Lines(t.Writer.Render()) {
		widest = max(widest, text.StringWidth(strings.TrimRight(line, " \n")))
	}
	if over := widest - TerminalWidth; over > 0 {
		t.Wrap(column, max(12, longest-over))
	}
}

// Render writes the table and returns it; an error of writing is the printer's to
// keep.
func (t *TextTable) Render() string {
	text := t.Writer.Render()
	for line := range strings.Lines(text) {
		fmt.Fprintln(t.w, strings.TrimRight(line, " \n"))
	}
	return text
}

// PrintParagraph prints text in lines that a terminal holds.
func PrintParagraph(w io.Writer, s string) {
	for line := range strings.Lines(text.WrapSoft(s, TerminalWidth)) {
		fmt.Fprintln(w, strings.TrimSpace(line))
	}
}

// Logger writes to stderr, where --json output never goes.
func Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// Progress returns a function that shows how far a run over files has come, and
// one that ends the display; both do nothing unless stderr is a terminal.
func Progress(what string) (show func(done, total int, name string), end func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(int, int, string) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	show = func(done, total int, name string) {
		if bar == nil {
			bar = progressbar.NewOptions(total,
				progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(what),
				progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set(done) // a display that fails must not end the run
	}
	return show, func() {
		if bar != nil {
			_ = bar.Finish()
		}
	}
}

// OneLine makes an error one line: joined errors are counted, the first few shown.
func OneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	const most = 3
	if len(lines) <= most {
		return strings.Join(lines, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(lines[:most], "; "), len(lines)-most)
}

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
