package v1

// This file says for people what an explanation's values are.

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Words say what the value is and whose: "remote port 56700, 3rd flow". Flows are counted
// as rows are, the oldest first.
func (f *ExplainedField) Words() string { return f.Place() + f.content() }

// Place is that without what byte of a payload it is.
func (f *ExplainedField) Place() string { return f.What() + ", " + ordinal(f.Row+1) + " flow" }

// What is the value without its flow: "remote port 56700".
func (f *ExplainedField) What() string {
	switch f.Part {
	case Padding:
		if place, ok := strings.CutPrefix(f.Name, "payload_"); ok {
			return "padding behind the payload, place " + place
		}
		return "padding of " + strings.ReplaceAll(f.Name, "_", " ")
	case Begin:
		return fmt.Sprintf("where the payload of packet %d begins", *f.Packet)
	case End:
		return fmt.Sprintf("where the payload of packet %d ends", *f.Packet)
	case Byte:
		return fmt.Sprintf("payload byte %d of packet %d", *f.Byte, *f.Packet)
	}
	group, n, _ := strings.Cut(f.Name, "_")
	if f.Packet != nil {
		return packetWords(group, n, f.Raw)
	}
	switch group {
	case "since":
		return fmt.Sprintf("%.4g s after the flow before", f.Raw/1e6)
	case "protocol":
		return "protocol " + protocolName(f.Raw)
	case "byte":
		return number(f.Raw) + " bytes in all"
	case "packet":
		return number(f.Raw) + " packets in all"
	case "device", "remote":
		if octet, ok := strings.CutPrefix(n, "o"); ok {
			return fmt.Sprintf("octet %s of the remote address: %s", octet, number(f.Raw))
		}
		if f.Raw < 0 {
			return fmt.Sprintf("no %s port", group)
		}
		return fmt.Sprintf("%s port %s", group, number(f.Raw))
	}
	return f.Name + " " + number(f.Raw)
}

// packetWords are those of a packet's metadata; below 0 the packet never came.
func packetWords(group, n string, raw float64) string {
	switch {
	case raw < 0:
		return fmt.Sprintf("no packet %s (its %s)", n, group)
	case group == "offset":
		return fmt.Sprintf("packet %s after %.4g s", n, raw/1e6)
	case group == "size":
		return fmt.Sprintf("packet %s of %s bytes", n, number(raw))
	case raw == 1:
		return fmt.Sprintf("packet %s sent", n)
	}
	return fmt.Sprintf("packet %s received", n)
}

// content is a payload byte's value.
func (f *ExplainedField) content() string {
	switch {
	case f.Part != Byte:
		return ""
	case f.Raw > ' ' && f.Raw <= '~':
		return fmt.Sprintf(": '%c'", rune(f.Raw))
	}
	return fmt.Sprintf(": 0x%02x", int(f.Raw))
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func protocolName(v float64) string {
	switch v {
	case 1:
		return "ICMP"
	case 6:
		return "TCP"
	case 17:
		return "UDP"
	}
	return number(v)
}

func ordinal(n int) string {
	end := "th"
	if tens := n / 10 % 10; tens != 1 {
		switch n % 10 {
		case 1:
			end = "st"
		case 2:
			end = "nd"
		case 3:
			end = "rd"
		}
	}
	return strconv.Itoa(n) + end
}

// factWords are kinds of facts in words, with their value.
var factWords = map[string]string{
	"maker": "its MAC is one of %s", "mac": "maker of its MAC: %s", "port_open": "sends from %s", "port_to": "sends to %s",
	"dhcp_host": "says it is %s by DHCP", "dhcp_class": "DHCP client is %s", "dhcp_params": "asks DHCP for the options %s", "dhcp_client": "names itself to DHCP by %s", "dhcp_client_id": "is %s to DHCP",
	"dhcp6_host": "says it is %s by DHCPv6", "dhcp6_class": "DHCPv6 client is %s", "dhcp6_params": "asks DHCPv6 for the options %s", "dhcp6_client": "names itself to DHCPv6 by %s", "dhcp6_client_id": "is %s to DHCPv6",
	"dns": "asks DNS for %s", "tls_name": "asks TLS for %s", "tls_alpn": "offers %s in TLS", "ja4": "TLS hello has the fingerprint %s",
	"mdns_asks": "looks for %s by mDNS", "mdns_offers": "offers %s by mDNS", "mdns_name": "calls a service %s by mDNS", "mdns_host": "says it is %s by mDNS", "mdns_txt": "says %s by mDNS",
	"cast": "says it is %s by Cast", "homekit": "says %s by HomeKit", "matter": "says %s by Matter",
	"ssdp_asks": "looks for %s by SSDP", "ssdp_offers": "says it is %s by SSDP", "ssdp": "says %s by SSDP", "upnp": "its UPnP description says %s",
	"http_agent": "asks by HTTP as %s", "http_host": "asks %s by HTTP", "http_server": "answers by HTTP as %s", "http_realm": "asks for a password by HTTP for %s",
	"netbios": "says it is %s by NetBIOS", "llmnr_asks": "looks for %s by LLMNR", "llmnr_host": "says it is %s by LLMNR", "wsd": "says %s by WS-Discovery",
	"mqtt_protocol": "speaks %s", "mqtt_client": "says it is %s by MQTT", "tplink": "says %s by TP-Link's protocol", "tuya": "says %s by Tuya's protocol",
}

// Words say what the device said: "says it is HS110 by DHCP".
func (f *ExplainedFact) Words() string {
	if words, ok := factWords[f.Kind]; ok {
		return fmt.Sprintf(words, f.Value)
	}
	return f.Kind + ": " + f.Value
}

// Share is what one value or fact adds to an output.
type Share struct {
	Phi   float64
	Of    string // network or facts
	Words string
}

// Shares are those of values and facts, the greatest first; payload says which bytes it has.
func (x *Explanation) Shares(payload bool) []Share {
	all := make([]Share, 0, len(x.Facts)+len(x.Fields))
	for i := range x.Facts {
		all = append(all, Share{x.Facts[i].Phi, "facts", x.Facts[i].Words()})
	}
	for i := range x.Fields {
		words := x.Fields[i].Place()
		if payload {
			words = x.Fields[i].Words()
		}
		all = append(all, Share{x.Fields[i].Phi, "network", words})
	}
	slices.SortStableFunc(all, func(a, b Share) int { return cmp.Compare(math.Abs(b.Phi), math.Abs(a.Phi)) })
	return all
}

// Title says what is explained: "Why HS110 and not HS100"; of a device that is not known also
// that, and how its label comes in: "Unknown; its nearest guess: why HS110".
func (x *Explanation) Title() string {
	why := "hy " + x.Label
	if x.WhyNot != nil {
		why += " and not " + *x.WhyNot
	}
	switch {
	case x.State == nil || *x.State == Known:
		return "W" + why
	case *x.State == Unknown:
		return "Unknown; its nearest guess: w" + why
	}
	state := string(*x.State)
	return strings.ToUpper(state[:1]) + state[1:] + "; its best guess: w" + why
}
