package page

// This file says in plain words what is known of a device.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// noneLabel is the class of what is none of the types that a model knows.
const noneLabel = "none of them"

// kinds are facts as people say them, those that tell most first.
var kinds = []struct{ kind, words string }{
	{"dhcp_host", "host name"}, {"mdns_host", "host name (mDNS)"}, {"dhcp6_host", "host name (DHCPv6)"}, {"netbios", "NetBIOS name"},
	{"llmnr_host", "host name (LLMNR)"}, {"mdns_name", "service name"}, {"cast", "Cast model"}, {"homekit", "HomeKit"},
	{"matter", "Matter"}, {"upnp", "UPnP"}, {"tplink", "TP-Link"}, {"tuya", "Tuya"}, {"wsd", "WS-Discovery"},
	{"dhcp_class", "vendor class"}, {"dhcp6_class", "vendor class (DHCPv6)"}, {"ssdp", "SSDP"}, {"ssdp_offers", "SSDP offers"},
	{"mdns_offers", "offers"}, {"mdns_txt", "service detail"}, {"http_agent", "HTTP agent"}, {"http_server", "HTTP server"},
	{"http_realm", "HTTP realm"}, {"mqtt_client", "MQTT client"}, {"mqtt_protocol", "MQTT"}, {"http_host", "asks host"},
	{"dns", "looks up"}, {"tls_name", "connects to"}, {"mdns_asks", "looks for"}, {"ssdp_asks", "searches"},
	{"llmnr_asks", "looks for (LLMNR)"}, {"port_open", "open port"}, {"port_to", "uses port"}, {"dhcp_client", "kind of DHCP client id"},
	{"dhcp6_client", "kind of DHCPv6 client id"}, {"dhcp_client_id", "DHCP client id"}, {"dhcp6_client_id", "DHCPv6 client id"}, {"dhcp_params", "DHCP asks"}, {"dhcp6_params", "DHCPv6 asks"}, {"tls_alpn", "TLS protocols"},
	{"ja4", "TLS fingerprint"}, {"mac", "MAC"}, {"maker", "maker of the interface"},
}

// place is a kind's among kinds; one that is not there comes behind them.
func place(kind string) int {
	for i := range kinds {
		if kinds[i].kind == kind {
			return i
		}
	}
	return len(kinds)
}

// SortFacts brings facts into that order.
func SortFacts(list []v1.Fact) {
	slices.SortStableFunc(list, func(a, b v1.Fact) int { return cmp.Compare(place(a.Kind), place(b.Kind)) })
}

// kindWords are a kind's.
func kindWords(kind string) string {
	if i := place(kind); i < len(kinds) {
		return kinds[i].words
	}
	return strings.ReplaceAll(kind, "_", " ")
}

// said is one thing that a device says of itself.
type said struct{ Kind, Value string }

// telling are the facts of a verdict that tell most, so many at most.
func telling(v *v1.Verdict, most int) (list []said) {
	for _, k := range kinds {
		if value := v.Facts[k.kind]; value != "" && k.kind != "maker" && len(list) < most {
			list = append(list, said{k.words, shorten(value, 80)})
		}
	}
	return list
}

// Name is what to call a device: the operator's word, else its own; empty: neither is there.
func Name(d *v1.DeviceVerdict) string {
	if d.Name == nil || d.NameFrom != nil && *d.NameFrom == "network" {
		return "" // that is said beside it
	}
	return *d.Name
}

// far reports whether a device's traffic is too far from all that the model knows.
func far(v *v1.Verdict) bool { return v.Distance != nil && *v.Distance > 1 }

// behaves says what a device's traffic is like.
func behaves(v *v1.Verdict) string {
	switch {
	case v.State == v1.Gateway, v.State == v1.Ignored:
		return ""
	case v.Label == nil || v.Confidence == nil:
		return "too little seen to say"
	case *v.Label == noneLabel:
		return "nothing that the model knows"
	case v.State == v1.Unknown && far(v):
		return fmt.Sprintf("nothing known; nearest is %s, %s sure", *v.Label, percent(*v.Confidence))
	}
	return fmt.Sprintf("%s, %s sure", *v.Label, percent(*v.Confidence))
}

// Sentence says in one what is thought of a device.
func Sentence(v *v1.Verdict) string {
	label := ""
	if v.Label != nil {
		label = *v.Label
	}
	switch v.State {
	case v1.Known:
		return "It behaves like " + label + ", and is named so."
	case v1.Likely:
		return "Its kind is safe, " + *cmp.Or(v.Path, &label) + "; which of them it is, is not."
	case v1.Conflict:
		return "It behaves like one kind of device, and says that it is another: one of both is not true."
	case v1.Changed:
		return "It no longer behaves like what it was."
	case v1.Gateway:
		return "It forwards for others or serves the network, so that its traffic names nothing."
	case v1.Ignored:
		return "It is counted and not judged, as its operator wishes."
	case v1.Unknown:
		switch {
		case label == noneLabel:
			return "Its traffic is like that of none of the types that the model knows."
		case far(v):
			return "Its traffic is far from all that the model knows."
		}
		return "It behaves most like " + label + ", but not so much that it could be named."
	}
	return "It has not sent enough yet to be told."
}

// Needs says what would have to be seen for more to be said; empty: nothing.
func Needs(v *v1.Verdict) string {
	switch v.State {
	case v1.Gathering:
		if v.Windows == 0 {
			return "Its first flows: a device says most in its first minute. Switch it off and on."
		}
		return "Three flows that are not alike, or a fact that tells it: switch it off and on, or use it."
	case v1.Likely:
		return "Traffic that only one of these types has: use what it is there for, or switch it off and on."
	case v1.Conflict:
		return "Five flows that are not alike, and agree with what it says of itself. Look at the device until then."
	case v1.Changed:
		return "Five windows of what it was. Look at the device until then: it may have been replaced, or taken over."
	case v1.Unknown:
		if v.Label != nil && *v.Label == noneLabel || far(v) {
			return "A model that knows its type. If you know what it is, label it and let `learn` make one: more of the same traffic will not name it."
		}
		return fmt.Sprintf("More of what it does when it starts and is used: there are %d windows so far. Switch it off and on.", v.Windows)
	}
	return ""
}

// notes are what is to be known beside a verdict.
func notes(d *v1.DeviceVerdict) (list []string) {
	for _, n := range []struct {
		is   bool
		text string
	}{
		{d.Gone, "gone: nothing has been seen of it for long"},
		{d.Locked, "locked: what was said of it stays"},
		{d.Provisional, "provisional: it rests on flows that are still open"},
		{d.SharedMAC, "shared MAC: several devices behind a router or repeater, or one whose address changed"},
		{d.RandomMAC, "random MAC: the device may come back under another"},
		{d.Known && d.Trusted != nil && !*d.Trusted, "not trusted: its newest explanation rests on padding"},
		{d.Windows == 0 && d.Flows > 0 && d.IPv6Flows == d.Flows, "seen with IPv6 alone, which most models leave out"},
	} {
		if n.is {
			list = append(list, n.text)
		}
	}
	return list
}

// what is how a device is named in a list, and how sure that is; sure is null where nothing
// is said.
func what(v *v1.Verdict) (text string, sure *float64) {
	parts := func(path string) string { return strings.ReplaceAll(path, "/", " / ") }
	switch {
	case v.State == v1.Gateway:
		return "gateway", nil
	case v.State == v1.Ignored || v.Label == nil && v.Path == nil:
		return "–", nil
	case v.Label == nil:
		return parts(*v.Path), v.PathConfidence
	case v.Known && v.Path != nil:
		return parts(*v.Path), v.Confidence
	case v.Known:
		return *v.Label, v.Confidence
	case v.Path != nil:
		return parts(*v.Path) + ": " + *v.Label + "?", v.PathConfidence
	case *v.Label == noneLabel:
		return "nothing that the model knows", v.Confidence
	case v.State == v1.Unknown && far(v):
		return "nothing that the model knows", nil
	}
	return *v.Label + "?", v.Confidence
}

// ranked are all states, those first that want somebody's eyes.
var ranked = []v1.State{v1.Conflict, v1.Changed, v1.Unknown, v1.Gathering, v1.Likely, v1.Known, v1.Gateway, v1.Ignored}

// stranger reports whether a state is that of a device to look at.
func stranger(s v1.State) bool { return s == v1.Unknown || s == v1.Conflict || s == v1.Changed }
