// Package packet builds frames for tests, byte by byte and from the inside out:
//
//	packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(5000, 53, payload)))
//
// Lengths are right unless a test overrides them; checksums are zero, as no
// parser under test looks at them. The package never sends anything.
package packet

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// EtherTypes (IEEE 802).
const (
	IPv4Type  = 0x0800
	ARPType   = 0x0806
	VLANType  = 0x8100 // 802.1Q
	IPv6Type  = 0x86dd
	MPLSType  = 0x8847
	PPPoEType = 0x8864 // a session's data
	EAPType   = 0x888e
	QinQType  = 0x88a8 // 802.1ad
)

// PPP protocol numbers (IANA).
const (
	PPPIPv4 = 0x0021
	PPPIPv6 = 0x0057
	PPPLCP  = 0xc021
)

// IP protocol and IPv6 extension header numbers (IANA).
const (
	HopByHop   = 0
	ICMP       = 1
	IGMP       = 2
	TCPProto   = 6
	UDPProto   = 17
	Routing    = 43
	FragmentV6 = 44
	GRE        = 47
	ESP        = 50
	Auth       = 51
	ICMPv6     = 58
	NoNext     = 59
	DestOpts   = 60
	SCTP       = 132
)

// The addresses of frames that name no others.
var (
	DeviceMAC = [6]byte{0x02, 0, 0, 0, 0, 0x0d}
	RouterMAC = [6]byte{0x02, 0, 0, 0, 0, 0x01}

	DeviceIP  = netip.MustParseAddr("192.168.7.2")
	ServerIP  = netip.MustParseAddr("198.51.100.9")
	DeviceIP6 = netip.MustParseAddr("fd00:7::2")
	ServerIP6 = netip.MustParseAddr("2001:db8::9")
)

// Ethernet is a frame from the device to the router.
func Ethernet(etherType uint16, payload []byte) []byte {
	return EthernetFrom(DeviceMAC, RouterMAC, etherType, payload)
}

// EthernetFrom is a frame from src to dst.
func EthernetFrom(src, dst [6]byte, etherType uint16, payload []byte) []byte {
	return slices.Concat(dst[:], src[:], be16(etherType), payload)
}

// VLAN is a tag's identifier and inner EtherType, before payload; the tag's own
// EtherType is that of the header before it.
func VLAN(id, etherType uint16, payload []byte) []byte {
	return slices.Concat(be16(id), be16(etherType), payload)
}

// PPPoE is a session header (RFC 2516) and a PPP protocol number before payload.
func PPPoE(protocol uint16, payload []byte) []byte {
	return slices.Concat([]byte{0x11, 0, 0, 7}, be16(uint16(2+len(payload))), be16(protocol), payload)
}

// MPLS is a stack of n labels (RFC 3032) before payload.
func MPLS(n int, payload []byte) []byte {
	var b []byte
	for i := range n {
		bottom := byte(0)
		if i == n-1 {
			bottom = 1
		}
		b = append(b, 0, 1, byte(i)<<4|bottom, 64)
	}
	return append(b, payload...)
}

// LLC is an 802.3 frame from the device to the router: a length, and payload from
// the 802.2 header on.
func LLC(payload []byte) []byte { return Ethernet(uint16(len(payload)), payload) }

// SNAP is an 802.2 header of organization 0 (RFC 1042) before payload.
func SNAP(etherType uint16, payload []byte) []byte {
	return slices.Concat([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(etherType), payload)
}

// IP describes an IPv4 or IPv6 header. Zero addresses stand for the device's and
// the server's.
type IP struct {
	Src, Dst netip.Addr
	Proto    uint8
	Options  []byte // IPv4, a multiple of 4 bytes
	Fragment uint16 // IPv4 flags and fragment offset; MoreFragments, an offset in units of 8 bytes
	Length   int    // IPv4 total length, IPv6 payload length; 0: what fits, Zero: zero
	IHL      int    // IPv4 header length in words; 0: what fits
}

// MoreFragments is the IPv4 flag of a fragment that is not the last.
const MoreFragments = 0x2000

// Zero as a length stands for a length field of zero.
const Zero = -1

// IPv4 is a packet (RFC 791).
func IPv4(h IP, payload []byte) []byte {
	src, dst := addresses(h, DeviceIP, ServerIP)
	b := make([]byte, 20, 20+len(h.Options)+len(payload))
	b = append(b, h.Options...)
	ihl := len(b) / 4
	if h.IHL != 0 {
		ihl = h.IHL
	}
	b[0] = 0x40 | byte(ihl)
	binary.BigEndian.PutUint16(b[2:], length(h.Length, len(b)+len(payload)))
	binary.BigEndian.PutUint16(b[6:], h.Fragment)
	b[8], b[9] = 64, h.Proto
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	return append(b, payload...)
}

// IPv6 is a packet (RFC 8200); payload begins with the extension headers.
func IPv6(h IP, payload []byte) []byte {
	src, dst := addresses(h, DeviceIP6, ServerIP6)
	b := make([]byte, 40, 40+len(payload))
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], length(h.Length, len(payload)))
	b[6], b[7] = h.Proto, 64
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, payload...)
}

// Extension is an IPv6 extension header of 8 x (1 + more) bytes before payload.
func Extension(next uint8, more int, payload []byte) []byte {
	b := make([]byte, 8*(1+more))
	b[0], b[1] = next, byte(more)
	return append(b, payload...)
}

// FragmentHeader is an IPv6 fragment header; offset counts bytes, a multiple of 8.
func FragmentHeader(next uint8, offset uint16, more bool, payload []byte) []byte {
	if more {
		offset |= 1
	}
	return slices.Concat([]byte{next, 0}, be16(offset), make([]byte, 4), payload)
}

// AuthHeader is an IPv6 authentication header of 4 x (2 + words) bytes.
func AuthHeader(next uint8, words int, payload []byte) []byte {
	b := make([]byte, 4*(2+words))
	b[0], b[1] = next, byte(words)
	return append(b, payload...)
}

// UDP is a datagram (RFC 768).
func UDP(src, dst uint16, payload []byte) []byte {
	return UDPLength(src, dst, uint16(8+len(payload)), payload)
}

// UDPLength is a datagram that claims length.
func UDPLength(src, dst, length uint16, payload []byte) []byte {
	return slices.Concat(be16(src), be16(dst), be16(length), be16(0), payload)
}

// TCP is a segment with a header of 20 bytes (RFC 9293).
func TCP(src, dst uint16, payload []byte) []byte { return TCPOffset(src, dst, 5, payload) }

// TCPOffset is a segment whose header claims words of 4 bytes; options, if any,
// are the first bytes of payload.
func TCPOffset(src, dst uint16, words int, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	b[12], b[13] = byte(words<<4), 0x10 // ACK
	return append(b, payload...)
}

// Payload is n bytes that differ from their neighbours and are never zero.
func Payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251) + 1
	}
	return b
}

func addresses(h IP, src, dst netip.Addr) (netip.Addr, netip.Addr) {
	if h.Src.IsValid() {
		src = h.Src
	}
	if h.Dst.IsValid() {
		dst = h.Dst
	}
	return src, dst
}

func length(override, fits int) uint16 {
	switch override {
	case 0:
		return uint16(fits)
	case Zero:
		return 0
	}
	return uint16(override)
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
