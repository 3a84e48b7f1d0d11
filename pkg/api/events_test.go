package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// happening is a source to which things happen.
type happening struct {
	answers
	mu     sync.Mutex
	events []v1.Event
	next   chan struct{}
}

func (h *happening) happen(n int, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range n {
		h.events = append(h.events, v1.Event{Seq: uint64(len(h.events) + 1), Event: v1.EventNew, New: &text})
	}
	if h.next != nil {
		close(h.next)
		h.next = nil
	}
}

func (h *happening) Events(after uint64) ([]v1.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events[min(after, uint64(len(h.events))):]), nil
}

func (h *happening) News() (uint64, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		h.next = make(chan struct{})
	}
	return uint64(len(h.events)), h.next
}

// stream asks for a stream on a connection, and returns its lines once it has begun.
func (p *pipes) stream(t *testing.T, from, query string, header ...string) (net.Conn, *bufio.Reader, int) {
	t.Helper()
	c := p.dialFrom(from)
	fmt.Fprintf(c, "GET %s%s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n%s\r\n", v1.EventsPath, query, strings.Join(append(header, ""), "\r\n"))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if kind := r.Header.Get("Content-Type"); r.StatusCode == http.StatusOK && kind != streamContent {
		t.Errorf("a stream is %q", kind)
	}
	return c, bufio.NewReader(r.Body), r.StatusCode
}

// upTo reads lines up to one that begins so, and returns those.
func upTo(t *testing.T, lines *bufio.Reader, begin string) (all []string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q, want %q", err, all, begin)
		}
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
		if strings.HasPrefix(line, begin) {
			return all
		}
	}
}

// A stream begins where its client was, tells what happens when it happens, and shows that it
// goes on where nothing does.
func TestStream(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		header      []string
		missed      int
	}{
		{"from now on", "", nil, 0},
		{"all that is kept", "?after=0", nil, 300},
		{"behind a number", "?after=298", nil, 2},
		{"where it was", "?after=1", []string{"Last-Event-ID: 299"}, 1},
		{"of an earlier sensor", "", []string{"Last-Event-ID: 4711"}, 300},
		{"no number", "?after=x", nil, 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := &happening{}
			src.happen(300, "before")
			inBubble(t, src, slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
				c, lines, _ := p.stream(t, "192.0.2.1", tt.query, tt.header...)
				defer c.Close()
				synctest.Wait() // it has looked
				if tt.missed > 0 {
					for i := range tt.missed {
						if all := upTo(t, lines, "data: "); all[len(all)-2] != fmt.Sprintf("id: %d", 301-tt.missed+i) {
							t.Fatalf("%q", all)
						}
					}
				}
				time.Sleep(time.Second)
				begin := time.Now()
				go func() { time.Sleep(time.Minute); src.happen(1, "line\nbreak") }()
				all := upTo(t, lines, "data: ")
				if took := time.Since(begin); took != time.Minute {
					t.Errorf("told after %v", took)
				}
				beats := len(slices.DeleteFunc(slices.Clone(all), func(l string) bool { return l != ":" }))
				if id := all[len(all)-2]; id != "id: 301" || beats != 3 && beats != 4 {
					t.Errorf("%q: %d beats", all, beats)
				}
				if !strings.Contains(all[len(all)-1], `"new":"line\nbreak"`) {
					t.Errorf("%q", all)
				}
			})
		})
	}
}

// Who asks for it gets an event every two seconds that scripts see.
func TestStreamBeats(t *testing.T) {
	inBubble(t, &happening{}, slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
		c, lines, _ := p.stream(t, "192.0.2.1", "?beat")
		defer c.Close()
		begin := time.Now()
		for range 5 {
			upTo(t, lines, "event: beat")
		}
		if took := time.Since(begin); took < 5*liveBeat || took > 5*(liveBeat+streamApart) {
			t.Errorf("five beats in %v", took)
		}
	})
}

// Who does not read loses its stream, and that is counted; others go on.
func TestSlowStreams(t *testing.T) {
	src := &happening{}
	inBubble(t, src, slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
		slow, _, _ := p.stream(t, "192.0.2.1", "")
		good, lines, _ := p.stream(t, "192.0.2.1", "")
		defer good.Close()
		for range 100 {
			src.happen(50, strings.Repeat("x", 100))
			for range 50 {
				upTo(t, lines, "data: ")
			}
		}
		go io.Copy(io.Discard, lines)
		time.Sleep(writeAnswer)
		if n, _ := io.Copy(io.Discard, slow); n > 64<<10 {
			t.Errorf("who did not read was kept %d bytes", n)
		}
		if _, body, _ := p.ask(v1.StatsPath); !strings.Contains(body, `"clients":{"streams":1,"cut":1,"refused":0}`) {
			t.Error(body)
		}
	})
}

// A peer with all the streams there may be gives one away to another, who keeps it.
func TestStreamsAreShared(t *testing.T) {
	inBubble(t, &happening{}, slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
		var all []net.Conn
		for range maxStreams {
			c, _, status := p.stream(t, "192.0.2.1", "")
			if all = append(all, c); status != http.StatusOK {
				t.Fatal(status)
			}
		}
		if c, _, status := p.stream(t, "192.0.2.1", ""); status != http.StatusServiceUnavailable {
			t.Errorf("one more: %d", status)
		} else {
			c.Close()
		}
		other, lines, status := p.stream(t, "192.0.2.2", "?beat")
		if status != http.StatusOK {
			t.Fatalf("another peer: %d", status)
		}
		if _, err := io.Copy(io.Discard, all[0]); err != nil {
			t.Errorf("the first: %v", err)
		}
		for range 10 {
			c, _, _ := p.stream(t, "192.0.2.1", "")
			defer c.Close()
		}
		upTo(t, lines, "event: beat")
		if status, _, err := p.ask(v1.StatsPath); status != http.StatusOK || err != nil {
			t.Errorf("beside streams: %d, %v", status, err)
		}
		other.Close()
		for _, c := range all {
			c.Close()
		}
	})
}

// However many clients one peer has that come again and again, stand still or ask for pages,
// another gets its page.
func TestFairDoor(t *testing.T) {
	inBubble(t, newHouse(), slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
		end := time.Now().Add(time.Minute)
		var clients sync.WaitGroup
		for i := range 500 {
			clients.Go(func() {
				for time.Now().Before(end) {
					c := p.dialFrom("192.0.2.1")
					c.SetDeadline(end)
					switch i % 4 {
					case 0:
						io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
						io.Copy(io.Discard, c)
					case 1: // never reads
						io.WriteString(c, "GET /v1/devices HTTP/1.1\r\nHost: x\r\n\r\n")
						time.Sleep(time.Until(end))
					case 2: // never asks
						io.Copy(io.Discard, c)
					case 3: // half of a body
						io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
						io.Copy(io.Discard, c)
					}
					c.Close()
				}
			})
		}
		time.Sleep(5 * time.Second)
		for peer, most := range map[string]time.Duration{"192.0.2.2": 3 * time.Second, "192.0.2.1": 40 * time.Second} {
			for range 3 {
				begin := time.Now()
				for status := 0; status != http.StatusOK; {
					status, _, _ = p.askFrom(peer, "/")
				}
				if took := time.Since(begin); took > most {
					t.Errorf("%s has its page after %v", peer, took)
				}
			}
		}
		clients.Wait()
	})
}

// Places go to peers in turn, and a line that is too long is shortened where it is longest.
func TestFair(t *testing.T) {
	f := newFair(1, 3)
	first := f.join("a")
	a, b, c := f.join("a"), f.join("a"), f.join("b")
	if late := f.join("a"); <-late.place {
		t.Error("a fourth stands in a line of three")
	}
	late := f.join("c")
	if <-b.place {
		t.Error("another peer's newcomer is not let into the line")
	}
	if !<-first.place {
		t.Error("a free place is not given")
	}
	for _, next := range []struct {
		leaves string
		gets   *waiter
	}{{"a", a}, {"a", c}, {"b", late}} {
		f.leave(next.leaves)
		select {
		case got := <-next.gets.place:
			if !got {
				t.Errorf("%s had to go", next.gets.peer)
			}
		default:
			t.Fatalf("%s has no place", next.gets.peer)
		}
	}
	f = newFair(2, 0)
	f.join("a")
	f.join("a")
	a, b = f.join("a"), f.join("b")
	f.leave("a")
	select {
	case <-b.place:
	case <-a.place:
		t.Error("who has one already comes first")
	}
	if f.withdraw(a) || f.enter(context.Background(), "c", 0) {
		t.Error("a place that there is not")
	}
	f.leave("a")
	f.leave("b")
	if f.free != 2 || len(f.held) > 0 || len(f.line) > 0 {
		t.Errorf("%d free, held %v, %d wait", f.free, f.held, len(f.line))
	}
}

// A client follows, over a sensor's end and another's beginning.
func TestFollow(t *testing.T) {
	src := &happening{}
	src.happen(2, "x")
	c := client.New(serve(t, src))
	enough := errors.New("enough")
	var got []uint64
	err := c.Follow(t.Context(), 0, func(e *v1.Event) error {
		if got = append(got, e.Seq); len(got) == 2 {
			src.happen(1, "x")
		}
		if len(got) == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := client.New("/nowhere").Follow(t.Context(), 0, nil); err == nil || !strings.Contains(err.Error(), "no sensor answers") {
		t.Errorf("nobody: %v", err)
	}
}
