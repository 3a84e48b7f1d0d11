package flows

import (
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/internal/packet"
)

var (
	macA = MAC{0x02, 0, 0, 0, 0, 0x0a}
	macB = MAC{0x02, 0, 0, 0, 0, 0x0b}
	macR = MAC{0x02, 0, 0, 0, 0, 0x01} // the router

	groupMAC = MAC{0x01, 0, 0x5e, 0, 0, 0xfb}
	allMAC   = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

func end(mac MAC, addr string) End { return End{Addr: netip.MustParseAddr(addr), MAC: mac} }

func prefixes(s ...string) []netip.Prefix {
	p := []netip.Prefix{}
	for _, x := range s {
		p = append(p, netip.MustParsePrefix(x))
	}
	return p
}

// Which end is a device, and under which name.
func TestLocalsDevice(t *testing.T) {
	var (
		byDefault = NewLocals(nil)
		office    = NewLocals(prefixes("203.0.113.0/24", "2001:db8:1::/48", "10.1.0.0/31"))
		listed    = byDefault.WithDevices(macA.String(), "02:00:00:00:00:AF", "ip:198.51.100.7", "no name")
		others    = listed.WithOthers()
		ours      = byDefault.WithOwn(map[MAC][]netip.Addr{macR: {netip.MustParseAddr("192.168.7.1")}})
		none      = MAC{}
	)
	for _, tt := range []struct {
		name   string
		locals *Locals
		end    End
		want   string // empty: no device
	}{
		{"10/8", byDefault, end(macA, "10.255.255.254"), macA.String()},
		{"172.16/12", byDefault, end(macA, "172.31.0.1"), macA.String()},
		{"172.32 is not private", byDefault, end(none, "172.32.0.1"), ""},
		{"192.168/16", byDefault, end(macA, "192.168.0.1"), macA.String()},
		{"carrier NAT is not private", byDefault, end(none, "100.64.0.1"), ""},
		{"no address yet", byDefault, end(macA, "0.0.0.0"), macA.String()},
		{"link-local", byDefault, end(macA, "169.254.3.4"), macA.String()},
		{"no ipv6 address yet", byDefault, end(macA, "::"), macA.String()},
		{"ipv6 link-local", byDefault, end(macA, "fe80::1"), macA.String()},
		{"end of fe80::/10", byDefault, end(macA, "febf::1"), macA.String()},
		{"unique local", byDefault, end(macA, "fd12::1"), macA.String()},
		{"global ipv6", byDefault, end(none, "2001:db8::1"), ""},
		{"ipv4-mapped", byDefault, end(none, "::ffff:10.0.0.1"), ""},
		{"remote", byDefault, end(none, "8.8.8.8"), ""},
		{"loopback", byDefault, end(none, "127.0.0.1"), ""},

		{"multicast", byDefault, end(groupMAC, "224.0.0.251"), ""},
		{"multicast to a unicast MAC", byDefault, end(macA, "224.0.0.251"), ""},
		{"ipv6 multicast", byDefault, end(MAC{0x33, 0x33}, "ff02::1"), ""},
		{"broadcast", byDefault, end(allMAC, "255.255.255.255"), ""},
		{"local address under a broadcast MAC", byDefault, end(allMAC, "192.168.7.255"), ""},
		{"local address under a multicast MAC", byDefault, end(groupMAC, "192.168.7.9"), ""},
		{"subnet-directed broadcast of a default range", byDefault, end(macA, "10.255.255.255"), ""},
		{"subnet-directed broadcast of link-local", byDefault, end(none, "169.254.255.255"), ""},
		{"subnet-directed broadcast of --local", office, end(macA, "203.0.113.255"), ""},
		{"a /31 has no broadcast", office, end(macA, "10.1.0.1"), macA.String()},

		{"--local", office, end(macA, "203.0.113.4"), macA.String()},
		{"--local ipv6", office, end(macA, "2001:db8:1::4"), macA.String()},
		{"--local replaces the default", office, end(none, "192.168.0.1"), ""},
		{"always local beside --local", office, end(macA, "0.0.0.0"), macA.String()},

		{"link without MACs", byDefault, end(none, "10.0.0.1"), "ip:10.0.0.1"},
		{"link without MACs, ipv6", byDefault, end(none, "fd00::1"), "ip:fd00::1"},

		{"listed", listed, end(macA, "192.168.7.9"), macA.String()},
		{"listed, whatever its address", listed, end(macA, "8.8.8.8"), macA.String()},
		{"listed in upper case", listed, end(MAC{0x02, 0, 0, 0, 0, 0xaf}, "10.0.0.1"), "02:00:00:00:00:af"},
		{"listed, but a group address", listed, end(macA, "239.255.255.250"), ""},
		{"not listed", listed, end(macB, "192.168.7.9"), ""},
		{"listed by address", listed, end(none, "198.51.100.7"), "ip:198.51.100.7"},
		{"address not listed", listed, end(none, "10.0.0.1"), ""},
		{"listed, with others", others, end(macA, "8.8.8.8"), macA.String()},
		{"another", others, end(macB, "192.168.7.9"), macB.String()},
		{"a remote end is none of the others", others, end(none, "8.8.8.8"), ""},
		{"a group address is none of them", others, end(macB, "239.255.255.250"), ""},

		{"our own address", ours, end(macR, "192.168.7.1"), macR.String()},
		{"forwarded by us", ours, end(macR, "192.168.9.9"), ""},
		{"our own interface without an address", ours, end(macR, "0.0.0.0"), macR.String()},
		{"someone else", ours, end(macA, "192.168.9.9"), macA.String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name, ok := tt.locals.Device(tt.end)
			if name != tt.want || ok != (tt.want != "") {
				t.Errorf("%q, %v; want %q", name, ok, tt.want)
			}
		})
	}
}

// What a record shows of its remote address, and its four octets in a row.
func TestObfuscate(t *testing.T) {
	byDefault, office := NewLocals(nil), NewLocals(prefixes("203.0.113.0/24", "2001:db8:1::/48"))
	for _, tt := range []struct {
		name, addr, want string
		locals           *Locals
		octets           [4]byte
	}{
		{"remote", "144.76.172.53", "144.76.172.53", byDefault, [4]byte{144, 76, 172, 53}},
		{"10/8", "10.10.10.1", "0.0.0.0", byDefault, [4]byte{}},
		{"172.16/12", "172.20.1.1", "0.0.0.0", byDefault, [4]byte{}},
		{"192.168/16", "192.168.1.1", "0.0.0.0", byDefault, [4]byte{}},
		{"private beside --local", "192.168.1.1", "0.0.0.0", office, [4]byte{}},
		{"--local", "203.0.113.4", "0.0.0.0", office, [4]byte{}},
		{"--local elsewhere", "203.0.113.4", "203.0.113.4", byDefault, [4]byte{203, 0, 113, 4}},
		{"no address", "0.0.0.0", "0.0.0.0", byDefault, [4]byte{}},
		{"link-local", "169.254.1.1", "0.0.0.0", byDefault, [4]byte{}},
		{"subnet-directed broadcast", "192.168.1.255", "0.0.0.0", byDefault, [4]byte{}},
		{"subnet-directed broadcast of --local", "203.0.113.255", "0.0.0.0", office, [4]byte{}},
		{"broadcast", "255.255.255.255", "255.255.255.255", byDefault, [4]byte{255, 255, 255, 255}},
		{"multicast", "239.255.255.250", "239.255.255.250", byDefault, [4]byte{239, 255, 255, 250}},
		{"ipv6 global unicast", "2a00:1450:4001::1", "2a00:1450:4001::1", byDefault, [4]byte{0x2a, 0x00, 0x14, 0x50}},
		{"ipv6 unique local", "fd00::1", "::", byDefault, [4]byte{}},
		{"ipv6 link-local", "fe80::1", "::", byDefault, [4]byte{}},
		{"ipv6 unspecified", "::", "::", byDefault, [4]byte{}},
		{"ipv6 --local", "2001:db8:1::9", "::", office, [4]byte{}},
		{"ipv6 multicast", "ff02::fb", "ff02::fb", byDefault, [4]byte{255, 0, 0, 0xfb}},
		{"ipv6 multicast of wider scope", "ff05::1:3", "ff05::1:3", byDefault, [4]byte{255, 0, 0, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.locals.Obfuscate(netip.MustParseAddr(tt.addr))
			if got.String() != tt.want {
				t.Fatalf("%v, want %s", got, tt.want)
			}
			r := Record{Remote: got}
			if o := r.Octets(); o != tt.octets {
				t.Errorf("octets %v, want %v", o, tt.octets)
			}
			if r.IsLocal() != got.IsUnspecified() || r.IsIPv6() != got.Is6() {
				t.Errorf("local %v, IPv6 %v", r.IsLocal(), r.IsIPv6())
			}
		})
	}
}

// Which packets belong to one flow.
func TestLocalsKey(t *testing.T) {
	mk := func(src, dst MAC, srcIP, dstIP string, sport, dport uint16) Packet {
		return Packet{HasMAC: true, SrcMAC: src, DstMAC: dst, Src: netip.MustParseAddr(srcIP), Dst: netip.MustParseAddr(dstIP),
			Proto: 17, HasPorts: true, SrcPort: sport, DstPort: dport}
	}
	out := mk(macA, macR, "10.0.0.1", "8.8.8.8", 4000, 53)
	for _, tt := range []struct {
		name  string
		x, y  Packet
		dir   Direction
		equal bool
	}{
		{"both directions, bi", out, mk(macR, macA, "8.8.8.8", "10.0.0.1", 53, 4000), Bi, true},
		{"both directions, uni", out, mk(macR, macA, "8.8.8.8", "10.0.0.1", 53, 4000), Uni, false},
		{"another router", out, mk(macB, macA, "8.8.8.8", "10.0.0.1", 53, 4000), Bi, true},
		{"another device with the address", out, mk(macB, macR, "10.0.0.1", "8.8.8.8", 4000, 53), Bi, false},
		{"two devices without address", mk(macA, allMAC, "0.0.0.0", "255.255.255.255", 68, 67), mk(macB, allMAC, "0.0.0.0", "255.255.255.255", 68, 67), Bi, false},
		{"another port", out, mk(macA, macR, "10.0.0.1", "8.8.8.8", 4001, 53), Bi, false},
		{"between devices", mk(macA, macB, "10.0.0.1", "10.0.0.2", 4000, 53), mk(macB, macA, "10.0.0.2", "10.0.0.1", 53, 4000), Bi, true},
		{"ports decide the order of equal addresses", mk(macA, macA, "10.0.0.1", "10.0.0.1", 4000, 53), mk(macA, macA, "10.0.0.1", "10.0.0.1", 53, 4000), Bi, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLocals(nil)
			kx, xFromA := l.Key(&tt.x, tt.dir)
			ky, yFromA := l.Key(&tt.y, tt.dir)
			if (kx == ky) != tt.equal {
				t.Errorf("%+v\n%+v: equal %v, want %v", kx, ky, kx == ky, tt.equal)
			}
			for _, k := range []struct {
				p     *Packet
				key   Key
				fromA bool
			}{{&tt.x, kx, xFromA}, {&tt.y, ky, yFromA}} {
				from := k.key.A
				if !k.fromA {
					from = k.key.B
				}
				if from.Addr != k.p.Src || from.Port != k.p.SrcPort {
					t.Errorf("fromA %v of %+v: sender is %v:%d", k.fromA, k.key, k.p.Src, k.p.SrcPort)
				}
			}
		})
	}
	none, ports := out, out
	none.HasPorts, none.SrcPort, none.DstPort, ports.SrcPort, ports.DstPort = false, 0, 0, 0, 0
	l := NewLocals(nil)
	a, _ := l.Key(&none, Bi)
	b, _ := l.Key(&ports, Bi)
	if a == b {
		t.Error("port 0 and no port are one flow")
	}
}

func TestParseMAC(t *testing.T) {
	for _, tt := range []struct {
		text, want string
	}{
		{"50:c7:bf:00:fc:a3", "50:c7:bf:00:fc:a3"},
		{"50-C7-BF-00-FC-A3", "50:c7:bf:00:fc:a3"},
		{"50c7.bf00.fca3", "50:c7:bf:00:fc:a3"},
		{"50:c7:bf:00:fc", ""},
		{"02:00:5e:10:00:00:00:01", ""},
		{"", ""},
	} {
		m, err := ParseMAC(tt.text)
		if (err == nil) != (tt.want != "") || err == nil && m.String() != tt.want {
			t.Errorf("ParseMAC(%q) = %v, %v", tt.text, m, err)
		}
	}
	if !allMAC.IsGroup() || !groupMAC.IsGroup() || MAC(packet.DeviceMAC).IsGroup() {
		t.Error("group bit")
	}
	if vendor := (MAC{0x5c, 0xcf, 0x7f, 1, 2, 3}); vendor.IsLocal() || !MAC(packet.DeviceMAC).IsLocal() {
		t.Error("local bit")
	}
}
