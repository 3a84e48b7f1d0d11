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
	wide   []int // columns that go before a cell is broken, from 1
	spare  []int // columns that go once breaking is not enough, from 1
}

// NewTable is a table on w. Like all tables here it keeps each row in its line, unless a
// terminal is narrower: then columns for wide ones are left out, cells broken, columns that can
// be spared left out, and rows that are wider all the same are written a cell a line.
func NewTable(w io.Writer, columns ...any) *TextTable {
	return &TextTable{w: w, header: columns}
}

// Breaks says that cells of the columns with these numbers, from 1, are broken where the
// table is too wide, even when it goes to a file.
func (t *TextTable) Breaks(columns ...int) { t.breaks = columns }

// Wide says which columns are there only where no cell has to be broken for them; the first of
// these goes first.
func (t *TextTable) Wide(columns ...int) { t.wide = columns }

// Spare says which columns are left out, in this order, of a terminal that is too narrow.
func (t *TextTable) Spare(columns ...int) { t.spare = columns }

// AppendRow adds a row.
func (t *TextTable) AppendRow(row table.Row) { t.rows = append(t.rows, row) }

// AppendRows adds several.
func (t *TextTable) AppendRows(rows []table.Row) { t.rows = append(t.rows, rows...) }

// Length is the number of rows.
func (t *TextTable) Length() int { return len(t.rows) }

// Render writes the table; an error of writing is the printer's to keep.
func (t *TextTable) Render() {
	if columns, is := onTerminal(); is {
		t.renderIn(columns)
		return
	}
	widths, _ := t.fit(fileWidth, 2, func(i int) bool { return slices.Contains(t.breaks, i+1) })
	t.lines(widths, "  ")
}

// renderIn writes the table for a terminal of so many columns.
func (t *TextTable) renderIn(columns int) {
	for n := range t.wide {
		if t.linesIn(columns, "  ", never, t.wide[:n]) {
			return
		}
	}
	if t.linesIn(columns, "  ", always, t.wide) {
		return
	}
	for n := range len(t.spare) + 1 {
		if t.linesIn(columns, " ", always, slices.Concat(t.wide, t.spare[:n])) {
			return
		}
	}
	t.records(columns)
}

func always(int) bool { return true }
func never(int) bool  { return false }

// linesIn writes a row a line, without some columns, which it says, if that fits.
func (t *TextTable) linesIn(columns int, blanks string, breaks func(column int) bool, without []int) (fits bool) {
	less := t.without(without)
	widths, fits := less.fit(columns, len(blanks), breaks)
	if !fits {
		return false
	}
	less.lines(widths, blanks)
	if len(without) > 0 {
		var left []string
		for _, column := range without {
			left = append(left, strings.ToUpper(Cell(t.header[column-1])))
		}
		PrintLine(t.w, "(no room here for %s; --json has all)", strings.Join(left, ", "))
	}
	return true
}

// without is the table without the columns of these numbers, from 1.
func (t *TextTable) without(columns []int) *TextTable {
	left := func(row table.Row) (kept table.Row) {
		for i, cell := range row {
			if !slices.Contains(columns, i+1) {
				kept = append(kept, cell)
			}
		}
		return kept
	}
	less := &TextTable{w: t.w, header: left(t.header)}
	for _, row := range t.rows {
		less.rows = append(less.rows, left(row))
	}
	return less
}

// fit gives the columns' widths, by breaking cells of some where the table is wider than
// width with so many blanks between columns; fits: it is not wider then.
func (t *TextTable) fit(width, blanks int, breaks func(column int) bool) (widths []int, fits bool) {
	widths, least := t.widths(breaks)
	over := -blanks - width
	if blanks > 1 {
		over++ // in front
	}
	for _, w := range widths {
		over += w + blanks
	}
	for ; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return widths, false
		}
		widths[widest]--
	}
	return widths, true
}

// widths are those of the columns, and the least that they can be.
func (t *TextTable) widths(breaks func(column int) bool) (widths, least []int) {
	widths, least = make([]int, len(t.header)), make([]int, len(t.header))
	for i := range t.header {
		number, word := len(t.rows) > 0, 0
		measure := func(v any) {
			cell := Cell(v)
			widths[i] = max(widths[i], text.StringWidth(cell))
			for w := range strings.FieldsSeq(cell) {
				word = max(word, min(text.StringWidth(w), mostOfWord))
			}
		}
		measure(t.header[i])
		for _, row := range t.rows {
			if i < len(row) {
				measure(row[i])
				_, is := row[i].(string)
				number = number && !is
			}
		}
		if least[i] = widths[i]; breaks(i) {
			least[i] = word
			if !number {
				least[i] = min(widths[i], max(word, leastColumn))
			}
		}
	}
	return widths, least
}

// lines writes a row a line, cells broken to these widths, with blanks between columns.
func (t *TextTable) lines(widths []int, blanks string) {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options = table.OptionsNoBordersAndSeparators
	w.Style().Box.PaddingLeft, w.Style().Box.PaddingRight = blanks[1:], " "
	w.AppendHeader(t.header)
	w.AppendRows(t.rows)
	columns := make([]table.ColumnConfig, len(widths))
	for i, width := range widths {
		columns[i] = table.ColumnConfig{Number: i + 1, Transformer: Cell, TransformerHeader: Cell,
			WidthMax: width, WidthMaxEnforcer: text.WrapSoft}
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

// PrintLine prints a line, broken where a terminal ends.
func PrintLine(w io.Writer, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if _, is := onTerminal(); is {
		PrintParagraph(w, line)
		return
	}
	fmt.Fprintln(w, line)
}

// PrintParagraph prints text in lines that a terminal holds.
func PrintParagraph(w io.Writer, s string) {
	for line := range strings.Lines(text.WrapSoft(s, Width())) {
		fmt.Fprintln(w, strings.TrimSpace(line))
	}
}
