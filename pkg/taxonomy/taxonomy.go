// Package taxonomy says where classes stand: each has a path whose parts are levels, as
// maker, kind, and the class itself. In goes a CSV file, out come the levels of a label.
package taxonomy

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/internal/plaintext"
)

// What a hostile file can ask for is bounded.
const (
	MaxLevels = 8       // of a path, the class itself among them
	MaxLabels = 1 << 14 // as many as a model may have classes
	maxFile   = 4 << 20 // bytes
)

// Taxonomy is paths by labels: levels parted by slashes, the last one the label itself,
// which may hold slashes too. A label that is not in it is its own path.
type Taxonomy map[string]string

// Levels are those of a label, outermost first, the label itself last.
func (t Taxonomy) Levels(label string) []string {
	above, ok := strings.CutSuffix(t[label], "/"+label)
	if !ok {
		return []string{label}
	}
	return append(strings.Split(above, "/"), label)
}

// Below reports whether a level of that path is one of the label's, or the label itself.
func (t Taxonomy) Below(label, path string) bool {
	return strings.HasPrefix(strings.Join(t.Levels(label), "/")+"/", path+"/")
}

// Validate names the first label whose path is none, by which a level could be taken for
// another, or which cannot be a name.
func (t Taxonomy) Validate() error {
	if len(t) > MaxLabels {
		return fmt.Errorf("paths of %d labels: want at most %d", len(t), MaxLabels)
	}
	labels := slices.Sorted(maps.Keys(t))
	above := map[string]string{} // a label below each level
	for _, label := range labels {
		if err := check(label, t[label]); err != nil {
			return err
		}
		path := ""
		for _, part := range t.Levels(label)[:len(t.Levels(label))-1] {
			path += part
			above[path] = label
			path += "/"
		}
	}
	for _, label := range labels {
		if below, ok := above[t[label]]; ok {
			return fmt.Errorf("label %q: its path %q is a level above %q: give one of them another", label, t[label], below)
		}
	}
	return nil
}

// check reports why path is none of the label's.
func check(label, path string) error {
	if label == "" {
		return errors.New("a label is empty")
	}
	if err := errors.Join(plaintext.Check(label), plaintext.Check(path)); err != nil {
		return err
	}
	above, ok := strings.CutSuffix(path, label)
	if !ok || above != "" && !strings.HasSuffix(above, "/") {
		return fmt.Errorf("label %q: its path %q does not end in it: want one like maker/kind/%s", label, path, label)
	}
	if above == "" {
		return nil
	}
	parts := strings.Split(strings.TrimSuffix(above, "/"), "/")
	if len(parts) >= MaxLevels {
		return fmt.Errorf("label %q: its path has %d levels: want at most %d", label, len(parts)+1, MaxLevels)
	}
	for _, part := range parts {
		if part == "" || part != strings.TrimSpace(part) {
			return fmt.Errorf("label %q: its path %q has the part %q: want none that is empty, begins or ends with a space", label, path, part)
		}
	}
	return nil
}

// Load reads the file at path.
func Load(path string) (Taxonomy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("taxonomy: %w", err)
	}
	defer f.Close()
	t, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("taxonomy %s: %w", path, err)
	}
	return t, nil
}

// Read reads CSV with the columns label and path, in UTF-8; other columns are ignored, and
// so are lines without any value. Each label has one line.
func Read(in io.Reader) (Taxonomy, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("it has more than %d bytes: is it the right file?", maxFile)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))) // the mark that spreadsheets put there
	r.TrimLeadingSpace, r.FieldsPerRecord = true, -1
	header, err := r.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	column := func(name string) int {
		return slices.IndexFunc(header, func(s string) bool { return strings.TrimSpace(s) == name })
	}
	label, path := column("label"), column("path")
	if label < 0 || path < 0 {
		return nil, errors.New("the first line must name the columns label and path")
	}
	t := Taxonomy{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := t.add(row, len(header), label, path); err != nil {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if len(t) == 0 {
		return nil, errors.New("it has no label")
	}
	return t, t.Validate()
}

// add takes a line.
func (t Taxonomy) add(row []string, columns, label, path int) error {
	if !slices.ContainsFunc(row, func(v string) bool { return strings.TrimSpace(v) != "" }) {
		return nil
	}
	if len(row) != columns {
		return fmt.Errorf("%d values, the header has %d columns", len(row), columns)
	}
	name, of := strings.TrimSpace(row[label]), strings.TrimSpace(row[path])
	if err := check(name, of); err != nil {
		return err
	}
	if _, twice := t[name]; twice {
		return fmt.Errorf("label %q has a line already", name)
	}
	t[name] = of
	return nil
}
