package flows

// This file parses one frame: what stands between its link header and IP (link.go
// reads the link header itself), IP headers, ports and payload. bpf/parse.h does the
// same in the kernel; the two agree on every frame, which a differential test in
// package loader checks.

import (
	"encoding/binary"
	"net/netip"
)

// Outcome is what the parser makes of a frame.
type Outcome uint8

const (
	// Counted frames carry an IP packet that belongs to a flow.
	Counted Outcome = iota
	// NotIP frames carry something else: ARP, EAPOL, LLC but for IP in SNAP, ...
	NotIP
	// Malformed frames have an incomplete or impossible link or IP header.
	Malformed
)

// Limits of the header walk. A packet past the last two is counted without ports.
const (
	maxShims       = 8 // headers between the link header and IP that are walked
	maxMPLSLabels  = 4 // MPLS labels of those
	maxVLANTags    = 2 // VLAN tags after which the ports are still read (802.1ad)
	maxIPv6Headers = 6 // IPv6 extension headers walked
)

// EtherTypes (IEEE 802) and IP protocol numbers (IANA) that the parser knows.
const (
	etherMin   = 0x0600 // below: a length, and an LLC header follows (IEEE 802.2)
	etherIPv4  = 0x0800
	etherVLAN  = 0x8100
	etherIPv6  = 0x86dd
	etherMPLS  = 0x8847
	etherMPLSm = 0x8848 // multicast, or with an upstream label
	etherPPPoE = 0x8864 // of a session; 0x8863 is discovery
	etherQinQ  = 0x88a8
	etherQinQ1 = 0x9100

	protoTCP = 6
	protoUDP = 17

	extHopByHop = 0
	extRouting  = 43
	extFragment = 44
	extAuth     = 51
	extNoNext   = 59
	extDestOpts = 60
)

// Packet is one parsed frame.
type Packet struct {
	SrcMAC, DstMAC MAC // zero on links without MACs
	HasMAC         bool
	Src, Dst       netip.Addr
	Proto          uint8 // IPv6: the last header reached
	HasPorts       bool
	SrcPort        uint16
	DstPort        uint16
	Size           uint32 // IP total length as claimed; BIG TCP: what the frame holds
	HeaderLen      uint32 // IP and transport header; meaningful when PayloadLen > 0
	PayloadLen     uint32 // transport payload as claimed, 0 when there is none
	Payload        []byte // the payload bytes present, at most PayloadLen
	Fragment       bool   // first or later fragment
	Truncated      bool   // the frame is shorter than Size claims
	wire           uint32 // length on the wire from the IP header on
	Network        int    // where in the frame the IP header begins
	Transport      int    // where, from there, the ports are; meaningful when HasPorts
	SegmentSize    uint32 // payload of one wire packet when this is an offloaded super-packet, else 0
}

// Segments is the number of wire packets that p stands for.
func (p *Packet) Segments() uint64 {
	if p.SegmentSize == 0 || p.PayloadLen <= p.SegmentSize {
		return 1
	}
	size := uint64(p.SegmentSize) // 64 bits: a file may claim a payload of nearly 4 GiB
	return (uint64(p.PayloadLen) + size - 1) / size
}

// WireBytes is the sum of the IP lengths of p's wire packets.
func (p *Packet) WireBytes() uint64 {
	n := p.Segments()
	if n == 1 {
		return uint64(p.Size)
	}
	return uint64(p.PayloadLen) + n*uint64(p.HeaderLen)
}

// segment is the IP length and the payload present of p's k-th wire packet.
func (p *Packet) segment(k uint64) (size uint32, payload []byte) {
	if p.Segments() == 1 {
		return p.Size, p.Payload
	}
	from := k * uint64(p.SegmentSize)
	to := min(from+uint64(p.SegmentSize), uint64(p.PayloadLen))
	have := uint64(len(p.Payload))
	return p.HeaderLen + uint32(to-from), p.Payload[min(from, have):min(to, have)]
}

// Sizes that tell an offloaded super-packet in a file, where gso_size is not
// known, from a real packet, and what its wire packets carried.
const (
	jumboSize    = 9216 // largest IP length of a real jumbo packet
	ethernetSize = 1500
	segmentIPv4  = 1460
	segmentIPv6  = 1440
)

// FileSegmentSize is the payload of each wire packet behind p when p is an
// offloaded super-packet, as far as a file can tell; 0 when p is one packet. What
// claims more than was on the wire is no super-packet. offloaded: the host had
// offloads on, and all that is larger than an Ethernet packet is one.
func (p *Packet) FileSegmentSize(offloaded bool) uint32 {
	limit := uint32(jumboSize)
	if offloaded {
		limit = ethernetSize
	}
	switch {
	case p.Proto != protoTCP || p.Size <= limit || p.Size > p.wire:
		return 0
	case p.Src.Is4():
		return segmentIPv4
	}
	return segmentIPv6
}

// Parse reads one frame into p. frame holds the bytes present, wireLen the
// frame's length on the wire; p.Payload points into frame. On an outcome other
// than Counted p has no meaning beyond its MACs.
func Parse(p *Packet, link Link, frame []byte, wireLen int) Outcome {
	*p = Packet{}
	etherType, off, v := link.header(frame)
	if v != Counted {
		return v
	}
	if link == LinkEthernet {
		p.HasMAC = true
		p.DstMAC, p.SrcMAC = MAC(frame[:6]), MAC(frame[6:12])
	}
	tags, labels := 0, 0
	for n := 0; etherType != etherIPv4 && etherType != etherIPv6; n++ {
		if isVLAN(etherType) {
			tags++
		} else if isMPLS(etherType) {
			labels++
		}
		if n == maxShims || labels > maxMPLSLabels {
			return NotIP
		}
		size := 0
		if etherType, size, v = shim(etherType, frame[off:]); v != Counted {
			return v
		}
		off += size
	}
	p.Network = off
	return p.parseIP(etherType, frame[off:], wireLen-off, tags <= maxVLANTags)
}

func isVLAN(etherType uint16) bool {
	return etherType == etherVLAN || etherType == etherQinQ || etherType == etherQinQ1
}

func isMPLS(etherType uint16) bool {
	return etherType == etherMPLS || etherType == etherMPLSm
}

// shim reads one header that stands between the link header and IP, at the begin of
// b: its length, and the EtherType of what follows. On an outcome other than Counted
// nothing that is IP does.
func shim(etherType uint16, b []byte) (next uint16, size int, v Outcome) {
	switch {
	case isVLAN(etherType):
		if len(b) < 4 {
			return 0, 0, Malformed
		}
		return binary.BigEndian.Uint16(b[2:]), 4, Counted
	case etherType < etherMin:
		if len(b) < 8 || [6]byte(b) != [6]byte{0xaa, 0xaa, 3} { // SNAP (RFC 1042), organization 0
			return 0, 0, NotIP
		}
		return binary.BigEndian.Uint16(b[6:]), 8, Counted
	case etherType == etherPPPoE:
		if len(b) < 8 {
			return 0, 0, Malformed
		}
		if b[0] != 0x11 || b[1] != 0 { // version, type and code of a session's data (RFC 2516)
			return 0, 0, NotIP
		}
		next, size, v = ppp(b[6:])
		return next, 6 + size, v
	case isMPLS(etherType):
		return mpls(etherType, b)
	}
	return 0, 0, NotIP
}

// ppp reads a PPP protocol field (RFC 1661), of one byte if it is compressed.
func ppp(b []byte) (next uint16, size int, v Outcome) {
	var protocol uint16
	switch {
	case len(b) > 0 && b[0]&1 != 0:
		protocol, size = uint16(b[0]), 1
	case len(b) > 1:
		protocol, size = binary.BigEndian.Uint16(b), 2
	default:
		return 0, 0, Malformed
	}
	switch protocol {
	case 0x0021:
		return etherIPv4, size, Counted
	case 0x0057:
		return etherIPv6, size, Counted
	case 0x0281:
		return etherMPLS, size, Counted
	case 0x0283:
		return etherMPLSm, size, Counted
	}
	return 0, 0, NotIP
}

// mpls reads a label (RFC 3032). What follows the last one is told by its first bits.
func mpls(etherType uint16, b []byte) (next uint16, size int, v Outcome) {
	if len(b) < 4 {
		return 0, 0, Malformed
	}
	if last := b[2]&1 != 0; !last {
		return etherType, 4, Counted
	}
	if len(b) == 4 {
		return 0, 0, Malformed
	}
	next, v = ipType(b[4])
	return next, 4, v
}

// ipType is the EtherType of a packet that begins with first, if that is IP.
func ipType(first byte) (uint16, Outcome) {
	switch first >> 4 {
	case 4:
		return etherIPv4, Counted
	case 6:
		return etherIPv6, Counted
	}
	return 0, NotIP
}

// parseIP reads from the IP header on. rest is the wire length from there.
func (p *Packet) parseIP(etherType uint16, b []byte, rest int, ports bool) Outcome {
	if len(b) == 0 {
		return Malformed
	}
	p.wire = uint32(max(rest, 0))
	switch begins, _ := ipType(b[0]); {
	case begins != etherType:
		return Malformed
	case begins == etherIPv4:
		return p.parseIPv4(b, rest, ports)
	}
	return p.parseIPv6(b, rest, ports)
}

// parseIPv4 reads an IPv4 header (RFC 791) and what follows.
func (p *Packet) parseIPv4(b []byte, rest int, ports bool) Outcome {
	if len(b) < 20 {
		return Malformed
	}
	header := int(b[0]&0x0f) * 4
	if header < 20 || len(b) < header {
		return Malformed
	}
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 { // BIG TCP
		total = rest
	}
	if total < header {
		return Malformed
	}
	p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	p.Proto = b[9]
	p.setSize(total, len(b))
	fragment := binary.BigEndian.Uint16(b[6:])
	p.Fragment = fragment&0x3fff != 0
	if later := fragment&0x1fff != 0; ports && !later {
		p.parseTransport(b, header, total)
	}
	return Counted
}

// parseIPv6 reads an IPv6 header (RFC 8200), its extension headers and what follows.
func (p *Packet) parseIPv6(b []byte, rest int, ports bool) Outcome {
	const fixed = 40
	if len(b) < fixed {
		return Malformed
	}
	total := fixed + int(binary.BigEndian.Uint16(b[4:]))
	next := b[6]
	if total == fixed && next != extNoNext { // jumbogram (RFC 2675), BIG TCP
		total = max(rest, fixed)
	}
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	p.setSize(total, len(b))
	present := min(len(b), total)
	off := fixed
	later := false
	for range maxIPv6Headers {
		if later || !isIPv6Extension(next) || off+8 > present {
			break
		}
		switch next {
		case extFragment:
			field := binary.BigEndian.Uint16(b[off+2:])
			p.Fragment = p.Fragment || field&0xfff9 != 0 // an atomic fragment is none (RFC 6946)
			later = field&0xfff8 != 0
			next, off = b[off], off+8
		case extAuth:
			next, off = b[off], off+(int(b[off+1])+2)*4
		default:
			next, off = b[off], off+(int(b[off+1])+1)*8
		}
	}
	p.Proto = next
	if ports && !later && !isIPv6Extension(next) {
		p.parseTransport(b, off, total)
	}
	return Counted
}

func isIPv6Extension(next byte) bool {
	switch next {
	case extHopByHop, extRouting, extFragment, extAuth, extDestOpts:
		return true
	}
	return false
}

func (p *Packet) setSize(total, present int) {
	p.Size = uint32(total)
	p.Truncated = present < total
}

// parseTransport reads ports and payload of TCP (RFC 9293) and UDP (RFC 768)
// from the transport header at off. total is the claimed IP length.
func (p *Packet) parseTransport(b []byte, off, total int) {
	if p.Proto != protoTCP && p.Proto != protoUDP {
		return
	}
	present := min(len(b), total)
	if off+4 > present {
		return
	}
	p.HasPorts, p.Transport = true, off
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b[off:]), binary.BigEndian.Uint16(b[off+2:])
	start, end := 0, total
	if p.Proto == protoTCP {
		if off+20 > present {
			return
		}
		start = off + int(b[off+12]>>4)*4
		if start < off+20 {
			return
		}
	} else {
		if off+8 > present {
			return
		}
		length := int(binary.BigEndian.Uint16(b[off+4:]))
		if length < 8 {
			return
		}
		start = off + 8
		end = min(total, off+length)
	}
	if start >= end {
		return
	}
	p.HeaderLen = uint32(start)
	p.PayloadLen = uint32(end - start)
	p.Payload = b[min(start, len(b)):min(end, len(b))]
}
