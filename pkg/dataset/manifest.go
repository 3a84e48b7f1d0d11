package dataset

// This file reads manifests: which devices a capture holds and what they are.

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Device is what a data set says about a device in one capture.
type Device struct {
	Name  string // as flows.Record has it: a MAC, or "ip:ADDR"
	Label string // its class; empty when unknown
	Unit  string // which physical device; empty when unknown
	Split string // train, test, ...; empty when unknown
}

// Capture is one capture file and the devices known to be in it.
type Capture struct {
	Name    string   // as the manifest has it, else the path as given, without what is no text
	Path    string   // where the file lies
	Devices []Device // empty: every local end is a device
}

// ReadManifest reads a CSV file with the columns capture, mac and label, and
// optionally unit and split; other columns are ignored, and so are lines without any
// value. Several rows may name one capture, each another device. Capture paths are
// relative to the manifest. All of it is UTF-8; the columns that are used hold no
// character that controls.
func ReadManifest(path string) ([]Capture, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	captures, err := readManifest(f, filepath.Dir(path))
	if err == nil && len(captures) == 0 {
		err = errors.New("it lists no capture")
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	return captures, nil
}

func readManifest(in io.Reader, dir string) ([]Capture, error) {
	r := csv.NewReader(pastMark(in))
	r.TrimLeadingSpace, r.FieldsPerRecord = true, -1
	column, columns, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	var captures []Capture
	place := map[string]int{} // by path
	listed := map[listing]Device{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return captures, nil
		}
		if err != nil {
			return nil, err
		}
		if err := checkText(r, row, column); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(row, func(v string) bool { return strings.TrimSpace(v) != "" }) {
			continue
		}
		line, _ := r.FieldPos(0)
		if len(row) != columns {
			return nil, fmt.Errorf("line %d: %d values, the header has %d columns", line, len(row), columns)
		}
		field := func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		device, err := deviceName(field("mac"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		name := field("capture")
		if name == "" {
			return nil, fmt.Errorf("line %d: capture is empty", line)
		}
		file := filepath.Clean(filepath.FromSlash(name))
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		i, ok := place[file]
		if !ok {
			i = len(captures)
			place[file] = i
			captures = append(captures, Capture{Name: name, Path: file})
		}
		if err := captures[i].add(listed, i, Device{device, field("label"), field("unit"), field("split")}); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// pastMark passes over the mark of UTF-8 that spreadsheets put before the text, which
// may begin with a quote.
func pastMark(in io.Reader) io.Reader {
	const mark = "\ufeff"
	text := bufio.NewReader(in)
	if b, _ := text.Peek(len(mark)); string(b) == mark {
		text.Discard(len(mark))
	}
	return text
}

// used are the columns that are read.
var used = []string{"capture", "mac", "label", "unit", "split"}

// checkText refuses a row that is not UTF-8, and in the columns that are used what can
// be no name.
func checkText(r *csv.Reader, row []string, column map[string]int) error {
	for i, v := range row {
		if !utf8.ValidString(v) {
			line, _ := r.FieldPos(i)
			return fmt.Errorf("line %d: %q is not UTF-8: save the manifest as UTF-8", line, v)
		}
	}
	for _, name := range used {
		i, ok := column[name]
		if !ok || i >= len(row) {
			continue
		}
		if err := plaintext.Check(strings.TrimSpace(row[i])); err != nil {
			line, _ := r.FieldPos(i)
			return fmt.Errorf("line %d: %s %w", line, name, err)
		}
	}
	return nil
}

// readHeader finds the columns by name.
func readHeader(r *csv.Reader) (column map[string]int, columns int, err error) {
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, 0, errors.New("it is empty")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("header: %w", err)
	}
	if err := checkText(r, header, nil); err != nil {
		return nil, 0, err
	}
	column = map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := column[name]; twice && slices.Contains(used, name) {
			return nil, 0, fmt.Errorf("column %q is there twice in the header: leave one out", name)
		}
		column[name] = i
	}
	for _, name := range []string{"capture", "mac", "label"} {
		if _, ok := column[name]; !ok {
			return nil, 0, fmt.Errorf("column %q is missing in the header %q: want names between commas, in UTF-8", name, strings.Join(header, ","))
		}
	}
	return column, len(header), nil
}

// listing is a device's place in a manifest.
type listing struct {
	capture int
	device  string
}

// add takes one more device of the i-th capture. A row that is there twice counts once.
func (c *Capture) add(listed map[listing]Device, i int, d Device) error {
	other, known := listed[listing{i, d.Name}]
	if known && other != d {
		return fmt.Errorf("device %s of capture %s is listed before, as label %q, unit %q, split %q", d.Name, c.Name, other.Label, other.Unit, other.Split)
	}
	if !known {
		listed[listing{i, d.Name}] = d
		c.Devices = append(c.Devices, d)
	}
	return nil
}

// deviceName brings a MAC, or "ip:ADDR", into the form that records use.
func deviceName(s string) (string, error) {
	if text, ok := strings.CutPrefix(s, "ip:"); ok {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return "", fmt.Errorf("device %q: %w", s, err)
		}
		return "ip:" + addr.String(), nil
	}
	mac, err := flows.ParseMAC(s)
	if err != nil {
		return "", err
	}
	return mac.String(), nil
}
