package loader

// This file tests on interfaces that are no Ethernet.

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
)

// On a tun interface packets begin with the IP header and flows have no MACs.
func TestTun(t *testing.T) {
	testenv.Root(t)
	const name = "tun0"
	n := newNetwork(t, "tun")
	var s *Kernel
	var tun *os.File
	err := n.Do(func() (err error) {
		link := &netlink.Tuntap{
			LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}, Mode: netlink.TUNTAP_MODE_TUN,
			Flags: netlink.TUNTAP_NO_PI, Queues: 1, NonPersist: true,
		}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		tun = link.Fds[0] // the interface goes when this is closed
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		s, err = Open(Config{Interfaces: []string{name}, Prefix: 100, MaxFlows: 4096})
		return err
	})
	if tun != nil {
		defer tun.Close()
	}
	if err != nil {
		if strings.Contains(err.Error(), "/dev/net/tun") {
			t.Skipf("no tun on this machine: %v", err)
		}
		t.Fatal(err)
	}
	defer s.Close()
	stop := start(t, s)
	packets := [][]byte{
		packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(5000, 53, packet.Payload(40))),
		packet.IPv6(packet.IP{Proto: packet.TCPProto}, packet.TCP(5000, 443, packet.Payload(60))),
		packet.IPv4(packet.IP{Proto: packet.ICMP}, packet.Payload(8)),
	}
	for _, p := range packets {
		if _, err := tun.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	var got Stats
	for deadline := time.Now().Add(10 * time.Second); got.Packets.Seen < uint64(len(packets)) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got, err = s.Stats(nil); err != nil {
			t.Fatal(err)
		}
	}
	seen := stop()
	if got.Packets.Counted != uint64(len(packets)) || !identities(got.Packets) || len(seen.closes) != len(packets) {
		t.Fatalf("%d lives, %+v", len(seen.closes), got.Packets)
	}
	for _, c := range seen.closes {
		var want flows.Packet
		for _, p := range packets {
			if flows.Parse(&want, flows.LinkIP, p, len(p)); want.Proto == c.Life.Key.Proto {
				break
			}
		}
		key, fromA := flows.NewLocals(flows.DefaultLocal()).Key(&want, flows.Bi)
		side := 1
		if fromA {
			side = 0
		}
		if c.Life.Key != key || c.Packets[side] != 1 || c.Bytes[side] != want.WireBytes() {
			t.Errorf("%+v, want one packet of %d bytes of %+v", c, want.WireBytes(), key)
		}
	}
}

// What begins with neither an Ethernet nor an IP header is refused by name, at each
// hook, and nothing is left on it.
func TestLinkTypeIsRefused(t *testing.T) {
	testenv.Root(t)
	n := newNetwork(t, "linktype")
	for _, tt := range []struct {
		name    string
		arphrd  int // linux/if_arp.h
		hook    attach.Hook
		refused string // what the error says; empty: it is watched
	}{
		{"radiotap", unix.ARPHRD_IEEE80211_RADIOTAP, attach.HookAuto, "ieee802.11/radiotap cannot be read"},
		{"radiotap at xdp", unix.ARPHRD_IEEE80211_RADIOTAP, attach.HookXDPGeneric, "access point"},
		{"802.11", unix.ARPHRD_IEEE80211, attach.HookTC, "ieee802.11 cannot be read"},
		{"netlink", unix.ARPHRD_NETLINK, attach.HookAuto, "824"},
		{"infiniband", unix.ARPHRD_INFINIBAND, attach.HookAuto, "infiniband cannot be read"},
		{"raw ip", unix.ARPHRD_RAWIP, attach.HookAuto, ""},
		{"ppp", unix.ARPHRD_PPP, attach.HookAuto, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s *Kernel
			err := n.Do(func() error {
				link := &netlink.Tuntap{
					LinkAttrs: netlink.LinkAttrs{Name: "odd0"}, Mode: netlink.TUNTAP_MODE_TUN,
					Flags: netlink.TUNTAP_NO_PI, Queues: 1, NonPersist: true,
				}
				if err := netlink.LinkAdd(link); err != nil {
					t.Skipf("no tun on this machine: %v", err)
				}
				t.Cleanup(func() { link.Fds[0].Close() })
				if err := unix.IoctlSetInt(int(link.Fds[0].Fd()), unix.TUNSETLINK, tt.arphrd); err != nil {
					return err
				}
				if err := netlink.LinkSetUp(link); err != nil {
					return err
				}
				var err error
				s, err = Open(Config{Interfaces: []string{"odd0"}, Hook: tt.hook, MaxFlows: 4096})
				return err
			})
			if s != nil {
				defer s.Close()
			}
			if tt.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "odd0") || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%v, want the interface and %q in it", err, tt.refused)
			}
		})
	}
}
