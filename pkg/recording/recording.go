// Package recording keeps the records of devices to learn from later. In go records as the
// sensor makes them, out come parquet files in a directory: bounded in bytes and days,
// balanced over devices and hours, each whole or not there. It never holds up who makes
// records, and judges nothing.
package recording

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

const (
	// DefaultSize is how many bytes all files take unless told otherwise, LeastSize the
	// least that they can be told.
	DefaultSize = 256 << 20
	LeastSize   = 16 << 20
	// Keep is how long records are kept.
	Keep = 14 * 24 * time.Hour
	// period is the time of a file's records. A file has 350 KB beside its records, for the
	// names and places of its 3,060 columns: with one for each hour that would be most of it.
	period = 6 * time.Hour
	// mostRoom bounds the bytes of records that one file gets, which are in memory before.
	mostRoom = 16 << 20
	// waiting is how many records wait to be taken.
	waiting = 4096
	// last is how long the records that wait may take at the end.
	last = 5 * time.Second

	prefix, suffix = "records-", ".parquet"
	// voidName is the file that says of whom nothing may be left, while something may be.
	voidName = "forgotten.json"
)

// Config says what is recorded, and where.
type Config struct {
	Dir  string
	Size int64            // bytes that all files may take; 0: DefaultSize
	Spec flows.RecordSpec // of the records
	// Spared reports the devices that have half of the room for themselves: a flood of
	// others is not to push them out.
	Spared func(device string) bool
	Label  func(device string) string // that the operator gave it; empty: none
	Log    *slog.Logger
}

// Recorder keeps records. It is safe for concurrent use; a nil one keeps nothing.
type Recorder struct {
	cfg      Config
	queue    *queue.Queue[numbered]
	number   atomic.Uint64 // of the last record that came
	voiding  sync.WaitGroup
	written  atomic.Uint64 // records
	shed     atomic.Uint64 // records that made room
	failures atomic.Uint64 // writes
	bytes    atomic.Uint64 // of the files

	mu   sync.Mutex
	pool *pool
	void map[string]uint64 // number up to which a device's records are not wanted
	told bool              // the last write failed, and that was said

	files sync.Mutex // guards the directory
}

// numbered is a record, and the how many-th it is.
type numbered struct {
	*flows.Record
	number uint64
}

// Open makes the directory ready, which only its owner and group may read, and goes on to
// remove what was to be removed. The caller must Close the Recorder.
func Open(cfg Config) (*Recorder, error) {
	if cfg.Size == 0 {
		cfg.Size = DefaultSize
	}
	r := &Recorder{cfg: cfg, void: map[string]uint64{}}
	r.pool = newPool(int(min(cfg.Size/int64(Keep/period), mostRoom)), cfg.Spared)
	if err := r.prepare(); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	forgotten, err := readVoid(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	if len(forgotten) > 0 {
		r.voiding.Go(func() { r.erase() })
	}
	r.queue = queue.New(waiting, r.take)
	return r, nil
}

// prepare makes the directory, and removes what a process that was killed left half.
func (r *Recorder) prepare() error {
	if err := os.MkdirAll(r.cfg.Dir, 0o750); err != nil {
		return err
	}
	if err := wholefile.Check(filepath.Join(r.cfg.Dir, prefix+suffix)); err != nil {
		return err
	}
	parts, err := filepath.Glob(filepath.Join(r.cfg.Dir, "."+prefix+"*"))
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := os.Remove(p); err != nil {
			return err
		}
	}
	return r.trim(0)
}

// Add takes a record. It never waits.
func (r *Recorder) Add(rec *flows.Record) {
	if r != nil {
		r.queue.Put(numbered{rec, r.number.Add(1)})
	}
}

func (r *Recorder) take(rec numbered) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec.number <= r.void[rec.Device] {
		return nil
	}
	if r.pool.over(rec.FirstSeen) {
		r.write(rec.FirstSeen) // is counted and said
	}
	r.shed.Add(r.pool.add(rec.RowPayload()))
	return nil
}

// Flush writes what is recorded by now.
func (r *Recorder) Flush() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write(math.MaxInt64)
}

// Close writes what is left.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.queue.Close(last)
	r.voiding.Wait()
	return r.Flush()
}

// Stats counts what became of records.
func (r *Recorder) Stats() v1.RecordingStats {
	if r == nil {
		return v1.RecordingStats{}
	}
	return v1.RecordingStats{
		Written: r.written.Load(), Shed: r.shed.Load(), Dropped: r.queue.Dropped(), Failures: r.failures.Load(), Bytes: r.bytes.Load(),
	}
}

// write makes a file of what is in the pool, which is empty then: what could not be written is
// lost. now is the time of what comes next. r.mu is held.
func (r *Recorder) write(now int64) error {
	records := r.pool.drain()
	if len(records) == 0 {
		return nil
	}
	err := r.store(records, now)
	if err == nil {
		r.written.Add(uint64(len(records)))
		r.told = false
		return nil
	}
	r.failures.Add(1)
	if !r.told {
		r.told = true
		r.cfg.Log.Error("recording: records are lost until it can be written again", "records", len(records), "error", err)
	}
	return fmt.Errorf("recording: %w", err)
}

// store writes a file of records in order of time, and removes older ones that it leaves no
// room for.
func (r *Recorder) store(records []*flows.Record, now int64) error {
	r.files.Lock()
	defer r.files.Unlock()
	first := records[0].FirstSeen
	path := r.path(first)
	for at := first; ; at++ {
		if _, err := os.Lstat(path); err != nil {
			break // nothing is there that would be replaced
		}
		path = r.path(at + 1)
	}
	if err := wholefile.Write(path, func(w io.Writer) error {
		return write(w, r.cfg.Spec, func(yield func(*flows.LabelledRecord) bool) {
			for _, rec := range records {
				if !yield(&flows.LabelledRecord{Record: rec, Label: r.cfg.Label(rec.Device), Unit: rec.Device}) {
					return
				}
			}
		})
	}); err != nil {
		return err
	}
	return r.trim(min(now, records[len(records)-1].FirstSeen)) // a clock may have been ahead
}

func (r *Recorder) path(first int64) string {
	return filepath.Join(r.cfg.Dir, prefix+time.UnixMicro(first).UTC().Format("20060102T150405.000000Z")+suffix)
}

// write writes a records file.
func write(w io.Writer, spec flows.RecordSpec, records func(func(*flows.LabelledRecord) bool)) error {
	made, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if f, ok := w.(*os.File); ok {
		if err := f.Chmod(0o640); err != nil {
			return err
		}
	}
	out := recordfile.NewWriter(w, map[string]string{recordfile.SpecKey: string(made)})
	for rec := range records {
		if err := out.Write(rec); err != nil {
			return err
		}
	}
	return out.Close()
}

// Files are a directory's recordings, the oldest first.
func Files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); e.Type().IsRegular() && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	slices.Sort(files)
	return files, nil
}

// trim removes the oldest files until the others are few enough bytes, and those whose records
// are too old at a time, us since the Unix epoch.
func (r *Recorder) trim(now int64) error {
	files, err := Files(r.cfg.Dir)
	if err != nil {
		return err
	}
	oldest, total := r.path(now-Keep.Microseconds()), int64(0)
	for i, path := range slices.Backward(files) {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if total += info.Size(); total > r.cfg.Size && i < len(files)-1 || now > 0 && path < oldest {
			total -= info.Size()
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	r.bytes.Store(uint64(total))
	return nil
}
