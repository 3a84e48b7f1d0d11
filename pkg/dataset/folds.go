package dataset

// This file cuts a data set into folds, of which one is tested.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// Cuts are the ways to cut a data set.
const (
	ByCapture = "capture" // each class's captures are dealt to the folds at random
	ByUnit    = "unit"    // each class's physical devices are; one of its kind is never tested
	ByTime    = "time"    // each class's captures in order of time; only earlier folds are trained on
)

// Folds cut a data set into Count parts, of which number Tested, from 1, is for
// testing and the others, or the earlier ones, are for training. A capture or a
// unit is in one fold as a whole.
type Folds struct {
	By     string
	Count  int
	Tested int
	Seed   int64 // deals captures or units
}

// Validate reports folds that cannot be.
func (f Folds) Validate() error {
	least := 1
	switch f.By {
	case ByCapture, ByUnit:
	case ByTime:
		least = 2 // nothing is earlier than the first
	default:
		return fmt.Errorf("cut by %q: want capture, unit or time", f.By)
	}
	if f.Count < 2 {
		return fmt.Errorf("%d folds: want 2 or more", f.Count)
	}
	if f.Tested < least || f.Tested > f.Count {
		return fmt.Errorf("fold %d of %d by %s: want %d to %d", f.Tested, f.Count, f.By, least, f.Count)
	}
	return nil
}

// trains reports whether what is in the fold is trained on. Fold 0 always is.
func (f Folds) trains(fold int) bool {
	if f.By == ByTime {
		return fold < f.Tested
	}
	return fold != f.Tested
}

// place is a device in a capture.
type place struct{ capture, device string }

// found is a device in a capture with what decides on its fold.
type found struct {
	place
	label, unit string
	start       int64 // of the capture
}

// key is what stays together.
func (f Folds) key(p found) string {
	if f.By == ByUnit {
		if p.unit == "" {
			return p.device
		}
		return p.unit
	}
	return p.capture
}

// group is what stays together.
type group struct {
	key    string
	labels map[string]bool
	start  int64
}

// groups are those of all that was found, by key.
func (f Folds) groups(all []found) map[string]*group {
	groups := map[string]*group{}
	for _, p := range all {
		key := f.key(p)
		g := groups[key]
		if g == nil {
			g = &group{key, map[string]bool{}, p.start}
			groups[key] = g
		}
		g.labels[p.label] = true
		g.start = min(g.start, p.start)
	}
	return groups
}

// deal gives every device of every capture its fold. What stays together goes where
// the first of its classes by name has it; what is alone in each of its classes goes
// to fold 0.
func (f Folds) deal(all []found) map[place]int {
	byLabel := map[string][]*group{}
	holders := map[string]int{} // groups of each class
	for _, g := range f.groups(all) {
		names := slices.Sorted(maps.Keys(g.labels))
		byLabel[names[0]] = append(byLabel[names[0]], g)
		for _, l := range names {
			holders[l]++
		}
	}
	alone := func(g *group) bool {
		for l := range g.labels {
			if holders[l] > 1 {
				return false
			}
		}
		return true
	}
	fold := map[string]int{}
	random := rand.New(rand.NewPCG(uint64(f.Seed), 2))
	first := 0 // of the class: so that small classes do not all begin at fold 1
	for _, l := range slices.Sorted(maps.Keys(byLabel)) {
		list := byLabel[l]
		slices.SortFunc(list, func(a, b *group) int { return cmp.Compare(a.key, b.key) })
		switch {
		case len(list) == 1 && alone(list[0]):
			continue // fold 0
		case f.By == ByTime:
			slices.SortStableFunc(list, func(a, b *group) int { return cmp.Compare(a.start, b.start) })
			for i, g := range list {
				fold[g.key] = 1 + i*f.Count/len(list)
			}
		default:
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			for i, g := range list {
				fold[g.key] = 1 + (first+i)%f.Count
			}
			first += len(list)
		}
	}
	places := map[place]int{}
	for _, p := range all {
		places[p.place] = fold[f.key(p)]
	}
	return places
}

// Dealt says in which fold every device of every capture is.
type Dealt struct {
	Folds
	places map[place]int
	all    []found
}

// Fold is where a device of a capture is: 1 to Count, or 0 when it is alone in its
// class and never tested.
func (d *Dealt) Fold(capture, device string) int { return d.places[place{capture, device}] }

// Trains reports whether a device of a capture is to be trained on.
func (d *Dealt) Trains(capture, device string) bool { return d.trains(d.Fold(capture, device)) }

// Tests reports whether it is in the fold that is tested.
func (d *Dealt) Tests(capture, device string) bool { return d.Fold(capture, device) == d.Tested }

// TestedDevices are the devices of captures in the fold that is tested, those
// without a window among them.
func (d *Dealt) TestedDevices() []Source {
	var tested []Source
	for _, p := range d.all {
		if d.Tests(p.capture, p.device) {
			tested = append(tested, Source{Device{Name: p.device, Label: p.label, Unit: p.unit}, p.capture})
		}
	}
	return tested
}

// Deal cuts the set. It reads record files once, and the captures of a manifest only
// by time or when dates are wanted: one of which no record begins on them is not there.
func (s *Set) Deal(ctx context.Context, f Folds) (*Dealt, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	all, err := s.look(ctx, f.By == ByTime)
	if err != nil {
		return nil, err
	}
	return &Dealt{f, f.deal(all), all}, nil
}

// Restrict leaves only those devices of captures that part accepts, such as
// [Dealt.Trains].
func (s *Set) Restrict(part func(capture, device string) bool) error {
	s.part = part
	var kept []Capture
	for _, c := range s.captures {
		c.Devices = slices.DeleteFunc(slices.Clone(c.Devices), func(d Device) bool { return !part(c.Name, d.Name) })
		if len(c.Devices) > 0 {
			kept = append(kept, c)
		}
	}
	if s.captures = kept; s.Len() == 0 {
		return errors.New("no capture is in this part of the data: there are fewer than folds, or every class has but one capture or unit, which is never tested")
	}
	return nil
}

// look finds every device of every capture, and with times when each began.
func (s *Set) look(ctx context.Context, times bool) ([]found, error) {
	var all []found
	for i := range s.captures {
		c := &s.captures[i]
		if len(c.Devices) == 0 {
			return nil, fmt.Errorf("%s: folds need labels: name the devices in a --manifest", c.Name)
		}
		var start int64
		if times || !s.opts.Period.IsZero() {
			summary, err, fatal := s.readCapture(ctx, c, func(flows.LabelledRecord) error { return nil })
			if fatal != nil {
				return nil, fatal
			}
			if err != nil && summary.Stats.Seen == 0 {
				return nil, err
			}
			if s.elsewhen(summary) {
				continue
			}
			start = summary.Stats.First
		}
		for _, d := range c.Devices {
			all = append(all, found{place{c.Name, d.Name}, d.Label, d.Unit, start})
		}
	}
	seen := map[place]bool{}
	for _, path := range s.parquet {
		read := 0
		err := recordfile.Read(ctx, path, nil, func(r flows.LabelledRecord) error {
			read++
			p := place{r.Capture, r.Device}
			if !seen[p] && s.wanted(r.Split) && s.opts.Period.Contains(r.FirstSeen) {
				seen[p] = true
				all = append(all, found{p, r.Label, r.Unit, r.FirstSeen})
			}
			return nil
		})
		if err != nil && (read == 0 || ctx.Err() != nil) { // else told when it is read
			return nil, err
		}
	}
	return all, nil
}
