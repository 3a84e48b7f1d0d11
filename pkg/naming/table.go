package naming

// This file holds what the words of programs mean.

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

//go:embed table.csv
var ownTable []byte

// Levels of an answer, as a taxonomy of three levels has them.
const (
	Maker = iota
	Kind
	Model
	levels
)

// Answer is what is said of a device at each level: names of which one must be right, more
// than one where the words fit several; none: nothing is said.
type Answer [levels][]string

// Table says what words mean, the most telling first.
type Table []meaning

type meaning struct {
	peer    string // "": any
	pattern *regexp.Regexp
	answer  Answer
}

// OwnTable is the one that comes along.
func OwnTable() (Table, error) { return readTable(bytes.NewReader(ownTable)) }

// LoadTable reads a CSV file with the columns peer, pattern, maker, kind and model: a
// program's name or *, a regular expression (RE2) that its words hold in either case, and
// what is then said at each level: nothing, a name, or several parted by bars. A line that
// says nothing at all is of words that tell nothing.
func LoadTable(path string) (Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("table of words: %w", err)
	}
	defer f.Close()
	t, err := readTable(f)
	if err != nil {
		return nil, fmt.Errorf("table of words %s: %w", path, err)
	}
	return t, nil
}

var tableColumns = []string{"peer", "pattern", "maker", "kind", "model"}

func readTable(in io.Reader) (t Table, err error) {
	r := csv.NewReader(in)
	r.Comment = '#'
	header, err := r.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !slices.Equal(header, tableColumns) {
		return nil, fmt.Errorf("the first line must be %s", strings.Join(tableColumns, ","))
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		m := meaning{peer: strings.TrimPrefix(row[0], "*")}
		if m.pattern, err = regexp.Compile("(?i)" + row[1]); err != nil {
			line, _ := r.FieldPos(1)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		for level, names := range row[2:] {
			if names != "" {
				m.answer[level] = strings.Split(names, "|")
			}
		}
		t = append(t, m)
	}
}

// Answer is what a program's words mean together: at each level what the first line of the
// table says that any of them fits. unknown are words that no line fits.
func (t Table) Answer(peer string, words []string) (a Answer, unknown []string) {
	fits := make([]bool, len(words))
	for _, m := range t {
		if m.peer != "" && m.peer != peer {
			continue
		}
		any := false
		for i, w := range words {
			if m.pattern.MatchString(w) {
				any, fits[i] = true, true
			}
		}
		for level := range a {
			if any && a[level] == nil {
				a[level] = m.answer[level]
			}
		}
	}
	for i, w := range words {
		if !fits[i] {
			unknown = append(unknown, w)
		}
	}
	return a, unknown
}
