// Package notify tells others what happens to devices, on the sensor's own account. In go
// events, out come messages: to a webhook, to ntfy, over MQTT to Home Assistant, and to NATS. Rules
// keep what is no news from them, and what cannot be delivered yet waits in a bounded spool.
// Whoever hands it an event never waits.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// mostEvents is how many events wait for the rules.
	mostEvents = 1024
	// mostListed is how many events one message tells; of others it says how many there are.
	mostListed = 50
)

// Source is what is known of devices. Both may take their time.
type Source interface {
	// Device is the one that goes by a name; ok is false where none is known.
	Device(name string) (d v1.DeviceVerdict, ok bool)
	// Devices are all, each with those that it may be.
	Devices() []v1.DeviceVerdict
	// Events are those that are remembered, oldest first.
	Events() []v1.Event
}

// Kinds of sinks.
const (
	webhookKind = "webhook"
	ntfyKind    = "ntfy"
	mqttKind    = "mqtt"
	natsKind    = "nats"
)

var kinds = []string{webhookKind, ntfyKind, mqttKind, natsKind}

// outlet delivers what a spool holds until ctx ends.
type outlet interface {
	run(ctx context.Context, s *spool)
}

// mirror is an outlet that also shows what is known of devices.
type mirror interface {
	// changed says that a device may be another than it was, or gone; it never waits.
	changed(device string)
	// leave says that another takes its place once it ends, nil: none; what it shows elsewhere
	// than that one is not to stay.
	leave(next outlet)
}

// door is what a sink's messages go through.
type door struct {
	cfg    any // HTTP, MQTT or NATS, that out was made of
	events []string
	out    outlet
}

// sink is one way out. What waits stays when it is given another door.
type sink struct {
	door
	spool   *spool
	pending batch // of the next message
	drafted int   // how many notices of it the spool has
	last    time.Time
	timer   *time.Timer // of it; nil: none is due
	stop    context.CancelFunc
	ended   chan struct{}
}

// counts are those of [v1.SinkStats].
type counts struct {
	events, quiet, dropped, sent, retries, refused, lost atomic.Uint64
}

// Notifier tells who is to be told. All methods are for any goroutine. A nil one tells
// nobody, and holds nothing back.
type Notifier struct {
	source Source
	dir    string
	log    *slog.Logger
	queue  *queue.Queue[v1.Event]
	counts counts

	swapping sync.Mutex // one Set or Close at a time
	telling  sync.Mutex // one event, or one time that has come, at a time: before mu

	// mu guards what follows. Source is not asked under it.
	mu      sync.Mutex
	cfg     Config
	sinks   map[string]*sink // by kind
	held    []held           // the first that is due first
	holding *time.Timer      // of that; nil: none
	seq     uint64           // of the newest event that the rules have seen
	saving  *time.Timer      // of how far events are told of; nil: that is kept
	unsaved bool             // it could not be, and that was said
	closed  bool

	looking sync.Mutex
	looked  map[string]v1.DeviceVerdict // nil: they are to be asked for
}

// New begins to tell who cfg says. What waits to be delivered is kept in dir, beyond the
// process, which must be this one's alone; empty: in memory. The caller must Close it.
func New(dir string, cfg Config, source Source, log *slog.Logger) (*Notifier, error) {
	n := &Notifier{source: source, dir: dir, log: log, sinks: map[string]*sink{}}
	if err := n.Set(cfg); err != nil {
		return nil, err
	}
	n.telling.Lock()
	n.mu.Lock()
	n.resume()
	n.mu.Unlock()
	n.telling.Unlock()
	n.queue = queue.New(mostEvents, n.take)
	return n, nil
}

// Event takes an event; it never waits.
func (n *Notifier) Event(e v1.Event) {
	if n == nil {
		return
	}
	n.counts.events.Add(1)
	n.queue.Put(e)
}

// Set replaces who is told, and by which rules. What waits for a sink that stays, if at another
// address, goes there; what one is being told at that moment it may be told twice. An error
// leaves all as it was.
func (n *Notifier) Set(cfg Config) error {
	if err := cfg.Check(); err != nil {
		return err
	}
	n.swapping.Lock()
	defer n.swapping.Unlock()
	if n.closed {
		return errors.New("sinks: the sensor is stopping")
	}
	doors, err := n.doors(&cfg)
	if err != nil {
		return err
	}
	spools := map[string]*spool{}
	for kind := range doors {
		if n.sinks[kind] != nil {
			continue
		}
		if spools[kind], err = openSpool(n.below(kind), &n.counts.lost, n.log.With("sink", kind)); err != nil {
			return fmt.Errorf("sink %s: %w", kind, err)
		}
	}
	for _, kind := range kinds {
		n.setOne(kind, doors[kind], spools[kind])
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cfg = cfg
	n.rearm()
	for _, s := range n.sinks {
		if s.timer != nil {
			s.timer.Reset(cfg.Digest - time.Since(s.last))
		}
	}
	n.saveLater()
	return nil
}

// setOne gives a sink its door; nil: there is to be none. The same one begins anew where it could
// not deliver: what is in its files may be another now.
func (n *Notifier) setOne(kind string, d *door, fresh *spool) {
	s := n.sinks[kind] // Set alone changes which there are
	if s != nil && d != nil && reflect.DeepEqual(s.cfg, d.cfg) {
		if s.spool.stuck.Load() {
			s.halt()
			s.start()
		}
		return
	}
	if s != nil {
		if m, ok := s.out.(mirror); ok && d != nil {
			m.leave(d.out)
		} else if ok {
			m.leave(nil)
		}
		s.halt()
	}
	n.mu.Lock()
	switch {
	case d == nil && s != nil:
		delete(n.sinks, kind)
		if s.timer != nil {
			s.timer.Stop()
			s.timer = nil
		}
	case d != nil && s != nil:
		s.door = *d
	case d != nil:
		s = &sink{door: *d, spool: fresh}
		n.sinks[kind] = s
	}
	n.mu.Unlock()
	if d == nil {
		n.discard(kind)
	} else {
		s.start()
	}
}

// doors makes those that a configuration has, by kind.
func (n *Notifier) doors(cfg *Config) (map[string]*door, error) {
	all := map[string]*door{}
	for _, h := range []struct {
		kind string
		HTTP
		events []string
	}{{webhookKind, cfg.Webhook, Events}, {ntfyKind, cfg.Ntfy, NtfyEvents}} {
		if h.URL == "" {
			continue
		}
		events := h.Events
		if events == nil {
			events = h.events
		}
		all[h.kind] = &door{h.HTTP, events, newPoster(h.kind, h.HTTP, &n.counts, n.log)}
	}
	if cfg.MQTT.URL != "" {
		all[mqttKind] = &door{cfg.MQTT, Events, newBroker(cfg.MQTT, n.below(mqttKind+shownSuffix), n.source, &n.counts, n.log)}
	}
	if cfg.NATS.URL != "" {
		s, err := newBus(cfg.NATS, n.below(natsKind+shownSuffix), n.source, &n.counts, n.log)
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", natsKind, err)
		}
		all[natsKind] = &door{cfg.NATS, Events, s}
	}
	return all, nil
}

// changed says so to whom it concerns; the lock is held.
func (n *Notifier) changed(device string) {
	for _, s := range n.sinks {
		if m, ok := s.out.(mirror); ok {
			m.changed(device)
		}
	}
}

// below is a path in the notifier's directory; empty: it has none.
func (n *Notifier) below(name string) string {
	if n.dir == "" {
		return ""
	}
	return filepath.Join(n.dir, name)
}

// discard removes what waits for a sink that there is no longer, and the list of what it was shown,
// which forget would not reach.
func (n *Notifier) discard(kind string) {
	if n.dir == "" {
		return
	}
	for _, name := range []string{kind, kind + shownSuffix} {
		if err := os.RemoveAll(n.below(name)); err != nil {
			n.log.Error("what is kept of a sink that there is no longer stays", "sink", kind, "error", err)
		}
	}
}

func (s *sink) start() {
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		s.out.run(ctx, s.spool)
	}()
}

func (s *sink) halt() {
	s.stop()
	<-s.ended
}

// tells reports whether anybody is told; the lock is held.
func (n *Notifier) tells() bool { return len(n.sinks) > 0 && !n.closed }

// tell tells all who want to know; telling is held.
func (n *Notifier) tell(list ...v1.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	sent := false
	for _, s := range n.sinks {
		before := len(s.pending.Notices)
		for i := range list {
			switch {
			case !slices.Contains(s.events, list[i].Event.Event):
			case len(s.pending.Notices) < mostListed:
				s.pending.Notices = append(s.pending.Notices, list[i])
			default:
				s.pending.More++
			}
		}
		if s.timer != nil || len(s.pending.Notices) == before {
			continue
		}
		if wait := n.cfg.Digest - time.Since(s.last); wait > 0 {
			s.timer = time.AfterFunc(wait, func() { n.due(s) })
		} else {
			n.flush(s)
			sent = true
		}
	}
	if sent && slices.ContainsFunc(list, func(one v1.Notice) bool { return one.Event.Event == v1.EventNew }) {
		n.save() // of others nobody is told again
	} else {
		n.saveLater()
	}
}

// due sends a message whose time has come.
func (n *Notifier) due(s *sink) {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.timer != nil && !n.closed {
		s.timer = nil
		n.flush(s)
		n.save()
	}
}

// flush sends what is to be told; the lock is held.
func (n *Notifier) flush(s *sink) {
	if len(s.pending.Notices) > 0 {
		s.spool.put(s.pending, false)
	}
	s.pending, s.drafted, s.last = batch{}, 0, time.Now()
}

// draft has what waits for a digest outlast the process; the lock is held.
func (s *sink) draft() {
	if len(s.pending.Notices) > s.drafted {
		s.spool.put(s.pending, true)
		s.drafted = len(s.pending.Notices)
	}
}

// Forget leaves nothing of devices of those names that is not yet told.
func (n *Notifier) Forget(names []string) {
	if n == nil {
		return
	}
	n.lookAnew()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = slices.DeleteFunc(n.held, func(h held) bool { return slices.Contains(names, *h.event.Device) })
	for _, s := range n.sinks {
		s.pending = s.pending.without(names)
		s.spool.forget(names)
		s.drafted = 0
	}
	n.saveLater()
	for _, name := range names {
		n.changed(name)
	}
}

// Close tells what it has heard of and still holds back, and gives sinks the time to deliver
// that; what is in the spool by then is delivered by the next process.
func (n *Notifier) Close(within time.Duration) {
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	n.queue.Close(within)
	n.swapping.Lock()
	defer n.swapping.Unlock()
	n.telling.Lock()
	n.mu.Lock()
	rest := n.held
	n.held = nil
	n.mu.Unlock()
	n.tellNew(rest)
	n.mu.Lock()
	for _, s := range n.sinks {
		if !n.closed {
			n.flush(s)
		}
	}
	n.save()
	n.closed = true
	n.mu.Unlock()
	n.telling.Unlock()
	for _, s := range n.sinks {
		s.spool.drained(ctx)
		s.halt()
	}
}

// Stats counts what became of events.
func (n *Notifier) Stats() v1.SinkStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &n.counts
	stats := v1.SinkStats{
		Events: c.events.Load(), Held: uint64(len(n.held)), Quiet: c.quiet.Load(), Dropped: n.queue.Dropped() + c.dropped.Load(),
		Sent: c.sent.Load(), Retries: c.retries.Load(), Refused: c.refused.Load(), Lost: c.lost.Load(),
	}
	for _, s := range n.sinks {
		stats.Waiting += uint64(s.spool.len())
	}
	return stats
}
