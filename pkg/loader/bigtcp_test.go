package loader

// This file tests on TCP super-packets longer than an IP header can say (BIG TCP).

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	bigInterface, bigPeer = "big0", "big1"
	// bigFrame is what one skb may hold.
	bigFrame = 180_000
)

// bigPath is how the two ends of the pair talk. The sender's address is the lower.
type bigPath struct {
	sender, receiver string // with prefix lengths
	header           uint64 // of each packet on the wire: IP, TCP with timestamps
	allow            func(netlink.Link) error
}

// The wire packets of BIG TCP are counted, and their bytes: the payload that was
// sent, and the headers of as many packets.
func TestBigTCP(t *testing.T) {
	const tcp = 20 + 12
	for name, path := range map[string]bigPath{
		"IPv4": {"10.78.0.1/24", "10.78.0.2/24", 20 + tcp, func(l netlink.Link) error { // Linux 6.3
			return netlink.LinkSetGSOIPv4MaxSize(l, bigFrame)
		}},
		// In memory these have a hop-by-hop header with the jumbo length, on the wire none.
		"IPv6": {"fd00:78::1/64", "fd00:78::2/64", 40 + tcp, func(l netlink.Link) error { // Linux 5.19
			off := filepath.Join("/proc/sys/net/ipv6/conf", l.Attrs().Name, "disable_ipv6")
			return errors.Join(os.WriteFile(off, []byte("0"), 0), netlink.LinkSetGSOMaxSize(l, bigFrame))
		}},
	} {
		t.Run(name, func(t *testing.T) { path.test(t) })
	}
}

func (path bigPath) test(t *testing.T) {
	const payload = 64 << 20
	n := newNetwork(t, "bigtcp")
	path.addPair(t, n)
	var s *Kernel
	err := n.Do(func() (err error) {
		s, err = Open(Config{Interfaces: []string{bigInterface}, Hook: attach.HookTC, Prefix: 100, MaxFlows: 4096})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stop := start(t, s)
	longest := watchLongest(t, n)
	carried := path.send(t, n, payload)
	seen := stop()
	most := longest()
	if most <= 1<<16 {
		t.Skipf("the longest frame had %d bytes: this kernel sends no BIG TCP here", most)
	}
	stats, err := s.Stats(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !identities(stats.Packets) || stats.Packets.Malformed != 0 || stats.Packets.Truncated != 0 {
		t.Errorf("%+v", stats.Packets)
	}
	var sent *flows.Close // with the most bytes
	for i := range seen.closes {
		if c := &seen.closes[i]; sent == nil || c.Bytes[0]+c.Bytes[1] > sent.Bytes[0]+sent.Bytes[1] {
			sent = c
		}
	}
	const side, synOptions = 0, 8
	if want := carried + sent.Packets[side]*path.header + synOptions; sent.Bytes[side] != want {
		t.Errorf("%d packets of %d bytes, want %d: what TCP says it has carried, and a header each", sent.Packets[side], sent.Bytes[side], want)
	}
	t.Logf("%d wire packets, the longest frame %d bytes", sent.Packets[side], most)
}

// addPair joins the network's two namespaces by a second pair, offloads on.
func (path bigPath) addPair(t *testing.T, n *replay.Network) {
	t.Helper()
	var device *os.File
	err := n.DoDevice(func() (err error) { device, err = os.Open("/proc/thread-self/ns/net"); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	err = n.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: bigInterface}, PeerName: bigPeer, PeerNamespace: netlink.NsFd(device.Fd()),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Do(func() error { return netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: bigInterface}}) })
	})
	for _, end := range []struct {
		do            func(func() error) error
		name, address string
	}{{n.Do, bigInterface, path.sender}, {n.DoDevice, bigPeer, path.receiver}} {
		err := end.do(func() error {
			link, err := netlink.LinkByName(end.name)
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(end.address)
			if err != nil {
				return err
			}
			addr.Flags = unix.IFA_F_NODAD
			if err := path.allow(link); err != nil {
				t.Skipf("this kernel has no such BIG TCP: %v", err)
			}
			if err := netlink.AddrAdd(link, addr); err != nil {
				return err
			}
			return netlink.LinkSetUp(link)
		})
		if err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
	}
}

// send sends so many bytes from the sensor's end, and waits until the other
// has them all and both have closed. It returns how many bytes TCP has carried:
// on a busy machine it may send some a second time.
func (path bigPath) send(t *testing.T, n *replay.Network, bytes int64) (carried uint64) {
	t.Helper()
	receiver := netip.AddrPortFrom(netip.MustParsePrefix(path.receiver).Addr(), 7000).String()
	var listener net.Listener
	err := n.DoDevice(func() (err error) { listener, err = net.Listen("tcp", receiver); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	received := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			received <- err
			return
		}
		defer c.Close()
		got, err := io.Copy(io.Discard, c)
		if err == nil && got != bytes {
			err = fmt.Errorf("received %d bytes, want %d", got, bytes)
		}
		received <- err
	}()
	err = n.Do(func() error {
		c, err := net.DialTimeout("tcp", receiver, 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		piece := make([]byte, 1<<20)
		for left := bytes; left > 0; left -= int64(len(piece)) {
			if _, err := c.Write(piece[:min(left, int64(len(piece)))]); err != nil {
				return err
			}
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		if _, err = io.Copy(io.Discard, c); err != nil { // until the other end has closed too
			return err
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		var info *unix.TCPInfo
		var asked error
		err = raw.Control(func(fd uintptr) { info, asked = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
		if err := errors.Join(err, asked); err != nil {
			return err
		}
		carried = info.Bytes_sent
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	return carried
}

// watchLongest looks at the frames that leave; the function returned ends that and
// says how long the longest was.
func watchLongest(t *testing.T, n *replay.Network) func() int {
	t.Helper()
	fd := -1
	err := n.Do(func() error {
		link, err := netlink.LinkByName(bigInterface)
		if err != nil {
			return err
		}
		const everyProtocol = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, everyProtocol); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: everyProtocol})
	})
	if err != nil {
		t.Fatal(err)
	}
	stop, longest := make(chan struct{}), make(chan int)
	go func() {
		defer unix.Close(fd)
		most := 0
		for {
			length, _, err := unix.Recvfrom(fd, nil, unix.MSG_TRUNC)
			if err == nil {
				most = max(most, length)
				continue
			}
			if errors.Is(err, unix.EINTR) {
				continue // signal(7): a socket with a timeout is not restarted after Go's own signals
			}
			select {
			case <-stop:
				longest <- most
				return
			default:
			}
		}
	}()
	return func() int { close(stop); return <-longest }
}
