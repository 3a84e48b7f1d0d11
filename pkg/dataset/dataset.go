// Package dataset finds capture and record files, says which devices they hold,
// and gives their records and windows to training, evaluation and the commands
// that only look. In go paths and a manifest, out come labelled records in order
// and windows that never reach across two captures. It never changes a record.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// Options say where the data lies and which part of it is wanted.
type Options struct {
	Data     []string // capture or parquet files and directories of them
	Manifest string   // CSV file that names captures and their devices; optional
	Splits   []string // only devices of these splits; empty: all
	Period   Period   // only records that begin in it
	Capture  capture.Config
	// WholePayloads keeps, of captures, the payload bytes that no row of Capture's
	// spec holds too.
	WholePayloads bool
	// AnyDirection takes records files of another direction than Capture's too.
	AnyDirection bool
	// Others, if not empty, is the label of machines in a manifest's captures that none of
	// its lines names. Only those of captures that are wanted with all their devices are
	// given out.
	Others   string
	Progress func(done, total int, name string) // called before each file; may be nil
	// Outputs are files about to be written: records of an earlier run that a directory
	// holds under such a name are left out of it, a capture there is an error.
	Outputs []string
}

// Set is a list of files to read.
type Set struct {
	opts     Options
	captures []Capture                         // pcap files
	parquet  []string                          // record files
	passed   []Passed                          // what directories hold beside them
	listed   map[string]bool                   // devices of the manifest, in any capture
	lines    map[string]int                    // devices of the manifest, by capture
	part     func(capture, device string) bool // set by Restrict
	change   Change
	begin    func()            // what observes samples
	was      map[string]string // devices of the capture that is read, by their names in changed packets
	later    int64             // us that its packets are later than they were
}

// Change begins a change of the packets of a capture with the listed devices.
type Change func(capture string, devices []string) capture.Changer

// Changeable names a records file of the set: it holds no packets to change.
func (s *Set) Changeable() error {
	if len(s.parquet) > 0 {
		return fmt.Errorf("%s: records cannot be changed as packets can: name the captures they were made of", s.parquet[0])
	}
	return nil
}

// Observe has what takes samples of captures' packets before records are made of them, see
// [capture.Config], of the set's period alone; devices have the names of changed packets.
// begin is called before those of each capture. nil: no longer.
func (s *Set) Observe(begin func(), by func(device string, sent bool, at int64, sample *flows.Sample)) {
	s.begin, s.opts.Capture.Observe = begin, by
}

// observe begins a capture, whose packets are so much later than they were.
func (s *Set) observe(later int64) func(device string, sent bool, at int64, sample *flows.Sample) {
	by := s.opts.Capture.Observe
	if by == nil {
		return nil
	}
	s.begin()
	return func(device string, sent bool, at int64, sample *flows.Sample) {
		if s.opts.Period.Contains(at - later) {
			by(device, sent, at, sample)
		}
	}
}

// Change has the packets of captures changed from now on; nil: no longer. Devices and
// their records have the names of the changed packets. The error is of Changeable.
func (s *Set) Change(by Change) error {
	s.change, s.was, s.later = by, nil, 0
	if by == nil {
		return nil
	}
	return s.Changeable()
}

// Open lists the files that the options name. The error says which path is
// missing or of no use.
func Open(opts Options) (*Set, error) {
	s := &Set{opts: opts}
	if opts.Manifest == "" {
		if len(opts.Data) == 0 {
			return nil, errors.New("no data: name capture files, directories or parquet files, or a --manifest")
		}
		return s, s.find(opts.Data)
	}
	listed, err := ReadManifest(opts.Manifest)
	if err != nil {
		return nil, err
	}
	s.listed, s.lines = map[string]bool{}, map[string]int{}
	for _, c := range listed {
		for _, d := range c.Devices {
			s.listed[d.Name] = true
		}
	}
	if len(opts.Data) > 0 {
		if listed, err = below(listed, opts.Data); err != nil {
			return nil, err
		}
		if len(listed) == 0 {
			return nil, fmt.Errorf("manifest %s: it lists no capture in %s", opts.Manifest, strings.Join(opts.Data, ", "))
		}
	}
	var splits []string // that there are
	for _, c := range listed {
		for _, d := range c.Devices {
			splits = append(splits, fmt.Sprintf("%q", d.Split))
		}
		s.lines[c.Name] = len(c.Devices)
		c.Devices = slices.DeleteFunc(c.Devices, func(d Device) bool { return !s.wanted(d.Split) })
		if len(c.Devices) > 0 {
			s.captures = append(s.captures, c)
		}
	}
	if len(s.captures) == 0 {
		slices.Sort(splits)
		return nil, fmt.Errorf("manifest %s: no capture of --split %s: its splits are %s", opts.Manifest, strings.Join(opts.Splits, ","), strings.Join(slices.Compact(splits), ", "))
	}
	return s, nil
}

func (s *Set) wanted(split string) bool {
	return len(s.opts.Splits) == 0 || slices.Contains(s.opts.Splits, split)
}

// Len is the number of files.
func (s *Set) Len() int { return len(s.captures) + len(s.parquet) }

// RecordsFiles is how many of them are records files.
func (s *Set) RecordsFiles() int { return len(s.parquet) }

// below keeps the captures that are, or lie below, one of the paths.
func below(listed []Capture, paths []string) ([]Capture, error) {
	var kept []Capture
	roots := map[string]bool{}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		names, err := names(p)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			roots[n] = true
		}
	}
	for _, c := range listed {
		names, err := names(c.Path)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(names, func(n string) bool { return isBelow(n, roots) }) {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// names are a path as it is named, and where its links lead if it is there.
func names(path string) ([]string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return []string{abs, real}, nil
	}
	return []string{abs}, nil
}

// isBelow reports whether an absolute path is, or lies below, one of the roots.
func isBelow(path string, roots map[string]bool) bool {
	for {
		if roots[path] {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}

// CaptureSummary is what was found in one capture.
type CaptureSummary struct {
	Name     string
	Devices  []Device      // those listed, else those seen
	Unseen   []Device      // those listed of which there is no record
	Duration time.Duration // of the part that lies in the period
	Stats    capture.Stats // zero for parquet
	Records  int           // given to emit
}

// Records gives every record of the set to emit, capture by capture, and a
// summary of each capture once something of it has been read. A damaged file does not stop
// the others: its readable part is emitted, and all such errors are returned
// together at the end. An error of emit ends it.
func (s *Set) Records(ctx context.Context, emit func(flows.LabelledRecord) error, done func(CaptureSummary) error) error {
	var damaged []error
	seen := newTimes()
	given := 0
	count := func(r flows.LabelledRecord) error {
		given++
		return emit(r)
	}
	for i := range s.captures {
		c := &s.captures[i]
		s.progress(i, c.Name)
		summary, err, fatal := s.readCapture(ctx, c, count)
		if fatal != nil {
			return fatal
		}
		if err != nil && summary.Stats.Seen > 0 {
			err = &PartialError{err}
		}
		if err != nil {
			damaged = append(damaged, err)
		}
		if s.elsewhen(summary) || err != nil && summary.Stats.Seen == 0 { // of other days, or not read at all
			continue
		}
		seen.capture(summary)
		if err := done(summary); err != nil {
			return err
		}
	}
	wrong, err := s.readParquets(ctx, seen, count, done)
	if err != nil {
		return err
	}
	damaged = append(damaged, wrong...)
	if given == 0 && !s.opts.Period.IsZero() {
		damaged = append(damaged, fmt.Errorf("no record begins on the days %v", s.opts.Period))
	}
	return errors.Join(damaged...)
}

// elsewhen reports whether a capture is of other dates than those wanted.
func (s *Set) elsewhen(c CaptureSummary) bool {
	return c.Records == 0 && !s.opts.Period.IsZero()
}

// PartialError is what ended the reading of a capture after some packets: their
// records were given out.
type PartialError struct{ Err error }

func (e *PartialError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *PartialError) Unwrap() error { return e.Err }

// InPart is how many captures an error says were read in part.
func InPart(err error) int {
	switch e := err.(type) {
	case *PartialError:
		return 1
	case interface{ Unwrap() error }:
		return InPart(e.Unwrap())
	case interface{ Unwrap() []error }:
		n := 0
		for _, one := range e.Unwrap() {
			n += InPart(one)
		}
		return n
	}
	return 0
}

// OnlyPartial reports whether an error says nothing but that captures were read in
// part, so that what was read can be used.
func OnlyPartial(err error) bool {
	switch e := err.(type) {
	case *PartialError:
		return !errors.As(e, new(*flows.AccountingError)) // what was read cannot be trusted
	case interface{ Unwrap() error }:
		return OnlyPartial(e.Unwrap())
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !OnlyPartial(err) })
	}
	return false
}

func (s *Set) progress(n int, name string) {
	if s.opts.Progress != nil {
		s.opts.Progress(n, s.Len(), name)
	}
}

// readCapture reads one capture file. err is the file's damage, fatal what must
// end the run.
func (s *Set) readCapture(ctx context.Context, c *Capture, emit func(flows.LabelledRecord) error) (summary CaptureSummary, err, fatal error) {
	cfg := s.opts.Capture
	if s.opts.WholePayloads {
		cfg.Payload = flows.MaxPayload
	}
	if cfg.Locals == nil {
		cfg.Locals = flows.NewLocals(nil)
	}
	others := s.opts.Others != "" && len(c.Devices) > 0 && len(c.Devices) == s.lines[c.Name]
	c, change, later := s.changed(c)
	cfg.Change, cfg.Observe = change, s.observe(later)
	if len(c.Devices) > 0 {
		cfg.Locals = cfg.Locals.WithDevices(deviceNames(c.Devices)...)
	}
	if others {
		cfg.Locals = cfg.Locals.WithOthers()
	}
	summary = CaptureSummary{Name: c.Name, Devices: c.Devices}
	listed, seen := map[string]Device{}, map[string]bool{}
	for _, d := range c.Devices {
		listed[d.Name] = d
	}
	summary.Stats, err = capture.Read(ctx, c.Path, cfg, func(r *flows.Record) {
		if ctx.Err() != nil || !s.opts.Period.Contains(r.FirstSeen-later) {
			return
		}
		d, known := listed[r.Device]
		if others && !known {
			if !s.listed[r.Device] && fatal == nil {
				fatal = emit(flows.LabelledRecord{Record: r, Label: s.opts.Others, Capture: c.Name})
			}
			return
		}
		summary.Records++
		if !known {
			d.Name = r.Device
		}
		if !known && !seen[r.Device] {
			summary.Devices = append(summary.Devices, d)
		}
		seen[r.Device] = true
		if fatal == nil {
			fatal = emit(flows.LabelledRecord{Record: r, Label: d.Label, Unit: d.Unit, Capture: c.Name, Split: d.Split})
		}
	})
	for _, d := range c.Devices {
		if !seen[d.Name] {
			summary.Unseen = append(summary.Unseen, d)
		}
	}
	summary.Duration = s.opts.Period.Within(summary.Stats.First-later, summary.Stats.Last-later)
	if fatal == nil && ctx.Err() != nil {
		fatal = ctx.Err()
	}
	return summary, err, fatal
}

// changed is a capture under the names of its changed packets, with the change and by
// how many microseconds they are later.
func (s *Set) changed(c *Capture) (*Capture, capture.Changer, int64) {
	if s.change == nil {
		s.was, s.later = nil, 0
		return c, nil, 0
	}
	change := s.change(c.Name, deviceNames(c.Devices))
	renamed := *c
	renamed.Devices = slices.Clone(c.Devices)
	s.was = map[string]string{}
	for i, d := range c.Devices {
		name := change.Device(d.Name)
		renamed.Devices[i].Name, s.was[name] = name, d.Name
	}
	s.later = change.Later()
	return &renamed, change, s.later
}

// deviceNames are the names of devices.
func deviceNames(devices []Device) (names []string) {
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}

// checkRecords refuses a records file whose records are not, or do not hold, what
// is asked for, as far as it says.
func (s *Set) checkRecords(metadata map[string]string) error {
	spec, ok := recordfile.Spec(metadata)
	if !ok || s.opts.AnyDirection {
		spec.Direction = s.opts.Capture.Direction
	}
	return spec.Serve(s.opts.Capture.RecordSpec)
}

// Directions are those that every file of the set can give: captures both, a records
// file its own. The error names a file that does not say which that is, or that is of
// another than those before it.
func (s *Set) Directions(ctx context.Context) ([]flows.Direction, error) {
	can := []flows.Direction{flows.Bi, flows.Uni}
	for _, path := range s.parquet {
		looked := errors.New("looked")
		err := recordfile.Read(ctx, path, func(metadata map[string]string) error {
			spec, ok := recordfile.Spec(metadata)
			d := spec.Direction
			if !ok {
				return errors.New("it does not say of which direction its records are: name it with --direction")
			}
			if !slices.Contains(can, d) {
				return fmt.Errorf("its records are of direction %v, those of the files before it %v: name files of one direction", d, can[0])
			}
			can = []flows.Direction{d}
			return looked
		}, nil)
		if !errors.Is(err, looked) {
			return nil, err
		}
	}
	return can, nil
}

// Example is one row of a labelled device's stream in one capture.
type Example struct {
	flows.Step
	Device
	Capture string
	Later   int64 // how many us its packets are later than in the capture: a changed copy's
}

// Steps gives every row of the set's streams to emit, in order, and returns what was
// found in each capture. Records are read as Records reads them; a stream never
// reaches across two captures. A device has its own name, not that of changed packets.
func (s *Set) Steps(ctx context.Context, spec flows.StreamSpec, emit func(Example) error) ([]CaptureSummary, error) {
	var captures []CaptureSummary
	err := s.steps(ctx, spec, emit, func(c CaptureSummary) { captures = append(captures, c) })
	return captures, err
}

// steps is Steps, with a call for each capture that has been read.
func (s *Set) steps(ctx context.Context, spec flows.StreamSpec, emit func(Example) error, done func(CaptureSummary)) error {
	streams := map[string]*flows.Streams{} // by capture
	return s.Records(ctx, func(r flows.LabelledRecord) error {
		of := streams[r.Capture]
		if of == nil {
			of = flows.NewStreams(spec)
			streams[r.Capture] = of
		}
		step, ok := of.Add(r.Record)
		if !ok {
			return nil
		}
		name, changed := s.was[r.Device]
		if !changed {
			name = r.Device
		}
		return emit(Example{step, Device{name, r.Label, r.Unit, r.Split}, r.Capture, s.later})
	}, func(c CaptureSummary) error {
		delete(streams, c.Name)
		done(c)
		return nil
	})
}
