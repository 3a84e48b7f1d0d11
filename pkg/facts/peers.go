package facts

// This file keeps whom devices talk with, as a profile of what one needs of the network wants
// it (RFC 8520): names and services, not flows.

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Bounds of what is kept of one device, 10 KB at most. What comes when they are reached
// is counted: a profile that loses what it had would never be whole.
const (
	MaxPeers     = 48
	maxAnswers   = 32      // addresses that it was told by DNS; the newest
	maxPeerNames = 2 << 10 // bytes of all peers' names
	maxHostName  = 100     // bytes of one; with what else is kept of a peer it is a fact's value
)

// peer is a service that the device uses or offers, and with whom.
type peer struct {
	who
	first, last int64 // us since the Unix epoch
	port        int32 // of the service; flows.Missing: the protocol has none
	count       uint32
	proto       uint8
	opened      bool // by the device: the service is the peer's, else its own
	ipv6        bool
}

// chancePorts is from where Linux takes ports for connections.
const chancePorts = 32768

// who is the other end.
type who struct {
	name string     // by which the device found it, asking DNS; empty: it has none, or none that may be written
	addr netip.Addr // its own, or a group's; none where there is a name, or where it is of the local ranges
}

// answer is an address that the device was told by DNS, and of which name.
type answer struct {
	addr netip.Addr
	name string
}

// peers are those of one device.
type peers struct {
	list    []peer
	answers []answer // oldest first
	names   int      // bytes of the list's
	left    uint64   // packets to whom there was no room for
	changes uint32   // of the list
}

// talk notes a packet that the device sent: what it did not answer, like a stranger's look at
// its ports, tells nothing of it.
func (p *peers) talk(own, remote *flows.End, at int64, s *flows.Sample) {
	k := &s.Life.Key
	n := peer{who: p.who(own, remote), proto: k.Proto, ipv6: remote.Addr.Is6(), port: flows.Missing, count: 1, first: at, last: at}
	opens, sure := isTCPOpening(s)
	switch {
	case !k.HasPorts && (k.Proto == protoTCP || k.Proto == protoUDP): // a later fragment
		return
	case k.HasPorts && len(s.Payload) == 0 && !opens:
		return
	case p.again(&n, own, remote, s.Index == 0 && (opens || k.Proto == protoUDP)):
		return
	case k.HasPorts:
		n.open(own, remote, s.Index, opens, sure)
	}
	if !p.add(n) {
		p.left++
	}
}

// add adds one, if there is room.
func (p *peers) add(n peer) bool {
	text := len(n.name)
	if slices.ContainsFunc(p.list, func(l peer) bool { return l.name == n.name }) {
		text = 0
	}
	if len(p.list) == MaxPeers || p.names+text > maxPeerNames {
		return false
	}
	p.names += text
	p.list = append(p.list, n)
	p.changes++
	return true
}

// open decides whose the service is, by a packet of that place in its life.
func (n *peer) open(own, remote *flows.End, index uint8, opens, sure bool) {
	switch {
	case n.proto == protoUDP:
		n.opened = isGroup(remote.Addr) || index == 0 && !answersGroups(own.Port)
	case opens && index == 0 && (sure || remote.Port < chancePorts):
		n.opened = true
	case sure && index == 1: // it answers
	default: // it may have begun before it was watched: services have the lower port
		n.opened = remote.Port <= own.Port
	}
	if n.port = int32(own.Port); n.opened {
		n.port = int32(remote.Port)
	}
}

// again counts a packet of a service that is known, if it is, whoever opened it: a life may
// begin in the middle of a connection. Unless a packet begins one, the peer may have got
// another name meanwhile.
func (p *peers) again(n *peer, own, remote *flows.End, begins bool) bool {
	for i := range p.list {
		l := &p.list[i]
		port := int32(own.Port)
		if l.opened {
			port = int32(remote.Port)
		}
		if l.proto != n.proto || l.ipv6 != n.ipv6 || l.port != port && l.port != flows.Missing {
			continue
		}
		if l.who == n.who || !begins && l.name != "" && slices.Contains(p.answers, answer{remote.Addr, l.name}) {
			l.count++
			l.first, l.last = min(l.first, n.first), max(l.last, n.last)
			return true
		}
	}
	return false
}

// isTCPOpening reports whether a segment without payload opens a connection: that has options
// for it, while others have none or the 12 bytes of a time stamp. As some that open have as many,
// the first two of a life may be so too: of a connection that was open before it is mostly known
// whose it is.
func isTCPOpening(s *flows.Sample) (opens, sure bool) {
	const header, stamped = 20, 32
	size := int(s.Size) - 20
	if s.Life.Key.A.Addr.Is6() {
		size -= 20
	}
	if s.Life.Key.Proto != protoTCP || len(s.Payload) > 0 || size <= header {
		return false, false
	}
	return size != stamped || s.Index < 2, size != stamped
}

func isGroup(a netip.Addr) bool {
	return a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// answersGroups reports whether what is sent from a port of UDP may answer what was sent to a
// group, and not to it: then nothing else of that flow came before.
func answersGroups(port uint16) bool {
	switch port {
	case 67, 547, 137, 1900, 3702, 5353, 5355: // DHCP, NetBIOS, SSDP, WS-Discovery, mDNS, LLMNR
		return true
	}
	return false
}

// solicited are the groups of neighbour discovery (RFC 4291, section 2.7.1), one for each
// address.
var solicited = netip.MustParsePrefix("ff02::1:ff00:0/104")

// who is the end that a device talks with.
func (p *peers) who(own, remote *flows.End) who {
	a := remote.Addr
	local := !remote.MAC.IsZero() // which flows keep of local ends alone
	if own.MAC.IsZero() {         // of links without MACs
		local = a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified()
	}
	switch {
	case local:
		return who{}
	case solicited.Contains(a):
		return who{addr: solicited.Addr()}
	}
	for _, n := range slices.Backward(p.answers) {
		if n.addr == a && !a.IsMulticast() {
			return who{name: n.name}
		}
	}
	return who{addr: a}
}

// hear reads an answer of DNS: addresses are found by the name that was asked for, whatever
// the server calls them.
func (p *peers) hear(b []byte) {
	m, ok := readMessage(b)
	if !ok || !m.response || m.questions != 1 {
		return
	}
	q, ok := m.question()
	if !ok {
		return
	}
	name, ok := hostName(q.name)
	for range m.records[0] {
		e, whole := m.record()
		if !whole || !ok {
			return
		}
		if a, isAddr := netip.AddrFromSlice(e.data); isAddr && (e.kind == typeA && a.Is4() || e.kind == typeAAAA && a.Is6()) {
			p.learn(a, name)
		}
	}
}

// learn notes the name of an address, which may have others.
func (p *peers) learn(a netip.Addr, name string) {
	told := answer{a, name}
	for i := range p.list { // which keeps the text as it is
		if p.list[i].name == name {
			told.name = p.list[i].name
		}
	}
	i := slices.Index(p.answers, told)
	if i < 0 && len(p.answers) == maxAnswers {
		i = 0
	}
	if i >= 0 {
		p.answers = slices.Delete(p.answers, i, i+1)
	}
	p.answers = append(p.answers, told)
}

// hostName is a name as hosts have them (RFC 1123, with the underscores that some have), in
// lower case; ok is false of any other.
func hostName(b []byte) (name string, ok bool) {
	name = strings.ToLower(string(b))
	if len(name) > maxHostName || name == v1.LocalPeer {
		return "", false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || strings.HasSuffix(label, "-") || strings.HasSuffix(label, "_") {
			return "", false
		}
		if bytes.ContainsFunc([]byte(label), func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return "", false
		}
	}
	return name, true
}

// Peers are those of a device that goes by these names, its own first.
func (c *Collector) Peers(names ...string) v1.Peers {
	all := v1.Peers{Device: names[0], Peers: []v1.Peer{}}
	for _, name := range names {
		e := c.devices[name]
		if e == nil {
			continue
		}
		p := &e.Value.(*device).peers
		all.LeftOut += p.left
		for i := range p.list {
			all.Peers = append(all.Peers, p.list[i].told())
		}
	}
	slices.SortStableFunc(all.Peers, func(a, b v1.Peer) int {
		return cmp.Or(strings.Compare(a.Peer, b.Peer), cmp.Compare(a.IPVersion, b.IPVersion), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	return all
}

func (p *peer) told() v1.Peer {
	t := v1.Peer{Peer: v1.LocalPeer, IPVersion: 4, Proto: p.proto, Port: p.port, First: v1.UnixMicro(p.first), Last: v1.UnixMicro(p.last), Count: uint64(p.count)}
	switch {
	case p.name != "":
		t.Peer = p.name
	case p.addr == solicited.Addr():
		t.Peer = solicited.String()
	case p.addr.IsValid():
		t.Peer = netip.PrefixFrom(p.addr, p.addr.BitLen()).String()
	}
	if p.ipv6 {
		t.IPVersion = 6
	}
	if p.port != flows.Missing {
		by := v1.OpenedByPeer
		if p.opened {
			by = v1.OpenedByDevice
		}
		t.OpenedBy = &by
	}
	return t
}

// append adds what is to be kept of them, as facts that the device sends: the version of IP,
// protocol and port, who opens flows (or -), and the peer.
func (p *peers) append(list []Fact) []Fact {
	for i := range p.list {
		n := &p.list[i]
		t := n.told()
		value := fmt.Sprintf("%d %d/%d %s %s", t.IPVersion, t.Proto, t.Port, cmp.Or(opener(t.OpenedBy), "-"), t.Peer)
		list = append(list, Fact{Kind: PeerKind, Source: Sent, Count: n.count, Value: value, First: n.first, Last: n.last})
	}
	return list
}

func opener(by *string) string {
	if by == nil {
		return ""
	}
	return *by
}

// restore takes back what append gave; what is anything else is left out.
func (p *peers) restore(list []Fact) {
	for i := range list {
		if n, ok := readPeer(&list[i]); ok && !slices.ContainsFunc(p.list, n.same) {
			p.add(n)
		}
	}
}

// same reports whether both are one.
func (p *peer) same(o peer) bool {
	o.first, o.last, o.count = p.first, p.last, p.count
	return *p == o
}

func readPeer(f *Fact) (n peer, ok bool) {
	version, at, _ := strings.Cut(f.Value, " ")
	service, at, _ := strings.Cut(at, " ")
	opened, at, _ := strings.Cut(at, " ")
	protocol, port, _ := strings.Cut(service, "/")
	proto, err := strconv.ParseUint(protocol, 10, 8)
	number, failed := strconv.ParseInt(port, 10, 32)
	n = peer{first: f.First, last: f.Last, count: f.Count, proto: uint8(proto), port: int32(number), ipv6: version == "6", opened: opened == v1.OpenedByDevice}
	if network, err := netip.ParsePrefix(at); err == nil {
		n.addr = network.Addr()
	} else if at != v1.LocalPeer {
		n.name = at
		if name, _ := hostName([]byte(at)); name != at {
			return n, false
		}
	}
	back := (&peers{list: []peer{n}}).append(nil)
	return n, f.Kind == PeerKind && err == nil && failed == nil && number <= math.MaxUint16 && back[0].Value == f.Value
}
