package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/replay"
)

// peers are those that a sensor tells of events, each behind a line that is bad now and then.
type peers struct {
	n     *replay.Network
	lines map[string]string // addresses, by the sink's name
	sound atomic.Bool       // no line is bad any more
	posts atomic.Int64      // that were taken
	bad   atomic.Int64      // that were no message
}

// startPeers starts a web server for webhook and ntfy, and mosquitto, in the sensor's namespace.
// Their lines are bad until ctx ends, and then sound until the test does.
func startPeers(ctx context.Context, t *testing.T, n *replay.Network) *peers {
	t.Helper()
	p := &peers{n: n, lines: map[string]string{}}
	err := n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	// Of ports that no connection is given as its own: a line is away now and then.
	web := p.listen(t, "127.0.0.1:8080")
	server := &http.Server{Handler: http.HandlerFunc(p.post)}
	go func() { _ = server.Serve(web) }()
	t.Cleanup(func() { server.Close() })
	broker := p.broker(t)
	var around sync.WaitGroup
	t.Cleanup(around.Wait)
	for name, l := range map[string]struct{ address, target string }{
		"webhook": {"127.0.0.1:8081", web.Addr().String()}, "ntfy": {"127.0.0.1:8082", web.Addr().String()}, "mqtt": {"127.0.0.1:1884", broker},
	} {
		p.lines[name] = l.address
		around.Go(func() { p.line(ctx, t, l.address, l.target) })
	}
	return p
}

// args are the sensor's flags that have it tell them, of much.
func (p *peers) args() []string {
	return []string{
		"--sinks.hold", "0s", "--sinks.digest", "1s", "--sinks.webhook.url", "http://" + p.lines["webhook"] + "/hook",
		"--sinks.ntfy.url", "http://" + p.lines["ntfy"] + "/topic", "--sinks.mqtt.url", "mqtt://" + p.lines["mqtt"],
	}
}

// check waits until nothing waits to be told: a pause between attempts is up to five minutes.
func (p *peers) check(s *soak) {
	s.t.Helper()
	var last v1.Stats
	for end := time.Now().Add(6 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if last = s.until("it answers", func(v1.Stats) bool { return true }); last.Sinks.Waiting == 0 {
			break
		}
	}
	s.t.Logf("told: %+v; %d posts taken", last.Sinks, p.posts.Load())
	if last.Sinks.Waiting != 0 || last.Sinks.Sent == 0 || last.Sinks.Retries == 0 || p.bad.Load() != 0 {
		s.t.Errorf("%+v; %d posts were no message", last.Sinks, p.bad.Load())
	}
}

// post is the web server: one in four is told to come again.
func (p *peers) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil: // cut off on its way
	case !json.Valid(body):
		p.bad.Add(1)
	case !p.sound.Load() && mathrand.IntN(4) == 0:
		http.Error(w, "later", http.StatusServiceUnavailable)
	default:
		p.posts.Add(1)
	}
}

// broker starts mosquitto and returns its address.
func (p *peers) broker(t *testing.T) string {
	t.Helper()
	tool := testenv.Tool(t, "mosquitto")
	const port = 1883
	config := filepath.Join(t.TempDir(), "conf")
	text := fmt.Sprintf("user root\nlog_dest none\npersistence false\nallow_anonymous true\nlistener %d 127.0.0.1\n", port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-c", config)
	ended, err := p.n.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return fmt.Sprint("127.0.0.1:", port)
}

func (p *peers) listen(t *testing.T, address string) (l net.Listener) {
	t.Helper()
	var err error
	for end := time.Now().Add(deadlock); ; time.Sleep(10 * time.Millisecond) {
		err = p.n.Do(func() (err error) { l, err = net.Listen("tcp", address); return err })
		// A sensor that is just being started has a copy of the listener before, until it is executed.
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// line is a way to a target. Each few seconds it is another: half of the time it is sound, else nobody
// listens, or is silent, or says what means nothing, or hangs up in the middle.
func (p *peers) line(ctx context.Context, t *testing.T, address, target string) {
	ways := []func(net.Conn){nil, hang, garbage, func(c net.Conn) { p.pass(c, target, 300) }}
	for ctx.Err() == nil {
		way := func(c net.Conn) { p.pass(c, target, 1<<62) }
		if mathrand.IntN(2) == 0 {
			way = ways[mathrand.IntN(len(ways))]
		}
		stint, end := context.WithTimeout(ctx, 2*time.Second+mathrand.N(8*time.Second))
		p.stint(stint, p.listen(t, address), way)
		end()
	}
	p.sound.Store(true)
	p.stint(t.Context(), p.listen(t, address), func(c net.Conn) { p.pass(c, target, 1<<62) })
}

// stint serves a listener in one way, nil: not at all, and closes it with all of its connections.
func (p *peers) stint(ctx context.Context, l net.Listener, way func(net.Conn)) {
	if way == nil {
		l.Close()
		<-ctx.Done()
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { // to the end, or the next listener finds the address in use
		<-ctx.Done()
		l.Close()
	})
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			way(c)
		})
	}
}

func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func garbage(c net.Conn) { _, _ = io.CopyN(c, rand.Reader, 4096) }

// pass lets so many bytes of the target's answers through.
func (p *peers) pass(c net.Conn, target string, most int64) {
	var to net.Conn
	if err := p.n.Do(func() (err error) { to, err = net.Dial("tcp", target); return err }); err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, c)
		to.Close()
	}()
	_, _ = io.CopyN(c, to, most)
}
