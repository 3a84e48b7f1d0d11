// Package network is the view of one network namespace: its interfaces and addresses,
// and word of their changes.
package network

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Network holds the sockets of one network namespace.
type Network struct {
	*netlink.Handle
	ns   netns.NsHandle
	sub  *subscription // until Listen
	done chan struct{}
	busy sync.WaitGroup // listening

	mu   sync.Mutex // guards what follows
	some bool       // something has changed
	gone map[int]bool
}

// subscription is what the kernel tells of interfaces and addresses until it ends:
// it does when more happens than its socket holds.
type subscription struct {
	links     chan netlink.LinkUpdate
	addresses chan netlink.AddrUpdate
	done      chan struct{}
}

// Open opens the namespace of the calling thread; the caller must Close it.
func Open() (*Network, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a route netlink socket: %w", err), ns.Close())
	}
	n := &Network{Handle: h, ns: ns, done: make(chan struct{}), gone: map[int]bool{}}
	if n.sub, err = subscribe(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// subscribe asks for changes of interfaces and addresses.
func subscribe() (*subscription, error) {
	s := &subscription{make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64), make(chan struct{})}
	if err := netlink.LinkSubscribe(s.links, s.done); err != nil {
		return nil, fmt.Errorf("subscribe to interface changes: %w", err)
	}
	if err := netlink.AddrSubscribe(s.addresses, s.done); err != nil {
		close(s.addresses)
		s.stop()
		return nil, fmt.Errorf("subscribe to address changes: %w", err)
	}
	return s, nil
}

func (s *subscription) stop() {
	close(s.done)
	go func() { // the senders may be waiting for room
		for range s.links {
		}
		for range s.addresses {
		}
	}()
}

// Listen notes what the kernel tells, from now on and in the background; wake is
// called when there is something new.
func (n *Network) Listen(wake func()) {
	sub := n.sub
	n.sub = nil
	n.busy.Go(func() {
		for sub != nil {
			n.relay(sub, wake)
			sub.stop()
			sub = n.subscribeAgain()
			n.note(0, wake) // of what happened in between nobody has told
		}
	})
}

// relay notes changes until the subscription or the network ends.
func (n *Network) relay(sub *subscription, wake func()) {
	for {
		select {
		case <-n.done:
			return
		case u, open := <-sub.links:
			if !open {
				return
			}
			gone := 0
			// A port that leaves its bridge is a deletion to the bridge's family.
			if u.Header.Type == unix.RTM_DELLINK && u.Family != unix.AF_BRIDGE {
				gone = int(u.Index)
			}
			n.note(gone, wake)
		case _, open := <-sub.addresses:
			if !open {
				return
			}
			n.note(0, wake)
		}
	}
}

// subscribeAgain tries each second until it can; nil: the network has ended.
func (n *Network) subscribeAgain() (sub *subscription) {
	for sub == nil {
		select {
		case <-n.done:
			return nil
		case <-time.After(time.Second):
		}
		_ = n.Inside(func() (err error) { sub, err = subscribe(); return err })
	}
	return sub
}

// note keeps a change for the next call of Changed; gone is an interface that went, or 0.
func (n *Network) note(gone int, wake func()) {
	n.mu.Lock()
	first := !n.some
	n.some = true
	if gone != 0 {
		n.gone[gone] = true
	}
	n.mu.Unlock()
	if first {
		wake()
	}
}

// Changed reports whether any interface or address has changed since the last
// call, and which interfaces went, by index: another one can have got the index
// of an old one since.
func (n *Network) Changed() (some bool, gone map[int]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	some, gone = n.some, n.gone
	n.some, n.gone = false, map[int]bool{}
	return some, gone
}

// Close ends the subscriptions and closes the sockets.
func (n *Network) Close() {
	close(n.done)
	n.busy.Wait()
	if n.sub != nil {
		n.sub.stop()
	}
	n.Handle.Close()
	n.ns.Close()
}

// Inside calls f on a thread in the namespace. It needs CAP_SYS_ADMIN if that is
// not the process's own.
func (n *Network) Inside(f func() error) error {
	runtime.LockOSThread()
	if here, err := netns.Get(); err == nil {
		same := here.Equal(n.ns)
		here.Close()
		if same {
			defer runtime.UnlockOSThread()
			return f()
		}
	}
	runtime.UnlockOSThread()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err := netns.Set(n.ns); err != nil {
			done <- fmt.Errorf("enter the sensor's network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Find is an interface by its name or one of its alternative names; nil: there is none.
func (n *Network) Find(name string) (netlink.Link, error) {
	link, err := n.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return link, nil
}
