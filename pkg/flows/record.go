// Package flows turns packets into custom-flow records and records into rows of
// devices' streams: the paper's section III, settled in one place.
//
// In go parsed packets, from a capture file ([Table]), or the life events that
// the kernel half already made of them (package loader). Both meet in the
// [Assembler], so a record cannot depend on where its packets came from. Out
// come [Record] values in the order of their first packets, per device, and
// from those the next [Step] of a device's stream.
//
//	file   -> capture -> Parse -> Table -\
//	                                      >- Sample, Close -> Assembler -> Record -> Streams -> Step
//	kernel -> loader --------------------/
//
// The package touches neither the kernel nor a file, never scales a value and knows
// no model: rows carry raw values, scaling belongs to package model.
package flows

// This file holds the custom-flow record (paper III-A, Fig. 1) and its row form
// (paper III-C, Fig. 6): which values, in which order, before any scaling. How packets
// become records is a choice that a model is made for and that its input must keep to.

import (
	"encoding"
	"errors"
	"fmt"
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

	DeviceAddr netip.Addr // the device's own address; never part of a row or a file
	RemoteAddr netip.Addr // the remote address before obfuscation; never part of a row or a file
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

// RecordSpec says which packets a record covers and how much of them it keeps.
// Zero fields stand for the paper's values, [DefaultRecordSpec].
type RecordSpec struct {
	Direction Direction     `json:"direction"`
	Packets   int           `json:"packets"`     // i: packets described one by one, 1 to RowPackets (III-A)
	Prefix    int           `json:"prefix"`      // j: payload bytes kept of each, at most PayloadPrefix (III-A)
	Payload   int           `json:"payload"`     // B: values of a row's payload section, at most MaxPayload (III-C)
	Lifetime  time.Duration `json:"lifetime_ns"` // of a record from its first packet (III-A)
}

// MaxPayload is how many payload values a row can have: those of all its packets'
// whole prefixes, delimiters included.
const MaxPayload = RowPackets * (PayloadPrefix + 2)

// DefaultRecordSpec is the paper's record, bidirectional.
func DefaultRecordSpec() RecordSpec { return RecordSpec{}.WithDefaults() }

// WithDefaults is s with the paper's values in place of zeros.
func (s RecordSpec) WithDefaults() RecordSpec {
	if s.Packets == 0 {
		s.Packets = RowPackets
	}
	if s.Prefix == 0 {
		s.Prefix = PayloadPrefix
	}
	if s.Payload == 0 {
		s.Payload = PayloadTokens
	}
	if s.Lifetime == 0 {
		s.Lifetime = Lifetime
	}
	return s
}

// Validate names the first value that no record can have.
func (s RecordSpec) Validate() error {
	for _, c := range []struct {
		name           string
		got, low, high int
	}{
		{"packets", s.Packets, 1, RowPackets},
		{"prefix", s.Prefix, 0, PayloadPrefix},
		{"payload", s.Payload, 0, MaxPayload},
	} {
		if c.got < c.low || c.got > c.high {
			return fmt.Errorf("%s is %d, want %d to %d", c.name, c.got, c.low, c.high)
		}
	}
	if s.Lifetime <= 0 {
		return fmt.Errorf("lifetime is %v, want more than 0", s.Lifetime)
	}
	return nil
}

// Union is the spec of records that serve both s and t: the longer of their
// prefixes and so on. Direction and lifetime cannot be joined: where they differ,
// the error names them.
func (s RecordSpec) Union(t RecordSpec) (RecordSpec, error) {
	if s.Direction != t.Direction {
		return s, fmt.Errorf("records of direction %v and of %v", s.Direction, t.Direction)
	}
	if s.Lifetime != t.Lifetime {
		return s, fmt.Errorf("records of lifetime %v and of %v", s.Lifetime, t.Lifetime)
	}
	s.Packets, s.Prefix, s.Payload = max(s.Packets, t.Packets), max(s.Prefix, t.Prefix), max(s.Payload, t.Payload)
	return s, nil
}

// Serve reports why records made as s says cannot be input where want is asked for;
// nil when they can. More packets and bytes than wanted are no hindrance.
func (s RecordSpec) Serve(want RecordSpec) error {
	s, want = s.WithDefaults(), want.WithDefaults()
	joined, err := s.Union(want)
	switch {
	case err != nil && s.Direction != want.Direction:
		return fmt.Errorf("its records are of direction %v, not %v (see --direction and --model)", s.Direction, want.Direction)
	case err != nil:
		return fmt.Errorf("its records live %v, not %v", s.Lifetime, want.Lifetime)
	case joined != s:
		return fmt.Errorf("its records keep %d packets of %d bytes in %d payload values, wanted are %d of %d in %d",
			s.Packets, s.Prefix, s.Payload, want.Packets, want.Prefix, want.Payload)
	}
	return nil
}

// The names of directions and services stand for them in JSON.
var (
	_ encoding.TextMarshaler   = Direction(0)
	_ encoding.TextUnmarshaler = (*Direction)(nil)
	_ encoding.TextMarshaler   = Service{}
	_ encoding.TextUnmarshaler = (*Service)(nil)
)

// MarshalText gives the direction's name.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDirection] does.
func (d *Direction) UnmarshalText(text []byte) error { return readText(d, ParseDirection, text) }

// MarshalText gives the service's name; the zero Service, all traffic, has none.
func (s Service) MarshalText() ([]byte, error) {
	if s == (Service{}) {
		return nil, errors.New("all traffic is no service")
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what [ParseService] does.
func (s *Service) UnmarshalText(text []byte) error { return readText(s, ParseService, text) }

func readText[T any](to *T, parse func(string) (T, error), text []byte) (err error) {
	*to, err = parse(string(text))
	return err
}
