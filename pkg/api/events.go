package api

// This file tells what happens as it happens: server-sent events, of the same events that a
// list is given of.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	maxStreams  = 16
	streamPart  = 256                    // events at most, that are to be taken within writeAnswer
	streamApart = 100 * time.Millisecond // between two parts
	quietBeat   = 15 * time.Second       // a comment, when nothing else was sent for so long
	liveBeat    = 2 * time.Second        // an event, for who asks for it
	streamRetry = 2 * time.Second        // before a browser comes back

	streamContent = "text/event-stream"
)

// clients counts those that had to go.
type clients struct {
	streams      atomic.Int64 // open
	cut, refused atomic.Uint64
}

func (c *clients) stats() v1.ClientStats {
	return v1.ClientStats{Streams: uint64(c.streams.Load()), Cut: c.cut.Load(), Refused: c.refused.Load()}
}

// streams are those open. Nothing waits in them: each asks for what is behind the last event
// that its client has taken.
type streams struct {
	src     Source
	turn    turn
	clients *clients
	mu      sync.Mutex
	open    []*stream // oldest first
}

type stream struct {
	peer string
	end  context.CancelFunc
}

// wanted reports whether a request is for a stream.
func (s *streams) wanted(r *http.Request) bool {
	return s != nil && strings.Contains(r.Header.Get("Accept"), streamContent)
}

// ServeHTTP implements http.Handler.
func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, end := context.WithCancel(r.Context())
	defer end()
	one := &stream{nameOf(ctx), end}
	if !s.enter(one) {
		busy(w)
		return
	}
	defer s.leave(one, time.Now())
	if c := connOf(ctx); c != nil {
		c.free() // streams have a bound of their own
	}
	after, err := s.begin(ctx, r)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.Header().Set("Content-Type", streamContent)
	w.Header().Set("Connection", "close")
	beat := quietBeat
	if r.URL.Query().Has(v1.Beat) {
		beat = liveBeat
	}
	out := &streamWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	if err = out.control.SetReadDeadline(time.Time{}); err == nil { // else the client counts as gone
		err = s.send(ctx, out, after, beat)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.clients.cut.Add(1)
	}
}

// begin is the number of the event that the stream begins behind: of the last one that the
// client had, if it is of those numbers; without one, of the newest.
func (s *streams) begin(ctx context.Context, r *http.Request) (after uint64, err error) {
	if err := s.turn.take(ctx); err != nil {
		return 0, err
	}
	newest, _ := s.src.News()
	s.turn.give()
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get(v1.After)
	}
	if last == "" {
		return newest, nil
	}
	if after, err = strconv.ParseUint(last, 10, 64); err != nil || after > newest { // those of a sensor that was there before
		return 0, nil
	}
	return after, nil
}

// next are the events behind one, and what is closed when there are others.
func (s *streams) next(ctx context.Context, after uint64) (list []v1.Event, others <-chan struct{}, err error) {
	if err := s.turn.take(ctx); err != nil {
		return nil, nil, err
	}
	defer s.turn.give()
	_, others = s.src.News() // before the look: none is missed
	list, err = s.src.Events(after)
	return list, others, err
}

// send sends events until the client has gone, or takes none.
func (s *streams) send(ctx context.Context, out *streamWriter, after uint64, beat time.Duration) error {
	text := fmt.Appendf(nil, "retry: %d\n\n", streamRetry.Milliseconds())
	for {
		list, others, err := s.next(ctx, after)
		if err != nil {
			return err
		}
		more := len(list) > streamPart
		for i := range list[:min(len(list), streamPart)] {
			line, err := json.Marshal(&list[i])
			if err != nil {
				return err
			}
			after = list[i].Seq
			text = fmt.Appendf(text, "id: %d\ndata: %s\n\n", after, line)
		}
		if len(text) > 0 {
			if err := out.send(text); err != nil {
				return err
			}
		}
		text = text[:0]
		wait(ctx, streamApart)
		if more {
			continue
		}
		select {
		case <-others:
		case <-time.After(beat):
			text = append(text, ":\n\n"...)
			if beat == liveBeat {
				text = fmt.Appendf(text[:0], "event: %s\ndata: %s\n\n", v1.Beat, time.Now().UTC().Format(time.RFC3339))
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enter lets a stream in. Where there are as many as there may be, the peer that has most loses
// its oldest, if it has more than the new one's would.
func (s *streams) enter(one *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxStreams {
		have := map[string]int{}
		for _, o := range s.open {
			have[o.peer]++
		}
		at := slices.IndexFunc(s.open, func(o *stream) bool { return have[o.peer] > have[one.peer]+1 && have[o.peer] == most(have) })
		if at < 0 {
			s.clients.refused.Add(1)
			return false
		}
		s.open[at].end()
		s.clients.cut.Add(1)
		s.open = slices.Delete(s.open, at, at+1)
	}
	s.open = append(s.open, one)
	s.clients.streams.Store(int64(len(s.open)))
	return true
}

// most is the largest of numbers.
func most(numbers map[string]int) (n int) {
	for _, m := range numbers {
		n = max(n, m)
	}
	return n
}

// leave gives a stream's place to another, but not before its time.
func (s *streams) leave(one *stream, since time.Time) {
	time.AfterFunc(slotHeld-time.Since(since), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = slices.DeleteFunc(s.open, func(o *stream) bool { return o == one })
		s.clients.streams.Store(int64(len(s.open)))
	})
}

// streamWriter sends parts of a stream.
type streamWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *streamWriter) send(text []byte) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(writeAnswer)); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.control.Flush()
}
