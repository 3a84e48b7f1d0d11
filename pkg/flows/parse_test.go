package flows

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/packet"
)

// parsed is what a table of frames says of one: the ports are -1 where there are none.
type parsed struct {
	outcome   Outcome
	proto     uint8
	src, dst  int
	size      uint32
	payload   int // bytes present
	claimed   int // bytes claimed; 0: those present
	fragment  bool
	truncated bool
}

func parse(frame []byte, wire int) (Packet, parsed) {
	var p Packet
	v := Parse(&p, LinkEthernet, frame, wire)
	if v != Counted {
		return p, parsed{outcome: v}
	}
	got := parsed{outcome: v, proto: p.Proto, src: Missing, dst: Missing, size: p.Size,
		payload: len(p.Payload), claimed: int(p.PayloadLen), fragment: p.Fragment, truncated: p.Truncated}
	if p.HasPorts {
		got.src, got.dst = int(p.SrcPort), int(p.DstPort)
	}
	return p, got
}

// Every line of the parser's outcome table, and what stands near each line.
func TestParse(t *testing.T) {
	type IP = packet.IP
	var (
		body = packet.Payload(100)
		udp  = packet.UDP(5000, 53, body)
		tcp  = packet.TCP(5000, 443, body)

		ipv4 = func(h IP, b []byte) []byte { return packet.Ethernet(packet.IPv4Type, packet.IPv4(h, b)) }
		ipv6 = func(h IP, b []byte) []byte { return packet.Ethernet(packet.IPv6Type, packet.IPv6(h, b)) }
		tags = func(n int) []byte {
			inner, typ := packet.IPv4(IP{Proto: packet.UDPProto}, udp), uint16(packet.IPv4Type)
			for range n {
				inner, typ = packet.VLAN(7, typ, inner), packet.VLANType
			}
			return packet.Ethernet(typ, inner)
		}
		extensions = func(n int) []byte {
			b, next := udp, uint8(packet.UDPProto)
			for range n {
				b, next = packet.Extension(next, 0, b), packet.DestOpts
			}
			return ipv6(IP{Proto: next}, b)
		}
		counted = func(proto uint8, src, dst int, size uint32, payload int) parsed {
			return parsed{proto: proto, src: src, dst: dst, size: size, payload: payload, claimed: payload}
		}
		with      = func(p parsed, change func(*parsed)) parsed { change(&p); return p }
		truncated = func(p parsed, claimed int) parsed {
			return with(p, func(p *parsed) { p.truncated, p.claimed = true, claimed })
		}
		fragment  = func(p parsed) parsed { return with(p, func(p *parsed) { p.fragment = true }) }
		malformed = parsed{outcome: Malformed}
		notIP     = parsed{outcome: NotIP}
	)
	for _, tt := range []struct {
		name  string
		frame []byte
		wire  int // 0: the frame's length
		want  parsed
	}{
		{"udp", ipv4(IP{Proto: 17}, udp), 0, counted(17, 5000, 53, 128, 100)},
		{"tcp", ipv4(IP{Proto: 6}, tcp), 0, counted(6, 5000, 443, 140, 100)},
		{"udp over ipv6", ipv6(IP{Proto: 17}, udp), 0, counted(17, 5000, 53, 148, 100)},
		{"tcp over ipv6", ipv6(IP{Proto: 6}, tcp), 0, counted(6, 5000, 443, 160, 100)},
		{"port 0 is a port", ipv4(IP{Proto: 17}, packet.UDP(0, 0, body)), 0, counted(17, 0, 0, 128, 100)},
		{"tcp options", ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 8, body)), 0, counted(6, 1, 2, 140, 88)},
		{"pure ACK", ipv4(IP{Proto: 6}, packet.TCP(1, 2, nil)), 0, counted(6, 1, 2, 40, 0)},
		{"ip options", ipv4(IP{Proto: 17, Options: make([]byte, 40)}, udp), 0, counted(17, 5000, 53, 168, 100)},

		// No ports: everything over IP but TCP and UDP.
		{"icmp", ipv4(IP{Proto: packet.ICMP}, body), 0, counted(1, -1, -1, 120, 0)},
		{"igmp with router alert", ipv4(IP{Proto: packet.IGMP, Options: []byte{0x94, 4, 0, 0}}, body[:8]), 0, counted(2, -1, -1, 32, 0)},
		{"gre", ipv4(IP{Proto: packet.GRE}, body), 0, counted(47, -1, -1, 120, 0)},
		{"esp", ipv4(IP{Proto: packet.ESP}, body), 0, counted(50, -1, -1, 120, 0)},
		{"ah over ipv4", ipv4(IP{Proto: packet.Auth}, packet.AuthHeader(17, 4, udp)), 0, counted(51, -1, -1, 152, 0)},
		{"sctp", ipv4(IP{Proto: packet.SCTP}, body), 0, counted(132, -1, -1, 120, 0)},
		{"icmpv6", ipv6(IP{Proto: packet.ICMPv6}, body), 0, counted(58, -1, -1, 140, 0)},
		{"ip header alone", ipv4(IP{Proto: 17}, nil), 0, counted(17, -1, -1, 20, 0)},
		{"ipv6 without next header", ipv6(IP{Proto: packet.NoNext}, nil), 0, counted(59, -1, -1, 40, 0)},

		// No record.
		{"arp", packet.Ethernet(packet.ARPType, make([]byte, 46)), 0, notIP},
		{"eapol", packet.Ethernet(packet.EAPType, make([]byte, 46)), 0, notIP},
		{"llc, spanning tree", packet.LLC(append([]byte{0x42, 0x42, 3}, make([]byte, 43)...)), 0, notIP},
		{"llc, ip without snap", packet.LLC(append([]byte{6, 6, 3}, packet.IPv4(IP{Proto: 17}, udp)...)), 0, notIP},
		{"llc, three bytes", packet.LLC([]byte{0, 1, 0xaf}), 0, notIP},
		{"snap of another organization", packet.LLC(append([]byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 8, 0}, packet.IPv4(IP{Proto: 17}, udp)...)), 0, notIP},
		{"snap with an information command", packet.LLC(append([]byte{0xaa, 0xaa, 0, 0, 0, 0, 8, 0}, packet.IPv4(IP{Proto: 17}, udp)...)), 0, notIP},
		{"snap, arp", packet.LLC(packet.SNAP(packet.ARPType, make([]byte, 28))), 0, notIP},
		{"snap cut", packet.LLC(packet.SNAP(packet.IPv4Type, nil)[:7]), 0, notIP},
		{"pppoe, lcp", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPLCP, make([]byte, 40))), 0, notIP},
		{"pppoe discovery", packet.Ethernet(0x8863, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 17}, udp))), 0, notIP},
		{"pppoe of version 2", packet.Ethernet(packet.PPPoEType, append([]byte{0x21}, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 17}, udp))[1:]...)), 0, notIP},
		{"pppoe with a code", packet.Ethernet(packet.PPPoEType, append([]byte{0x11, 0xa7}, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 17}, udp))[2:]...)), 0, notIP},
		{"five labels", packet.Ethernet(packet.MPLSType, packet.MPLS(5, packet.IPv4(IP{Proto: 17}, udp))), 0, notIP},
		{"label, a pseudowire's control word", packet.Ethernet(packet.MPLSType, packet.MPLS(1, append(make([]byte, 4), ipv4(IP{Proto: 17}, udp)...))), 0, notIP},
		{"arp in a tag", packet.Ethernet(packet.VLANType, packet.VLAN(1, packet.ARPType, make([]byte, 46))), 0, notIP},
		{"link header alone, not ip", packet.Ethernet(packet.ARPType, nil), 0, notIP},

		// Malformed.
		{"empty", nil, 0, malformed},
		{"link header cut", packet.Ethernet(packet.IPv4Type, nil)[:13], 0, malformed},
		{"tag cut", packet.Ethernet(packet.VLANType, []byte{0, 1, 8}), 0, malformed},
		{"pppoe cut", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, nil)[:7]), 0, malformed},
		{"pppoe, version 6 under the protocol of 4", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, packet.IPv6(IP{Proto: 17}, udp))), 0, malformed},
		{"label cut", packet.Ethernet(packet.MPLSType, packet.MPLS(2, nil)[:7]), 0, malformed},
		{"labels alone", packet.Ethernet(packet.MPLSType, packet.MPLS(2, nil)), 0, malformed},
		{"link header alone", packet.Ethernet(packet.IPv4Type, nil), 0, malformed},
		{"ipv4 header cut", ipv4(IP{Proto: 17}, udp)[:14+19], 142, malformed},
		{"ipv4 options cut", ipv4(IP{Proto: 17, Options: make([]byte, 8)}, udp)[:14+27], 150, malformed},
		{"ipv6 header cut", ipv6(IP{Proto: 17}, udp)[:14+39], 162, malformed},
		{"version 6 in an ipv4 frame", packet.Ethernet(packet.IPv4Type, packet.IPv6(IP{Proto: 17}, udp)), 0, malformed},
		{"version 4 in an ipv6 frame", packet.Ethernet(packet.IPv6Type, packet.IPv4(IP{Proto: 17}, udp)), 0, malformed},
		{"IHL 4", ipv4(IP{Proto: 17, IHL: 4}, udp), 0, malformed},
		{"IHL past the frame", ipv4(IP{Proto: 17, IHL: 15}, nil), 0, malformed},
		{"total length below the header", ipv4(IP{Proto: 17, Length: 19}, udp), 0, malformed},
		{"total length below the options", ipv4(IP{Proto: 17, Options: make([]byte, 8), Length: 27}, udp), 0, malformed},

		// Zero length: BIG TCP, the frame's length.
		{"zero length", ipv4(IP{Proto: 6, Length: packet.Zero}, tcp), 0, counted(6, 5000, 443, 140, 100)},
		{"zero length, 100,000 bytes", ipv4(IP{Proto: 6, Length: packet.Zero}, packet.TCP(1, 2, make([]byte, 100000))), 0, counted(6, 1, 2, 100040, 100000)},
		{"zero length, frame cut", ipv4(IP{Proto: 6, Length: packet.Zero}, tcp), 14 + 140 + 900, truncated(counted(6, 5000, 443, 1040, 100), 1000)},
		{"zero length, wire below the header", ipv4(IP{Proto: 6, Length: packet.Zero}, tcp), 20, malformed},
		{"ipv6 zero length, wire below the header", ipv6(IP{Proto: 6, Length: packet.Zero}, tcp), 20, counted(6, -1, -1, 40, 0)},
		{"ipv6 zero length, nothing follows", append(ipv6(IP{Proto: packet.NoNext}, nil), 0, 0, 0, 0, 0, 0), 0, counted(59, -1, -1, 40, 0)},
		{"ipv6 zero length", ipv6(IP{Proto: 6, Length: packet.Zero}, tcp), 0, counted(6, 5000, 443, 160, 100)},

		// Tags and extension headers: up to the limit, and past it.
		{"one tag", tags(1), 0, counted(17, 5000, 53, 128, 100)},
		{"two tags", tags(2), 0, counted(17, 5000, 53, 128, 100)},
		{"eight tags", tags(8), 0, counted(17, -1, -1, 128, 0)},
		{"more tags than are walked", tags(9), 0, notIP},
		{"802.1ad", packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.IPv6Type, packet.IPv6(IP{Proto: 17}, udp)))), 0, counted(17, 5000, 53, 148, 100)},
		{"a tag, then a label", packet.Ethernet(packet.VLANType, packet.VLAN(1, packet.MPLSType, packet.MPLS(1, packet.IPv4(IP{Proto: 17}, udp)))), 0, counted(17, 5000, 53, 128, 100)},
		{"three tags", tags(3), 0, counted(17, -1, -1, 128, 0)},
		{"priority tag", packet.Ethernet(packet.VLANType, packet.VLAN(0xe000, packet.IPv4Type, packet.IPv4(IP{Proto: 17}, udp))), 0, counted(17, 5000, 53, 128, 100)},

		// What else stands between the link header and IP.
		{"snap", packet.LLC(packet.SNAP(packet.IPv4Type, packet.IPv4(IP{Proto: 17}, udp))), 0, counted(17, 5000, 53, 128, 100)},
		{"snap, ipv6, padded", append(packet.LLC(packet.SNAP(packet.IPv6Type, packet.IPv6(IP{Proto: 6}, tcp))), 0, 0, 0), 0, counted(6, 5000, 443, 160, 100)},
		{"snap in a tag", packet.Ethernet(packet.VLANType, packet.VLAN(3, 136, packet.SNAP(packet.IPv4Type, packet.IPv4(IP{Proto: 17}, udp)))), 0, counted(17, 5000, 53, 128, 100)},
		{"a tag in snap", packet.LLC(packet.SNAP(packet.VLANType, packet.VLAN(3, packet.IPv4Type, packet.IPv4(IP{Proto: 17}, udp)))), 0, counted(17, 5000, 53, 128, 100)},
		{"pppoe", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 6}, tcp))), 0, counted(6, 5000, 443, 140, 100)},
		{"pppoe, ipv6", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv6, packet.IPv6(IP{Proto: 17}, udp))), 0, counted(17, 5000, 53, 148, 100)},
		{"pppoe, protocol of one byte", packet.Ethernet(packet.PPPoEType, slices.Concat(packet.PPPoE(packet.PPPIPv4, nil)[:6], []byte{packet.PPPIPv4}, packet.IPv4(IP{Proto: 17}, udp))), 0, counted(17, 5000, 53, 128, 100)},
		{"pppoe in two tags", packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 17}, udp))))), 0, counted(17, 5000, 53, 128, 100)},
		{"pppoe, a label", packet.Ethernet(packet.PPPoEType, packet.PPPoE(0x0281, packet.MPLS(1, packet.IPv4(IP{Proto: 17}, udp)))), 0, counted(17, 5000, 53, 128, 100)},
		{"a label", packet.Ethernet(packet.MPLSType, packet.MPLS(1, packet.IPv4(IP{Proto: 17, Options: make([]byte, 8)}, udp))), 0, counted(17, 5000, 53, 136, 100)},
		{"four labels, ipv6", packet.Ethernet(0x8848, packet.MPLS(4, packet.IPv6(IP{Proto: 17}, udp))), 0, counted(17, 5000, 53, 148, 100)},
		{"eight headers", eightShims(packet.IPv4(IP{Proto: 17}, udp)), 0, counted(17, 5000, 53, 128, 100)},
		{"nine headers", packet.Ethernet(packet.VLANType, append([]byte{0, 1}, eightShims(packet.IPv4(IP{Proto: 17}, udp))[12:]...)), 0, notIP},

		{"six extension headers", extensions(6), 0, counted(17, 5000, 53, 196, 100)},
		{"seven extension headers", extensions(7), 0, counted(packet.DestOpts, -1, -1, 204, 0)},
		{"each kind of extension header", ipv6(IP{Proto: packet.HopByHop},
			packet.Extension(packet.Routing, 2, packet.Extension(packet.FragmentV6, 1, packet.FragmentHeader(packet.Auth, 0, false,
				packet.AuthHeader(packet.DestOpts, 3, packet.Extension(17, 0, udp)))))), 0, counted(17, 5000, 53, 40+24+16+8+20+8+108, 100)},
		{"extension header cut", ipv6(IP{Proto: packet.HopByHop}, packet.Extension(17, 0, udp))[:14+40+7], 14 + 156, truncated(counted(0, -1, -1, 156, 0), 0)},
		{"extension header past the packet", ipv6(IP{Proto: packet.HopByHop}, append([]byte{17, 255, 0, 0, 0, 0, 0, 0}, udp...)), 0, counted(17, -1, -1, 156, 0)},
		{"mobility is no extension header here", ipv6(IP{Proto: 135}, body), 0, counted(135, -1, -1, 140, 0)},

		// Ports cut off, or there with a header that is not whole.
		{"ports cut off", ipv4(IP{Proto: 17}, udp)[:14+20+3], 142, truncated(counted(17, -1, -1, 128, 0), 0)},
		{"ports past the ip end", ipv4(IP{Proto: 17, Length: 23}, udp), 0, counted(17, -1, -1, 23, 0)},
		{"udp header cut", ipv4(IP{Proto: 17}, udp)[:14+20+7], 142, truncated(counted(17, 5000, 53, 128, 0), 0)},
		{"udp header past the ip end", ipv4(IP{Proto: 17, Length: 27}, udp), 0, counted(17, 5000, 53, 27, 0)},
		{"tcp header cut", ipv4(IP{Proto: 6}, tcp)[:14+20+19], 154, truncated(counted(6, 5000, 443, 140, 0), 0)},
		{"tcp header past the ip end", ipv4(IP{Proto: 6, Length: 39}, tcp), 0, counted(6, 5000, 443, 39, 0)},
		{"udp length 7", ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 7, body)), 0, counted(17, 1, 2, 128, 0)},
		{"udp length 0", ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 0, body)), 0, counted(17, 1, 2, 128, 0)},
		{"udp length 8", ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 8, body)), 0, counted(17, 1, 2, 128, 0)},
		{"udp length below the ip length", ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 18, body)), 0, counted(17, 1, 2, 128, 10)},
		{"udp length above the ip length", ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 999, body)), 0, counted(17, 1, 2, 128, 100)},
		{"tcp data offset 4", ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 4, body)), 0, counted(6, 1, 2, 140, 0)},
		{"tcp data offset past the ip end", ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 15, body[:20])), 0, counted(6, 1, 2, 60, 0)},

		// Frames shorter and longer than the IP length.
		{"frame cut in the payload", ipv4(IP{Proto: 17}, udp)[:14+28+40], 142, truncated(counted(17, 5000, 53, 128, 40), 100)},
		{"frame cut in tcp options", ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 8, body))[:14+20+25], 154, truncated(counted(6, 1, 2, 140, 0), 88)},
		{"wire shorter than the ip length", ipv4(IP{Proto: 17, Length: 500}, udp), 0, truncated(counted(17, 5000, 53, 500, 100), 100)},
		{"udp length past the wire", ipv4(IP{Proto: 17, Length: 500}, packet.UDPLength(1, 2, 480, body)), 0, truncated(counted(17, 1, 2, 500, 100), 472)},
		{"padded frame", append(ipv4(IP{Proto: 6}, packet.TCP(1, 2, body[:2])), 0, 0, 0, 0), 0, counted(6, 1, 2, 42, 2)},
		{"padded ack", append(ipv4(IP{Proto: 6}, packet.TCP(1, 2, nil)), make([]byte, 6)...), 0, counted(6, 1, 2, 40, 0)},
		{"padded ipv6", append(ipv6(IP{Proto: 17}, packet.UDP(1, 2, body[:3])), 1, 2, 3), 0, counted(17, 1, 2, 51, 3)},

		// Fragments.
		{"first fragment", ipv4(IP{Proto: 17, Fragment: packet.MoreFragments}, packet.UDPLength(5000, 53, 4000, body)), 0, fragment(counted(17, 5000, 53, 128, 100))},
		{"later fragment", ipv4(IP{Proto: 17, Fragment: packet.MoreFragments | 185}, udp), 0, fragment(counted(17, -1, -1, 128, 0))},
		{"last fragment", ipv4(IP{Proto: 17, Fragment: 370}, udp), 0, fragment(counted(17, -1, -1, 128, 0))},
		{"do not fragment", ipv4(IP{Proto: 17, Fragment: 0x4000}, udp), 0, counted(17, 5000, 53, 128, 100)},
		{"ipv6 first fragment", ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 0, true, udp)), 0, fragment(counted(17, 5000, 53, 156, 100))},
		{"ipv6 later fragment", ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 1448, true, udp)), 0, fragment(counted(17, -1, -1, 156, 0))},
		{"ipv6 last fragment", ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 2896, false, udp)), 0, fragment(counted(17, -1, -1, 156, 0))},
		{"ipv6 atomic fragment", ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 0, false, udp)), 0, counted(17, 5000, 53, 156, 100)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire := tt.wire
			if wire == 0 {
				wire = len(tt.frame)
			}
			p, got := parse(tt.frame, wire)
			if tt.want.outcome == Counted && tt.want.claimed == 0 {
				tt.want.claimed = tt.want.payload
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if len(p.Payload) > 0 && !bytes.Contains(tt.frame, p.Payload) {
				t.Error("payload is not of the frame")
			}
		})
	}
}

// eightShims are as many headers as are walked, one of each kind among them.
func eightShims(ip []byte) []byte {
	pppoe := packet.PPPoE(0x0281, packet.MPLS(4, ip))
	return packet.LLC(packet.SNAP(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.PPPoEType, pppoe))))
}

// Frames of links without a link header.
func TestParseLinkIP(t *testing.T) {
	datagram := packet.UDP(5000, 53, packet.Payload(9))
	for _, tt := range []struct {
		name string
		link Link
		data []byte
		want Outcome
	}{
		{"ipv4", LinkIP, packet.IPv4(packet.IP{Proto: 17}, datagram), Counted},
		{"ipv6", LinkIP, packet.IPv6(packet.IP{Proto: 17}, datagram), Counted},
		{"empty", LinkIP, nil, Malformed},
		{"version 5", LinkIP, []byte{0x55, 0, 0, 0}, Malformed},
		{"a link type that is not read", 127, packet.IPv4(packet.IP{Proto: 17}, datagram), NotIP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Packet
			if got := Parse(&p, tt.link, tt.data, len(tt.data)); got != tt.want {
				t.Fatalf("outcome %d, want %d", got, tt.want)
			}
			if p.HasMAC {
				t.Error("a MAC on a link without")
			}
			if tt.want == Counted && (p.SrcPort != 5000 || p.DstPort != 53 || len(p.Payload) != 9) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// Addresses come from where they belong.
func TestParseAddresses(t *testing.T) {
	p, _ := parse(packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 17}, nil)), 34)
	if p.Src != packet.DeviceIP || p.Dst != packet.ServerIP || p.SrcMAC != packet.DeviceMAC || p.DstMAC != packet.RouterMAC {
		t.Errorf("%+v", p)
	}
	p, _ = parse(packet.Ethernet(packet.IPv6Type, packet.IPv6(packet.IP{Proto: 17}, nil)), 54)
	if p.Src != packet.DeviceIP6 || p.Dst != packet.ServerIP6 {
		t.Errorf("%+v", p)
	}
}

// A frame cut at any byte is never more than the whole one: it is malformed up
// to the end of its IP header and counted with the same addresses and size from
// there on; ports and payload appear in order.
func TestParseCutAtEveryByte(t *testing.T) {
	body := packet.Payload(40)
	for _, tt := range []struct {
		name           string
		frame          []byte
		header         int // end of the IP header
		ports, payload int // end of the ports, begin of the payload
	}{
		{"udp", packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 17}, packet.UDP(5, 6, body))), 34, 38, 42},
		{"tcp with options", packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 6, Options: make([]byte, 4)}, packet.TCPOffset(5, 6, 8, body))), 38, 42, 70},
		{"in two tags", packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.IPv4Type,
			packet.IPv4(packet.IP{Proto: 17}, packet.UDP(5, 6, body))))), 42, 46, 50},
		{"in pppoe", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, packet.IPv4(packet.IP{Proto: 17}, packet.UDP(5, 6, body)))), 42, 46, 50},
		{"in two labels", packet.Ethernet(packet.MPLSType, packet.MPLS(2, packet.IPv4(packet.IP{Proto: 17}, packet.UDP(5, 6, body)))), 42, 46, 50},
		{"ipv6 with extension headers", packet.Ethernet(packet.IPv6Type, packet.IPv6(packet.IP{Proto: packet.HopByHop},
			packet.Extension(packet.DestOpts, 1, packet.Extension(17, 0, packet.UDP(5, 6, body))))), 54, 82, 86},
	} {
		t.Run(tt.name, func(t *testing.T) {
			whole, _ := parse(tt.frame, len(tt.frame))
			for n := range len(tt.frame) {
				p, got := parse(tt.frame[:n:n], len(tt.frame))
				switch {
				case n < tt.header:
					if got.outcome != Malformed {
						t.Fatalf("%d bytes: outcome %d", n, got.outcome)
					}
					continue
				case got.outcome != Counted || !got.truncated || p.Size != whole.Size || p.Src != whole.Src || p.Dst != whole.Dst:
					t.Fatalf("%d bytes: %+v", n, p)
				}
				if p.HasPorts != (n >= tt.ports) {
					t.Fatalf("%d bytes: ports %v", n, p.HasPorts)
				}
				if want := whole.Payload[:max(0, n-tt.payload)]; !bytes.Equal(p.Payload, want) {
					t.Fatalf("%d bytes: payload %x, want %x", n, p.Payload, want)
				}
			}
		})
	}
}

// Super-packets are counted as their wire packets, whose sizes add up.
func TestPacketSegments(t *testing.T) {
	for _, tt := range []struct {
		name              string
		payload, captured int
		segment           uint32
		sizes             []uint32 // of the segments
		have              []int    // payload present in each
	}{
		{"one packet", 1460, 1460, 0, []uint32{1500}, []int{1460}},
		{"no payload", 0, 0, 1460, []uint32{40}, []int{0}},
		{"fits one segment", 1460, 1460, 1460, []uint32{1500}, []int{1460}},
		{"one byte over", 1461, 1461, 1460, []uint32{1500, 41}, []int{1460, 1}},
		{"whole segments", 4380, 4380, 1460, []uint32{1500, 1500, 1500}, []int{1460, 1460, 1460}},
		{"frame cut in the second", 4380, 2000, 1460, []uint32{1500, 1500, 1500}, []int{1460, 540, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 6}, packet.TCP(1, 2, packet.Payload(tt.payload))))
			p, _ := parse(frame[:14+40+tt.captured], len(frame))
			p.SegmentSize = tt.segment
			if p.Segments() != uint64(len(tt.sizes)) {
				t.Fatalf("%d segments, want %d", p.Segments(), len(tt.sizes))
			}
			var bytesSum uint64
			var payload []byte
			for k, want := range tt.sizes {
				size, part := p.segment(uint64(k))
				if size != want || len(part) != tt.have[k] {
					t.Errorf("segment %d: size %d, %d bytes; want %d, %d", k, size, len(part), want, tt.have[k])
				}
				bytesSum += uint64(size)
				payload = append(payload, part...)
			}
			if p.WireBytes() != bytesSum {
				t.Errorf("%d wire bytes, segments have %d", p.WireBytes(), bytesSum)
			}
			if !bytes.Equal(payload, p.Payload) {
				t.Error("segments do not add up to the payload")
			}
		})
	}
	huge := Packet{Size: 1<<32 - 15, HeaderLen: 40, PayloadLen: 1<<32 - 55, SegmentSize: 1460}
	if got := huge.Segments(); got != 2941759 {
		t.Errorf("a claimed 4 GiB: %d segments", got)
	}
}

// What a file's super-packets are told by: TCP above 9,216 bytes, or above 1,500
// when the capturing host's offloads were on, all of it on the wire.
func TestFileSegmentSize(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, tt := range []struct {
		name      string
		p         Packet
		offloaded bool
		want      uint32
	}{
		{"jumbo", Packet{Src: v4, Proto: 6, Size: 9216, wire: 9216}, false, 0},
		{"above jumbo", Packet{Src: v4, Proto: 6, Size: 9217, wire: 9217}, false, 1460},
		{"above jumbo, a byte less on the wire", Packet{Src: v4, Proto: 6, Size: 9217, wire: 9216}, false, 0},
		{"above jumbo, ipv6", Packet{Src: v6, Proto: 6, Size: 9217, wire: 9220}, false, 1440},
		{"udp above jumbo", Packet{Src: v4, Proto: 17, Size: 20000, wire: 20000}, false, 0},
		{"1,500", Packet{Src: v4, Proto: 6, Size: 1500, wire: 1500}, true, 0},
		{"1,501", Packet{Src: v4, Proto: 6, Size: 1501, wire: 1501}, true, 1460},
		{"1,501, a byte less on the wire", Packet{Src: v4, Proto: 6, Size: 1501, wire: 1500}, true, 0},
		{"1,501, ipv6", Packet{Src: v6, Proto: 6, Size: 1501, wire: 1501}, true, 1440},
		{"udp", Packet{Src: v4, Proto: 17, Size: 1501, wire: 1501}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.p.FileSegmentSize(tt.offloaded); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

// FuzzParse: no panic, and what is counted is consistent in itself.
func FuzzParse(f *testing.F) {
	udp := packet.UDP(5000, 53, packet.Payload(20))
	for _, seed := range [][]byte{
		packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 17, Options: make([]byte, 4)}, udp)),
		packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 6, Length: packet.Zero}, packet.TCP(1, 2, nil))),
		packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.IPv6Type, packet.IPv6(packet.IP{Proto: packet.HopByHop},
			packet.Extension(packet.FragmentV6, 0, packet.FragmentHeader(packet.Auth, 0, false, packet.AuthHeader(17, 1, udp))))))),
	} {
		f.Add(uint16(LinkEthernet), seed, uint32(len(seed)))
		f.Add(uint16(LinkIP), seed[14:], uint32(len(seed)))
	}
	ip := packet.IPv4(packet.IP{Proto: 17}, udp)
	f.Add(uint16(LinkEthernet), eightShims(ip), uint32(8000))
	f.Add(uint16(LinkPPPoE), packet.PPPoE(packet.PPPIPv4, ip), uint32(len(ip)))
	f.Add(uint16(LinkPPP), append([]byte{0xff, 3, packet.PPPIPv4}, ip...), uint32(len(ip)))
	f.Add(uint16(LinkNull), append([]byte{0, 0, 8, 0}, ip...), uint32(len(ip)))
	f.Add(uint16(LinkCooked), append(make([]byte, 14), packet.VLAN(packet.VLANType, 1, append([]byte{8, 0}, ip...))...), uint32(99))
	f.Add(uint16(LinkCooked2), append([]byte{0x88, 0x47}, append(make([]byte, 18), packet.MPLS(3, ip)...)...), uint32(99))
	f.Fuzz(func(t *testing.T, link uint16, frame []byte, wire uint32) {
		var p Packet
		v := Parse(&p, Link(link), frame, int(wire))
		if v != Counted {
			return
		}
		if p.Size < 20 || !p.Src.IsValid() || p.Src.Is4() != p.Dst.Is4() {
			t.Errorf("%+v", p)
		}
		if uint32(len(p.Payload)) > p.PayloadLen || len(p.Payload) > len(frame) {
			t.Errorf("payload %d of %d claimed, frame %d", len(p.Payload), p.PayloadLen, len(frame))
		}
		if p.PayloadLen > 0 && (!p.HasPorts || p.HeaderLen+p.PayloadLen > p.Size) {
			t.Errorf("header %d + payload %d in %d", p.HeaderLen, p.PayloadLen, p.Size)
		}
		if p.PayloadLen > 0 && !p.Truncated && uint32(len(p.Payload)) != p.PayloadLen {
			t.Errorf("payload %d of %d, not truncated", len(p.Payload), p.PayloadLen)
		}
		p.SegmentSize = p.FileSegmentSize(true)
		if n := p.Segments(); n == 0 || p.WireBytes() < uint64(p.Size) || n > 1 && p.Size > wire {
			t.Errorf("%d segments, %d wire bytes of %d", n, p.WireBytes(), p.Size)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	body := packet.Payload(500)
	for _, bb := range []struct {
		name  string
		frame []byte
	}{
		{"ipv4 udp", packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 17}, packet.UDP(1, 2, body)))},
		{"ipv6 tcp in two tags", packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.IPv6Type,
			packet.IPv6(packet.IP{Proto: packet.HopByHop}, packet.Extension(6, 0, packet.TCP(1, 2, body))))))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var p Packet
			b.ReportAllocs()
			for b.Loop() {
				if Parse(&p, LinkEthernet, bb.frame, len(bb.frame)) != Counted {
					b.Fatal("not counted")
				}
			}
		})
	}
}
