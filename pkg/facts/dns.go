package facts

// This file reads names in the form of DNS: questions to a resolver, mDNS and its
// services, LLMNR, NetBIOS. The reader is its own: names of services have dots and spaces
// inside a label, which golang.org/x/net/dns/dnsmessage refuses, and a sample's prefix may
// end inside a message, of which the records before count.

import (
	"bytes"
	"encoding/binary"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Record types.
const (
	typeA    = 1
	typePTR  = 12
	typeTXT  = 16
	typeAAAA = 28
	typeNB   = 32
	typeSRV  = 33
)

// message is a DNS message being read.
type message struct {
	b         []byte
	at        int
	response  bool
	opcode    byte
	questions int
	records   [3]int // answers, authorities, additional ones
	name      [256]byte
}

// entry is a question, or a record with its data. name is valid until the next one.
type entry struct {
	name []byte
	kind uint16
	data []byte // nil: a question
	from int    // where data begins in the message
}

func readMessage(b []byte) (m message, ok bool) {
	if len(b) < 12 {
		return m, false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	m = message{b: b, at: 12, response: flags&0x8000 != 0, opcode: byte(flags >> 11 & 15)}
	m.questions = int(binary.BigEndian.Uint16(b[4:]))
	for i := range m.records {
		m.records[i] = int(binary.BigEndian.Uint16(b[6+2*i:]))
	}
	return m, true
}

// dnsMessage is the message of a packet from or to a resolver, without the length that TCP has
// before it.
func dnsMessage(s *flows.Sample) []byte {
	if s.Life.Key.Proto == protoTCP {
		return s.Payload[min(2, len(s.Payload)):]
	}
	return s.Payload
}

// readName reads the name at a place: its labels with dots between them, and where what
// follows it begins.
func (m *message) readName(at int) (name []byte, next int, ok bool) {
	name = m.name[:0]
	for jumps := 0; at < len(m.b); {
		size := int(m.b[at])
		switch {
		case size == 0:
			if next == 0 {
				next = at + 1
			}
			return name, next, true
		case size >= 0xc0:
			if jumps++; at+1 >= len(m.b) || jumps > 16 {
				return nil, 0, false
			}
			if next == 0 {
				next = at + 2
			}
			at = (size&0x3f)<<8 | int(m.b[at+1])
		case size > 63 || at+1+size > len(m.b) || len(name)+1+size > 255:
			return nil, 0, false
		default:
			if len(name) > 0 {
				name = append(name, '.')
			}
			name = append(name, m.b[at+1:at+1+size]...)
			at += 1 + size
		}
	}
	return nil, 0, false
}

// question reads the next question.
func (m *message) question() (e entry, ok bool) {
	name, at, ok := m.readName(m.at)
	if !ok || at+4 > len(m.b) {
		return e, false
	}
	m.at = at + 4
	return entry{name: name, kind: binary.BigEndian.Uint16(m.b[at:])}, true
}

// record reads the next record.
func (m *message) record() (e entry, ok bool) {
	name, at, ok := m.readName(m.at)
	if !ok || at+10 > len(m.b) {
		return e, false
	}
	size := int(binary.BigEndian.Uint16(m.b[at+8:]))
	if at+10+size > len(m.b) {
		return e, false
	}
	m.at = at + 10 + size
	return entry{name: name, kind: binary.BigEndian.Uint16(m.b[at:]), data: m.b[at+10 : m.at : m.at], from: at + 10}, true
}

// each gives the questions and the records, with the section each is in (0: questions),
// and reports whether all of them could be read.
func (m *message) each(take func(section int, e entry)) bool {
	for range m.questions {
		e, ok := m.question()
		if !ok {
			return false
		}
		take(0, e)
	}
	for section, n := range m.records {
		for range n {
			e, ok := m.record()
			if !ok {
				return false
			}
			take(section+1, e)
		}
	}
	return true
}

// dns reads a query to a resolver: the names asked for, but those of addresses.
func (v *voice) dns(b []byte) bool {
	m, ok := readMessage(b)
	if !ok || m.response || m.questions == 0 {
		return false
	}
	for range m.questions {
		q, ok := m.question()
		if !ok {
			return false
		}
		if name := lower(q.name); !bytes.HasSuffix(name, []byte(".arpa")) {
			v.say(DNSName, name)
		}
	}
	return true
}

// mdns reads a multicast DNS message (RFC 6762): services asked for and offered. What a
// query has in its answers are others' services; what it has as authority it is about to
// claim.
func (v *voice) mdns(b []byte) bool {
	m, ok := readMessage(b)
	if !ok || m.opcode != 0 {
		return false
	}
	return m.each(func(section int, e entry) {
		switch {
		case section == 0 && !m.response:
			if service, instance := service(e.name); len(service) > 0 && len(instance) == 0 {
				v.say(MDNSAsks, lower(service))
			}
		case section > 0 && m.response || section == 2:
			v.offer(&m, e)
		}
	})
}

// offer reads a record that the device gives of itself.
func (v *voice) offer(m *message, e entry) {
	service, instance := service(e.name)
	switch {
	case e.kind == typeA || e.kind == typeAAAA:
		if host, ok := bytes.CutSuffix(e.name, []byte(".local")); ok && len(service) == 0 {
			v.say(MDNSHost, host)
		}
	case len(service) == 0:
	case e.kind == typePTR:
		if is(service, "_dns-sd._udp") { // the list of services itself (RFC 6763, section 9)
			name, _, ok := m.readName(e.from)
			if offered, _ := splitService(name); ok {
				v.say(MDNSOffers, lower(offered))
			}
			return
		}
		v.say(MDNSOffers, lower(service))
	case e.kind == typeSRV || e.kind == typeTXT:
		v.say(MDNSName, instance)
		v.say(MDNSOffers, lower(service))
		if e.kind == typeTXT {
			v.txt(service, e.data)
			return
		}
		const target = 6 // behind priority, weight and port
		if name, _, ok := m.readName(e.from + target); ok && len(e.data) > target {
			if host, ok := bytes.CutSuffix(name, []byte(".local")); ok {
				v.say(MDNSHost, host)
			}
		}
	}
}

// txt reads the strings of a service's TXT record.
func (v *voice) txt(service, b []byte) {
	for len(b) > 0 && len(b) > int(b[0]) {
		text := b[1 : 1+int(b[0])]
		b = b[1+int(b[0]):]
		v.say(MDNSTXT, text)
		key, value, _ := bytes.Cut(text, []byte("="))
		switch {
		case is(service, "_googlecast._tcp") && is(key, "md"):
			v.say(Cast, value)
		case (is(service, "_hap._tcp") || is(service, "_hap._udp")) && (is(key, "md") || is(key, "ci")):
			v.say(HomeKit, text)
		case bytes.HasPrefix(service, []byte("_matter")) && (is(key, "VP") || is(key, "DT")):
			v.say(Matter, text)
		}
	}
}

// service takes a name of DNS-SD apart: "Lamp._hap._tcp.local" is an instance, Lamp, of
// the service _hap._tcp. The service is empty when the name is no service's. A subtype
// (RFC 6763, section 7.1) is its service's.
func service(name []byte) (service, instance []byte) {
	name, ok := bytes.CutSuffix(name, []byte(".local"))
	if !ok {
		return nil, nil
	}
	service, instance = splitService(name)
	if bytes.HasSuffix(instance, []byte("._sub")) || is(service, "_dns-sd._udp") {
		instance = nil
	}
	return service, instance
}

func splitService(name []byte) (service, instance []byte) {
	name = bytes.TrimSuffix(name, []byte(".local"))
	proto := len(name) - len("._tcp")
	if proto < 0 || !is(name[proto:], "._tcp") && !is(name[proto:], "._udp") {
		return nil, nil
	}
	start := bytes.LastIndexByte(name[:proto], '.') + 1
	if start == proto || name[start] != '_' {
		return nil, nil
	}
	return name[start:], name[:max(0, start-1)]
}

// llmnr reads a link-local name query or an answer to one (RFC 4795).
func (v *voice) llmnr(b []byte) bool {
	m, ok := readMessage(b)
	if !ok || m.opcode != 0 {
		return false
	}
	return m.each(func(section int, e entry) {
		switch {
		case bytes.HasSuffix(e.name, []byte(".arpa")):
		case section == 0 && !m.response:
			v.say(LLMNRAsks, lower(e.name))
		case section == 1 && m.response:
			v.say(LLMNRHost, e.name)
		}
	})
}

// Operations of the NetBIOS name service on a name of one's own (RFC 1002, section 4.2).
const (
	opRegistration = 5
	opRelease      = 6
	opRefresh      = 8
	opMultiHomed   = 15
)

// netbios reads a message of the NetBIOS name service: names that the device registers,
// or answers to.
func (v *voice) netbios(b []byte) bool {
	m, ok := readMessage(b)
	if !ok {
		return false
	}
	own := m.opcode == opRegistration || m.opcode == opRelease || m.opcode == opRefresh || m.opcode == opMultiHomed
	return m.each(func(section int, e entry) {
		// A registration has its record in the last section; a group's name is no one's own.
		told := section == 3 && own && !m.response || section == 1 && m.response
		if told && e.kind == typeNB && len(e.data) >= 2 && e.data[0]&0x80 == 0 {
			v.netbiosName(e.name)
		}
	})
}

// netbiosDatagram reads the sender's name of a datagram (RFC 1002, section 4.4).
func (v *voice) netbiosDatagram(b []byte) bool {
	const name = 14
	if len(b) < name+34 || b[0] < 0x10 || b[0] > 0x12 || b[name] != 32 {
		return false
	}
	return v.netbiosName(b[name+1 : name+33])
}

// netbiosName adds a name that is written in half bytes, 'A' for 0 (RFC 1001, section
// 14.1), without its 16th byte, which is a service's.
func (v *voice) netbiosName(coded []byte) bool {
	if len(coded) < 32 {
		return false
	}
	v.scratch = v.scratch[:0]
	for i := 0; i < 30; i += 2 {
		high, low := coded[i]-'A', coded[i+1]-'A'
		if high > 15 || low > 15 {
			return false
		}
		v.scratch = append(v.scratch, high<<4|low)
	}
	if v.scratch[0] > ' ' && v.scratch[0] != '*' {
		v.say(NetBIOS, v.scratch)
	}
	return true
}
