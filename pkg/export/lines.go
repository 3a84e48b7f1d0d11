package export

// This file writes records as lines of JSON.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bytes of lines: what they may take where nothing else is said, and the least that they can.
const (
	DefaultSize = 256 << 20
	LeastSize   = 1 << 20
)

// olderSuffix is of the file that holds the lines before those of the file itself.
const olderSuffix = ".1"

// Lines says which file gets a line for each record; without Path none does.
type Lines struct {
	Path string
	Size int64 // bytes of the file and the one before it; 0: DefaultSize
}

// lines is a file that is being written.
type lines struct {
	path   string
	most   int64 // bytes of one file
	counts *counts
	log    *slog.Logger

	mu   sync.Mutex
	file *os.File // nil: it could not be made
	is   os.FileInfo
	size int64
	line bytes.Buffer
	told bool // records are being lost, and that was said
}

func openLines(cfg Lines, counts *counts, log *slog.Logger) (*lines, error) {
	if cfg.Size == 0 {
		cfg.Size = DefaultSize
	}
	l := &lines{path: cfg.Path, most: cfg.Size / 2, counts: counts, log: log}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("flow records: %w", err)
	}
	return l, nil
}

// open opens the file, and takes off it half a line that a process has left that was killed.
func (l *lines) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	l.file = f
	if err := l.prepare(); err != nil {
		f.Close()
		l.file = nil
		return fmt.Errorf("%s: %w", l.path, err)
	}
	return nil
}

func (l *lines) prepare() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	l.is = info
	if err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another process writes it: %w", err)
	}
	begin := make([]byte, 1)
	if n, _ := l.file.ReadAt(begin, 0); n == 1 && begin[0] != '{' {
		return errors.New("it holds something else than flow records: name another")
	}
	if l.size, err = wholeLines(l.file, info.Size()); err != nil {
		return err
	}
	if l.size < info.Size() {
		err = l.file.Truncate(l.size)
	}
	return err
}

// wholeLines is how many of a file's bytes are whole lines.
func wholeLines(f io.ReaderAt, size int64) (int64, error) {
	block := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(0, end-int64(len(block)))
		part := block[:end-from]
		if _, err := f.ReadAt(part, from); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// take writes a record's line whole, or counts it as lost.
func (l *lines) take(r *Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(r)
	if err == nil {
		l.counts.sent.Add(1)
		if l.told {
			l.told = false
			l.log.Info("flow records are written again", "file", l.path)
		}
		return nil
	}
	l.counts.lost.Add(1)
	if !l.told {
		l.told = true
		l.log.Error("flow records are lost until they can be written again", "file", l.path, "error", err)
	}
	return nil
}

func (l *lines) write(r *Record) error {
	l.line.Reset()
	if err := json.NewEncoder(&l.line).Encode(r); err != nil {
		return err
	}
	if l.file != nil && !l.stands() {
		l.file.Close()
		l.file = nil
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size > 0 && l.size+int64(l.line.Len()) > l.most {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.WriteAt(l.line.Bytes(), l.size)
	if err == nil {
		l.size += int64(n)
		return nil
	}
	return errors.Join(err, l.file.Truncate(l.size)) // half a line is none
}

// stands reports whether the file is as it was left: others may remove, rename or cut it.
func (l *lines) stands() bool {
	info, err := os.Stat(l.path)
	return err == nil && os.SameFile(info, l.is) && info.Size() == l.size
}

// rotate begins another file, and keeps the one before.
func (l *lines) rotate() error {
	if err := os.Rename(l.path, l.path+olderSuffix); err != nil {
		return err
	}
	l.file.Close()
	l.file = nil
	return l.open()
}

// end implements way: nothing waits but what a disk holds up.
func (l *lines) end(time.Duration) {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		if l.file != nil {
			l.file.Close()
		}
	}
}
