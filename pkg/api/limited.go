package api

// This file bounds connections: how many there are, how fast they come, and how long one may
// stand still while others wait.

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// limited accepts so many connections at once, and a bounded number in a time. Who waits is
// served in turn by peers, and has those cut that stand still.
type limited struct {
	net.Listener
	places  *fair
	clients *clients
	ready   chan net.Conn
	failed  chan error
	ended   context.Context
	end     context.CancelFunc

	mu   sync.Mutex
	held map[*limitedConn]bool
}

func newLimited(l net.Listener, c *clients) *limited {
	one := &limited{
		Listener: l, places: newFair(maxConns, maxWaiting), clients: c,
		ready: make(chan net.Conn), failed: make(chan error), held: map[*limitedConn]bool{},
	}
	one.ended, one.end = context.WithCancel(context.Background())
	go one.take()
	return one
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.ended.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.end()
	return l.Listener.Close()
}

// take has connections stand in line.
func (l *limited) take() {
	for l.ended.Err() == nil {
		c, err := l.Listener.Accept()
		if err == nil {
			go l.admit(c)
			wait(l.ended, acceptApart)
			continue
		}
		select {
		case l.failed <- err: // who serves knows whether it passes
		case <-l.ended.Done():
		}
	}
}

// admit hands a connection on once there is a place for it.
func (l *limited) admit(c net.Conn) {
	one := &limitedConn{Conn: c, door: l, peer: peerName(c)}
	w := l.places.join(one.peer)
	for got := false; !got; {
		select {
		case got = <-w.place:
			if !got {
				l.clients.refused.Add(1)
				c.Close()
				return
			}
		case <-time.After(patience):
			l.relieve()
		case <-l.ended.Done():
			if l.places.withdraw(w) {
				l.places.leave(one.peer)
			}
			c.Close()
			return
		}
	}
	since := time.Now()
	one.moved(http.StateNew)
	one.free = sync.OnceFunc(func() {
		l.mu.Lock()
		delete(l.held, one)
		l.mu.Unlock()
		time.AfterFunc(connHeld-time.Since(since), func() { l.places.leave(one.peer) })
	})
	l.mu.Lock()
	l.held[one] = true
	l.mu.Unlock()
	select {
	case l.ready <- one:
	case <-l.ended.Done():
		one.Close()
	}
}

// relieve cuts the connection that has stood still for longest beyond what it may while
// others wait.
func (l *limited) relieve() {
	l.mu.Lock()
	var still *limitedConn
	var most time.Duration
	for c := range l.held {
		if over := c.over(); over > most {
			still, most = c, over
		}
	}
	l.mu.Unlock()
	if still != nil {
		l.clients.cut.Add(1)
		still.Close()
	}
}

// limitedConn makes room for another when it is closed.
type limitedConn struct {
	net.Conn
	door *limited
	peer string
	free func() // gives its place away

	mu      sync.Mutex
	state   http.ConnState
	since   time.Time // it has been so
	writing bool
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.free()
	return c.Conn.Close()
}

// Write implements net.Conn.
func (c *limitedConn) Write(b []byte) (int, error) {
	c.writes(true)
	defer c.writes(false)
	return c.Conn.Write(b)
}

func (c *limitedConn) writes(now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing, c.since = now, time.Now()
}

func (c *limitedConn) moved(to http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.since = to, time.Now()
}

// over is for how long it has stood still beyond what it may: for a request, for its answer to
// be read, or for the next request.
func (c *limitedConn) over() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	may := patience
	switch {
	case c.state == http.StateIdle:
		may = 0
	case c.state == http.StateActive && !c.writing: // its answer is being made, or the rest of its request is missing
		may = 2 * slotWait
	}
	return time.Since(c.since) - may
}

// limitedOf is the connection below one that is served; nil: there is none.
func limitedOf(c net.Conn) *limitedConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	l, _ := c.(*limitedConn)
	return l
}

// tellState is a hook of http.Server.
func tellState(c net.Conn, state http.ConnState) {
	if l := limitedOf(c); l != nil {
		l.moved(state)
	}
}

type connKey struct{}

// connOf is the connection that a request came by.
func connOf(ctx context.Context) *limitedConn {
	c, _ := ctx.Value(connKey{}).(*limitedConn)
	return c
}

// nameOf is the peer whose request it is.
func nameOf(ctx context.Context) string {
	if c := connOf(ctx); c != nil {
		return c.peer
	}
	return ""
}
