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
	write, err := pcapWriter(w)
	if err != nil {
		return err
	}
	for i, f := range c.Frames {
		if err := write(f); err != nil {
			return fmt.Errorf("frame %d of %s: %w", i, c.Label, err)
		}
	}
	return nil
}

// pcapWriter writes a pcap file's header and returns what writes its frames.
func pcapWriter(w io.Writer) (func(Frame) error, error) {
	p := pcapgo.NewWriter(w)
	if err := p.WriteFileHeader(snapLen, layers.LinkTypeEthernet); err != nil {
		return nil, fmt.Errorf("write pcap header: %w", err)
	}
	return func(f Frame) error {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := p.WritePacket(info, f.Data); err != nil {
			return fmt.Errorf("write pcap frame: %w", err)
		}
		return nil
	}, nil
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
	return writeDataset(ctx, dir, units, captures, func(k string, u, n int, file io.Writer) (Recording, error) {
		r := newRand("dataset", k, u, n, seed)
		length := shortestCapture + time.Duration(r.Int64N(int64(longestCapture-shortestCapture)))
		c, err := Generate(k, u, r.Int64(), length)
		if err != nil {
			return c, err
		}
		return c, WritePCAP(file, c)
	})
}

// WriteDays is [WriteDataset] with captures that [Day] makes, all of one length. The
// n-th captures of all units are of one home, at one time.
func WriteDays(ctx context.Context, dir string, units, captures int, seed int64, length time.Duration) error {
	return writeDataset(ctx, dir, units, captures, func(k string, u, n int, file io.Writer) (Recording, error) {
		write, err := pcapWriter(file)
		if err != nil {
			return Recording{}, err
		}
		var first []Frame
		c, err := Day(k, u, newRand("days", n, seed).Int64(), length, func(f Frame) error {
			if first == nil {
				first = []Frame{f}
			}
			return errors.Join(ctx.Err(), write(f))
		})
		c.Frames = first
		return c, err
	})
}

// writeDataset writes what write does for a kind, a unit and a capture's number, and
// the manifest. Of what it returns only the first frame counts.
func writeDataset(ctx context.Context, dir string, units, captures int, write func(kind string, unit, n int, file io.Writer) (Recording, error)) error {
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
				unit := fmt.Sprintf("%s-%d", k, u)
				name := filepath.Join(unit, fmt.Sprintf("capture-%d.pcap", n))
				var c Recording
				err := create(filepath.Join(dir, name), func(file io.Writer) (err error) {
					c, err = write(k, u, n, file)
					return err
				})
				if err != nil {
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

// create writes a file, in a directory that it makes, through a buffer.
func create(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("lab data set: %w", err)
	}
	err := wholefile.Write(path, func(f io.Writer) error {
		b := bufio.NewWriter(f)
		return errors.Join(write(b), b.Flush())
	})
	if err != nil {
		return fmt.Errorf("lab data set: write %s: %w", path, err)
	}
	return nil
}
