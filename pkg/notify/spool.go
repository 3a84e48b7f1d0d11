package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// What a spool holds at most; then the oldest message makes room.
const (
	mostWaiting = 1000
	mostBytes   = 4 << 20
)

// batch is what one message tells.
type batch struct {
	Notices []v1.Notice
	More    int // others, of which there was no room to tell
}

// without is the batch without what it tells of devices of those names.
func (b batch) without(names []string) batch {
	b.Notices = slices.DeleteFunc(slices.Clone(b.Notices), func(n v1.Notice) bool { return n.Device != nil && slices.Contains(names, *n.Device) })
	return b
}

// spool keeps messages in their order until they are delivered: a file each in a directory,
// or in memory where there is none, or it cannot be written.
type spool struct {
	dir     string // empty: memory
	log     *slog.Logger
	dropped *atomic.Uint64

	mu      sync.Mutex
	waiting []waiting // oldest first
	bytes   int
	number  uint64 // of the newest
	open    uint64 // of one that may become another, and is not delivered yet; 0: none
	failed  bool   // the last file could not be written
	wake    chan struct{}
	stuck   atomic.Bool // the last attempt to deliver failed
}

// waiting is a message that waits.
type waiting struct {
	number uint64
	size   int
	text   []byte // nil: it is in its file
}

const spoolSuffix = ".json"

// openSpool takes up what a process before has left there.
func openSpool(dir string, dropped *atomic.Uint64, log *slog.Logger) (*spool, error) {
	s := &spool{dir: dir, log: log, dropped: dropped, wake: make(chan struct{}, 1)}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	files, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, f := range files {
		number, err := strconv.ParseUint(strings.TrimSuffix(f.Name(), spoolSuffix), 16, 64)
		info, failed := f.Info()
		if err != nil || failed != nil || !info.Mode().IsRegular() || s.path(number) != filepath.Join(dir, f.Name()) {
			if strings.HasPrefix(f.Name(), ".") { // one that was not yet whole
				_ = os.Remove(filepath.Join(dir, f.Name()))
			}
			continue
		}
		s.add(waiting{number: number, size: int(min(info.Size(), mostBytes+1))})
	}
	return s, nil
}

func (s *spool) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", number, spoolSuffix))
}

// put adds a message, in place of the one that is open. An open one is not delivered before
// another takes its place, but by another process.
func (s *spool) put(b batch, open bool) {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := waiting{number: s.number + 1, size: len(text), text: text}
	if n := len(s.waiting); s.open != 0 && n > 0 && s.waiting[n-1].number == s.open { // else it was forgotten
		w.number = s.open
		s.waiting, s.bytes = s.waiting[:n-1], s.bytes-s.waiting[n-1].size
	}
	if s.open = 0; open {
		s.open = w.number
	}
	if s.write(w.number, text) {
		w.text = nil
	}
	s.add(w)
	if open {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write writes a message's file, where there are to be files.
func (s *spool) write(number uint64, text []byte) bool {
	if s.dir == "" {
		return false
	}
	err := wholefile.Write(s.path(number), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil && !s.failed {
		s.log.Error("messages wait in memory: their files cannot be written", "error", err)
	}
	s.failed = err != nil
	return err == nil
}

// add takes a message up, and drops the oldest while there are too many.
func (s *spool) add(w waiting) {
	s.waiting = append(s.waiting, w)
	s.bytes += w.size
	s.number = w.number
	for len(s.waiting) > mostWaiting || s.bytes > mostBytes {
		s.remove(0)
		s.dropped.Add(1)
	}
}

func (s *spool) remove(i int) {
	w := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.bytes -= w.size
	if s.dir != "" {
		if err := os.Remove(s.path(w.number)); err != nil && w.text == nil {
			s.log.Error("a message's file cannot be removed: it may be told again", "error", err)
		}
	}
}

// read is a message that waits.
func (s *spool) read(w waiting) (b batch, err error) {
	text := w.text
	if text == nil {
		if text, err = os.ReadFile(s.path(w.number)); err != nil {
			return b, err
		}
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%s: %w", s.path(w.number), err)
	}
	return b, nil
}

// first returns the oldest message, with its number for done; ok is false where there is none.
func (s *spool) first() (b batch, number uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && s.waiting[0].number != s.open {
		b, err := s.read(s.waiting[0])
		if err == nil && len(b.Notices) > 0 {
			return b, s.waiting[0].number, true
		}
		if err != nil {
			s.log.Error("a message is lost", "error", err)
			s.dropped.Add(1)
		}
		s.remove(0)
	}
	return b, 0, false
}

// next returns the oldest message when there is one; ok is false once ctx has ended.
func (s *spool) next(ctx context.Context) (b batch, number uint64, ok bool) {
	for ctx.Err() == nil {
		if b, number, ok = s.first(); ok {
			return b, number, true
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
	}
	return b, 0, false
}

// done removes a message.
func (s *spool) done(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.waiting, func(w waiting) bool { return w.number == number }); i >= 0 {
		s.remove(i)
	}
}

// forget leaves nothing of devices of those names.
func (s *spool) forget(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(s.waiting); {
		w := &s.waiting[i]
		b, err := s.read(*w)
		rest := b.without(names)
		if err != nil || len(rest.Notices) == 0 {
			s.remove(i)
			continue
		}
		i++
		if len(rest.Notices) == len(b.Notices) {
			continue
		}
		text, err := json.Marshal(rest)
		if err != nil {
			panic(err)
		}
		s.bytes += len(text) - w.size
		w.size = len(text)
		if w.text != nil || !s.write(w.number, text) {
			w.text = text
			_ = os.Remove(s.path(w.number)) // of all that was in it, where there is one
		}
	}
}

func (s *spool) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// drained waits until nothing waits, but not for who cannot be delivered to, nor longer than ctx.
func (s *spool) drained(ctx context.Context) {
	for s.len() > 0 && !s.stuck.Load() && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
}
