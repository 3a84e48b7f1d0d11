package main

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
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotsense/iotsense/internal/wholefile"
)

var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "machine-readable output on stdout, nothing else there"}

// say writes one line for people to stderr, if that takes it within half a second.
func say(format string, args ...any) {
	written := make(chan struct{})
	go func() {
		fmt.Fprintf(os.Stderr, "iotsense: %s\n", cell(fmt.Sprintf(format, args...)))
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(writePatience / 2):
	}
}

// cell is a value in one line, as a table's cell.
func cell(v any) string {
	return printable(strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(fmt.Sprint(v)))
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// writeFile writes a file that appears under its name only when it is whole. An error
// that write gives as an inputError does not blame the output.
func writeFile(path string, write func(io.Writer) error) error {
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

// Unwrap gives the cause.
func (e inputError) Unwrap() error { return e.error }

// terminalWidth is what text for people fits into.
const terminalWidth = 100

// textTable is a plain table.
type textTable struct {
	table.Writer
	w       io.Writer
	columns []table.ColumnConfig
}

// newTable is a table on w. Like all tables here it keeps each row in its line.
func newTable(w io.Writer, columns ...any) *textTable {
	t := &textTable{Writer: table.NewWriter(), w: w}
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(columns)
	for i := range columns {
		t.columns = append(t.columns, table.ColumnConfig{Number: i + 1, Transformer: cell, TransformerHeader: cell})
	}
	t.SetColumnConfigs(t.columns)
	return t
}

// wrap breaks what is longer than width in the column with this number, from 1.
func (t *textTable) wrap(column, width int) {
	t.columns[column-1].WidthMax, t.columns[column-1].WidthMaxEnforcer = width, text.WrapSoft
	t.SetColumnConfigs(t.columns)
}

// fit breaks the cells of a column, of which the longest is known, where the table
// would else be wider than a terminal.
func (t *textTable) fit(column, longest int) {
	widest := 0
	for line := range strings.Lines(t.Writer.Render()) {
		widest = max(widest, text.StringWidth(strings.TrimRight(line, " \n")))
	}
	if over := widest - terminalWidth; over > 0 {
		t.wrap(column, max(12, longest-over))
	}
}

// Render writes the table and returns it; an error of writing is the printer's to
// keep.
func (t *textTable) Render() string {
	text := t.Writer.Render()
	for line := range strings.Lines(text) {
		fmt.Fprintln(t.w, strings.TrimRight(line, " \n"))
	}
	return text
}

// printParagraph prints text in lines that a terminal holds.
func printParagraph(w io.Writer, s string) {
	for line := range strings.Lines(text.WrapSoft(s, terminalWidth)) {
		fmt.Fprintln(w, strings.TrimSpace(line))
	}
}

// logger writes to stderr, where --json output never goes.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// progress returns a function that shows how far a run over files has come, and
// one that ends the display; both do nothing unless stderr is a terminal.
func progress(what string) (show func(done, total int, name string), end func()) {
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

// oneLine makes an error one line: joined errors are counted, the first few shown.
func oneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	const most = 3
	if len(lines) <= most {
		return strings.Join(lines, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(lines[:most], "; "), len(lines)-most)
}
