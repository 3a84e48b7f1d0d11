package learning

// This file reads what was recorded of devices, as much of each as may be held.

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

const (
	// run is how many records that follow each other are held or left out together: a
	// network reads how long a flow comes after the one before it.
	run = 20
	// mostRows is what is held of a device at most; strangersRows of one without a label, of
	// which there are strangers: they are but judged.
	mostRows, strangersRows, strangers = 2000, 200, 256
)

// pupil is a device with its records.
type pupil struct {
	Device
	class   string // its label's last part; empty: it has none
	learned bool   // it is learned from
	judged  bool   // it is but judged, as its class is there already
	sample  sample

	lesson, held []*flows.Record // the older ones, and the newest
}

// sample holds runs of a device's records, each as likely as another.
type sample struct {
	room int // runs
	runs [][]*flows.Record
	next []*flows.Record // the run that comes
	seen int             // runs
	rng  *rand.Rand
}

func (s *sample) add(r *flows.Record) {
	if s.next = append(s.next, r); len(s.next) < run {
		return
	}
	if s.seen++; len(s.runs) < s.room {
		s.runs = append(s.runs, s.next)
	} else if i := s.rng.IntN(s.seen); i < s.room {
		s.runs[i] = s.next
	}
	s.next = nil
}

// gather reads the files. A device's records are those of all its MACs.
func (l *learner) gather(ctx context.Context) error {
	of, pupils := l.pupils()
	spec := l.Base.Record.RecordSpec
	serve := func(metadata map[string]string) error {
		made, _ := recordfile.Spec(metadata)
		return made.Serve(spec)
	}
	for _, path := range l.Recordings {
		if err := recordfile.Read(ctx, path, serve, func(r flows.LabelledRecord) error {
			if p := of[r.Device]; p != nil {
				r.Record.Device = p.Name()
				p.sample.add(r.Record)
			}
			return nil
		}); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			l.report.Unread = append(l.report.Unread, fmt.Sprint(err)) // the others are there
		}
	}
	for _, p := range pupils {
		if p.take(); len(p.lesson)+len(p.held) > 0 {
			l.all = append(l.all, p)
			l.known.Restore(p.Name(), p.Facts)
			l.report.Records += len(p.lesson) + len(p.held)
		}
	}
	return nil
}

// pupils are the devices, by each of their names: those with a label, and some without.
func (l *learner) pupils() (of map[string]*pupil, list []*pupil) {
	devices, labelled := slices.Clone(l.Devices), 0
	slices.SortStableFunc(devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(b.Label, ""), strings.Compare(a.Name(), b.Name())) // those with a label first
	})
	for i := range devices {
		if devices[i].Label != "" {
			labelled++
		}
	}
	of = map[string]*pupil{}
	unnamed := min(len(devices)-labelled, strangers)
	rows := min(mostRows, max(run, (l.Rows-unnamed*strangersRows)/max(1, labelled)))
	for i, d := range devices[:labelled+unnamed] {
		p := &pupil{Device: d, sample: sample{room: rows / run, rng: rand.New(rand.NewPCG(uint64(l.Seed), uint64(i)))}}
		if d.Label == "" {
			p.sample.room = strangersRows / run
		}
		list = append(list, p)
		for _, name := range d.Names {
			of[name] = p
		}
	}
	return of, list
}

// take parts the newest records from the others.
func (p *pupil) take() {
	all := append(slices.Concat(p.sample.runs...), p.sample.next...)
	p.sample = sample{}
	slices.SortStableFunc(all, func(a, b *flows.Record) int { return cmp.Compare(a.FirstSeen, b.FirstSeen) })
	at := len(all) - int(Newest*float64(len(all)))
	p.lesson, p.held = all[:at], all[at:]
}

// steps are rows of the device's stream in each of its sittings, of records alone that are
// learned from.
func (p *pupil) steps(spec flows.StreamSpec) iter.Seq2[int, flows.Step] {
	return func(yield func(int, flows.Step) bool) {
		for sitting := range sittings {
			rows := flows.NewStreams(spec)
			for _, r := range p.lesson[sitting*len(p.lesson)/sittings : (sitting+1)*len(p.lesson)/sittings] {
				if step, ok := rows.Add(r); ok && !yield(sitting, step) {
					return
				}
			}
		}
	}
}
