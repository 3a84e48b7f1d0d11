package store

// This file writes to a file what changes in a registry: now and then, after events, and at
// once where somebody waits for it.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
)

// Bounds of what is written, so that neither a chatty network nor a flood of invented
// devices wears a disk out.
const (
	// Every is the time between two writes of what has changed.
	Every = 5 * time.Minute
	// soon is the time between an event and the write that it brings about, eventsAnHour how
	// many events may bring one about: the others wait for the next.
	soon         = 10 * time.Second
	eventsAnHour = 12
	// most is how many devices and events one write takes; the others are the next one's.
	most = 512
	// factsApart is the time between two writes of a device's facts, of a young one its
	// age: names that it asks for come and go.
	factsApart = 6 * time.Hour
	// snapshotApart is the time between two snapshots.
	snapshotApart = 24 * time.Hour
)

// Source is what a Keeper writes.
type Source struct {
	Registry *registry.Registry
	// Facts are what a device says of itself, and a number that is another when they are
	// others; nil: nothing is kept.
	Facts func(device string) (changes uint32, list []facts.Fact)
}

// Keeper writes to a file what changes in its source. All methods but Run are for any
// goroutine.
type Keeper struct {
	store  *Store
	source Source
	log    *slog.Logger
	events chan struct{}     // there are some
	wait   chan chan<- error // who waits for what has changed to be on the disk
	facts  map[string]told   // by MAC
	seq    uint64            // of the last event written
	budget float64           // of writes that events bring about
	spent  time.Time         // when it was last looked at
	failed bool              // the last write did
	shot   time.Time         // the last snapshot
	word   bool              // there was an operator's word since
	erased bool              // of what was deleted something may be left
	// renewed: the file was begun anew, and holds nothing yet
	renewed bool
	closed  chan struct{} // no longer runs
	now     func() time.Time
	stats   struct{ writes, failures, unwritten atomic.Uint64 }
}

// told are the facts of a device that the file has.
type told struct {
	changes uint32
	at      time.Time
}

// NewKeeper takes over a store from which the source's registry was restored. Its Run must
// be called.
func NewKeeper(s *Store, opened *Opened, source Source, log *slog.Logger) *Keeper {
	k := &Keeper{
		store: s, source: source, log: log, events: make(chan struct{}, 1), wait: make(chan chan<- error), facts: map[string]told{},
		budget: eventsAnHour, closed: make(chan struct{}), now: time.Now,
	}
	k.spent, k.shot = k.now(), k.now()
	if n := len(opened.Events); n > 0 {
		k.seq = opened.Events[n-1].Seq
	}
	for name := range opened.Facts {
		if changes, list := k.factsOf(name); len(list) > 0 {
			k.facts[name] = told{changes, k.now()}
		}
	}
	return k
}

// Noted says that there is an event; it never waits.
func (k *Keeper) Noted() {
	select {
	case k.events <- struct{}{}:
	default:
	}
}

// Sync returns when all that had changed before is on the disk, or why it is not.
func (k *Keeper) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case k.wait <- done:
	case <-k.closed:
		return errors.New("the sensor is stopping")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats counts what was written.
func (k *Keeper) Stats() v1.RegistryStats {
	return v1.RegistryStats{Writes: k.stats.writes.Load(), Failures: k.stats.failures.Load(), Unwritten: k.stats.unwritten.Load()}
}

// Run writes until ctx ends, then what is left, and a snapshot, and closes the file.
func (k *Keeper) Run(ctx context.Context) error {
	defer close(k.closed)
	every := time.NewTicker(Every)
	defer every.Stop()
	var after <-chan time.Time // an event
	for {
		select {
		case <-ctx.Done():
			return k.end()
		case <-every.C:
			_, _ = k.write(factsApart) // is counted and logged
			k.snapshot()
		case <-k.events:
			if after == nil && k.spend() {
				after = time.After(soon)
			}
		case <-after:
			after = nil
			_, _ = k.write(factsApart)
		case done := <-k.wait: // the operator's word
			done <- k.writeAll(math.MaxInt64)
			k.word = true
		}
	}
}

// spend reports whether an event may bring about a write.
func (k *Keeper) spend() bool {
	now := k.now()
	k.budget = min(eventsAnHour, k.budget+eventsAnHour*now.Sub(k.spent).Hours())
	k.spent = now
	if k.budget < 1 {
		return false
	}
	k.budget--
	return true
}

// end writes what is left.
func (k *Keeper) end() error {
	err := k.writeAll(0)
	return errors.Join(err, k.store.Close())
}

// writeAll writes until nothing is left.
func (k *Keeper) writeAll(apart time.Duration) error {
	for {
		if more, err := k.write(apart); err != nil || !more {
			return err
		}
	}
}

// write writes a part of what has changed, facts of a device that were written so long ago;
// more is true where there may be another part. A file that was begun anew gets all at once:
// a process that ended before would leave nothing of what was known.
func (k *Keeper) write(apart time.Duration) (more bool, err error) {
	if more, err = k.part(apart); err == nil || !k.renewed {
		return more, err
	}
	k.renewed = false
	for more, err = true, nil; more && err == nil; {
		more, err = k.part(0)
	}
	return more, err
}

func (k *Keeper) part(apart time.Duration) (more bool, err error) {
	c := &Change{Facts: map[string][]facts.Fact{}}
	c.Devices, c.Gone = k.source.Registry.Changed(most)
	c.Events = k.source.Registry.Events(k.seq, math.MaxInt)
	lost := 0
	if len(c.Events) == registry.MaxEvents && c.Events[0].Seq > k.seq+1 { // else those between were erased
		lost = int(c.Events[0].Seq - k.seq - 1)
	}
	for _, g := range c.Gone { // with their facts: one that is back has all to be written
		for _, name := range g.Names {
			delete(k.facts, name)
		}
	}
	written := k.addFacts(c, apart)
	if c.Empty() {
		return false, k.purge()
	}
	if err := k.store.Write(c); err != nil {
		k.source.Registry.Unsaved(c.Devices, c.Gone)
		k.failure(err)
		return false, err
	}
	k.stats.writes.Add(1)
	k.stats.unwritten.Add(uint64(lost))
	if n := len(c.Events); n > 0 {
		k.seq = c.Events[n-1].Seq
	}
	maps.Copy(k.facts, written)
	k.erased = k.erased || slices.ContainsFunc(c.Gone, func(g registry.Gone) bool { return g.Said })
	if err := k.purge(); err != nil {
		return false, err
	}
	if k.failed {
		k.failed = false
		k.log.Info("the registry is written again", "file", k.store.path)
	}
	return len(c.Devices) == most, nil
}

// factsOf are what is known of a MAC.
func (k *Keeper) factsOf(name string) (changes uint32, list []facts.Fact) {
	if k.source.Facts == nil {
		return 0, nil
	}
	return k.source.Facts(name)
}

// addFacts adds the facts of devices that are to be written.
func (k *Keeper) addFacts(c *Change, apart time.Duration) (written map[string]told) {
	written = map[string]told{}
	now := k.now()
	for i := range c.Devices {
		d := &c.Devices[i]
		for _, name := range d.Names() {
			had, known := k.facts[name]
			age := time.Duration(d.Last-d.First) * time.Microsecond
			if known && now.Sub(had.at) < min(apart, max(age, Every)) {
				continue
			}
			if changes, list := k.factsOf(name); len(list) > 0 && (!known || changes != had.changes || apart == 0) {
				c.Facts[name], written[name] = list, told{changes, now}
			}
		}
	}
	return written
}

// failure counts a write that failed, and says so once.
func (k *Keeper) failure(err error) {
	k.stats.failures.Add(1)
	if !k.failed {
		k.log.Error("the registry is not written; it stays in memory and is tried again", "error", err, "every", Every)
	}
	k.failed = true
	var damage *damageError
	if errors.As(asDamage(err, false), &damage) || k.store.conn == nil { // it could not be begun anew the last time
		k.renew(err)
	}
}

// renew begins a file that turns out to be damaged anew, from memory.
func (k *Keeper) renew(damage error) {
	if err := k.store.renew(); err != nil {
		k.log.Error("the registry's file is damaged, and cannot be begun anew", "error", err)
		return
	}
	k.source.Registry.Resave()
	clear(k.facts)
	k.seq, k.renewed = 0, true
	k.log.Error("the registry's file is damaged: it was put aside, and is written anew from memory", "error", damage, "file", k.store.path)
}

// snapshot takes one when it is time, or there is an operator's word to keep.
func (k *Keeper) snapshot() {
	if now := k.now(); k.word || now.Sub(k.shot) >= snapshotApart {
		if err := k.store.Snapshot(); err != nil {
			k.failure(err)
			return
		}
		k.shot, k.word = now, false
	}
}

// purge leaves nothing of what was deleted, and is tried until it succeeds.
func (k *Keeper) purge() error {
	if !k.erased {
		return nil
	}
	if err := k.store.purge(); err != nil {
		k.failure(err)
		return err
	}
	k.erased = false
	return nil
}

// purge leaves nothing of what was deleted: in the log, and in the last snapshot.
func (s *Store) purge() error {
	if err := s.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return s.Snapshot()
}

// renew puts the file aside and makes another. It may be called again where it failed.
func (s *Store) renew() error {
	if s.conn != nil {
		_ = s.disconnect() // of what is damaged
	}
	if s.aside { // what is there is but half made
		for _, suffix := range beside {
			if err := remove(s.path + suffix); err != nil {
				return err
			}
		}
	} else {
		aside, err := s.putAside()
		if err != nil {
			return err
		}
		if err := os.Rename(s.path+SnapshotSuffix, aside+SnapshotSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.aside = true
	}
	if err := make0600(s.path); err != nil {
		return err
	}
	_, err := s.read()
	s.aside = err != nil
	return err
}
