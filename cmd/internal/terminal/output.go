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
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
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

// PrintLines writes a line for each.
func PrintLines[T any](w io.Writer, list []T) error {
	for i := range list {
		if err := PrintJSON(w, &list[i]); err != nil {
			return err
		}
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

// LogFlag is the form of a sensor's log.
var LogFlag = &cli.StringFlag{Name: "log", Value: "text", Usage: "`text|json`: form of the log on standard error, a line each"}

// LogHandler makes what gives lines the form that LogFlag asks for.
func LogHandler(form string) (func(io.Writer) slog.Handler, error) {
	switch form {
	case "text":
		return func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }, nil
	case "json":
		return func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }, nil
	}
	return nil, Usagef("--log %q: want text or json", form)
}

// Progress returns a function that shows how far a run over files has come, and
// one that ends the display; both do nothing unless stderr is a terminal.
func Progress(what string) (show func(done, total int, name string), end func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(int, int, string) {}, func() {}
	}
	shown := false
	show = func(done, total int, name string) {
		shown = true
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s: %d of %d", what, done, total) // a library's bar is 100 KB of a box's binary
	}
	return show, func() {
		if shown {
			fmt.Fprint(os.Stderr, "\r\x1b[K")
			shown = false
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
