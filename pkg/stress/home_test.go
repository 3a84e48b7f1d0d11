package stress

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/pcap"
)

// nextHome is a home in which everything is turned by one, of the device 02:1f:3c:4d:5e:6f
// that becomes 02:1f:3c:5e:6f:71 ... and what it has met.
func nextHome(t testing.TB) (*changer, *home) {
	t.Helper()
	mac, err := flows.ParseMAC("02:1f:3c:4d:5e:6f")
	if err != nil {
		t.Fatal(err)
	}
	c := &changer{random: rand.New(rand.NewPCG(1, 1)), macs: map[flows.MAC]bool{mac: true}}
	h := newHome(c.random)
	h.later, h.ports = month, 1
	for i := range h.uuids {
		h.uuids[i] = min(1, h.uuids[i])
	}
	for i := range h.octets {
		h.octets[i] = map[int]int{10: 1, 16: 1, 90: 1, 156: 1}
	}
	for i := range h.turns {
		h.turns[i] = min(1, h.turns[i])
	}
	c.moveTo(h)
	return c, h
}

// What stands in payloads, in every form, and what does not move.
func TestContent(t *testing.T) {
	_, h := nextHome(t)
	if got := h.device("02:1f:3c:4d:5e:6f"); got != "02:1f:3c:5e:6f:71" {
		t.Fatalf("the device is %s", got)
	}
	h.learn([]byte{192, 168, 7, 20})
	h.learn([]byte{10, 0, 0, 1})
	stamp := func(seconds int64) string {
		return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(seconds))) + "\x80"
	}
	for _, tt := range []struct{ name, was, is string }{
		{"text without any", "GET /setup.xml HTTP/1.1\r\n", "GET /setup.xml HTTP/1.1\r\n"},
		{"MAC, bytes", "\x01\x02\x1f\x3c\x4d\x5e\x6f\x00", "\x01\x02\x1f\x3c\x5e\x6f\x71\x00"},
		{"MAC, colons", "id=02:1f:3c:4d:5e:6f", "id=02:1f:3c:5e:6f:71"},
		{"MAC, dashes and capitals", "id=02-1F-3C-4D-5E-6F", "id=02-1F-3C-5E-6F-71"},
		{"MAC, bare", "plug021F3C4D5E6F", "plug021F3C5E6F71"},
		{"MAC twice", "021f3c4d5e6f 021f3c4d5e6f", "021f3c5e6f71 021f3c5e6f71"},
		{"EUI-64, bytes", "\xfe\x80\x00\x1f\x3c\xff\xfe\x4d\x5e\x6f", "\xfe\x80\x00\x1f\x3c\xff\xfe\x5e\x6f\x71"},
		{"EUI-64 as an address", "fe80::1f:3cff:fe4d:5e6f", "fe80::1f:3cff:fe5e:6f71"},
		{"EUI-64 in hex", "001F3CFFFE4D5E6F", "001F3CFFFE5E6F71"},
		{"EUI-64 reversed", "f.6.e.5.d.4.e.f.f.f.c.3.f.1.0.0.ip6.arpa", "1.7.f.6.e.5.e.f.f.f.c.3.f.1.0.0.ip6.arpa"},
		{"the interface next to it", "02:1f:3c:4d:5e:6e", "02:1f:3c:5e:6f:70"},
		{"the next one, bytes", "\x02\x1f\x3c\x4d\x5e\x70", "\x02\x1f\x3c\x5e\x6f\x72"},
		{"two bytes of it", "Plug-X150-5E6F.local", "Plug-X150-6F71.local"},
		{"three bytes of it", "Camera_4d5e6f", "Camera_5e6f71"},
		{"UUID", "uuid:2f402f80-da50-11e1-9b23-0123456789ab", "uuid:30513091-eb61-12f2-9c34-123456789abc"},
		{"UUID with its MAC", "uuid:2F402F80-DA50-11E1-9B23-021F3C4D5E6F", "uuid:30513091-EB61-12F2-9C34-021F3C5E6F71"},
		{"private address", "http://192.168.9.3/ 10.0.99.7 172.31.255.7", "http://192.168.0.3/ 10.1.10.7 172.16.100.7"},
		{"with a port", "http://192.168.7.20:49153/", "http://192.168.8.20:49154/"},
		{"with a service's port", "192.168.7.20:8080", "192.168.8.20:8080"},
		{"with a longer number", "192.168.7.20:491530", "192.168.8.20:491530"},
		{"public address", "http://8.8.4.4:49153/", "http://8.8.4.4:49153/"},
		{"address met, bytes", "\x00\xc0\xa8\x07\x14\x0a\x00\x00\x01\x00", "\x00\xc0\xa8\x08\x14\x0a\x01\x01\x01\x00"},
		{"address not met, bytes", "\x00\xc0\xa8\x07\x15\x00", "\x00\xc0\xa8\x07\x15\x00"},
		{"date of HTTP", "Date: Wed, 25 May 2016 11:58:01 GMT", "Date: Wed, 22 Jun 2016 11:58:01 GMT"},
		{"date of ISO 8601", "at 2016-05-24T23:59:59Z", "at 2016-06-21T23:59:59Z"},
		{"another day", "built 2014-03-01, expires 25 May 2017", "built 2014-03-01, expires 25 May 2017"},
		{"no day", "2016-99-99", "2016-99-99"},
		{"seconds since 1970", stamp(start.Unix() - 100), stamp(start.Unix() - 100 + 28*86400)},
		{"seconds since 1900", stamp(start.Unix() + ntpEra), stamp(start.Unix() + ntpEra + 28*86400)},
		{"seconds of another week", stamp(start.Unix() - 7*86400), stamp(start.Unix() - 7*86400)},
		{"a word that is as much", "\x00WEMO\x80", "\x00WEMO\x80"},
	} {
		b := []byte(tt.was)
		h.content(b, start)
		if string(b) != tt.is {
			t.Errorf("%s: %q is %q, want %q", tt.name, tt.was, b, tt.is)
		}
	}
}

// Whole frames: addresses, ports and stamps of every kind of header.
func TestAnotherHomePackets(t *testing.T) {
	mac, other, router := [6]byte{2, 0x1f, 0x3c, 0x4d, 0x5e, 0x6f}, [6]byte{2, 0x1f, 0x3c, 0x5e, 0x6f, 0x71}, packet.RouterMAC
	v4 := func(src, dst string, sport, dport uint16, payload string) []byte {
		ip := packet.IP{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: packet.UDPProto}
		return packet.IPv4(ip, packet.UDP(sport, dport, []byte(payload)))
	}
	v6 := func(src, dst string, port uint16) []byte {
		ip := packet.IP{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: packet.TCPProto}
		return packet.IPv6(ip, packet.TCP(port, 80, nil))
	}
	arp := func(hardware [6]byte, from, to [4]byte) []byte {
		return bytes.Join([][]byte{{0, 1, 8, 0, 6, 4, 0, 1}, hardware[:], from[:], make([]byte, 6), to[:]}, nil)
	}
	lease := func(hardware [6]byte, third byte) []byte {
		m := make([]byte, 240)
		copy(m[16:], []byte{192, 168, third, 77})
		copy(m[28:], hardware[:])
		copy(m[236:], []byte{0x63, 0x82, 0x53, 0x63})
		m = append(m, 3, 4, 192, 168, third, 1, 255)
		ip := packet.IP{Src: netip.IPv4Unspecified(), Dst: netip.MustParseAddr("255.255.255.255"), Proto: packet.UDPProto}
		return packet.IPv4(ip, packet.UDP(67, 68, m))
	}
	for _, tt := range []struct {
		name    string
		was, is []byte
	}{
		{"to the cloud", packet.EthernetFrom(mac, router, packet.IPv4Type, v4("192.168.7.20", "52.1.2.3", 40000, 443, "02:1f:3c:4d:5e:6f")),
			packet.EthernetFrom(other, router, packet.IPv4Type, v4("192.168.8.20", "52.1.2.3", 40001, 443, "02:1f:3c:5e:6f:71"))},
		{"from a phone, tagged", packet.EthernetFrom(router, mac, packet.VLANType, packet.VLAN(5, packet.IPv4Type, v4("192.168.7.9", "192.168.7.20", 65535, 49153, "x"))),
			packet.EthernetFrom(router, other, packet.VLANType, packet.VLAN(5, packet.IPv4Type, v4("192.168.8.9", "192.168.8.20", 32768, 49154, "x")))},
		{"IPv6, no payload", packet.EthernetFrom(mac, [6]byte{0x33, 0x33, 0xff, 0x4d, 0x5e, 0x6f}, packet.IPv6Type, v6("fe80::1f:3cff:fe4d:5e6f", "ff02::1:ff4d:5e6f", 40000)),
			packet.EthernetFrom(other, [6]byte{0x33, 0x33, 0xff, 0x5e, 0x6f, 0x71}, packet.IPv6Type, v6("fe80::1f:3cff:fe5e:6f71", "ff02::1:ff5e:6f71", 40001))},
		{"ARP", packet.EthernetFrom(mac, [6]byte{255, 255, 255, 255, 255, 255}, packet.ARPType, arp(mac, [4]byte{192, 168, 7, 20}, [4]byte{192, 168, 7, 1})),
			packet.EthernetFrom(other, [6]byte{255, 255, 255, 255, 255, 255}, packet.ARPType, arp(other, [4]byte{192, 168, 8, 20}, [4]byte{192, 168, 8, 1}))},
		{"DHCP", packet.EthernetFrom(router, mac, packet.IPv4Type, lease(mac, 7)), packet.EthernetFrom(router, other, packet.IPv4Type, lease(other, 8))},
		{"another machine's", packet.EthernetFrom(router, [6]byte{2, 0, 0, 0, 0, 9}, packet.IPv4Type, v4("192.168.7.9", "8.8.8.8", 5000, 53, "x")),
			packet.EthernetFrom(router, [6]byte{2, 0, 0, 0, 0, 9}, packet.IPv4Type, v4("192.168.8.9", "8.8.8.8", 5000, 53, "x"))},
		{"the interface next to it", packet.EthernetFrom([6]byte{2, 0x1f, 0x3c, 0x4d, 0x5e, 0x6e}, router, packet.IPv4Type, v4("192.168.7.9", "8.8.8.8", 5000, 53, "x")),
			packet.EthernetFrom([6]byte{2, 0x1f, 0x3c, 0x5e, 0x6f, 0x70}, router, packet.IPv4Type, v4("192.168.8.9", "8.8.8.8", 5000, 53, "x"))},
	} {
		c, _ := nextHome(t)
		p := at(5, tt.was)
		c.Packet(p, func(out pcap.Packet) {
			if !bytes.Equal(out.Data, tt.is) || out.Time.Sub(p.Time) != 28*24*time.Hour {
				t.Errorf("%s: is\n%swant\n%s", tt.name, hex.Dump(out.Data), hex.Dump(tt.is))
			}
		})
	}
}

// No two things become one, and none stays.
func TestHomesAreOneToOne(t *testing.T) {
	h := newHome(rand.New(rand.NewPCG(7, 7)))
	ports, addrs, macs := map[uint16]bool{}, map[[4]byte]bool{}, map[flows.MAC]bool{}
	for i := range 1 << 16 {
		p, q, mac := uint16(i), [4]byte{10, byte(i >> 8), byte(i), 9}, flows.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}
		ports[h.port(p)], addrs[h.quad(q)], macs[h.mac(mac)] = true, true, true
		if h.quad(q) == q || (h.port(p) == p) != (p < firstDynamic) || (h.mac(mac) == mac) != (i == 0) {
			t.Fatalf("%d, %v, %v stay", p, q, mac)
		}
		was, is := netip.AddrFrom4(q).String(), netip.AddrFrom4(h.quad(q)).String()
		if len(was) != len(is) {
			t.Fatalf("%s is %s, not as long", was, is)
		}
	}
	if len(ports) != 1<<16 || len(addrs) != 1<<16 || len(macs) != 1<<16 {
		t.Errorf("%d ports, %d addresses, %d MACs of %d", len(ports), len(addrs), len(macs), 1<<16)
	}
}
