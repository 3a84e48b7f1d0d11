package loader

// This file does to a running sensor what happens on a real box: interfaces that
// change, bridges, programs of others, addresses that come and go.

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

// box is a private network and what tests do in it.
type box struct {
	*replay.Network
	t *testing.T
}

func newBox(t *testing.T, purpose string) *box { return &box{newNetwork(t, purpose), t} }

// do changes an interface in the sensor's namespace.
func (b *box) do(name string, change func(netlink.Link) error) {
	b.t.Helper()
	err := b.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return change(l)
	})
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
}

// add makes an interface there and sets it up.
func (b *box) add(l netlink.Link) {
	b.t.Helper()
	if err := b.Do(func() error { return netlink.LinkAdd(l) }); err != nil {
		b.t.Fatalf("add %s: %v", l.Attrs().Name, err)
	}
	b.do(l.Attrs().Name, netlink.LinkSetUp)
}

// addPair makes two interfaces there whose frames go to each other.
func (b *box) addPair(name, peer string) {
	b.t.Helper()
	b.add(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer})
	b.do(peer, netlink.LinkSetUp)
}

// noBridgeFilter lets frames cross a bridge whose IPv4 header has no checksum.
func (b *box) noBridgeFilter() {
	b.t.Helper()
	err := b.Do(func() error { return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
}

// send sends a frame n times out of an interface of the sensor's namespace, or
// from the devices' end with name replay.DeviceInterface.
func (b *box) send(name string, frame []byte, n int) {
	b.t.Helper()
	in := b.Do
	if name == replay.DeviceInterface {
		in = b.DoDevice
	}
	err := in(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range n {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatalf("send from %s: %v", name, err)
	}
}

// sensor attaches and runs one.
func (b *box) sensor(cfg Config) (s *Kernel, stop func() *events) {
	b.t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{b.t}, nil))
	s = mustOpen(b.t, b.Network, cfg)
	return s, start(b.t, s)
}

// until waits for the sensor's figures to be as wanted.
func (b *box) until(s *Kernel, what string, good func(Stats) bool) Stats {
	b.t.Helper()
	var stats Stats
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if stats, err = s.Stats(nil); err != nil {
			b.t.Fatal(err)
		}
		if good(stats) {
			return stats
		}
	}
	b.t.Fatalf("no %s: %+v", what, stats)
	return stats
}

func counted(n uint64) func(Stats) bool {
	return func(s Stats) bool { return s.Packets.Counted == n }
}

// The sensor stays on an interface through everything that may happen to it.
func TestInterfaceChanges(t *testing.T) {
	const each = 10
	for _, hook := range []attach.Hook{attach.HookAuto, attach.HookTC, attach.HookXDP} {
		t.Run(string(hook), func(t *testing.T) {
			b := newBox(t, "changes-"+string(hook))
			b.add(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
			s, stop := b.sensor(Config{Hook: hook, Packets: 2})
			sent := uint64(0)
			for _, change := range []struct {
				name   string
				change func(netlink.Link) error
				at     string // the interface's name before the change
				after  string // and after it
			}{
				{"none", func(netlink.Link) error { return nil }, replay.Interface, replay.Interface},
				{"down and up", downAndUp, replay.Interface, replay.Interface},
				{"MTU", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1280) }, replay.Interface, replay.Interface},
				{"renamed", renamed("lan0"), replay.Interface, "lan0"},
				{"put into a bridge", intoBridge, "lan0", "lan0"},
				{"taken out of it", netlink.LinkSetNoMaster, "lan0", "lan0"},
				{"renamed back", renamed(replay.Interface), "lan0", replay.Interface},
			} {
				b.do(change.at, change.change)
				b.until(s, change.name, func(s Stats) bool {
					i := s.Interfaces[0]
					return i.Attached && i.Name == change.after
				})
				b.send(replay.DeviceInterface, udpFrame(1, 100), each)
				sent += each
				b.until(s, "packets after "+change.name, counted(sent))
			}
			got := stop()
			packets, _ := got.total()
			if packets != sent || len(got.closes) != 1 || len(got.samples) != 2 {
				t.Errorf("%d packets in %d lives with %d samples, want %d in one with 2", packets, len(got.closes), len(got.samples), sent)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if rest := left(t, b.Network); rest != "" {
				t.Errorf("left on the interface: %s", rest)
			}
		})
	}
}

func downAndUp(l netlink.Link) error {
	if err := netlink.LinkSetDown(l); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func renamed(name string) func(netlink.Link) error {
	return func(l netlink.Link) error {
		if err := netlink.LinkSetDown(l); err != nil { // needed before Linux 6.2
			return err
		}
		if err := netlink.LinkSetName(l, name); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}
}

func intoBridge(l netlink.Link) error {
	bridge, err := netlink.LinkByName("br0")
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(l, bridge)
}

// An interface that is deleted and made anew under its old name is watched again,
// also when it has got its old index back before the sensor looked.
func TestInterfaceIsMadeAnew(t *testing.T) {
	for name, step := range map[string]int{"same index": 0, "other index": 10} {
		t.Run(name, func(t *testing.T) { testMadeAnew(t, step) })
	}
}

func testMadeAnew(t *testing.T, step int) {
	b := newBox(t, "anew")
	const name, peer = "iots-lt0", "iots-lt1"
	index := 777
	create := func() {
		b.add(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index}, PeerName: peer})
		b.do(peer, netlink.LinkSetUp)
		index += step
	}
	create()
	s, stop := b.sensor(Config{Interfaces: []string{replay.Interface, name}, Packets: 1})
	b.send(peer, udpFrame(1, 100), 5)
	b.until(s, "packets at first", counted(5))
	for round := range 2 {
		b.do(name, netlink.LinkDel)
		create()
		b.until(s, "packets on the new interface", func(s Stats) bool {
			b.send(peer, udpFrame(1, 100), 1)
			return s.Packets.Counted > uint64(5+round)
		})
	}
	stop()
	if rest := left(t, b.Network); rest != "" {
		t.Errorf("left on the other interface: %s", rest)
	}
}

// A packet that crosses several watched interfaces is counted once.
func TestBridgeAndPortsCountOnce(t *testing.T) {
	const each = 20
	all := []string{replay.Interface, "iots-p0", "br0"}
	for _, tt := range []struct {
		name       string
		hook       attach.Hook
		interfaces []string
		to         string // the frame goes to: the other port, or the bridge itself
		sights     uint64 // of each packet
	}{
		{"one port", attach.HookAuto, all[:1], "iots-p1", 1},
		{"both ports", attach.HookAuto, all[:2], "iots-p1", 2},
		{"both ports, tc", attach.HookTC, all[:2], "iots-p1", 2},
		{"port and bridge", attach.HookAuto, []string{replay.Interface, "br0"}, "br0", 2},
		{"port and bridge, tc", attach.HookTC, []string{replay.Interface, "br0"}, "br0", 2},
		{"everything, across", attach.HookAuto, all, "iots-p1", 2},
		{"everything, to the host", attach.HookAuto, all, "br0", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t, "bridge")
			b.noBridgeFilter()
			silent := false // no IGMP of its own
			b.add(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &silent})
			b.addPair("iots-p0", "iots-p1")
			b.do(replay.Interface, intoBridge)
			b.do("iots-p0", intoBridge)
			frame := udpFrame(1, 100)
			b.do(tt.to, func(l netlink.Link) error { copy(frame, l.Attrs().HardwareAddr); return nil })
			there := slices.Clone(frame) // an answer, so that the bridge knows where the other end is
			copy(there[6:12], frame[:6])
			copy(there[:6], frame[6:12])
			if tt.to != "br0" {
				b.send(tt.to, packet.EthernetFrom([6]byte(there[6:12]), [6]byte(there[:6]), packet.ARPType, make([]byte, 46)), 1)
			}
			s, stop := b.sensor(Config{Hook: tt.hook, Interfaces: tt.interfaces, Packets: 3})
			b.send(replay.DeviceInterface, frame, each)
			want := tt.sights * each
			p := b.until(s, "packets", func(s Stats) bool { return s.Packets.Seen >= want }).Packets
			if p.Seen != want || p.Counted != each || p.Duplicate != want-each || !identities(p) {
				t.Errorf("%+v, want %d seen, %d counted", p, want, each)
			}
			got := stop()
			if packets, _ := got.total(); packets != each || len(got.closes) != 1 || len(got.samples) != 3 {
				t.Errorf("%d packets in %d lives with %d samples, want %d in one with 3", packets, len(got.closes), len(got.samples), each)
			}
		})
	}
}

// A program that was there first goes on to run, and hides nothing from ours.
func TestOtherTCXProgramStays(t *testing.T) {
	b := newBox(t, "othertcx")
	needHook(t, attach.HookTCX)
	other, err := loadOther(ebpf.SchedCLS, 0) // TC_ACT_OK: ends the chain
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	b.do(replay.Interface, func(l netlink.Link) error {
		at, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: other, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			t.Cleanup(func() { at.Close() })
		}
		return err
	})
	before := left(t, b.Network)
	s, stop := b.sensor(Config{Hook: attach.HookTCX})
	if now := left(t, b.Network); strings.Count(now, "tcx") != 3 || !strings.Contains(now, before) || strings.HasPrefix(now, before) {
		t.Errorf("attached: %s, want ours before %s", now, before)
	}
	b.send(replay.DeviceInterface, udpFrame(1, 100), 7)
	b.until(s, "packets before the other program", counted(7))
	stop()
	if now := left(t, b.Network); now != before {
		t.Errorf("after detaching: %s, want %s", now, before)
	}
}

// Who is in the way is named.
func TestWhoIsInTheWay(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook attach.Hook
		put  func(t *testing.T, l netlink.Link) error
		want []string // words of the error
	}{
		{"an XDP link", attach.HookXDP, func(t *testing.T, l netlink.Link) error {
			at, err := link.AttachXDP(link.XDPOptions{Program: otherXDP(t), Interface: l.Attrs().Index, Flags: link.XDPDriverMode})
			if err == nil {
				t.Cleanup(func() { at.Close() })
			}
			return err
		}, []string{"another XDP program", "other", "--hook tcx"}},
		{"an XDP program of `ip link`", attach.HookXDP, func(t *testing.T, l netlink.Link) error {
			return netlink.LinkSetXdpFdWithFlags(l, otherXDP(t).FD(), unix.XDP_FLAGS_DRV_MODE)
		}, []string{"another XDP program", "other", "--hook tcx"}},
		{"a generic XDP program", attach.HookXDPGeneric, func(t *testing.T, l netlink.Link) error {
			return netlink.LinkSetXdpFdWithFlags(l, otherXDP(t).FD(), unix.XDP_FLAGS_SKB_MODE)
		}, []string{"another XDP program", "other"}},
		{"a filter for one protocol", attach.HookTC, func(t *testing.T, l netlink.Link) error {
			other, err := loadOther(ebpf.SchedCLS, 0)
			if err != nil {
				return err
			}
			defer other.Close()
			return errors.Join(netlink.QdiscAdd(clsact(l)), netlink.FilterAdd(&netlink.BpfFilter{
				FilterAttrs: netlink.FilterAttrs{
					LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: filterPriority, Protocol: unix.ETH_P_IP, Handle: 1,
				},
				Fd: other.FD(), Name: "other", DirectAction: true,
			}))
		}, []string{"kind bpf", "0x0800", fmt.Sprintf("tc filter show dev %s egress", replay.Interface), "--hook tcx"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t, "inway")
			b.do(replay.Interface, func(l netlink.Link) error { return tt.put(t, l) })
			before := left(t, b.Network)
			_, err := open(t, b.Network, Config{Hook: tt.hook})
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range append(tt.want, replay.Interface) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not say %q", err, word)
				}
			}
			if now := left(t, b.Network); now != before {
				t.Errorf("left after the refusal: %s, want %s", now, before)
			}
		})
	}
}

func otherXDP(t *testing.T) *ebpf.Program {
	t.Helper()
	p, err := loadOther(ebpf.XDP, unix.BPF_F_XDP_HAS_FRAGS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Two sensors on two interfaces of one machine do not meet.
func TestTwoSensors(t *testing.T) {
	b := newBox(t, "two")
	b.addPair("iots-lt0", "iots-lt1")
	pin := testenv.PinDirectory(t)
	first, stopFirst := b.sensor(Config{Pin: pin})
	second, stopSecond := b.sensor(Config{Interfaces: []string{"iots-lt0"}, Pin: pin + "-2"})
	b.send(replay.DeviceInterface, udpFrame(1, 100), 3)
	b.send("iots-lt1", udpFrame(1, 100), 4)
	b.until(first, "packets of the first", counted(3))
	b.until(second, "packets of the second", counted(4))
	stopFirst()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	b.send("iots-lt1", udpFrame(1, 100), 4)
	b.until(second, "packets after the first has gone", counted(8))
	stopSecond()
}

// An address that the interface gets makes its network local while the sensor
// runs, and no longer when it goes; a flow keeps what it was opened under.
func TestAddressesChange(t *testing.T) {
	b := newBox(t, "dhcp")
	var mu sync.Mutex
	var hosts []Host
	s, stop := b.sensor(Config{LocalInterfaces: true, Lifetime: 500 * time.Millisecond, HostChanged: func(h Host) {
		mu.Lock()
		defer mu.Unlock()
		hosts = append(hosts, h)
	}})
	changes := func(n int) func(Stats) bool {
		return func(Stats) bool {
			mu.Lock()
			defer mu.Unlock()
			return len(hosts) == n
		}
	}
	lease := netip.MustParsePrefix("203.0.113.1/24") // TEST-NET-3: local by no default
	device := netip.MustParseAddr("203.0.113.9")
	address := &netlink.Addr{IPNet: &net.IPNet{IP: lease.Addr().AsSlice(), Mask: net.CIDRMask(24, 32)}}
	send := func(port uint16, total uint64) {
		b.t.Helper()
		ip := packet.IP{Src: device, Dst: packet.ServerIP, Proto: packet.UDPProto}
		b.send(replay.DeviceInterface, packet.Ethernet(packet.IPv4Type, packet.IPv4(ip, packet.UDP(port, 53, packet.Payload(20)))), 1)
		b.until(s, "packet", counted(total))
	}
	send(1000, 1)
	b.do(replay.Interface, func(l netlink.Link) error { return netlink.AddrAdd(l, address) })
	b.until(s, "change", changes(1))
	send(2000, 2)
	b.do(replay.Interface, func(l netlink.Link) error { return netlink.AddrDel(l, address) })
	b.until(s, "change", changes(2))
	send(3000, 3)

	known := map[uint16]bool{}
	for _, c := range stop().closes {
		for _, e := range []flows.End{c.Life.Key.A, c.Life.Key.B} {
			if e.Addr == device {
				known[e.Port] = e.MAC == flows.MAC(packet.DeviceMAC)
			}
		}
	}
	if want := fmt.Sprint(map[uint16]bool{1000: false, 2000: true, 3000: false}); fmt.Sprint(known) != want {
		t.Errorf("flows that keep the MAC: %v, want %s", known, want)
	}
	own := func(h Host) (list []netip.Addr) {
		for _, addrs := range h.Own {
			list = append(list, addrs...)
		}
		return list
	}
	if h := hosts[0]; !slices.Contains(h.Local, lease.Masked()) || !slices.Equal(own(h), []netip.Addr{lease.Addr()}) {
		t.Errorf("with the address: %+v", h)
	}
	if h := hosts[1]; slices.Contains(h.Local, lease.Masked()) || len(own(h)) != 0 || len(h.Local) != len(flows.DefaultLocal()) {
		t.Errorf("without it: %+v", h)
	}
}
