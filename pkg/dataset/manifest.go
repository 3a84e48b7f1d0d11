package dataset

// This file reads manifests: which devices a capture holds and what they are.

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	Name    string   // as the manifest has it, else the path as given
	Path    string   // where the file lies
	Devices []Device // empty: every local end is a device
}

// device finds a device of the capture by name.
func (c *Capture) device(name string) (Device, bool) {
	i := slices.IndexFunc(c.Devices, func(d Device) bool { return d.Name == name })
	if i < 0 {
		return Device{Name: name}, false
	}
	return c.Devices[i], true
}

// ReadManifest reads a CSV file with the columns capture, mac and label, and
// optionally unit and split; other columns are ignored. Several rows may name
// one capture. Capture paths are relative to the manifest.
func ReadManifest(path string) ([]Capture, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	captures, err := readManifest(f, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	return captures, nil
}

func readManifest(in io.Reader, dir string) ([]Capture, error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	column := map[string]int{}
	for i, name := range header {
		column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range []string{"capture", "mac", "label"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("column %q is missing in the header %q", name, strings.Join(header, ","))
		}
	}
	var captures []Capture
	place := map[string]int{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return captures, nil
		}
		if err != nil {
			return nil, err
		}
		field := func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		line, _ := r.FieldPos(0)
		device, err := deviceName(field("mac"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		name := field("capture")
		if name == "" {
			return nil, fmt.Errorf("line %d: capture is empty", line)
		}
		i, ok := place[name]
		if !ok {
			i = len(captures)
			place[name] = i
			file := name
			if !filepath.IsAbs(file) {
				file = filepath.Join(dir, filepath.FromSlash(name))
			}
			captures = append(captures, Capture{Name: name, Path: file})
		}
		captures[i].Devices = append(captures[i].Devices, Device{device, field("label"), field("unit"), field("split")})
	}
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
