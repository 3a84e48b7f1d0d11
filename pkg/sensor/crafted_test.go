package sensor_test

// This file crafts the frames that real captures lack and that a test run of the
// programs cannot express: VLAN tags that the receiving interface strips, jumbo
// frames, and all the rest of the parser's verdicts, on a real interface.

import (
	"slices"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
)

// way is a direction of crafted traffic.
type way struct {
	source, target [6]byte
	v4, v6         packet.IP
	from, to       uint16
}

func (w way) frame(etherType uint16, payload []byte) []byte {
	return packet.EthernetFrom(w.source, w.target, etherType, payload)
}

func (w way) ipv4(proto uint8, payload []byte) []byte {
	h := w.v4
	h.Proto = proto
	return packet.IPv4(h, payload)
}

func (w way) ipv6(proto uint8, payload []byte) []byte {
	h := w.v6
	h.Proto = proto
	return packet.IPv6(h, payload)
}

func (w way) udp(size int) []byte { return packet.UDP(w.from, w.to, packet.Payload(size)) }
func (w way) tcp(size int) []byte { return packet.TCP(w.from, w.to, packet.Payload(size)) }

// crafted are frames, by what is special in them; each has ports of its own.
var crafted = []func(w way) []byte{
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(0))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(1))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(999))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(1000))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(1001))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(8900))) }, // jumbo
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(8900))) },
	func(w way) []byte { // 802.1Q
		return w.frame(packet.VLANType, packet.VLAN(7, packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(40))))
	},
	func(w way) []byte { // priority tag
		return w.frame(packet.VLANType, packet.VLAN(0, packet.IPv6Type, w.ipv6(packet.UDPProto, w.udp(40))))
	},
	func(w way) []byte { // QinQ
		inner := packet.VLAN(8, packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(40)))
		return w.frame(packet.QinQType, packet.VLAN(7, packet.VLANType, inner))
	},
	func(w way) []byte { // tagged jumbo
		return w.frame(packet.VLANType, packet.VLAN(7, packet.IPv4Type, w.ipv4(packet.TCPProto, w.tcp(8900))))
	},
	func(w way) []byte { // tagged, and no IP
		return w.frame(packet.VLANType, packet.VLAN(7, packet.ARPType, make([]byte, 28)))
	},
	func(w way) []byte { // options
		h := w.v4
		h.Proto, h.Options = packet.UDPProto, []byte{0x94, 4, 0, 0}
		return w.frame(packet.IPv4Type, packet.IPv4(h, w.udp(30)))
	},
	func(w way) []byte { // first fragment
		h := w.v4
		h.Proto, h.Fragment = packet.UDPProto, packet.MoreFragments
		return w.frame(packet.IPv4Type, packet.IPv4(h, w.udp(1200)))
	},
	func(w way) []byte { // later fragment
		h := w.v4
		h.Proto, h.Fragment = packet.UDPProto, 150
		return w.frame(packet.IPv4Type, packet.IPv4(h, packet.Payload(300)))
	},
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.ICMP, packet.Payload(64))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.IGMP, packet.Payload(8))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.ESP, packet.Payload(90))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.GRE, packet.Payload(90))) },
	func(w way) []byte { return w.frame(packet.IPv4Type, w.ipv4(packet.SCTP, packet.Payload(90))) },
	func(w way) []byte { return w.frame(packet.IPv6Type, w.ipv6(packet.TCPProto, w.tcp(50))) },
	func(w way) []byte {
		return w.frame(packet.IPv6Type, w.ipv6(packet.HopByHop, packet.Extension(packet.DestOpts, 1, packet.Extension(packet.UDPProto, 0, w.udp(20)))))
	},
	func(w way) []byte { // atomic fragment: none
		return w.frame(packet.IPv6Type, w.ipv6(packet.FragmentV6, packet.FragmentHeader(packet.UDPProto, 0, false, w.udp(20))))
	},
	func(w way) []byte { // later fragment
		return w.frame(packet.IPv6Type, w.ipv6(packet.FragmentV6, packet.FragmentHeader(packet.UDPProto, 1400, true, packet.Payload(80))))
	},
	func(w way) []byte { return w.frame(packet.IPv6Type, w.ipv6(packet.ICMPv6, packet.Payload(24))) },
	func(w way) []byte { return w.frame(packet.IPv6Type, w.ipv6(packet.NoNext, nil)) },
	func(w way) []byte { // Ethernet padding
		return append(w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(2))), make([]byte, 16)...)
	},
	func(w way) []byte { // the frame ends before the packet
		f := w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(200)))
		return f[:len(f)-100]
	},
	func(w way) []byte { // ports cut off
		return w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(200)))[:14+20+3]
	},
	func(w way) []byte { // IP header cut off
		return w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, w.udp(200)))[:14+12]
	},
	func(w way) []byte {
		return w.frame(packet.IPv4Type, w.ipv4(packet.UDPProto, packet.UDPLength(w.from, w.to, 5, packet.Payload(10))))
	},
	func(w way) []byte {
		return w.frame(packet.IPv4Type, w.ipv4(packet.TCPProto, packet.TCPOffset(w.from, w.to, 4, packet.Payload(10))))
	},
	func(w way) []byte { // wrong header length
		h := w.v4
		h.Proto, h.IHL = packet.UDPProto, 4
		return w.frame(packet.IPv4Type, packet.IPv4(h, w.udp(10)))
	},
	func(w way) []byte { // length shorter than the header
		h := w.v4
		h.Proto, h.Length = packet.UDPProto, 19
		return w.frame(packet.IPv4Type, packet.IPv4(h, w.udp(10)))
	},
	func(w way) []byte { return w.frame(packet.IPv6Type, w.ipv4(packet.UDPProto, w.udp(40))) }, // wrong version
	func(w way) []byte { return w.frame(packet.EAPType, packet.Payload(40)) },
	func(w way) []byte { return w.frame(3, []byte{0xaa, 0xaa, 3}) }, // 802.2 LLC
}

// craftedFrames plays each crafted frame out and back, again soon after, and
// again after a minute.
func craftedFrames(*testing.T) []lab.Frame {
	out := way{source: packet.DeviceMAC, target: packet.RouterMAC, to: 53,
		v4: packet.IP{Src: packet.DeviceIP, Dst: packet.ServerIP}, v6: packet.IP{Src: packet.DeviceIP6, Dst: packet.ServerIP6}}
	start := time.Unix(0, 0)
	var frames []lab.Frame
	for round, after := range []time.Duration{0, 3 * time.Second, flows.Lifetime + 10*time.Second} {
		for i, craft := range crafted {
			out.from = uint16(10000 + i)
			back := way{out.target, out.source, packet.IP{Src: out.v4.Dst, Dst: out.v4.Src}, packet.IP{Src: out.v6.Dst, Dst: out.v6.Src}, out.to, out.from}
			at := start.Add(after + time.Duration(i)*20*time.Millisecond + time.Duration(round)*time.Millisecond)
			frames = append(frames,
				lab.Frame{Time: at, Data: craft(out), FromDevice: true},
				lab.Frame{Time: at.Add(7 * time.Millisecond), Data: craft(back)})
		}
	}
	slices.SortStableFunc(frames, func(x, y lab.Frame) int { return x.Time.Compare(y.Time) })
	return frames
}
