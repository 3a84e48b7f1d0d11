package terminal

// This file holds what all commands share of printing: stdout, JSON, progress, logs,
// errors.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

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
