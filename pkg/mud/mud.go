// Package mud writes what a device was seen to need of the network as a Manufacturer Usage
// Description (RFC 8520). In go the peers that a sensor, or a capture, has of it, out comes the
// file that a controller makes access lists of. It knows what was seen, not what a maker means.
package mud

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// File is a MUD file: the JSON of RFC 8520, section 2, with the access lists of RFC 8519.
type File struct {
	MUD  Description `json:"ietf-mud:mud"`
	ACLs ACLs        `json:"ietf-access-control-list:acls"`
}

// Description is the container of RFC 8520, section 3.
type Description struct {
	Version       int    `json:"mud-version"`
	URL           string `json:"mud-url"`
	LastUpdate    string `json:"last-update"`
	CacheValidity int    `json:"cache-validity"` // hours
	IsSupported   bool   `json:"is-supported"`
	SystemInfo    string `json:"systeminfo"`
	Maker         string `json:"mfg-name,omitempty"`
	Model         string `json:"model-name,omitempty"`
	FromDevice    Policy `json:"from-device-policy"`
	ToDevice      Policy `json:"to-device-policy"`
}

// Policy names the access lists of a direction.
type Policy struct {
	Lists struct {
		List []Named `json:"access-list,omitempty"`
	} `json:"access-lists"`
}

// Named is an access list's name.
type Named struct {
	Name string `json:"name"`
}

// ACLs are access lists.
type ACLs struct {
	List []ACL `json:"acl"`
}

// ACL is an access list for one direction and version of IP.
type ACL struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Entries struct {
		List []Entry `json:"ace"`
	} `json:"aces"`
}

// Entry allows what matches.
type Entry struct {
	Name    string  `json:"name"`
	Matches Matches `json:"matches"`
	Actions struct {
		Forwarding string `json:"forwarding"`
	} `json:"actions"`
}

// Matches are what a packet must be like.
type Matches struct {
	MUD  *Place `json:"ietf-mud:mud,omitempty"`
	IPv4 *IP    `json:"ipv4,omitempty"`
	IPv6 *IP    `json:"ipv6,omitempty"`
	TCP  *Ports `json:"tcp,omitempty"`
	UDP  *Ports `json:"udp,omitempty"`
}

// Place is a peer that is found by what it is to the network.
type Place struct {
	Local      []any  `json:"local-networks,omitempty"` // [null], as YANG's empty type is in JSON
	Controller string `json:"controller,omitempty"`
}

// IP is the protocol, and a peer that is found by name or address.
type IP struct {
	Protocol        uint8  `json:"protocol"`
	SourceName      string `json:"ietf-acldns:src-dnsname,omitempty"`
	DestinationName string `json:"ietf-acldns:dst-dnsname,omitempty"`
	Source4         string `json:"source-ipv4-network,omitempty"`
	Destination4    string `json:"destination-ipv4-network,omitempty"`
	Source6         string `json:"source-ipv6-network,omitempty"`
	Destination6    string `json:"destination-ipv6-network,omitempty"`
}

// Ports are those of TCP or UDP, and who opens a connection.
type Ports struct {
	Initiated   string `json:"ietf-mud:direction-initiated,omitempty"`
	Source      *Port  `json:"source-port,omitempty"`
	Destination *Port  `json:"destination-port,omitempty"`
}

// Port is one.
type Port struct {
	Operator string `json:"operator"`
	Port     int32  `json:"port"`
}

// Classes of controllers that every network has (RFC 8520, section 17.7).
const (
	resolver = "urn:ietf:params:mud:dns"
	clock    = "urn:ietf:params:mud:ntp"
)

const (
	protoTCP = 6
	protoUDP = 17

	fromDevice, toDevice = "from-device", "to-device"

	cacheHours = 48 // RFC 8520's default
	mostText   = 60 // bytes of the texts of a description
)

// New makes a device's file of its peers and facts; url is where it is to be found, empty: a
// place that is none, as a file has to name one.
func New(peers *v1.Peers, facts []v1.Fact, url string) (*File, error) {
	if len(peers.Peers) == 0 {
		return nil, errors.New("nothing is known of whom it talks with")
	}
	id := strings.ReplaceAll(strings.ReplaceAll(peers.Device, ":", ""), ".", "-")
	f := &File{MUD: Description{
		Version: 1, URL: cmp.Or(url, "https://mud.invalid/"+id+".json"), CacheValidity: cacheHours, IsSupported: true, SystemInfo: "as seen by iotsense",
		Maker: short(value(facts, "maker", "")), Model: short(model(facts)),
	}}
	if peers.LeftOut > 0 {
		f.MUD.SystemInfo = short(fmt.Sprintf("%s, without %d packets to more peers", f.MUD.SystemInfo, peers.LeftOut))
	}
	var newest time.Time
	for i := range peers.Peers {
		if at := peers.Peers[i].Last.Time; at.After(newest) {
			newest = at
		}
	}
	f.MUD.LastUpdate = newest.UTC().Format(time.RFC3339)
	for _, version := range []int{4, 6} {
		for direction, policy := range map[string]*Policy{fromDevice: &f.MUD.FromDevice, toDevice: &f.MUD.ToDevice} {
			f.add(policy, newACL(id, version, direction, peers.Peers))
		}
	}
	slices.SortFunc(f.ACLs.List, func(a, b ACL) int { return strings.Compare(a.Name, b.Name) })
	return f, nil
}

// add adds a list that allows something.
func (f *File) add(p *Policy, a ACL) {
	if len(a.Entries.List) == 0 {
		return
	}
	f.ACLs.List = append(f.ACLs.List, a)
	p.Lists.List = append(p.Lists.List, Named{a.Name})
}

// newACL lists what one direction needs.
func newACL(id string, version int, direction string, peers []v1.Peer) ACL {
	a := ACL{Name: fmt.Sprintf("mud-%s-v%d%s", id, version, direction[:2]), Type: fmt.Sprintf("ipv%d-acl-type", version)}
	var seen []v1.Peer // of a device with more than one MAC each may have the same
	for i := range peers {
		p := peers[i]
		if direction == toDevice && isGroup(p.Peer) {
			if p.Proto != protoUDP {
				continue
			}
			p.Peer = v1.LocalPeer // who hears it answers
		}
		if p.IPVersion != version || slices.ContainsFunc(seen, func(s v1.Peer) bool { return same(&s, &p) }) {
			continue
		}
		seen = append(seen, p)
		e := Entry{Name: fmt.Sprintf("ace%d-%s", len(seen), direction), Matches: matches(&p, direction)}
		e.Actions.Forwarding = "accept"
		a.Entries.List = append(a.Entries.List, e)
	}
	return a
}

func same(a, b *v1.Peer) bool {
	return a.Peer == b.Peer && a.Proto == b.Proto && a.Port == b.Port && opened(a) == opened(b)
}

// opened is who opens a peer's connections; empty: nobody.
func opened(p *v1.Peer) string {
	if p.OpenedBy == nil {
		return ""
	}
	return *p.OpenedBy
}

// isGroup reports whether a peer is many, on this network.
func isGroup(peer string) bool {
	p, err := netip.ParsePrefix(peer)
	return err == nil && (p.Addr().IsMulticast() || p.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

// matches is what packets with a peer are like in one direction. What a device sends is
// answered, so both directions are allowed.
func matches(p *v1.Peer, direction string) (m Matches) {
	ip := &IP{Protocol: p.Proto}
	if p.IPVersion == 6 {
		m.IPv6 = ip
	} else {
		m.IPv4 = ip
	}
	ip.name(p, direction, &m)
	if p.Port < 0 {
		return m
	}
	ports := &Ports{}
	switch p.Proto {
	case protoTCP:
		m.TCP = ports
		if ports.Initiated = toDevice; opened(p) == v1.OpenedByDevice {
			ports.Initiated = fromDevice
		}
	case protoUDP:
		m.UDP = ports
	default:
		return m // whose ports no access list knows
	}
	service := &Port{"eq", p.Port}
	if (direction == fromDevice) == (opened(p) == v1.OpenedByDevice) {
		ports.Destination = service
	} else {
		ports.Source = service
	}
	return m
}

// name says who the peer is.
func (ip *IP) name(p *v1.Peer, direction string, m *Matches) {
	_, err := netip.ParsePrefix(p.Peer)
	switch isNetwork := err == nil; {
	case p.Peer == v1.LocalPeer:
		m.MUD = local(p)
	case isNetwork && p.IPVersion == 4 && direction == fromDevice:
		ip.Destination4 = p.Peer
	case isNetwork && p.IPVersion == 4:
		ip.Source4 = p.Peer
	case isNetwork && direction == fromDevice:
		ip.Destination6 = p.Peer
	case isNetwork:
		ip.Source6 = p.Peer
	case direction == fromDevice:
		ip.DestinationName = p.Peer
	default:
		ip.SourceName = p.Peer
	}
}

// local is a peer of the network itself: what answers to names and time is known to any.
func local(p *v1.Peer) *Place {
	if opened(p) == v1.OpenedByDevice {
		switch {
		case p.Port == 53 && (p.Proto == protoUDP || p.Proto == protoTCP):
			return &Place{Controller: resolver}
		case p.Port == 123 && p.Proto == protoUDP:
			return &Place{Controller: clock}
		}
	}
	return &Place{Local: []any{nil}}
}

// model is what the device says that it is, most telling first.
func model(facts []v1.Fact) string {
	for _, from := range [][2]string{{"upnp", "modelName: "}, {"tplink", "model: "}, {"cast", ""}, {"homekit", "md="}} {
		if text := value(facts, from[0], from[1]); text != "" {
			return text
		}
	}
	return ""
}

// value is that of the first fact of a kind that begins so, without that.
func value(facts []v1.Fact, kind, begin string) string {
	for i := range facts {
		if text, ok := strings.CutPrefix(facts[i].Value, begin); ok && facts[i].Kind == kind && facts[i].Source != "heard" {
			return text
		}
	}
	return ""
}

// short is a text as long as a description may have it.
func short(text string) string {
	if len(text) <= mostText {
		return text
	}
	text = text[:mostText]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}
