// Package export sends flow records away as they end. In go records with what is said of their
// devices at that moment, out come IPFIX messages to a collector and lines of JSON in a file.
// It never holds up who makes records.
package export

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

const (
	// waiting is how many records wait for each way out.
	waiting = 8192
	// lastMessage is how long a collector may take for what waits when there is another.
	lastMessage = time.Second
)

// Config says where records go.
type Config struct {
	IPFIX IPFIX
	Lines Lines
}

// Sends reports whether any record is wanted.
func (c *Config) Sends() bool { return c.IPFIX.Collector != "" || c.Lines.Path != "" }

// Record is a flow record that has ended, as it leaves.
type Record struct {
	v1.FlowRecord
	mac            flows.MAC // of the device's end; zero: it has none
	device, remote netip.Addr
	ifIndex        uint32
}

// Of is a record as it leaves: of a life that was over, or was ended early, with its device's
// verdict.
func Of(r *flows.Record, v *v1.Verdict, early bool) *Record {
	name := v.Device // not all of v
	e := &Record{
		FlowRecord: v1.FlowRecord{
			Flow: v1.Flow{
				Device: &name, Remote: r.RemoteAddr.String(), Proto: r.Proto, DevPort: r.DevPort, RemPort: r.RemPort,
				FirstSeen: v1.UnixMicro(r.FirstSeen), Packets: r.PacketCount, Bytes: r.TotalBytes, BytesSent: r.SentBytes, Interface: r.Interface.Name,
			},
			Address: r.DeviceAddr.String(), LastSeen: v1.UnixMicro(r.LastSeen), PacketsSent: r.SentPackets, EndReason: v1.ActiveTimeout,
			Label: v.Label, Confidence: v.Confidence, Known: v.Known, State: v.State, Path: v.Path, UserLabel: v.UserLabel,
		},
		device: r.DeviceAddr, remote: r.RemoteAddr, ifIndex: r.Interface.Index,
	}
	if early {
		e.EndReason = v1.ForcedEnd
	}
	e.mac, _ = flows.ParseMAC(r.Device) // ip:ADDR has none
	return e
}

// counts are of one way out.
type counts struct{ sent, dropped, lost, failures atomic.Uint64 }

// way is a way out: what takes records behind a queue.
type way interface {
	// take takes the next record, or all that wait go where it returns an error.
	take(*Record) error
	// end sends what is left, in so much time, and takes no more.
	end(within time.Duration)
}

// queued is a way out, and what waits for it.
type queued struct {
	way
	queue   *queue.Queue[*Record]
	counts  *counts
	counted uint64 // of what the queue has dropped
}

func begin(w way, c *counts) *queued {
	return &queued{way: w, queue: queue.New(waiting, w.take), counts: c}
}

// count adds what the queue has dropped since.
func (q *queued) count() {
	n := q.queue.Dropped()
	q.counts.dropped.Add(n - q.counted)
	q.counted = n
}

func (q *queued) close(within time.Duration) {
	due := time.Now().Add(within)
	q.queue.Close(within)
	q.end(time.Until(due))
	q.count()
}

// Exporter sends records away. It is safe for concurrent use; a nil one sends none.
type Exporter struct {
	log          *slog.Logger
	ipfix, lines counts

	swapping sync.Mutex // one SetIPFIX or Close at a time

	mu        sync.Mutex // guards what follows
	closed    bool
	collector IPFIX
	toIPFIX   *queued // nil: there is no collector
	toLines   *queued // nil: there is no file
}

// Open begins to send records where cfg says. The caller must Close the Exporter.
func Open(cfg Config, log *slog.Logger) (*Exporter, error) {
	e := &Exporter{log: log}
	if cfg.Lines.Path != "" {
		f, err := openLines(cfg.Lines, &e.lines, log)
		if err != nil {
			return nil, err
		}
		e.toLines = begin(f, &e.lines)
	}
	if err := e.SetIPFIX(cfg.IPFIX); err != nil {
		e.Close(0)
		return nil, err
	}
	return e, nil
}

// SetIPFIX has records go to another collector, or to none; what waits for the old one has
// a second to get there. An error leaves what was.
func (e *Exporter) SetIPFIX(cfg IPFIX) error {
	e.swapping.Lock()
	defer e.swapping.Unlock()
	if e.closed || cfg == e.collector {
		return nil
	}
	var next *queued
	if cfg.Collector != "" {
		s, err := newSession(cfg, &e.ipfix, e.log)
		if err != nil {
			return err
		}
		next = begin(s, &e.ipfix)
	}
	e.mu.Lock()
	old := e.toIPFIX
	e.collector, e.toIPFIX = cfg, next
	if old != nil {
		old.count()
	}
	e.mu.Unlock()
	if old != nil {
		old.close(lastMessage)
	}
	return nil
}

// ways are those that there are; the lock is held.
func (e *Exporter) ways() []*queued {
	return slices.DeleteFunc([]*queued{e.toIPFIX, e.toLines}, func(q *queued) bool { return q == nil })
}

// Add takes a record. It never waits for who gets it.
func (e *Exporter) Add(r *Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, q := range e.ways() {
		q.queue.Put(r)
	}
}

// Sends reports whether any record is wanted now.
func (e *Exporter) Sends() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ways()) > 0
}

// Close sends what waits, in so much time; what is left then is dropped.
func (e *Exporter) Close(within time.Duration) {
	if e == nil {
		return
	}
	e.swapping.Lock()
	defer e.swapping.Unlock()
	e.mu.Lock()
	ways := e.ways()
	e.closed, e.toIPFIX, e.toLines = true, nil, nil
	for _, q := range ways {
		q.count()
	}
	e.mu.Unlock()
	var closing sync.WaitGroup
	for _, q := range ways {
		closing.Go(func() { q.close(within) })
	}
	closing.Wait()
}

// Stats counts what became of records.
func (e *Exporter) Stats() (s v1.ExportStats) {
	if e == nil {
		return s
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, q := range e.ways() {
		q.count()
	}
	i, l := &e.ipfix, &e.lines
	s.IPFIX = v1.IPFIXStats{Sent: i.sent.Load(), Dropped: i.dropped.Load(), Lost: i.lost.Load(), Failures: i.failures.Load()}
	s.FlowsJSON = v1.FlowsJSONStats{Written: l.sent.Load(), Dropped: l.dropped.Load(), Lost: l.lost.Load()}
	return s
}
