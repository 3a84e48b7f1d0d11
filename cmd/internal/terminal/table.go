package terminal

// This file lays text out for people: tables, paragraphs, units.

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

const (
	fileWidth   = 100 // what text fits into where stdout is no terminal
	leastColumn = 12  // what a broken column keeps, at least
	mostOfWord  = 20  // of a word, such as a MAC, that is not broken in a column
)

// onTerminal reports whether stdout is one, and its columns.
func onTerminal() (columns int, is bool) {
	columns, _, err := term.GetSize(int(os.Stdout.Fd()))
	return columns, err == nil && columns > 0
}

// Width is what text for people fits into.
func Width() int {
	if columns, is := onTerminal(); is {
		return columns
	}
	return fileWidth
}

// Bytes is an amount of data that a table shows with its unit: 1.2 MB.
type Bytes uint64

// String implements fmt.Stringer.
func (b Bytes) String() string { return humanize.Bytes(uint64(b)) }

// TextTable is a plain table that fits the terminal.
type TextTable struct {
	w      io.Writer
	header table.Row
	rows   []table.Row
	breaks []int // columns whose cells may be broken in a file too, from 1
}

// NewTable is a table on w. Like all tables here it keeps each row in its line, unless a
// terminal is narrower: then cells are broken, and rows that are wider all the same are
// written a cell a line.
func NewTable(w io.Writer, columns ...any) *TextTable {
	return &TextTable{w: w, header: columns}
}

// Breaks says that cells of the columns with these numbers, from 1, are broken where the
// table is too wide, even when it goes to a file.
func (t *TextTable) Breaks(columns ...int) { t.breaks = columns }

// AppendRow adds a row.
func (t *TextTable) AppendRow(row table.Row) { t.rows = append(t.rows, row) }

// AppendRows adds several.
func (t *TextTable) AppendRows(rows []table.Row) { t.rows = append(t.rows, rows...) }

// Length is the number of rows.
func (t *TextTable) Length() int { return len(t.rows) }

// Render writes the table; an error of writing is the printer's to keep.
func (t *TextTable) Render() {
	if columns, is := onTerminal(); is {
		all := make([]int, len(t.header))
		for i := range all {
			all[i] = i + 1
		}
		t.render(columns, all, true)
		return
	}
	t.render(fileWidth, t.breaks, false)
}

// render fits the table into width by breaking cells of some columns, else by writing
// records, where that is wanted.
func (t *TextTable) render(width int, breaks []int, records bool) {
	widths, least := t.widths(breaks)
	over := -1 // the last column's blank is cut off
	for _, w := range widths {
		over += w + 2
	}
	for over -= width; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	if over > 0 && records {
		t.records(width)
		return
	}
	t.lines(widths)
}

// widths are those of the columns, and the least that they can be.
func (t *TextTable) widths(breaks []int) (widths, least []int) {
	widths, least = make([]int, len(t.header)), make([]int, len(t.header))
	for i := range t.header {
		number := len(t.rows) > 0
		word := text.StringWidth(Cell(t.header[i]))
		widths[i] = word
		for _, row := range t.rows {
			if i >= len(row) {
				continue
			}
			cell := Cell(row[i])
			widths[i] = max(widths[i], text.StringWidth(cell))
			for w := range strings.FieldsSeq(cell) {
				word = max(word, min(text.StringWidth(w), mostOfWord))
			}
			_, is := row[i].(string)
			number = number && !is
		}
		least[i] = widths[i]
		if !number && slices.Contains(breaks, i+1) {
			least[i] = min(widths[i], max(word, leastColumn))
		}
	}
	return widths, least
}

// lines writes a row a line, cells broken to these widths.
func (t *TextTable) lines(widths []int) {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options = table.OptionsNoBordersAndSeparators
	w.AppendHeader(t.header)
	w.AppendRows(t.rows)
	columns := make([]table.ColumnConfig, len(widths))
	for i, width := range widths {
		columns[i] = table.ColumnConfig{Number: i + 1, Transformer: Cell, TransformerHeader: Cell, WidthMax: width, WidthMaxEnforcer: text.WrapSoft}
	}
	w.SetColumnConfigs(columns)
	for line := range strings.Lines(w.Render()) {
		fmt.Fprintln(t.w, strings.TrimRight(line, " \n"))
	}
}

// records writes a cell a line behind its column's name, and an empty line between rows.
func (t *TextTable) records(width int) {
	name := 0
	for _, h := range t.header {
		name = max(name, text.StringWidth(Cell(h)))
	}
	name = min(name, width/2)
	for n, row := range t.rows {
		if n > 0 {
			fmt.Fprintln(t.w)
		}
		for i, cell := range row {
			head := text.Pad(text.Trim(strings.ToUpper(Cell(t.header[i])), name), name, ' ')
			for line := range strings.Lines(text.WrapSoft(Cell(cell), max(1, width-name-3))) {
				fmt.Fprintln(t.w, strings.TrimRight(" "+head+" "+strings.TrimSpace(line), " "))
				head = strings.Repeat(" ", name)
			}
		}
	}
}

// PrintParagraph prints text in lines that a terminal holds.
func PrintParagraph(w io.Writer, s string) {
	for line := range strings.Lines(text.WrapSoft(s, Width())) {
		fmt.Fprintln(w, strings.TrimSpace(line))
	}
}
