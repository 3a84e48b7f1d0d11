package dataset

// This file keeps the windows of a run for random access.

import (
	"context"
	"fmt"
	"iter"

	"github.com/iotsense/iotsense/pkg/flows"
)

// DefaultMemory is how many bytes of rows a [Store] keeps in memory unless told
// otherwise.
const DefaultMemory = 512 << 20

// Store holds labelled windows. Every row is kept once, as bytes, however many
// windows it is in: in memory up to a limit, the rest in a temporary file. A
// window takes 40 bytes beside its rows. Add and Close are for one goroutine;
// in between any number may read.
type Store struct {
	k       int
	rows    rowBytes
	windows []window
	members []uint32 // rows of the windows, k places each
	sources []Source
	known   map[Source]uint32
	streams map[string]map[string]*recent // by capture and device
	buf     []byte
}

// window is one window's place.
type window struct {
	time   int64 // FirstSeen of its newest row
	source uint32
	rows   uint8
}

// Source says where windows come from.
type Source struct {
	Device
	Capture string
}

// recent are the rows of a stream's last window.
type recent struct {
	records []*flows.Record
	rows    []uint32
}

// NewStore returns a store for windows of at most k rows, that keeps the given
// bytes of rows in memory.
func NewStore(k int, memory int64) *Store {
	return &Store{k: k, rows: rowBytes{memory: memory}, known: map[Source]uint32{}, streams: map[string]map[string]*recent{}}
}

// Add keeps a window. Windows of one device and capture come in order: rows that
// were in the last one are recognised by their records.
func (s *Store) Add(e Example) error {
	n := len(e.Rows)
	if n < 1 || n > s.k {
		return fmt.Errorf("a window of %s has %d rows, want 1 to %d", e.Window.Device, n, s.k)
	}
	devices := s.streams[e.Capture]
	if devices == nil {
		devices = map[string]*recent{}
		s.streams[e.Capture] = devices
	}
	last := devices[e.Window.Device]
	if last == nil {
		last = &recent{}
		devices[e.Window.Device] = last
	}
	rows := make([]uint32, 0, s.k)
	records := make([]*flows.Record, 0, s.k)
	for _, r := range e.Rows {
		if r.Record == nil {
			return fmt.Errorf("a window of %s has a row without a record", e.Window.Device)
		}
		id, err := s.row(r, last)
		if err != nil {
			return err
		}
		rows, records = append(rows, id), append(records, r.Record)
	}
	last.rows, last.records = rows, records
	source := Source{e.Device, e.Capture}
	number, ok := s.known[source]
	if !ok {
		number = uint32(len(s.sources))
		s.sources = append(s.sources, source)
		s.known[source] = number
	}
	s.windows = append(s.windows, window{e.Rows[n-1].FirstSeen, number, uint8(n)})
	s.members = append(s.members, rows...)
	s.members = append(s.members, make([]uint32, s.k-n)...)
	return nil
}

// row is the number of a row that the stream's last window had, or a new one.
func (s *Store) row(r flows.Row, last *recent) (uint32, error) {
	for i, rec := range last.records {
		if rec == r.Record {
			return last.rows[i], nil
		}
	}
	s.buf = encodeRow(s.buf[:0], r)
	return s.rows.add(s.buf)
}

// Forget drops what is kept to recognise rows of a capture that has ended.
func (s *Store) Forget(capture string) { delete(s.streams, capture) }

// Close frees the store.
func (s *Store) Close() error { return s.rows.close() }

// Len is the number of windows.
func (s *Store) Len() int { return len(s.windows) }

// K is how many rows a window has at most.
func (s *Store) K() int { return s.k }

// Rows is the number of rows in all windows.
func (s *Store) Rows() int { return len(s.rows.starts) }

// Source says where window i comes from.
func (s *Store) Source(i int) *Source { return &s.sources[s.windows[i].source] }

// Label is the class of window i.
func (s *Store) Label(i int) string { return s.Source(i).Label }

// Time is the first packet of window i's newest row, us since the Unix epoch.
func (s *Store) Time(i int) int64 { return s.windows[i].time }

// Members are the numbers of window i's rows, oldest first.
func (s *Store) Members(i int) []uint32 { return s.members[i*s.k:][:s.windows[i].rows] }

// All are the numbers of all windows.
func (s *Store) All() []int {
	all := make([]int, s.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

// Buffer is where a window is read to: it holds until the next one is. Its zero
// value is ready to use.
type Buffer struct {
	records []flows.Record
	rows    []flows.Row
	bytes   [][]byte
}

// Window reads window i. Its records have what rows show, no times and no
// addresses of the device.
func (s *Store) Window(i int, b *Buffer) (flows.Window, error) {
	w := flows.Window{Device: s.Source(i).Name}
	members := s.Members(i)
	for len(b.records) < len(members) {
		b.records, b.bytes = append(b.records, flows.Record{}), append(b.bytes, nil)
	}
	b.rows = b.rows[:0]
	for at, id := range members {
		row, err := s.read(id, b, at)
		if err != nil {
			return w, err
		}
		b.rows = append(b.rows, row)
	}
	w.Rows = b.rows
	return w, nil
}

// Row reads one row by its number.
func (s *Store) Row(id uint32, b *Buffer) (flows.Row, error) {
	if len(b.records) == 0 {
		b.records, b.bytes = make([]flows.Record, 1), make([][]byte, 1)
	}
	return s.read(id, b, 0)
}

func (s *Store) read(id uint32, b *Buffer, at int) (flows.Row, error) {
	if b.bytes[at] == nil && s.rows.file != nil {
		b.bytes[at] = make([]byte, maxRow)
	}
	data, err := s.rows.row(id, b.bytes[at])
	if err != nil {
		return flows.Row{}, err
	}
	rec := &b.records[at]
	since := decodeRow(data, rec)
	return flows.Row{Record: rec, Since: since}, nil
}

// Distinct gives the rows of some windows, each once, in the order in which the
// windows name them.
func (s *Store) Distinct(windows []int) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		seen := make([]bool, s.Rows())
		for _, i := range windows {
			for _, id := range s.Members(i) {
				if seen[id] {
					continue
				}
				seen[id] = true
				if !yield(id) {
					return
				}
			}
		}
	}
}

// Without are the devices of the set's captures that have no window in the store:
// they sent nothing, or are listed wrongly. Of record files it knows nothing.
func (s *Set) Without(store *Store) []Source {
	var without []Source
	for _, c := range s.captures {
		for _, d := range c.Devices {
			source := Source{d, c.Name}
			if _, ok := store.known[source]; !ok {
				without = append(without, source)
			}
		}
	}
	return without
}

// Fill reads all windows of the set into a store; each must have a label. A
// damaged file does not stop the others, as with [Set.Records]: the store has
// their windows when the error comes. seen gets each window and done each capture
// once it has been read; both may be nil.
func (s *Set) Fill(ctx context.Context, cfg flows.StreamConfig, store *Store, seen func(Example), done func(CaptureSummary)) error {
	return s.windows(ctx, cfg, func(e Example) error {
		if e.Label == "" {
			return fmt.Errorf("%s: device %s has no label: give it one in a --manifest, or leave it out there", e.Capture, e.Name)
		}
		if seen != nil {
			seen(e)
		}
		return store.Add(e)
	}, func(c CaptureSummary) {
		store.Forget(c.Name)
		if done != nil {
			done(c)
		}
	})
}
