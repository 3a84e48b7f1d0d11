package lab

// This file holds captures on disk: pcap files and whole data sets.

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/wholefile"
)

// snapLen is the pcap header's limit; no lab frame comes near it.
const snapLen = 262144

// WritePCAP writes a capture as a little-endian pcap file of microseconds,
// link type Ethernet.
func WritePCAP(w io.Writer, c Recording) error {
	p := pcapgo.NewWriter(w)
	if err := p.WriteFileHeader(snapLen, layers.LinkTypeEthernet); err != nil {
		return fmt.Errorf("write pcap header: %w", err)
	}
	for i, f := range c.Frames {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := p.WritePacket(info, f.Data); err != nil {
			return fmt.Errorf("write pcap frame %d of %s: %w", i, c.Label, err)
		}
	}
	return nil
}

// Dataset's lengths: long enough for rollovers, short enough to write quickly.
const (
	shortestCapture = 60 * time.Second
	longestCapture  = 180 * time.Second
)

// WriteDataset writes captures of units of every kind below dir, each in a home
// of its own, and a manifest.csv with the columns capture, mac, label, unit,
// split and start_epoch. A third of the units, at least one of two, are
// split=test: no unit is in both splits. Captures last one to three minutes. Where
// ctx ends it, there is no manifest.
func WriteDataset(ctx context.Context, dir string, units, captures int, seed int64) error {
	if units < 2 || captures < 1 {
		return fmt.Errorf("lab data set of %d units, %d captures each: want at least 2 units (one to test on) and 1 capture", units, captures)
	}
	manifest := filepath.Join(dir, "manifest.csv")
	if err := checkManifest(manifest); err != nil {
		return err
	}
	rows := [][]string{manifestColumns}
	for _, k := range Kinds() {
		for u := range units {
			split := "train"
			if u >= units-max(1, units/3) {
				split = "test"
			}
			for n := range captures {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("lab data set: %w", err)
				}
				r := newRand("dataset", k, u, n, seed)
				length := shortestCapture + time.Duration(r.Int64N(int64(longestCapture-shortestCapture)))
				c, err := Generate(k, u, r.Int64(), length)
				if err != nil {
					return err
				}
				unit := fmt.Sprintf("%s-%d", k, u)
				name := filepath.Join(unit, fmt.Sprintf("capture-%d.pcap", n))
				if err := writeFile(filepath.Join(dir, name), c); err != nil {
					return err
				}
				rows = append(rows, []string{filepath.ToSlash(name), c.Device.String(), c.Label, unit, split, strconv.FormatInt(c.Frames[0].Time.Unix(), 10)})
			}
		}
	}
	return create(manifest, func(w io.Writer) error { return csv.NewWriter(w).WriteAll(rows) })
}

// manifestColumns are those of a data set's manifest.
var manifestColumns = []string{"capture", "mac", "label", "unit", "split", "start_epoch"}

// checkManifest refuses to replace a manifest that is not of an earlier data set of the
// lab.
func checkManifest(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lab data set: %w", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	own := err == nil && len(rows) > 0 && slices.Equal(rows[0], manifestColumns)
	for i := 1; own && i < len(rows); i++ {
		unit := rows[i][3]
		own = slices.ContainsFunc(Kinds(), func(k string) bool { return strings.HasPrefix(unit, k+"-") })
	}
	if !own {
		return fmt.Errorf("lab data set: %s is a manifest of other captures: name another directory", path)
	}
	return nil
}

func writeFile(path string, c Recording) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("lab data set: %w", err)
	}
	return create(path, func(w io.Writer) error { return WritePCAP(w, c) })
}

// create writes a file through a buffer.
func create(path string, write func(io.Writer) error) error {
	err := wholefile.Write(path, func(f io.Writer) error {
		b := bufio.NewWriter(f)
		return errors.Join(write(b), b.Flush())
	})
	if err != nil {
		return fmt.Errorf("lab data set: write %s: %w", path, err)
	}
	return nil
}
