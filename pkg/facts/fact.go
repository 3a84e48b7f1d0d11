// Package facts keeps what devices say of themselves: who made them, the names they give
// and ask for, the services they offer and use. In go samples of packets, live or from
// files, with at most [flows.PayloadPrefix] bytes of payload each; out come bounded sets
// of facts, and of these tokens that a model can learn. Nothing else of a payload is kept.
package facts

import (
	"encoding"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Kind is what a fact is about. Its name is public: JSON has it.
type Kind uint8

// Kinds of facts. Values are as the device wrote them, but for names of DNS, which are in
// lower case.
const (
	Maker         Kind = iota // who made the interface, of the MAC's listed prefix
	MACKind                   // where no maker is known: "random" (no maker assigned it) or "unlisted"
	PortOpen                  // it sent something from that port below 10,000: "tcp/80"
	PortTo                    // it sent something to that port below 10,000
	DHCPHost                  // host name (RFC 2132, option 12; RFC 4702)
	DHCPClass                 // vendor class (option 60)
	DHCPParams                // parameter request list (option 55), hex
	DHCPClient                // what the client identifier is made of (option 61): mac, text, duid-llt, ...
	DHCPClientID              // the client identifier itself (RFC 2132, RFC 4361), hex; one that is but the client's MAC is not told
	DHCP6Host                 // RFC 4704
	DHCP6Class                // vendor class (RFC 8415, option 16): its enterprise number, then its text
	DHCP6Params               // option request option, hex
	DHCP6Client               // what the DUID is made of: llt, en/NUMBER, ll, uuid
	DHCP6ClientID             // the DUID itself (RFC 8415, section 11), hex; one that is but the device's MAC is not told
	DNSName                   // name asked of DNS
	TLSName                   // server name (RFC 6066)
	TLSALPN                   // protocols offered (RFC 7301), in its order, with commas
	JA4                       // fingerprint of its hello, over TCP, QUIC or DTLS (FoxIO, "JA4: TLS Client Fingerprinting")
	MDNSAsks                  // service type looked for (RFC 6763): "_hap._tcp"
	MDNSOffers                // service type offered
	MDNSName                  // instance name of a service offered
	MDNSHost                  // own host name
	MDNSTXT                   // one string of a service's TXT record
	Cast                      // model of a Cast device
	HomeKit                   // model and category of a HomeKit accessory: "md=...", "ci=..."
	Matter                    // vendor, product and device type: "VP=...", "DT=..."
	SSDPAsks                  // target of a search (UPnP Device Architecture 2.0, section 1.3.2): "ssdp:all"
	SSDPOffers                // what it announces or answers to be: "upnp:rootdevice"
	SSDP                      // another header line, but for USN, LOCATION and others that always differ by unit
	UPnP                      // an element of its description: "modelName: ..."
	HTTPAgent                 // User-Agent
	HTTPHost                  // Host that it asks for
	HTTPServer                // Server
	HTTPRealm                 // realm of the password it asks for
	NetBIOS                   // own name
	LLMNRAsks                 // name looked for
	LLMNRHost                 // own name
	WSD                       // WS-Discovery: the action, and types or scopes
	MQTTProtocol              // protocol and level: "MQTT 4"
	MQTTClient                // client identifier
	TPLink                    // TP-Link's port 9999: "model: ...", "type: ...", ...
	Tuya                      // Tuya's broadcasts: "productKey: ...", "version: ..."
	kindCount

	// PeerKind is with whom the device talks, in what is kept beyond the process: no [Set] has one.
	PeerKind = kindCount
)

var kindNames = [kindCount + 1]string{
	"maker", "mac", "port_open", "port_to",
	"dhcp_host", "dhcp_class", "dhcp_params", "dhcp_client", "dhcp_client_id",
	"dhcp6_host", "dhcp6_class", "dhcp6_params", "dhcp6_client", "dhcp6_client_id",
	"dns", "tls_name", "tls_alpn", "ja4",
	"mdns_asks", "mdns_offers", "mdns_name", "mdns_host", "mdns_txt", "cast", "homekit", "matter",
	"ssdp_asks", "ssdp_offers", "ssdp", "upnp", "http_agent", "http_host", "http_server", "http_realm",
	"netbios", "llmnr_asks", "llmnr_host", "wsd", "mqtt_protocol", "mqtt_client", "tplink", "tuya",
	"peer",
}

// String is the kind's name.
func (k Kind) String() string { return kindNames[k] }

// MarshalText gives the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kindNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("kind of fact %q is not known", text)
	}
	*k = Kind(i)
	return nil
}

// Source is whose word a fact is.
type Source uint8

// Sources of facts.
const (
	Link  Source = iota // the MAC itself
	Sent                // the device's own word
	Heard               // another's, in an answer to it
)

// String is the source's name.
func (s Source) String() string { return sourceNames[s] }

// MarshalText gives the source's name.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a source's name.
func (s *Source) UnmarshalText(text []byte) error {
	i := slices.Index(sourceNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("source of facts %q is not known", text)
	}
	*s = Source(i)
	return nil
}

var sourceNames = [...]string{"mac", "sent", "heard"}

var (
	_ encoding.TextMarshaler   = Kind(0)
	_ encoding.TextUnmarshaler = (*Kind)(nil)
	_ encoding.TextMarshaler   = Source(0)
	_ encoding.TextUnmarshaler = (*Source)(nil)
)

// Fact is one thing that is known of a device.
type Fact struct {
	Kind        Kind
	Source      Source
	Count       uint32 // samples that said so
	Value       string // printable UTF-8 of at most MaxValue bytes
	First, Last int64  // first and last sample that said so, us since the Unix epoch
}

// Bounds of a set. A fact has 40 bytes beside its value, so a device's facts take no more
// than 8 KB.
const (
	MaxFacts = 64
	MaxValue = 128
	MaxKept  = MaxFacts + MaxPeers // that [Collector.Kept] gives
	maxText  = 5 << 10             // bytes of all values, each rounded up to 16 as the allocator does
)

// Set is what is known of one device. When it is full, the fact of the commonest kind
// goes that was said least recently: a device cannot wash out its host name by asking DNS
// for many others.
type Set struct {
	facts   []Fact
	text    int
	changes uint32 // of which facts there are, and since when
}

// Clone is a set of the same facts that goes its own way; nil of a nil set.
func (s *Set) Clone() *Set {
	if s == nil {
		return nil
	}
	c := *s
	c.facts = slices.Clone(s.facts)
	return &c
}

// State tells whether the set's [Set.Tokens] can have become others: they have not while
// both numbers are what they were.
func (s *Set) State(until int64) (changes uint32, count int) {
	for i := range s.facts {
		if s.facts[i].First <= until {
			count++
		}
	}
	return s.changes, count
}

// Tokens are those of the facts that were heard by that time, us since the Unix epoch.
func (s *Set) Tokens(until int64) []string { return Tokens(s.By(until)) }

// By are the facts that were heard by that time, us since the Unix epoch.
func (s *Set) By(until int64) []Fact {
	heard := make([]Fact, 0, len(s.facts))
	for _, f := range s.facts {
		if f.First <= until {
			heard = append(heard, f)
		}
	}
	return heard
}

// All are the facts in the order in which they were first heard. They are the set's.
func (s *Set) All() []Fact { return s.facts }

// restore takes facts back, those that fit.
func (s *Set) restore(list []Fact) {
	for _, f := range list {
		if f.Kind == PeerKind || len(s.facts) == MaxFacts || len(f.Value) > MaxValue || s.text+allocated(len(f.Value)) > maxText {
			continue
		}
		s.facts, s.text = append(s.facts, f), s.text+allocated(len(f.Value))
	}
	s.changes++
}

// Tell writes into a verdict who made the device, and each kind's value that was said
// last. What others said is left out. A nil set has nothing to tell.
func (s *Set) Tell(v *v1.Verdict) {
	v.Facts = v1.Facts{}
	if s == nil {
		return
	}
	var newest [kindCount]*Fact
	for i := range s.facts {
		if f := &s.facts[i]; f.Source != Heard && (newest[f.Kind] == nil || f.Last >= newest[f.Kind].Last) {
			newest[f.Kind] = f
		}
	}
	for kind, f := range newest {
		if f != nil {
			v.Facts[Kind(kind).String()] = f.Value
		}
	}
	if f := newest[Maker]; f != nil {
		vendor := f.Value
		v.Vendor = &vendor
	}
}

// Lines are the facts of a device of that name, by kind; capture is the file that they are
// from, nil live. A nil set has none.
func (s *Set) Lines(device string, capture *string) []v1.Fact {
	lines := []v1.Fact{}
	if s == nil {
		return lines
	}
	all := slices.Clone(s.facts)
	slices.SortStableFunc(all, func(a, b Fact) int { return int(a.Kind) - int(b.Kind) })
	for _, f := range all {
		lines = append(lines, v1.Fact{
			Device: device, Capture: capture, Kind: f.Kind.String(), Value: f.Value, Source: f.Source.String(),
			First: v1.UnixMicro(f.First), Last: v1.UnixMicro(f.Last), Count: uint64(f.Count),
		})
	}
	return lines
}

// add notes that a fact was said at a time, and returns how many others had to go.
func (s *Set) add(kind Kind, source Source, value []byte, at int64) (dropped uint64) {
	for i := range s.facts {
		f := &s.facts[i]
		if f.Kind == kind && len(f.Value) == len(value) && f.Source == source && f.Value == string(value) {
			f.Count++
			if at < f.First {
				f.First = at
				s.changes++
			}
			f.Last = max(f.Last, at)
			return 0
		}
	}
	s.changes++
	s.text += allocated(len(value))
	for len(s.facts) == MaxFacts || s.text > maxText {
		s.drop(kind)
		dropped++
	}
	s.facts = append(s.facts, Fact{Kind: kind, Source: source, Count: 1, Value: string(value), First: at, Last: at})
	return dropped
}

// drop removes the fact of the commonest kind that was said least recently, to make room
// for one of a kind. A full set has more facts than there are kinds, so that the commonest
// has one to give.
func (s *Set) drop(room Kind) {
	var count [kindCount]int
	count[room]++
	for i := range s.facts {
		count[s.facts[i].Kind]++
	}
	oldest := 0
	for i := range s.facts {
		f, o := &s.facts[i], &s.facts[oldest]
		if c := count[f.Kind] - count[o.Kind]; c > 0 || c == 0 && f.Last < o.Last {
			oldest = i
		}
	}
	s.text -= allocated(len(s.facts[oldest].Value))
	s.facts = slices.Delete(s.facts, oldest, oldest+1)
}

func allocated(n int) int { return (n + 15) &^ 15 }
