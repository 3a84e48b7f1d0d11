package notify

// This file has what the rules hold back, and what waits for a digest, outlast a kill.

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// progressFile says how far events have been told of.
	progressFile = "progress.json"
	// keepAfter is how long what has changed of that may be in memory alone.
	keepAfter = 10 * time.Second
)

// progress is how far: new devices by whose events the rules have not come, or that they hold,
// are still to be told of. It names none: what is forgotten is not in the source's events.
type progress struct {
	Seq  uint64   // of the newest event that the rules have seen
	Held []uint64 // those of devices that wait
}

// resume holds new devices of which a process before has not told.
func (n *Notifier) resume() {
	if n.dir == "" {
		return
	}
	before, known := n.readProgress()
	for _, e := range n.source.Events() {
		n.seq = e.Seq
		if !known || e.Event != v1.EventNew || e.Device == nil || e.Seq <= before.Seq && !slices.Contains(before.Held, e.Seq) {
			continue
		}
		n.hold(&e, e.Time.Time)
	}
	n.save() // numbers behind those of the source are given anew
}

// readProgress is what a process before has left; known is false where nothing was told before.
func (n *Notifier) readProgress() (p progress, known bool) {
	if !n.cfg.Tells() {
		return p, false
	}
	text, err := os.ReadFile(n.below(progressFile))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Error("new devices of which nobody was told before the start may be left out", "error", err)
	}
	return p, err == nil
}

// saveLater has what has changed kept soon; the lock is held.
func (n *Notifier) saveLater() {
	if n.dir != "" && n.saving == nil {
		n.saving = time.AfterFunc(keepAfter, func() {
			n.telling.Lock()
			defer n.telling.Unlock()
			n.mu.Lock()
			defer n.mu.Unlock()
			n.saving = nil
			n.save()
		})
	}
}

// save keeps it: first what waits for a digest, of which no event tells again. Both locks are
// held.
func (n *Notifier) save() {
	switch {
	case n.dir == "" || n.closed:
		return
	case !n.tells():
		if err := os.Remove(n.below(progressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			n.log.Error("how far events were told of stays", "error", err)
		}
		return
	}
	for _, s := range n.sinks {
		s.draft()
	}
	p := progress{Seq: n.seq, Held: []uint64{}}
	for _, h := range n.held {
		p.Held = append(p.Held, h.event.Seq)
	}
	err := wholefile.Write(n.below(progressFile), func(w io.Writer) error { return json.NewEncoder(w).Encode(p) })
	if err != nil && !n.unsaved {
		n.log.Error("events may be told twice, or not, after a crash: how far they were told of cannot be written", "error", err)
	}
	n.unsaved = err != nil
}
