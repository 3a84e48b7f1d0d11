package loader

// This file pins maps and programs for bpftool, and for a sensor that comes after.

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/loader/keep"
)

// pins are the files of one sensor in a bpffs directory.
type pins struct {
	dir *os.File // locked while the sensor lives
}

// openPins locks the directory; nil: there is none to be had. Pins are a convenience:
// without them the sensor works as well, so whatever fails is a warning.
func openPins(dir string, log *slog.Logger) *pins {
	if dir == "" {
		return nil
	}
	p, err := lockPins(dir)
	if err != nil {
		log.Warn("no pins for bpftool", "directory", dir, "error", err)
		return nil
	}
	return p
}

// clear removes what a sensor before has left, or this one is to leave no longer.
func (p *pins) clear(log *slog.Logger) {
	if err := keep.Clear(p.dir.Name()); err != nil {
		log.Warn("a pin of another sensor is left", "directory", p.dir.Name(), "error", err)
	}
}

// pinAll pins everything.
func (p *pins) pinAll(programs map[string]*ebpf.Program, maps map[string]*ebpf.Map, log *slog.Logger) {
	if p == nil {
		return
	}
	pin := func(name string, object interface{ Pin(string) error }) {
		path := filepath.Join(p.dir.Name(), name)
		if err := object.Pin(path); err != nil {
			log.Warn("no pin for bpftool", "path", path, "error", err)
		}
	}
	for name, program := range programs {
		pin(name, program)
	}
	for name, m := range maps {
		if !strings.HasPrefix(name, ".") { // not the programs' own data
			pin(name, m)
		}
	}
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
func (p *pins) remove(log *slog.Logger) {
	if p == nil || p.dir == nil {
		return
	}
	p.clear(log)
	os.Remove(p.dir.Name())
	p.unlock()
}

// unlock leaves the pins to the next sensor.
func (p *pins) unlock() {
	p.dir.Close()
	p.dir = nil
}
