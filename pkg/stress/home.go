package stress

// This file moves a capture to another home: its packets as other units of the same
// types would have sent them, months later, from other addresses and ports.

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/identifiers"
	"github.com/iotsense/iotsense/pkg/pcap"
)

const (
	month = 28 * 24 * time.Hour // days of the week stay
	// firstDynamic is the first of the ports that Linux gives to who asks for any; most
	// others give of those from 49,152 on (RFC 6335).
	firstDynamic = 1 << 15
	// maxAddresses bounds how many local addresses are looked for in payloads.
	maxAddresses = 1 << 16
)

// home is where a capture is moved to. It is drawn once; everything that is the same
// thing in a capture is the same other thing there, wherever it occurs.
type home struct {
	later  time.Duration
	turns  [12]int // by how much each digit of a MAC is turned: its tail
	units  []*unit
	macs   map[flows.MAC]flows.MAC // of frames' headers: the units', and those next to them
	uuids  [32]int                 // by how much each digit of a UUID is turned
	octets [2]map[int]int          // by how much the second and third of a private address are, by how many values it has
	ports  int                     // by how much a dynamic port is
	any    *identifiers.Finder     // of what no unit is needed to find
	local  map[[4]byte]bool        // private addresses met
	frame  []byte                  // room for one
}

// unit is a device and what it is called there.
type unit struct {
	old, new flows.MAC
	finder   *identifiers.Finder
}

// anotherHome moves the packets.
func anotherHome(c *changer) { c.moveTo(newHome(c.random)) }

// moveTo moves them to that home.
func (c *changer) moveTo(h *home) {
	macs := slices.SortedFunc(maps.Keys(c.macs), func(a, b flows.MAC) int { return bytes.Compare(a[:], b[:]) })
	for _, mac := range macs {
		u := &unit{mac, h.mac(mac), identifiers.NewFinder(mac.String(), nil, nil)}
		h.units = append(h.units, u)
		for _, step := range []int{-1, 1} {
			h.macs[next(u.old, step)] = next(u.new, step)
		}
	}
	for _, u := range h.units { // a neighbour that is a device itself has its own
		h.macs[u.old] = u.new
	}
	c.home = h
	var parsed flows.Packet
	c.packet = func(p pcap.Packet, give func(pcap.Packet)) { give(h.packet(&parsed, p)) }
}

func newHome(r *rand.Rand) *home {
	h := &home{
		later: time.Duration(1+r.IntN(12)) * month, ports: 1 + r.IntN(firstDynamic-1),
		macs: map[flows.MAC]flows.MAC{}, any: identifiers.NewFinder("", nil, nil), local: map[[4]byte]bool{},
	}
	for i := range h.uuids {
		h.uuids[i] = 1 + r.IntN(15)
	}
	h.uuids[12], h.uuids[16] = 0, 0 // version and variant (RFC 9562)
	for i := range h.octets {
		h.octets[i] = map[int]int{}
		for _, values := range []int{10, 16, 90, 156} {
			h.octets[i][values] = 1 + r.IntN(values-1)
		}
	}
	for i := len(h.turns) / 2; i < len(h.turns); i++ {
		h.turns[i] = 1 + r.IntN(14)
	}
	return h
}

// device is what a device is called there.
func (h *home) device(name string) string {
	if mac, err := flows.ParseMAC(name); err == nil {
		return h.mac(mac).String()
	}
	text, isAddress := strings.CutPrefix(name, "ip:")
	if addr, err := netip.ParseAddr(text); isAddress && err == nil {
		return "ip:" + h.addr(addr).String()
	}
	return name
}

// mac is another of the same maker. A digit that is zero stays: without it an address
// made of the MAC would be written shorter.
func (h *home) mac(mac flows.MAC) flows.MAC {
	for i := range mac {
		mac[i] = h.digit(mac[i]>>4, 2*i)<<4 | h.digit(mac[i]&15, 2*i+1)
	}
	return mac
}

// digit turns a digit of a MAC.
func (h *home) digit(v byte, place int) byte {
	if v == 0 || h.turns[place] == 0 {
		return v
	}
	return 1 + (v-1+byte(h.turns[place]))%15
}

// next is the MAC a step further.
func next(mac flows.MAC, step int) flows.MAC {
	low := binary.BigEndian.Uint32(mac[2:])&0xffffff + uint32(step)
	return flows.MAC{mac[0], mac[1], mac[2], byte(low >> 16), byte(low >> 8), byte(low)}
}

// addr is where a local address lies there: a private IPv4 one behind another prefix of
// the same length when written, an IPv6 one made of a unit's MAC. Others stay.
func (h *home) addr(a netip.Addr) netip.Addr {
	switch {
	case a.Is4():
		return netip.AddrFrom4(h.quad(a.As4()))
	case a.Is6():
		return netip.AddrFrom16(h.sixteen(a.As16()))
	}
	return a
}

// quad is addr of an IPv4 address.
func (h *home) quad(q [4]byte) [4]byte {
	switch {
	case q[0] == 10:
		q[1], q[2] = h.octet(0, q[1]), h.octet(1, q[2])
	case q[0] == 172 && q[1]>>4 == 1:
		q[1], q[2] = turned(q[1], 16, 31, h.octets[0][16]), h.octet(1, q[2])
	case q[0] == 192 && q[1] == 168:
		q[2] = h.octet(1, q[2])
	}
	return q
}

// octet is another with as many digits.
func (h *home) octet(place int, v byte) byte {
	switch {
	case v < 10:
		return turned(v, 0, 9, h.octets[place][10])
	case v < 100:
		return turned(v, 10, 99, h.octets[place][90])
	}
	return turned(v, 100, 255, h.octets[place][156])
}

// turned is v further on in a range, which begins again at its end.
func turned(v, from, to byte, by int) byte {
	return from + byte((int(v-from)+by)%(int(to-from)+1))
}

// sixteen is addr of an IPv6 address: one whose end is an EUI-64 (RFC 4291), or the
// group in which its neighbours ask for it.
func (h *home) sixteen(b [16]byte) [16]byte {
	for _, u := range h.units {
		switch {
		case b[11] == 0xff && b[12] == 0xfe && b[8]^2 == u.old[0] && [2]byte(b[9:]) == [2]byte(u.old[1:]) && [3]byte(b[13:]) == [3]byte(u.old[3:]),
			bytes.HasPrefix(b[:], solicited) && [3]byte(b[13:]) == [3]byte(u.old[3:]):
			copy(b[13:], u.new[3:])
			return b
		}
	}
	return b
}

// solicited is the prefix of solicited-node groups.
var solicited = []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}

// linkAddr is a frame's address there.
func (h *home) linkAddr(mac flows.MAC) flows.MAC {
	if other, ok := h.macs[mac]; ok {
		return other
	}
	for _, u := range h.units { // the group of a solicited-node group (RFC 2464)
		if [3]byte(mac[:]) == [3]byte{0x33, 0x33, 0xff} && [3]byte(mac[3:]) == [3]byte(u.old[3:]) {
			copy(mac[3:], u.new[3:])
			return mac
		}
	}
	return mac
}

// port is another dynamic port, of as many digits.
func (h *home) port(p uint16) uint16 {
	if p < firstDynamic {
		return p
	}
	return firstDynamic + uint16((int(p-firstDynamic)+h.ports)%firstDynamic)
}

// packet is p there, valid until the next call; parsed is room for its headers.
func (h *home) packet(parsed *flows.Packet, p pcap.Packet) pcap.Packet {
	h.frame = append(h.frame[:0], p.Data...)
	from := p
	p.Data = h.frame
	outcome := flows.Parse(parsed, flows.Link(p.Link), h.frame, p.Length)
	if parsed.HasMAC {
		dst, src := h.linkAddr(parsed.DstMAC), h.linkAddr(parsed.SrcMAC)
		copy(h.frame, dst[:])
		copy(h.frame[6:], src[:])
	}
	switch {
	case outcome == flows.Counted:
		h.headers(parsed)
		h.content(parsed.Payload, from.Time)
	case outcome == flows.NotIP && parsed.HasMAC:
		h.learnARP(h.frame[12:])
		h.content(h.frame[14:], from.Time)
	}
	if p.Timed {
		p.Time = p.Time.Add(h.later)
	}
	return p
}

// headers writes addresses and ports.
func (h *home) headers(p *flows.Packet) {
	ip, at := h.frame[p.Network:], 12
	if !p.Src.Is4() {
		at = 8
	}
	size := p.Src.BitLen() / 8
	for i, a := range []netip.Addr{p.Src, p.Dst} {
		copy(ip[at+i*size:], h.addr(a).AsSlice())
		h.learn(a.AsSlice())
	}
	if p.HasPorts {
		binary.BigEndian.PutUint16(ip[p.Transport:], h.port(p.SrcPort))
		binary.BigEndian.PutUint16(ip[p.Transport+2:], h.port(p.DstPort))
	}
}

// learn remembers a private IPv4 address, to find it in payloads.
func (h *home) learn(b []byte) {
	if len(b) == 4 && len(h.local) < maxAddresses && netip.AddrFrom4([4]byte(b)).IsPrivate() {
		h.local[[4]byte(b)] = true
	}
}

// learnARP remembers who asks and who is asked for (RFC 826); b begins at the EtherType.
func (h *home) learnARP(b []byte) {
	if len(b) >= 30 && [8]byte(b) == [8]byte{8, 6, 0, 1, 8, 0, 6, 4} {
		h.learn(b[16:20])
		h.learn(b[26:30])
	}
}
