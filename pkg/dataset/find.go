package dataset

// This file finds the files of directories.

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
	"github.com/iotsense/iotsense/pkg/pcap"
)

// Passed is an entry of a directory that is not read, and why.
type Passed struct{ Path, Why string }

// Passed are the entries of directories that were passed over.
func (s *Set) Passed() []Passed { return s.passed }

// find lists files and walks directories.
func (s *Set) find(paths []string) error {
	met := map[string]bool{}
	for _, p := range paths {
		if p == "-" {
			s.addCapture(p)
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
		if !info.IsDir() {
			s.addFile(p, info, met)
			continue
		}
		before, passed := s.Len(), len(s.passed)
		if err := s.walk(p, met); err != nil {
			return fmt.Errorf("data: %w", err)
		}
		again := slices.ContainsFunc(s.passed[passed:], func(p Passed) bool { return p.Why == listed })
		if s.Len() == before && !again {
			return fmt.Errorf("data: %s holds no .pcap, .pcapng, .cap or .parquet file, nor one of another name that is a capture%s", p, s.firstPassed(p))
		}
	}
	return nil
}

// firstPassed says of one entry below dir why it is not read.
func (s *Set) firstPassed(dir string) string {
	for _, p := range s.passed {
		if strings.HasPrefix(p.Path, dir) && p.Why != noCapture {
			return fmt.Sprintf(": %s: %s", p.Path, p.Why)
		}
	}
	return ""
}

// walk lists what is in a directory and those below it, by name. Links are followed;
// met are the real paths of what has been listed, so that none leads in a circle or
// to a file a second time.
func (s *Set) walk(dir string, met map[string]bool) error {
	if first, err := s.meet(dir, met); !first || err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		switch {
		case err != nil && e.Type()&fs.ModeSymlink != 0:
			s.pass(path, "a link to nothing that can be read")
		case err != nil:
			return err
		case info.IsDir():
			if err := s.walk(path, met); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			s.pass(path, "no regular file")
		default:
			if err := s.consider(path, met); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reasons for which entries are passed over.
const (
	listed    = "listed already under another name"
	noCapture = "no capture"
)

// meet notes a path, and passes it over if it was met before under any name.
func (s *Set) meet(path string, met map[string]bool) (first bool, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return false, err
	}
	if met[real] {
		s.pass(path, listed)
		return false, nil
	}
	met[real] = true
	return true, nil
}

func (s *Set) pass(path, why string) {
	s.passed = append(s.passed, Passed{path, why})
}

// consider lists a directory's file if it is a capture or a records file by what is
// in it, or is called one: what is wrong with it is told when it is read.
func (s *Set) consider(path string, met map[string]bool) error {
	kind, gzipped, err := identify(path)
	if s.isOutput(path) {
		if kind.IsCapture() || kind == pcap.Parquet && !recordfile.IsExtracted(path) {
			return fmt.Errorf("%s is to be read and to be written: name another output", path)
		}
		s.pass(path, "the output")
		return nil
	}
	if !kind.IsCapture() && (kind != pcap.Parquet || gzipped) && !isDataFile(path) {
		s.pass(path, cmp.Or(problem(err), unpack(kind, gzipped), noCapture))
		return nil
	}
	first, err := s.meet(path, met)
	if first {
		s.add(path, kind == pcap.Parquet && !gzipped)
	}
	return err
}

// isOutput reports whether a file is one of those that are about to be written, under
// whatever name.
func (s *Set) isOutput(path string) bool {
	for _, o := range s.opts.Outputs {
		written, err := os.Stat(o)
		if err != nil {
			continue
		}
		if info, err := os.Stat(path); err == nil && os.SameFile(written, info) {
			return true
		}
	}
	return false
}

// unpack says that a file may be of use when it is unpacked, if so.
func unpack(kind pcap.Kind, gzipped bool) string {
	switch {
	case kind == pcap.Parquet:
		return "a gzipped parquet file: unpack it first"
	case kind.Compressed() && !gzipped:
		return fmt.Sprintf("compressed with %s: unpack it first", kind)
	}
	return ""
}

func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// identify looks what a file holds.
func identify(path string) (kind pcap.Kind, gzipped bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return pcap.Unknown, false, err
	}
	defer f.Close()
	return pcap.Identify(f)
}

// addFile lists a file that was named itself, unless it is listed already. One that has
// no name any more, such as /dev/fd/3, is another each time.
func (s *Set) addFile(path string, info fs.FileInfo, met map[string]bool) {
	if !info.Mode().IsRegular() { // from a pipe nothing can be read twice
		s.add(path, false)
		return
	}
	if first, err := s.meet(path, met); !first && err == nil {
		return
	}
	kind, gzipped, _ := identify(path) // what is wrong is told when it is read
	s.add(path, kind == pcap.Parquet && !gzipped)
}

// add lists a file; parquet says that it is one by what is in it.
func (s *Set) add(path string, parquet bool) {
	if parquet || strings.EqualFold(filepath.Ext(path), ".parquet") {
		s.parquet = append(s.parquet, path)
		return
	}
	s.addCapture(path)
}

func (s *Set) addCapture(path string) {
	s.captures = append(s.captures, Capture{Name: plaintext.Escape(path), Path: path})
}

// isDataFile reports whether a file is called a capture or a records file.
func isDataFile(path string) bool {
	switch filepath.Ext(strings.TrimSuffix(strings.ToLower(path), ".gz")) {
	case ".pcap", ".pcapng", ".cap", ".parquet":
		return true
	}
	return false
}
