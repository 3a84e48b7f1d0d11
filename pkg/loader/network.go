package loader

// This file is the view of the network namespace that Open was called in.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network holds the sockets of one network namespace.
type network struct {
	*netlink.Handle
	ns        netns.NsHandle
	links     chan netlink.LinkUpdate
	addresses chan netlink.AddrUpdate
	done      chan struct{}
}

func openNetwork() (*network, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a route netlink socket: %w", err), ns.Close())
	}
	n := &network{
		Handle: h, ns: ns, done: make(chan struct{}),
		links: make(chan netlink.LinkUpdate, 64), addresses: make(chan netlink.AddrUpdate, 64),
	}
	if err := n.subscribe(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// subscribe asks for changes of interfaces and addresses.
func (n *network) subscribe() error {
	if err := netlink.LinkSubscribe(n.links, n.done); err != nil {
		close(n.links)
		close(n.addresses)
		return fmt.Errorf("subscribe to interface changes: %w", err)
	}
	if err := netlink.AddrSubscribe(n.addresses, n.done); err != nil {
		close(n.addresses)
		return fmt.Errorf("subscribe to address changes: %w", err)
	}
	return nil
}

// Close ends the subscriptions and closes the sockets.
func (n *network) Close() {
	close(n.done)
	go func() { // the senders may be waiting for room
		for range n.links {
		}
		for range n.addresses {
		}
	}()
	n.Handle.Close()
	n.ns.Close()
}

// inside calls f on a thread in the namespace. It needs CAP_SYS_ADMIN if that is
// not the process's own.
func (n *network) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		here, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("network namespace: %w", err)
			return
		}
		defer here.Close()
		if here.Equal(n.ns) {
			defer runtime.UnlockOSThread()
		} else if err := netns.Set(n.ns); err != nil { // the thread ends with the goroutine
			done <- fmt.Errorf("enter the sensor's network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// changed reports whether any interface or address has changed since the last
// call, and which interfaces went, by index: another one can have got the index
// of an old one since.
func (n *network) changed() (some bool, gone map[int]bool) {
	gone = map[int]bool{}
	for {
		select {
		case u, open := <-n.links:
			if !open { // the subscription has ended: look every time
				return true, gone
			}
			some = true
			// A port that leaves its bridge is a deletion to the bridge's family.
			if u.Header.Type == unix.RTM_DELLINK && u.Family != unix.AF_BRIDGE {
				gone[int(u.Index)] = true
			}
		case _, open := <-n.addresses:
			if !open {
				return true, gone
			}
			some = true
		default:
			return some, gone
		}
	}
}

// find is an interface by name.
func (n *network) find(name string) (netlink.Link, error) {
	link, err := n.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, fmt.Errorf("interface %s does not exist: `ip link` lists those that do: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return link, nil
}

// hasEthernetHeader reports whether frames begin with one; those of tun, ppp
// and wireguard begin with the IP header.
func hasEthernetHeader(link netlink.Link) bool {
	kind := link.Attrs().EncapType
	return kind == "ether" || kind == "loopback"
}

// hold takes an interface for this process: a socket in the abstract namespace
// belongs to one network namespace and goes with its process, however that ends.
// Anybody may bind its name: only a process that could be a sensor, root's or of
// this user, keeps this one away. Else the result is nil.
func (s *Sensor) hold(ifname string, ifindex int) (net.Listener, error) {
	name := "@iotsense/if" + strconv.Itoa(ifindex)
	l, err := net.Listen("unix", name)
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("hold the interface: %w", err)
	}
	who, err := holder(name)
	if err != nil {
		return nil, fmt.Errorf("another sensor is on it (its process is unknown: %w): stop that one first", err)
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", who.Pid))
	comm := strings.TrimSpace(string(text))
	if who.Uid != 0 && int(who.Uid) != os.Geteuid() {
		s.log.Warn("a process that is no sensor pretends to watch the interface", "interface", ifname,
			"pid", who.Pid, "uid", who.Uid, "command", comm)
		return nil, nil
	}
	return nil, fmt.Errorf("another sensor is on it (%s): stop that one first", strings.TrimSpace(fmt.Sprintf("pid %d %s", who.Pid, comm)))
}

// holder is the process that listens on an abstract socket.
func holder(name string) (*unix.Ucred, error) {
	c, err := net.Dial("unix", name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(err, asked)
}

// promiscuous turns promiscuous mode on for as long as the returned socket is
// open: the kernel takes it back, however the process ends.
func promiscuous(ifindex int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("promiscuous mode (CAP_NET_RAW): %w", err)
	}
	request := unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("promiscuous mode: %w", err)
	}
	return fd, nil
}
