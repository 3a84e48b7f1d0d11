package facts

// This file takes samples and gives each to the parsers that it may concern.

import (
	"container/list"
	"slices"
	"strconv"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts/makers"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Protocol is one of those that facts come from.
type Protocol uint8

// Protocols.
const (
	DHCP Protocol = iota
	DHCPv6
	DNS
	MDNS
	LLMNR
	NetBIOSName
	TLS
	QUIC
	DTLS
	HTTP
	SSDPMessage
	WSDiscovery
	MQTT
	TPLinkHome
	TuyaBroadcast
	protocolCount
)

// String is the protocol's name in counters.
func (p Protocol) String() string {
	return [...]string{"dhcp", "dhcp6", "dns", "mdns", "llmnr", "netbios", "tls", "quic", "dtls", "http", "ssdp", "wsd", "mqtt", "tplink", "tuya"}[p]
}

// Tally counts what became of the payloads of one protocol.
type Tally struct {
	Read      uint64 // whole
	Cut       uint64 // read as far as the sample goes
	Malformed uint64 // not what the port or the first bytes promise
}

// DefaultDevices is how many devices a Collector knows unless told otherwise.
const DefaultDevices = 4096

// Collector keeps the facts of devices. It is not safe for concurrent use.
type Collector struct {
	limit     int
	forgotten uint64
	devices   map[string]*list.Element // of *device
	recent    *list.List               // the one heard last in front
	spared    *list.List               // those of them that were not forgotten for others
	spare     func(name string) bool   // nil: none is spared
	tally     [protocolCount]Tally
	voice     voice
	begun     quicHellos
}

type device struct {
	name string
	in   *list.List
	Set
	peers peers
}

// NewCollector returns a Collector that knows no device, and at most limit of them (0:
// [DefaultDevices]): then the one that was silent longest is forgotten.
func NewCollector(limit int) *Collector {
	if limit == 0 {
		limit = DefaultDevices
	}
	return &Collector{limit: limit, devices: map[string]*list.Element{}, recent: list.New(), spared: list.New()}
}

// Spare has the devices forgotten last that known reports: a flood of new ones is not to
// take what is known of them.
func (c *Collector) Spare(known func(name string) bool) { c.spare = known }

// Of is what is known of a device; nil if it was not heard of.
func (c *Collector) Of(name string) *Set {
	if e := c.devices[name]; e != nil {
		return &e.Value.(*device).Set
	}
	return nil
}

// Each gives the devices, the one heard last first but for those spared, until yield
// returns false.
func (c *Collector) Each(yield func(name string, s *Set) bool) {
	for _, l := range []*list.List{c.recent, c.spared} {
		for e := l.Front(); e != nil; e = e.Next() {
			if d := e.Value.(*device); !yield(d.name, &d.Set) {
				return
			}
		}
	}
}

// Forget drops what is known of a device.
func (c *Collector) Forget(name string) {
	if e := c.devices[name]; e != nil {
		e.Value.(*device).in.Remove(e)
		delete(c.devices, name)
	}
}

// Restore takes back what was known of a device, in the order of [Collector.Kept]. One that was
// heard of meanwhile, or finds no room, is left as it is.
func (c *Collector) Restore(name string, list []Fact) {
	if c.Of(name) != nil || len(c.devices) >= c.limit || len(list) == 0 {
		return
	}
	d := &device{name: name}
	d.restore(list)
	d.peers.restore(list)
	c.put(d, c.recent)
}

// Kept is what is to outlast the process of a device, for Restore, and a number that is another
// once there is something else; how often it was said does not count.
func (c *Collector) Kept(name string) (changes uint32, list []Fact) {
	e := c.devices[name]
	if e == nil {
		return 0, nil
	}
	d := e.Value.(*device)
	return d.changes + d.peers.changes, d.peers.append(slices.Clone(d.facts))
}

// ClockSet moves by so much what was heard in a span of times that the clock told before it was
// set, us since the Unix epoch: it was as long ago, and is not of later than what is judged next.
func (c *Collector) ClockSet(from, to, by int64) {
	move := func(times ...*int64) {
		for _, t := range times {
			if *t >= from && *t <= to {
				*t += by
			}
		}
	}
	for _, e := range c.devices {
		d := e.Value.(*device)
		for i := range d.facts {
			move(&d.facts[i].First, &d.facts[i].Last)
		}
		for i := range d.peers.list {
			move(&d.peers.list[i].first, &d.peers.list[i].last)
		}
		d.changes++
	}
}

// put makes a device the one heard last in a list, which it is in from now on.
func (c *Collector) put(d *device, in *list.List) {
	c.Forget(d.name)
	d.in = in
	c.devices[d.name] = in.PushFront(d)
}

// makeRoom forgets the device that was silent longest, of those that are not spared if
// there is one.
func (c *Collector) makeRoom() {
	c.forgotten++
	for e := c.recent.Back(); e != nil; e = c.recent.Back() {
		d := e.Value.(*device)
		if c.spare == nil || !c.spare(d.name) {
			c.Forget(d.name)
			return
		}
		c.put(d, c.spared)
	}
	c.Forget(c.spared.Back().Value.(*device).name)
}

// Forgotten counts the devices that had to go for others.
func (c *Collector) Forgotten() uint64 { return c.forgotten }

// Stats counts all of it.
func (c *Collector) Stats() v1.FactStats {
	s := v1.FactStats{Dropped: c.voice.dropped, Forgotten: c.forgotten}
	for _, t := range c.tally {
		s.Payloads += t.Read + t.Cut + t.Malformed
		s.Cut += t.Cut
		s.Malformed += t.Malformed
	}
	return s
}

// Tally is what became of the payloads of a protocol.
func (c *Collector) Tally(p Protocol) Tally { return c.tally[p] }

// Tallies gives each protocol of which there was a payload.
func (c *Collector) Tallies(yield func(Protocol, Tally) bool) {
	for p, t := range c.tally {
		if t != (Tally{}) && !yield(Protocol(p), t) {
			return
		}
	}
}

// device finds one, or begins what is known of it with its maker.
func (c *Collector) device(name string, at int64) *device {
	e := c.devices[name]
	if e != nil {
		d := e.Value.(*device)
		if c.recent.MoveToFront(e); d.in != c.recent { // which does nothing in another list
			c.put(d, c.recent)
		}
		return d
	}
	if len(c.devices) >= c.limit {
		c.makeRoom()
	}
	d := &device{name: name}
	c.put(d, c.recent)
	if mac, err := flows.ParseMAC(name); err == nil {
		kind, value := Maker, makers.Of(mac)
		switch {
		case mac.IsLocal():
			kind, value = MACKind, "random"
		case value == "":
			kind, value = MACKind, "unlisted"
		}
		d.add(kind, Link, []byte(value), at)
	}
	return d
}

const (
	protoTCP = 6
	protoUDP = 17

	ownPorts = 10_000 // ports from here on are chance
)

// Sample takes one of a flow's first packets from the point of view of one of its ends,
// the device of that name: sent by it or received, at a time in us since the Unix epoch.
// It is an Observe of [flows.AssemblerConfig].
func (c *Collector) Sample(name string, sent bool, at int64, s *flows.Sample) {
	own, remote := &s.Life.Key.A, &s.Life.Key.B
	if sent != s.FromA {
		own, remote = remote, own
	}
	v, d := &c.voice, c.device(name, at)
	*v = voice{device: name, begun: &c.begun, set: &d.Set, at: at, source: Heard, payload: s.Payload, text: v.text[:0], scratch: v.scratch[:0], joined: v.joined[:0], dropped: v.dropped}
	if sent {
		d.peers.talk(own, remote, at, s)
	} else if remote.Port == 53 {
		d.peers.hear(dnsMessage(s))
	}
	if len(s.Payload) == 0 || !s.Life.Key.HasPorts {
		return
	}
	if sent {
		v.source = Sent
		if p := own.Port; p < ownPorts && p != 68 && p != 123 && p != 5353 {
			v.port(PortOpen, s.Life.Key.Proto, p)
		}
		if remote.Port < ownPorts {
			v.port(PortTo, s.Life.Key.Proto, remote.Port)
		}
	}
	protocol, read := protocolCount, (func(*voice, []byte) bool)(nil)
	switch {
	case s.Life.Key.Proto == protoTCP:
		protocol, read = ofTCP(s.Payload, sent, own.Port, remote.Port)
	case s.Life.Key.Proto == protoUDP && sent:
		protocol, read = ofUDP(s.Payload, own.Port, remote.Port)
	}
	if read == nil {
		return
	}
	switch tally := &c.tally[protocol]; {
	case read(v, s.Payload):
		tally.Read++
	case v.cut || isCut(s):
		tally.Cut++
	default:
		tally.Malformed++
	}
}

// isCut reports whether a packet had more payload than its sample has. How long TCP's
// header was the sample does not tell: with the time stamps that most have, 32 bytes.
func isCut(s *flows.Sample) bool {
	header := 20 + 8
	if s.Life.Key.A.Addr.Is6() {
		header += 20
	}
	if s.Life.Key.Proto == protoTCP {
		header += 32 - 8
	}
	return int(s.Size) > header+len(s.Payload)
}

// ofUDP is who reads what a device sends between these ports, or else begins like a
// client's hello.
func ofUDP(b []byte, own, remote uint16) (Protocol, func(*voice, []byte) bool) {
	switch remote {
	case 67:
		return DHCP, (*voice).dhcp
	case 547:
		return DHCPv6, (*voice).dhcp6
	case 53:
		return DNS, (*voice).dns
	case 6666:
		return TuyaBroadcast, (*voice).tuya
	case 6667:
		return TuyaBroadcast, (*voice).tuyaSealed
	}
	either := func(port uint16) bool { return own == port || remote == port }
	switch {
	case either(5353):
		return MDNS, (*voice).mdns
	case either(5355):
		return LLMNR, (*voice).llmnr
	case either(137):
		return NetBIOSName, (*voice).netbios
	case own == 138:
		return NetBIOSName, (*voice).netbiosDatagram
	case either(1900):
		return SSDPMessage, (*voice).ssdp
	case either(3702):
		return WSDiscovery, (*voice).wsd
	case own == 9999:
		return TPLinkHome, (*voice).tplink
	case isQUICInitial(b):
		return QUIC, (*voice).quic
	case isDTLSHello(b):
		return DTLS, (*voice).dtls
	}
	return protocolCount, nil
}

// ofTCP is who reads a segment, told by its first bytes: these protocols are spoken on
// many ports.
func ofTCP(b []byte, sent bool, own, remote uint16) (Protocol, func(*voice, []byte) bool) {
	switch {
	case !sent:
		if isHTTPResponse(b) {
			return HTTP, (*voice).httpHeard
		}
	case isClientHello(b):
		return TLS, (*voice).tls
	case isHTTPResponse(b) || isHTTPRequest(b):
		return HTTP, (*voice).http
	case isMQTTConnect(b):
		return MQTT, (*voice).mqtt
	case remote == 53 && len(b) > 2:
		return DNS, func(v *voice, b []byte) bool { return v.dns(b[2:]) }
	case own == 9999 && len(b) > 4:
		return TPLinkHome, func(v *voice, b []byte) bool { return v.tplink(b[4:]) }
	case isDescription(b): // its header came in a segment of its own
		return HTTP, (*voice).upnp
	}
	return protocolCount, nil
}

// voice is what one sample says.
type voice struct {
	device  string
	set     *Set
	begun   *quicHellos
	source  Source
	at      int64
	payload []byte
	cut     bool   // the message goes on after what was read
	text    []byte // a value being cleaned
	scratch []byte // a value or a name being made
	joined  []byte // a message of which the sample has pieces
	said    int    // facts, of this sample
	dropped uint64 // facts that made or found no room, of all samples
}

// say adds a fact, unless nothing printable is left of it. What a sample says beyond
// [MaxFacts] would make room for itself only, and keep other samples waiting.
func (v *voice) say(kind Kind, value []byte) {
	if v.said == MaxFacts {
		v.dropped++
		return
	}
	v.said++
	if value = v.clean(value); len(value) > 0 {
		v.dropped += v.set.add(kind, v.source, value, v.at)
	}
}

// sayPair adds a fact "key: value".
func (v *voice) sayPair(kind Kind, key, separator string, value []byte) {
	v.scratch = append(append(append(v.scratch[:0], key...), separator...), value...)
	v.say(kind, v.scratch)
}

// port adds a fact of a transport's port, which a row's four names tell.
func (v *voice) port(kind Kind, proto uint8, port uint16) {
	text := append(v.scratch[:0], "udp/"...)
	if proto == protoTCP {
		copy(text, "tcp/")
	}
	v.scratch = strconv.AppendUint(text, uint64(port), 10)
	v.dropped += v.set.add(kind, v.source, v.scratch, v.at)
}
