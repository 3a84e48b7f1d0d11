package flows

// This file holds the custom-flow record (paper III-A, Fig. 1) and its row form
// (paper III-C, Fig. 6): which values, in which order, before any scaling.

import (
	"net/netip"
	"slices"
	"time"
)

// Sizes of the record, from the paper's sections III-A and III-C.
const (
	Lifetime      = 60 * time.Second // a record's life from its first packet (III-A)
	RowPackets    = 10               // i: packets described one by one (III-A)
	PayloadPrefix = 1000             // j: payload bytes kept of each of them (III-A)
	PayloadTokens = 3000             // B: values of a row's payload section (III-C)
	MetaValues    = 10 + 3*RowPackets
)

// Values of a row that stand for no byte and no number (III-C).
const (
	PayloadStart   = -4   // before each packet's payload
	PayloadEnd     = -8   // after each packet's payload
	PayloadPadding = -255 // fills the payload section
	Missing        = -1   // a port that does not exist, a packet that never came
)

const protoICMPv6 = 58

// RowPacket is one of the first packets of a record.
type RowPacket struct {
	Offset  int64  // us since the record's first packet, never negative
	Size    uint32 // IP total length (IPv6: 40 + payload length)
	Sent    bool   // sent by the device
	Payload []byte // transport payload prefix, at most PayloadPrefix bytes
}

// Record is one custom flow from one device's point of view.
type Record struct {
	Device      string     // MAC in lower case with colons, or "ip:ADDR" on links without MACs
	FirstSeen   int64      // first packet, us since the Unix epoch
	LastSeen    int64      // last packet, us since the Unix epoch; FirstSeen when read from parquet
	Remote      netip.Addr // remote address after obfuscation (0.0.0.0 and :: stand for local ones)
	Proto       uint8      // IP protocol number
	DevPort     int32      // Missing when the flow has no ports
	RemPort     int32      // Missing when the flow has no ports
	TotalBytes  uint64     // IP bytes of all packets
	PacketCount uint64     // wire packets of all, sampled or not
	Packets     []RowPacket
	Incomplete  bool // a sample was lost: exact totals, but the record enters no window

	DeviceAddr  netip.Addr // the device's own address; never part of a row or a file
	RemoteAddr  netip.Addr // the remote address before obfuscation; never part of a row or a file
	SentBytes   uint64     // of TotalBytes, by the device; never part of a row or a file
	SentPackets uint64     // of PacketCount, by the device; never part of a row or a file
	Interface   Interface  // that carried it; never part of a row or a file
}

// LabelledRecord is a record with what a data set says about it.
type LabelledRecord struct {
	*Record
	Label   string // the device's class; empty when unknown
	Unit    string // the physical device; empty when unknown
	Capture string // the capture file, relative to its manifest; empty when unknown
	Split   string // train, test, ...; empty when unknown
}

// IsIPv6 reports whether the record is of an IPv6 flow.
func (r *Record) IsIPv6() bool { return r.Remote.Is6() }

// IsLocal reports whether the remote end is local unicast (obfuscated).
func (r *Record) IsLocal() bool { return r.Remote.IsUnspecified() }

// AsksForRouter reports whether the device asks for a router, as a host does that joins a
// network, and a router does not (RFC 4861, 6.3.7).
func (r *Record) AsksForRouter() bool {
	return r.Proto == protoICMPv6 && r.Remote == netip.IPv6LinkLocalAllRouters() &&
		slices.ContainsFunc(r.Packets, func(p RowPacket) bool { return p.Sent })
}

// LastDescribed is when the last of the packets described one by one was seen, us
// since the Unix epoch: the record's row is known then but for its totals.
func (r *Record) LastDescribed() int64 {
	if len(r.Packets) == 0 {
		return r.FirstSeen
	}
	return r.FirstSeen + r.Packets[len(r.Packets)-1].Offset
}

// Tokens appends the row's payload section without its padding: for each packet
// PayloadStart, its bytes, PayloadEnd, cut hard at limit values, delimiters
// counted (paper III-C; PayloadTokens is the paper's limit).
func (r *Record) Tokens(dst []int16, limit int) []int16 {
	end := len(dst) + limit
	put := func(v int16) {
		if len(dst) < end {
			dst = append(dst, v)
		}
	}
	for i := range r.Packets {
		if len(dst) >= end {
			break
		}
		put(PayloadStart)
		for _, b := range r.Packets[i].Payload {
			put(int16(b))
		}
		put(PayloadEnd)
	}
	return dst
}

// RowPayload is the record without the payload bytes that no row holds, as a record
// read from a file has it: r itself if it has no others.
func (r *Record) RowPayload() *Record {
	cut, left := r, PayloadTokens
	for i := range r.Packets {
		payload := r.Packets[i].Payload
		kept := min(len(payload), max(0, left-1)) // PayloadStart takes one
		left -= len(payload) + 2
		if kept == len(payload) {
			continue
		}
		if cut == r {
			c := *r
			c.Packets = slices.Clone(r.Packets)
			cut = &c
		}
		cut.Packets[i].Payload = payload[:kept]
	}
	return cut
}

// Octets is the remote address as row values 2 to 5. IPv4: the four octets.
// IPv6: the first four bytes of a global unicast address, 0 for local and ULA,
// (255, 0, 0, last byte) for multicast.
func (r *Record) Octets() [4]byte {
	a := r.Remote
	if a.Is4() {
		return a.As4()
	}
	b := a.As16()
	switch {
	case a.IsMulticast():
		return [4]byte{255, 0, 0, b[15]}
	case a.IsUnspecified():
		return [4]byte{}
	}
	return [4]byte(b[:4])
}

// Row is one record at its place in a device's stream.
type Row struct {
	*Record
	Since int64 // row value 1: us since the stream's previous record, 0 for the first, never negative
}

// Meta is the row's 40 metadata values, raw, in row order:
// 1 first seen (us since the previous record), 2-5 remote octets, 6 protocol,
// 7 device port, 8 remote port, 9 total bytes, 10 total packets, 11-20 offsets
// in us, 21-30 sizes, 31-40 directions (1 sent, 0 received); Missing fills the
// three packet groups.
func (r Row) Meta() [MetaValues]float64 {
	var m [MetaValues]float64
	o := r.Octets()
	m[0] = float64(r.Since)
	for i, b := range o {
		m[1+i] = float64(b)
	}
	m[5] = float64(r.Proto)
	m[6], m[7] = float64(r.DevPort), float64(r.RemPort)
	m[8], m[9] = float64(r.TotalBytes), float64(r.PacketCount)
	for i := range RowPackets {
		m[10+i], m[20+i], m[30+i] = Missing, Missing, Missing
		if i >= len(r.Packets) {
			continue
		}
		p := &r.Packets[i]
		m[10+i], m[20+i], m[30+i] = float64(p.Offset), float64(p.Size), 0
		if p.Sent {
			m[30+i] = 1
		}
	}
	return m
}

// sizeStep is in how many bytes packet sizes do not tell flows apart.
const sizeStep = 16

// Likeness is the same for near-identical flows, and for hardly any others: of one protocol
// and of ports that a model does not tell apart, their packets one by one sent or received
// alike, and in sizes that are the same in steps of 16 bytes.
func (r *Record) Likeness(own, remote int32) uint64 {
	h := uint64(14695981039346656037) // FNV-1a's, whole words for bytes
	mix := func(v uint64) { h = (h ^ v) * 1099511628211; h ^= h >> 32 }
	mix(uint64(r.Proto)<<32 | uint64(uint32(own)))
	mix(uint64(uint32(remote)))
	for i := range r.Packets[:min(len(r.Packets), RowPackets)] {
		p := &r.Packets[i]
		v := uint64(p.Size/sizeStep) << 1
		if p.Sent {
			v |= 1
		}
		mix(v)
	}
	return h
}
