package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// pipes is a listener whose connections are in memory, so that time can be made up.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial() net.Conn { return p.dialFrom("192.0.2.1") }

// from is a connection of a peer.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.addr), Port: 1} }

func (p *pipes) dialFrom(addr string) net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- from{theirs, addr}
	return ours
}

// ask sends a request and returns the answer's status and body.
func (p *pipes) ask(path string) (int, string, error) { return p.askFrom("192.0.2.1", path) }

func (p *pipes) askFrom(addr, path string) (int, string, error) {
	c := p.dialFrom(addr)
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path); err != nil {
		return 0, "", err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

// counting counts how often it is asked; each answer takes its time.
type counting struct {
	takes        time.Duration
	size         int
	stats, flows atomic.Int64
	facts, at    atomic.Int64
	explanations atomic.Int64
	most         atomic.Int64 // asked at once
	statsBegan   time.Time
}

func (c *counting) ask(n *atomic.Int64) int64 {
	if at := c.at.Add(1); at > c.most.Load() {
		c.most.Store(at)
	}
	defer c.at.Add(-1)
	time.Sleep(c.takes)
	return n.Add(1)
}

func (*counting) ID() string { return "c0de" }

func (c *counting) Stats() (v1.Stats, error) {
	c.statsBegan = time.Now()
	return v1.Stats{Records: uint64(c.ask(&c.stats))}, nil
}

func (c *counting) Devices() ([]v1.DeviceVerdict, error) { return nil, nil }

func (c *counting) Flows(int) ([]v1.Flow, int, error) {
	c.ask(&c.flows)
	return []v1.Flow{{Remote: strings.Repeat("x", c.size)}}, 0, nil
}

func (c *counting) Facts(string) ([]v1.Fact, error) {
	c.ask(&c.facts)
	return []v1.Fact{}, nil
}

func (c *counting) Peers(string) (v1.Peers, error) { return v1.Peers{}, nil }

func (c *counting) Explanation(context.Context, string, v1.ExplanationRequest) (*v1.Explanation, error) {
	c.ask(&c.explanations)
	return &v1.Explanation{}, nil
}

// inBubble serves src on connections in memory.
func inBubble(t *testing.T, src Source, log *slog.Logger, f func(t *testing.T, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { Serve(ctx, p, src, log); close(done) }()
		f(t, p)
		stop()
		begin := time.Now()
		<-done
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v to end", took)
		}
		time.Sleep(keepCopy + time.Minute) // timers run out
	})
}

// However many ask, an answer is computed one at a time and a bounded number of times.
func TestManyClients(t *testing.T) {
	for _, tt := range []struct {
		path string
		most int64 // computations in ten seconds
	}{{v1.FlowsPath, 11}, {v1.StatsPath, 101}, {v1.FactsPath("02:00:00:00:00:01"), 170}, {v1.ExplanationPath("02:00:00:00:00:01"), 41}} {
		src := &counting{takes: 5 * time.Millisecond}
		inBubble(t, src, slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
			var clients sync.WaitGroup
			var answered, refused atomic.Int64
			end := time.Now().Add(10 * time.Second)
			for range 100 {
				clients.Go(func() {
					for time.Now().Before(end) {
						switch status, _, err := p.ask(tt.path); {
						case err == nil && status == http.StatusOK:
							answered.Add(1)
						case err == nil && status == http.StatusServiceUnavailable:
							refused.Add(1)
						default:
							t.Errorf("%s: status %d, %v", tt.path, status, err)
						}
					}
				})
			}
			clients.Wait()
			if n := src.flows.Load() + src.stats.Load() + src.facts.Load() + src.explanations.Load(); n > tt.most+10 || n < tt.most/2 {
				t.Errorf("%s was computed %d times in ten seconds, want about %d", tt.path, n, tt.most)
			}
			if src.most.Load() != 1 {
				t.Errorf("%d computations at once", src.most.Load())
			}
			if answered.Load() == 0 || (tt.path != v1.StatsPath) != (refused.Load() > 0) {
				t.Errorf("%s: %d answered, %d refused", tt.path, answered.Load(), refused.Load())
			}
		})
	}
}

// The counters are never older than the request, that of a single client comes at once.
func TestStatsAreFresh(t *testing.T) {
	src := &counting{}
	inBubble(t, src, slog.New(slog.DiscardHandler), func(t *testing.T, p *pipes) {
		for n := range 5 {
			asked := time.Now()
			if _, body, err := p.ask(v1.StatsPath); err != nil || !strings.Contains(body, fmt.Sprintf(`"records":%d`, n+1)) {
				t.Errorf("%s, %v: want the %d. answer", body, err, n+1)
			}
			if src.statsBegan.Before(asked) {
				t.Errorf("an answer %v older than the request", asked.Sub(src.statsBegan))
			}
		}
	})
}

// Clients that do not read, that do not ask and that never end asking are cut off,
// and whoever comes beside them is answered.
func TestHeldConnections(t *testing.T) {
	src := &counting{size: 1 << 20}
	var log bytes.Buffer
	inBubble(t, src, slog.New(slog.NewTextHandler(&log, nil)), func(t *testing.T, p *pipes) {
		cut := make(chan string)
		for name, request := range map[string]string{
			"no request":      "",
			"half a request":  "GET /stats HTTP/1.1\r\nHost:",
			"does not read":   "GET /flows HTTP/1.1\r\nHost: x\r\n\r\n",
			"half of a body":  "GET /stats HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1",
			"large header":    "GET /stats HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 1<<16) + "\r\n\r\n",
			"idle afterwards": "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			for range 10 {
				c := p.dial()
				go func() {
					_, _ = io.WriteString(c, request) // may be cut off here
					if name != "does not read" {
						_, _ = io.Copy(io.Discard, c)
						cut <- name
						return
					}
					time.Sleep(writeAnswer + 5*time.Second)
					if n, _ := io.Copy(io.Discard, c); n >= int64(src.size) {
						t.Errorf("%s: it has got %d bytes all the same", name, n)
					}
					cut <- name
				}()
			}
		}
		begin := time.Now()
		if status, _, err := p.ask(v1.StatsPath); err != nil || status != http.StatusOK {
			t.Errorf("status %d, %v", status, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("answered after %v", took)
		}
		for range 60 {
			<-cut
		}
	})
	if n := strings.Count(log.String(), "\n"); n > 1 {
		t.Errorf("%d lines of log:\n%s", n, &log)
	}
}

// The log tells of clients once a minute, and of how many.
func TestQuietLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		q := &quietLog{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 1000 {
			q.warn("answer not sent")
		}
		time.Sleep(logApart)
		q.warn("answer not sent")
		if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "more_since_last=999") {
			t.Error(text)
		}
	})
}
