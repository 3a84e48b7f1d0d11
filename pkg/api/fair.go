package api

// This file shares places among peers: however many clients one has, another is served
// beside them.

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// fair has places, and a line of who waits for one. The next is given to the peer that holds
// the fewest, among several to who has waited longest.
type fair struct {
	longest int // of the line; 0: any

	mu   sync.Mutex
	free int
	held map[string]int // places, by peer
	line []*waiter      // in the order that they came
}

// waiter stands in the line.
type waiter struct {
	peer  string
	place chan bool // true: it has one; false: it had to go
}

func newFair(places, longest int) *fair {
	return &fair{longest: longest, free: places, held: map[string]int{}}
}

// enter waits for a place, and reports whether there was one in time.
func (f *fair) enter(ctx context.Context, peer string, within time.Duration) bool {
	w := f.join(peer)
	select {
	case got := <-w.place:
		return got
	case <-time.After(within):
	case <-ctx.Done():
	}
	return f.withdraw(w)
}

// join stands in line. Where that is too long the peer that has most in it loses its newest.
func (f *fair) join(peer string) *waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &waiter{peer, make(chan bool, 1)}
	if f.free > 0 {
		f.free--
		f.give(w)
		return w
	}
	f.line = append(f.line, w)
	if f.longest > 0 && len(f.line) > f.longest {
		waiting := map[string]int{}
		most := 0
		for _, o := range f.line {
			waiting[o.peer]++
			most = max(most, waiting[o.peer])
		}
		for i, o := range slices.Backward(f.line) {
			if waiting[o.peer] == most {
				f.line = slices.Delete(f.line, i, i+1)
				o.place <- false
				break
			}
		}
	}
	return w
}

// give gives a place that is free; the lock is held.
func (f *fair) give(w *waiter) {
	f.held[w.peer]++
	w.place <- true
}

// withdraw leaves the line; true: there has been a place meanwhile.
func (f *fair) withdraw(w *waiter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := slices.Index(f.line, w); at >= 0 {
		f.line = slices.Delete(f.line, at, at+1)
		return false
	}
	return <-w.place
}

// leave gives a peer's place to another.
func (f *fair) leave(peer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[peer]--; f.held[peer] == 0 {
		delete(f.held, peer)
	}
	if len(f.line) == 0 {
		f.free++
		return
	}
	next := 0
	for i, w := range f.line {
		if f.held[w.peer] < f.held[f.line[next].peer] {
			next = i
		}
	}
	w := f.line[next]
	f.line = slices.Delete(f.line, next, next+1)
	f.give(w)
}

// peerName is who shares its places with others of the name: a user of this machine, or an
// address (of IPv6 its network, of which a host has all).
func peerName(c net.Conn) string {
	if u, ok := c.(*net.UnixConn); ok {
		if p, err := peerOf(u); err == nil {
			return "user " + strconv.FormatUint(uint64(p.uid), 10)
		}
		return ""
	}
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	addr := at.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return ""
	}
	return network.String()
}
