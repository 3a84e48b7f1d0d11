package dataset

// This file keeps the streams of a run for random access.

import (
	"context"
	"fmt"
	"iter"

	"github.com/iotsense/iotsense/pkg/flows"
)

// DefaultMemory is how many bytes of rows a [Store] keeps in memory unless told
// otherwise.
const DefaultMemory = 512 << 20

// Store holds the rows of labelled streams, each once, as bytes: in memory up to a
// limit, the rest in a temporary file. Its examples are those rows that are to be
// judged; one takes 40 bytes beside its row. Add and Close are for one goroutine; in
// between any number may read.
type Store struct {
	rows     rowBytes
	examples []example
	streams  [][]uint32                   // rows of each, in order
	open     map[string]map[string]uint32 // streams that may go on, by capture and device
	sources  []Source
	known    map[Source]uint32
	buf      []byte
}

// example is one example's place.
type example struct {
	source uint32
	stream uint32
	place  uint32 // of its row in the stream
	at     int64  // when its record began, in us of the capture before any change; 0: it is made
}

// Source says where rows come from.
type Source struct {
	Device
	Capture string
}

// NewStore returns an empty store that keeps the given bytes of rows in memory.
func NewStore(memory int64) *Store {
	return &Store{rows: rowBytes{memory: memory}, open: map[string]map[string]uint32{}, known: map[Source]uint32{}}
}

// Add keeps the next row of a stream; number 0 begins one. judged makes it an
// example.
func (s *Store) Add(e Example, judged bool) error {
	if e.Record == nil {
		return fmt.Errorf("a row of %s has no record", e.Name)
	}
	devices := s.open[e.Capture]
	if devices == nil {
		devices = map[string]uint32{}
		s.open[e.Capture] = devices
	}
	stream, ok := devices[e.Name]
	if !ok || e.Number == 0 {
		stream = uint32(len(s.streams))
		s.streams, devices[e.Name] = append(s.streams, nil), stream
	}
	if have := len(s.streams[stream]); have != e.Number {
		return fmt.Errorf("row %d of %s comes after %d others", e.Number, e.Name, have)
	}
	s.buf = encodeRow(s.buf[:0], e.Row)
	row, err := s.rows.add(s.buf)
	if err != nil {
		return err
	}
	s.streams[stream] = append(s.streams[stream], row)
	if judged {
		s.examples = append(s.examples, example{s.source(Source{e.Device, e.Capture}), stream, uint32(e.Number), e.Record.FirstSeen - e.Later})
	}
	return nil
}

// Mix adds a stream of rows that the store has, by their numbers. Those from the place
// first on are examples, whose numbers it returns.
func (s *Store) Mix(from Source, rows []uint32, first int) (examples []int, err error) {
	for _, id := range rows {
		if int(id) >= s.Rows() {
			return nil, fmt.Errorf("row %d of %d is to be mixed with others", id, s.Rows())
		}
	}
	stream := uint32(len(s.streams))
	s.streams = append(s.streams, rows)
	for place := first; place < len(rows); place++ {
		examples = append(examples, len(s.examples))
		s.examples = append(s.examples, example{s.source(from), stream, uint32(place), 0})
	}
	return examples, nil
}

func (s *Store) source(from Source) uint32 {
	number, ok := s.known[from]
	if !ok {
		number = uint32(len(s.sources))
		s.sources = append(s.sources, from)
		s.known[from] = number
	}
	return number
}

// End drops what is kept to go on with the streams of a capture.
func (s *Store) End(capture string) { delete(s.open, capture) }

// Close frees the store.
func (s *Store) Close() error { return s.rows.close() }

// Len is the number of examples.
func (s *Store) Len() int { return len(s.examples) }

// Rows is the number of rows of all streams.
func (s *Store) Rows() int { return len(s.rows.starts) }

// Source says where example i comes from.
func (s *Store) Source(i int) *Source { return &s.sources[s.examples[i].source] }

// Label is the class of example i.
func (s *Store) Label(i int) string { return s.Source(i).Label }

// Stream is the number of example i's stream, and the place of its row in it.
func (s *Store) Stream(i int) (stream, place int) {
	return int(s.examples[i].stream), int(s.examples[i].place)
}

// Members are the numbers of the last rows up to example i's, at most span of them
// and oldest first; all of the stream's so far when span is 0.
func (s *Store) Members(i, span int) []uint32 {
	e := &s.examples[i]
	from := 0
	if span > 0 {
		from = max(0, int(e.place)+1-span)
	}
	return s.streams[e.stream][from : e.place+1]
}

// All are the numbers of all examples.
func (s *Store) All() []int {
	all := make([]int, s.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

// Buffer is where rows are read to: they hold until the next ones are. Its zero
// value is ready to use.
type Buffer struct {
	records []*flows.Record
	rows    []flows.Row
	bytes   [][]byte
}

// grow makes room for n rows.
func (b *Buffer) grow(n int) {
	for len(b.records) < n {
		b.records, b.bytes = append(b.records, &flows.Record{}), append(b.bytes, nil)
	}
}

// Read reads the rows that [Store.Members] names. Their records have what rows show,
// no times and no addresses of the device.
func (s *Store) Read(i, span int, b *Buffer) ([]flows.Row, error) {
	members := s.Members(i, span)
	b.grow(len(members))
	b.rows = b.rows[:0]
	for at, id := range members {
		row, err := s.read(id, b, at)
		if err != nil {
			return nil, err
		}
		b.rows = append(b.rows, row)
	}
	return b.rows, nil
}

// Row reads one row by its number.
func (s *Store) Row(id uint32, b *Buffer) (flows.Row, error) {
	b.grow(1)
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
	rec := b.records[at]
	since := decodeRow(data, rec)
	return flows.Row{Record: rec, Since: since}, nil
}

// Distinct gives the rows that examples rest on, see [Store.Members], each once, in
// the order in which the examples name them.
func (s *Store) Distinct(examples []int, span int) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		seen := make([]bool, s.Rows())
		given := make([]uint32, len(s.streams)) // rows of each whole stream
		for _, i := range examples {
			members := s.Members(i, span)
			if e := &s.examples[i]; span == 0 {
				members = members[min(given[e.stream], e.place+1):]
				given[e.stream] = max(given[e.stream], e.place+1)
			}
			for _, id := range members {
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

// Without are the devices of the set's captures that have no example in the store:
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

// Fill reads all streams of the set into a store; each must have a label. Rows from
// the number first on are examples. A damaged file does not stop the others, as with
// [Set.Records]: the store has their streams when the error comes.
// seen gets each row once it is in the store, and whether it is an example; done each
// capture once it has been read; both may be nil.
func (s *Set) Fill(ctx context.Context, spec flows.StreamSpec, first int, store *Store, seen func(e Example, judged bool), done func(CaptureSummary)) error {
	return s.steps(ctx, spec, func(e Example) error {
		if e.Label == "" {
			return fmt.Errorf("%s: device %s has no label: give it one in a --manifest, or leave it out there", e.Capture, e.Name)
		}
		judged := e.Number >= first
		if err := store.Add(e, judged); err != nil {
			return err
		}
		if seen != nil {
			seen(e, judged)
		}
		return nil
	}, func(c CaptureSummary) {
		store.End(c.Name)
		if done != nil {
			done(c)
		}
	})
}
