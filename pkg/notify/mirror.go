package notify

// This file is of outlets that stay connected: they are told of events, and shown what is
// known of devices.

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// shownSuffix is of the file, named by the kind of sink, of what the other side was shown, and where.
	shownSuffix = ".json"
	// refresh is how often all devices are compared with what is published: confidence, and
	// what became of merged ones, is no event.
	refresh = 5 * time.Minute
	// mostChanged is how many devices are looked at one by one; for more all are.
	mostChanged = 64
)

// screen is what the other side is told through, while there is a connection.
type screen interface {
	// expect notes devices that are to be shown, before the other side knows of them; it reports
	// whether one is new.
	expect(list []v1.DeviceVerdict) bool
	// show publishes what a device is now, unless the session has done so.
	show(ctx context.Context, d *v1.DeviceVerdict) error
	// remove leaves nothing of a device that was shown; who calls it saves that.
	remove(ctx context.Context, device string) error
	// retire leaves nothing of what was shown, if elsewhere.
	retire(ctx context.Context, e *exhibition) error
	// notice publishes an event, and returns when the other side has taken it.
	notice(ctx context.Context, n *v1.Notice) error
}

// connection is an outlet with a session; screen is itself.
type connection struct {
	screen screen
	url    string   // of the other side
	at     []string // what all begins with there
	source Source
	counts *counts
	log    *slog.Logger
	file   string // of who is shown; empty: memory

	mu    sync.Mutex
	dirty map[string]bool // devices to look at
	wake  chan struct{}

	leaves atomic.Bool // nothing that was shown is to stay

	// What follows is run's alone.
	published map[string]shown // devices that the other side knows of
	former    *exhibition      // what it was shown elsewhere; nil: nothing
}

// exhibition is what the other side was shown, and where there.
type exhibition struct {
	At      []string
	Devices map[string]shown
}

// shown is a device that the other side knows of.
type shown struct {
	ID    uint64 // another one is another device of that name: the first was forgotten
	Namer string // whose name it has; NATS asks for none
}

func newConnection(kind, url string, at []string, file string, source Source, counts *counts, log *slog.Logger) connection {
	return connection{
		url: url, at: at, source: source, counts: counts, log: log.With("sink", kind), file: file,
		dirty: map[string]bool{}, wake: make(chan struct{}, 1), published: map[string]shown{},
	}
}

// changed implements mirror.
func (c *connection) changed(device string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.dirty) <= mostChanged {
		c.dirty[device] = true
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// place is where it shows what it does.
func (c *connection) place() []string { return append([]string{c.url}, c.at...) }

// leave implements mirror.
func (c *connection) leave(next outlet) {
	n, ok := next.(interface{ place() []string })
	c.leaves.Store(!ok || !slices.Equal(n.place(), c.place()))
}

// takeBack has nothing stay of what was shown elsewhere. A refusal is but logged: it would come
// again.
func (c *connection) takeBack(ctx context.Context) error {
	if c.former == nil {
		return nil
	}
	if err := c.screen.retire(ctx, c.former); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		c.log.Error("what was shown elsewhere stays there", "at", c.former.At, "error", plainly(err))
	}
	c.former = nil
	c.save()
	return nil
}

// takeAllBack has nothing stay of what is shown.
func (c *connection) takeAllBack(ctx context.Context) {
	if err := c.screen.retire(ctx, &exhibition{c.at, c.published}); err != nil {
		c.log.Error("what was shown stays there", "error", plainly(err))
		return
	}
	c.published = map[string]shown{}
	c.save()
}

// stay begins a session again whenever one ends, until ctx does.
func (c *connection) stay(ctx context.Context, s *spool, session func(context.Context, *spool) (connected bool, err error)) {
	c.load()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		connected, err := session(ctx, s)
		if ctx.Err() != nil {
			return
		}
		s.stuck.Store(true)
		c.counts.retries.Add(1)
		if connected {
			attempt = 0
		}
		if attempt == 0 {
			c.log.Error("no connection; it is tried again", "error", plainly(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause(attempt)):
		}
	}
}

// converse publishes all that there is, then what changes, until ctx ends; its cause is why
// where that is not the outlet's end.
func (c *connection) converse(ctx context.Context, s *spool) (connected bool, err error) {
	if err = c.showAll(ctx); err == nil {
		err = c.tell(ctx, s)
	}
	if err != nil {
		return false, err
	}
	s.stuck.Store(false)
	c.log.Info("connected")
	return true, c.follow(ctx, s)
}

// follow publishes what changes.
func (c *connection) follow(ctx context.Context, s *spool) (err error) {
	every := time.NewTicker(refresh)
	defer every.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.wake:
			err = c.showChanged(ctx)
		case <-every.C:
			err = c.showAll(ctx)
		case <-s.wake:
			err = c.tell(ctx, s)
		}
	}
	return err
}

// tell publishes the events that wait.
func (c *connection) tell(ctx context.Context, s *spool) error {
	for {
		list, number, ok := s.first()
		if !ok {
			return nil
		}
		for i := range list.Notices {
			if err := c.screen.notice(ctx, &list.Notices[i]); err != nil {
				return err
			}
		}
		c.counts.sent.Add(1)
		s.done(number)
		s.stuck.Store(false)
	}
}

// showChanged shows devices that may be others than they were.
func (c *connection) showChanged(ctx context.Context) error {
	c.mu.Lock()
	dirty := c.dirty
	c.dirty = map[string]bool{}
	c.mu.Unlock()
	if len(dirty) > mostChanged {
		return c.showAll(ctx)
	}
	var list []v1.DeviceVerdict
	var gone []string
	for name := range dirty {
		if d, ok := c.source.Device(name); ok {
			list = append(list, d)
		} else {
			gone = append(gone, name)
		}
	}
	return c.update(ctx, list, gone)
}

// showAll shows all devices, and removes those that there are no longer.
func (c *connection) showAll(ctx context.Context) error {
	gone := maps.Clone(c.published)
	list := c.source.Devices()
	for i := range list {
		delete(gone, list[i].Device)
	}
	return c.update(ctx, list, slices.Sorted(maps.Keys(gone)))
}

// update shows some devices, and removes others. The file is not written for each of them: a
// flood of invented devices would wear the disk.
func (c *connection) update(ctx context.Context, list []v1.DeviceVerdict, gone []string) error {
	if c.screen.expect(list) {
		c.save()
	}
	for i := range list {
		if err := c.screen.show(ctx, &list[i]); err != nil {
			return err
		}
	}
	known := len(c.published)
	defer func() {
		if len(c.published) < known {
			c.save()
		}
	}()
	for _, name := range gone {
		if err := c.screen.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// load reads what a process before has published.
func (c *connection) load() {
	if c.file == "" {
		return
	}
	var e exhibition
	text, err := os.ReadFile(c.file)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		c.log.Error("devices that were forgotten meanwhile stay with the other side", "error", err)
	case e.Devices == nil:
	case slices.Equal(e.At, c.at):
		c.published = e.Devices
	case len(e.At) == len(c.at):
		c.former = &e
	}
}

// save keeps them for the next process.
func (c *connection) save() {
	if c.file == "" {
		return
	}
	err := os.MkdirAll(filepath.Dir(c.file), 0o700)
	if err == nil {
		err = wholefile.Write(c.file, func(w io.Writer) error { return json.NewEncoder(w).Encode(exhibition{c.at, c.published}) })
	}
	if err != nil {
		c.log.Error("devices that are forgotten before this can be written stay with the other side", "error", err)
	}
}
