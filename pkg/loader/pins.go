package loader

// This file pins maps and programs for bpftool.

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/loader/object"
)

// pins are the files of one sensor in a bpffs directory. They are for looking
// only: no sensor takes anything over from them.
type pins struct {
	dir   *os.File // locked while the sensor lives
	files []string
}

// pinAll pins everything below dir, where a killed sensor may have left pins. Pins
// are a convenience: without them the sensor works as well, so whatever fails is
// a warning.
func pinAll(dir string, programs map[string]*ebpf.Program, maps map[string]*ebpf.Map, log *slog.Logger) *pins {
	if dir == "" {
		return nil
	}
	p, err := lockPins(dir)
	if err != nil {
		log.Warn("no pins for bpftool", "directory", dir, "error", err)
		return nil
	}
	names, err := object.Names()
	if err != nil {
		log.Warn("pins of a sensor that was killed may be left", "directory", dir, "error", err)
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("a pin of another sensor is left", "directory", dir, "error", err)
		}
	}
	pin := func(name string, object interface{ Pin(string) error }) {
		path := filepath.Join(dir, name)
		if err := object.Pin(path); err != nil {
			log.Warn("no pin for bpftool", "path", path, "error", err)
			return
		}
		p.files = append(p.files, path)
	}
	for name, program := range programs {
		pin(name, program)
	}
	for name, m := range maps {
		if slices.Contains(names, name) { // not the programs' own data
			pin(name, m)
		}
	}
	return p
}

// lockPins makes the directory and locks it; the lock goes with the process.
func lockPins(dir string) (*pins, error) {
	var where unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(dir), &where); err != nil {
		return nil, err
	}
	if where.Type != unix.BPF_FS_MAGIC {
		return nil, errors.New("not on a bpf file system: mount -t bpf bpf /sys/fs/bpf")
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another sensor has its pins there: choose another --pin")
		}
		return nil, err
	}
	return &pins{dir: f}, nil
}

// remove deletes the pins and, when nothing else is in it, the directory.
func (p *pins) remove() {
	if p == nil || p.dir == nil {
		return
	}
	for _, path := range p.files {
		os.Remove(path)
	}
	os.Remove(p.dir.Name())
	p.dir.Close()
	p.dir = nil
}
