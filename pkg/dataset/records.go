package dataset

// This file reads records files: which captures they hold, in which order they come,
// and what of them has been read already.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// span is what is known of one capture inside parquet files.
type span struct {
	summary     CaptureSummary
	devices     map[Device]bool // of the summary
	first, last int64
}

// spans are captures in the order in which they were met.
type spans struct {
	order  []*span
	byName map[string]*span
}

func newSpans() *spans { return &spans{byName: map[string]*span{}} }

// add notes a record with its capture.
func (s *spans) add(r flows.LabelledRecord) {
	sp := s.byName[r.Capture]
	if sp == nil {
		sp = &span{summary: CaptureSummary{Name: r.Capture}, devices: map[Device]bool{}, first: r.FirstSeen, last: r.FirstSeen}
		s.byName[r.Capture] = sp
		s.order = append(s.order, sp)
	}
	sp.summary.Records++
	sp.first, sp.last = min(sp.first, r.FirstSeen), max(sp.last, r.FirstSeen)
	if d := (Device{r.Device, r.Label, r.Unit, r.Split}); !sp.devices[d] {
		sp.devices[d] = true
		sp.summary.Devices = append(sp.summary.Devices, d)
	}
}

// end gives the summaries to done.
func (s *spans) end(done func(CaptureSummary) error) error {
	for _, sp := range s.order {
		sp.summary.Duration = time.Duration(sp.last-sp.first)*time.Microsecond + flows.Lifetime
		if err := done(sp.summary); err != nil {
			return err
		}
	}
	return nil
}

// stream is a device in a capture.
type stream struct{ capture, device string }

// times are the times of what has been read.
type times struct {
	captures map[string][]stretched // of capture files, by the last part of their names
	streams  map[stream]ended       // of records files
}

// stretched is a capture file and its time, us since 1970.
type stretched struct {
	name        string
	first, last int64
}

// ended is where a device's records of a capture end, and the file that they are in.
type ended struct {
	at     int64
	number int // of the file
	file   string
}

// RefusedError is of records that do not go together with others: what was read of them
// is no data set, not even in part.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// Refused reports whether an error of [Set.Records] is a RefusedError.
func Refused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

func newTimes() *times { return &times{map[string][]stretched{}, map[stream]ended{}} }

// capture notes a capture file that has been read.
func (t *times) capture(c CaptureSummary) {
	name := path.Clean(c.Name)
	t.captures[path.Base(name)] = append(t.captures[path.Base(name)], stretched{name, c.Stats.First, c.Stats.Last})
}

// twice refuses a record of a capture whose file has been read too: what `extract` made
// of a directory counts again beside it.
func (t *times) twice(r flows.LabelledRecord) error {
	if r.Capture == "" {
		return nil
	}
	name := path.Clean(r.Capture)
	for _, c := range t.captures[path.Base(name)] {
		if (c.name == name || strings.HasSuffix(c.name, "/"+name) || strings.HasSuffix(name, "/"+c.name)) && c.first <= r.FirstSeen && r.FirstSeen <= c.last {
			return fmt.Errorf("it holds records of capture %s, which is read too: leave one of the two out", c.name)
		}
	}
	return nil
}

// follow refuses a record that comes before one of its device and capture in a file read
// earlier: windows would be of records that do not follow each other.
func (t *times) follow(r flows.LabelledRecord, number int, file string) error {
	s := stream{r.Capture, r.Device}
	before, known := t.streams[s]
	if known && before.number != number && r.FirstSeen <= before.at {
		return fmt.Errorf("device %s of capture %q has a record at %s, before the last of %s: put its records into one file", r.Device, r.Capture,
			time.UnixMicro(r.FirstSeen).UTC().Format(time.RFC3339Nano), before.file)
	}
	at := r.FirstSeen
	if known && before.number == number {
		at = max(at, before.at)
	}
	t.streams[s] = ended{at, number, file}
	return nil
}

// readParquets reads the records files. One that is damaged does not stop the others.
func (s *Set) readParquets(ctx context.Context, seen *times, emit func(flows.LabelledRecord) error, done func(CaptureSummary) error) (damaged []error, err error) {
	unnamed := newSpans()
	files, err := s.inOrder(ctx)
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		s.progress(len(s.captures)+i, file)
		wrong, err := s.readParquet(ctx, i, file, seen, unnamed, emit, done)
		if err != nil {
			return nil, err
		}
		if wrong != nil {
			damaged = append(damaged, wrong)
		}
	}
	return damaged, unnamed.end(done)
}

// inOrder are the records files by their first record of no capture: these are one
// capture, whichever way its days are named. A file that cannot be read stays where it is.
func (s *Set) inOrder(ctx context.Context) ([]string, error) {
	files := slices.Clone(s.parquet)
	if len(files) < 2 {
		return files, nil
	}
	var places []int
	starts := map[string]int64{}
	for i, file := range files {
		first, ok, err := recordfile.FirstUnnamed(ctx, file)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && ok {
			places = append(places, i)
			starts[file] = first
		}
	}
	sorted := make([]string, len(places))
	for i, place := range places {
		sorted[i] = files[place]
	}
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(starts[a], starts[b]) })
	for i, place := range places {
		files[place] = sorted[i]
	}
	return files, nil
}

// readParquet reads one records file, in its turn; its captures are told apart by its Capture
// column. Records of no capture go to unnamed: they are one capture, over as many
// files as there are, such as the published data set's one a day. err is the file's
// damage, fatal what must end the run.
func (s *Set) readParquet(ctx context.Context, number int, file string, seen *times, unnamed *spans, emit func(flows.LabelledRecord) error, done func(CaptureSummary) error) (err, fatal error) {
	named := newSpans()
	read, other := 0, 0
	err = recordfile.Read(ctx, file, s.checkRecords, func(r flows.LabelledRecord) error {
		if read++; !s.wanted(r.Split) {
			other++
			return nil
		}
		if !s.opts.Period.Contains(r.FirstSeen) || s.part != nil && !s.part(r.Capture, r.Device) {
			return nil
		}
		if err := cmp.Or(seen.twice(r), seen.follow(r, number, file)); err != nil {
			fatal = &RefusedError{fmt.Errorf("records %s: %w", file, err)}
			return fatal
		}
		if r.Capture == "" {
			unnamed.add(r)
		} else {
			named.add(r)
		}
		fatal = emit(r)
		return fatal
	})
	if fatal == nil {
		fatal = ctx.Err()
	}
	if fatal != nil {
		return nil, fatal
	}
	if err != nil && read > 0 {
		err = &PartialError{err}
	}
	if err == nil && other > 0 && other == read {
		err = fmt.Errorf("records %s: none of its %d records is of --split %s", file, other, strings.Join(s.opts.Splits, ","))
	}
	if err == nil && read == 0 { // else nobody would hear of the file
		return nil, done(CaptureSummary{Name: plaintext.Escape(file)})
	}
	return err, named.end(done)
}
