package export

// This file writes IPFIX messages (RFC 7011).

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	version      = 10
	headerSize   = 16
	setHeader    = 4
	variableSize = 65535 // of an element whose values have a length each
	mostText     = 400   // bytes of a text: the longest record fits a packet of 1,280 bytes

	// Sets of templates (section 3.3.2), and the templates.
	templateSet = 2
	optionsSet  = 3
	ofIPv4      = 256
	ofIPv6      = 257
	ofTypes     = 258 // of what our own elements are (RFC 5610)

	// reverse is the enterprise number of IANA's elements for the other direction (RFC 5103).
	reverse = 29305
	// ours stands in the table below for the number that IPFIX.Enterprise says.
	ours = math.MaxUint32
)

// Abstract data types of our own elements, as RFC 5610 numbers them.
const (
	float32Type = 9
	stringType  = 13
)

// element is a field of a record: what it is, and where it comes from.
type element struct {
	name       string
	id         uint16
	enterprise uint32 // 0: IANA's
	size       uint16
	kind       uint8 // of our own, its type
	put        func([]byte, *Record) []byte
}

// elements are those of a record, in their order, with the addresses of a version of IP. The
// source is the device, whoever began (RFC 5103: the direction is arbitrary).
func elements(source, destination element) []element {
	return append([]element{
		number("flowStartMilliseconds", 152, 0, func(r *Record) uint64 { return uint64(r.FirstSeen.UnixMilli()) }),
		number("flowEndMilliseconds", 153, 0, func(r *Record) uint64 { return uint64(r.LastSeen.UnixMilli()) }),
		address(source, func(r *Record) netip.Addr { return r.device }),
		address(destination, func(r *Record) netip.Addr { return r.remote }),
		port("sourceTransportPort", 7, func(r *Record) int32 { return r.DevPort }),
		port("destinationTransportPort", 11, func(r *Record) int32 { return r.RemPort }),
		octet("protocolIdentifier", 4, func(r *Record) uint8 { return r.Proto }),
		number("packetDeltaCount", 2, 0, func(r *Record) uint64 { return r.PacketsSent }),
		number("octetDeltaCount", 1, 0, func(r *Record) uint64 { return r.BytesSent }),
		number("reversePacketDeltaCount", 2, reverse, func(r *Record) uint64 { return r.Packets - r.PacketsSent }),
		number("reverseOctetDeltaCount", 1, reverse, func(r *Record) uint64 { return r.Bytes - r.BytesSent }),
		{name: "sourceMacAddress", id: 56, size: 6, put: func(b []byte, r *Record) []byte { return append(b, r.mac[:]...) }},
		{name: "ingressInterface", id: 10, size: 4, put: func(b []byte, r *Record) []byte { return binary.BigEndian.AppendUint32(b, r.ifIndex) }},
		octet("flowEndReason", 136, func(r *Record) uint8 {
			if r.EndReason == v1.ForcedEnd {
				return forcedEnd
			}
			return activeTimeout
		}),
		octet("biflowDirection", 239, func(*Record) uint8 { return arbitrary }),
	}, own...)
}

// Values of flowEndReason and biflowDirection.
const (
	activeTimeout = 2
	forcedEnd     = 4
	arbitrary     = 0
)

// own are our own elements.
var own = []element{
	text("deviceId", 1, func(r *Record) *string { return r.Device }),
	text("deviceLabel", 2, func(r *Record) *string { return r.Label }),
	{"deviceConfidence", 3, ours, 4, float32Type, func(b []byte, r *Record) []byte {
		var confidence float32
		if r.Confidence != nil {
			confidence = float32(*r.Confidence)
		}
		return binary.BigEndian.AppendUint32(b, math.Float32bits(confidence))
	}},
	text("deviceState", 4, func(r *Record) *string { return (*string)(&r.State) }),
	text("devicePath", 5, func(r *Record) *string { return r.Path }),
	text("deviceUserLabel", 6, func(r *Record) *string { return r.UserLabel }),
}

func number(name string, id uint16, enterprise uint32, of func(*Record) uint64) element {
	return element{name, id, enterprise, 8, 0, func(b []byte, r *Record) []byte { return binary.BigEndian.AppendUint64(b, of(r)) }}
}

// port is 0 where there is none.
func port(name string, id uint16, of func(*Record) int32) element {
	return element{name, id, 0, 2, 0, func(b []byte, r *Record) []byte { return binary.BigEndian.AppendUint16(b, uint16(max(0, of(r)))) }}
}

func octet(name string, id uint16, of func(*Record) uint8) element {
	return element{name, id, 0, 1, 0, func(b []byte, r *Record) []byte { return append(b, of(r)) }}
}

func address(e element, of func(*Record) netip.Addr) element {
	e.put = func(b []byte, r *Record) []byte { return append(b, of(r).AsSlice()...) }
	return e
}

// text is an element of ours; nil: an empty one.
func text(name string, id uint16, of func(*Record) *string) element {
	return element{name, id, ours, variableSize, stringType, func(b []byte, r *Record) []byte {
		if s := of(r); s != nil {
			return appendText(b, *s)
		}
		return append(b, 0)
	}}
}

// appendText appends a text with its length (section 7), cut where it is too long.
func appendText(b []byte, s string) []byte {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) > mostText {
		end := mostText
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	if len(s) < 255 {
		b = append(b, byte(len(s)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 255), uint16(len(s)))
	}
	return append(b, s...)
}

// layouts are the fields of the templates.
var layouts = map[uint16][]element{
	ofIPv4: elements(element{name: "sourceIPv4Address", id: 8, size: 4}, element{name: "destinationIPv4Address", id: 12, size: 4}),
	ofIPv6: elements(element{name: "sourceIPv6Address", id: 27, size: 16}, element{name: "destinationIPv6Address", id: 28, size: 16}),
}

// appendFields appends a template's fields (section 3.2).
func appendFields(b []byte, fields []element, enterprise uint32) []byte {
	for _, f := range fields {
		id := f.id
		if f.enterprise != 0 {
			id |= 1 << 15
		}
		b = binary.BigEndian.AppendUint16(b, id)
		b = binary.BigEndian.AppendUint16(b, f.size)
		switch f.enterprise {
		case 0:
		case ours:
			b = binary.BigEndian.AppendUint32(b, enterprise)
		default:
			b = binary.BigEndian.AppendUint32(b, f.enterprise)
		}
	}
	return b
}

// typeFields are those that say what our own elements are (RFC 5610, 3.9).
var typeFields = []element{
	{name: "privateEnterpriseNumber", id: 346, size: 4}, {name: "informationElementId", id: 303, size: 2}, // of which the others are
	{name: "informationElementDataType", id: 339, size: 1}, {name: "informationElementSemantics", id: 344, size: 1},
	{name: "informationElementName", id: 341, size: variableSize},
}

const typeScope = 2 // fields

// message is one that is being made. The zero value is ready.
type message struct {
	buf     []byte // headers, with room for what they say; records
	set     int    // where the last set begins
	id      uint16 // of that; 0: there is none
	records uint32
}

// begin begins a set, if the last is another.
func (m *message) begin(id uint16) {
	if m.id == id {
		return
	}
	if m.id == 0 {
		m.buf = append(m.buf[:0], make([]byte, headerSize)...)
	}
	m.finish()
	m.set, m.id = len(m.buf), id
	m.buf = binary.BigEndian.AppendUint16(m.buf, id)
	m.buf = append(m.buf, 0, 0)
}

// finish writes the length of the last set.
func (m *message) finish() {
	if m.id != 0 {
		binary.BigEndian.PutUint16(m.buf[m.set+2:], uint16(len(m.buf)-m.set))
	}
}

// templates fills an empty message with what a collector must know before records.
func (m *message) templates(enterprise uint32) {
	for _, id := range []uint16{ofIPv4, ofIPv6} {
		m.begin(templateSet)
		m.buf = binary.BigEndian.AppendUint16(m.buf, id)
		m.buf = binary.BigEndian.AppendUint16(m.buf, uint16(len(layouts[id])))
		m.buf = appendFields(m.buf, layouts[id], enterprise)
	}
	m.begin(optionsSet)
	for _, n := range []int{ofTypes, len(typeFields), typeScope} {
		m.buf = binary.BigEndian.AppendUint16(m.buf, uint16(n))
	}
	m.buf = appendFields(m.buf, typeFields, 0)
	m.begin(ofTypes)
	for _, e := range own {
		m.buf = binary.BigEndian.AppendUint32(m.buf, enterprise)
		m.buf = binary.BigEndian.AppendUint16(m.buf, e.id)
		m.buf = appendText(append(m.buf, e.kind, 0), e.name)
		m.records++
	}
}

// add adds a record if the message then has most bytes at most, or it is the first.
func (m *message) add(r *Record, most int) bool {
	before := *m
	id := uint16(ofIPv6)
	if r.device.Is4() {
		id = ofIPv4
	}
	m.begin(id)
	for _, e := range layouts[id] {
		m.buf = e.put(m.buf, r)
	}
	if before.records > 0 && len(m.buf) > most {
		before.buf = m.buf[:len(before.buf)]
		*m = before
		return false
	}
	m.records++
	return true
}

// bytes are the whole message, which stays one that records can be added to.
func (m *message) bytes(sequence, domain uint32, now time.Time) []byte {
	m.finish()
	b := m.buf
	binary.BigEndian.PutUint16(b, version)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[4:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(b[8:], sequence)
	binary.BigEndian.PutUint32(b[12:], domain)
	return b
}

// empty makes it one without records, and keeps its memory.
func (m *message) empty() { *m = message{buf: m.buf[:0]} }
