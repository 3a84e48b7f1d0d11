package facts

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokens(t *testing.T) {
	for _, tt := range []struct {
		kind  Kind
		value string
		want  string // beside oui:
	}{
		{PortTo, "tcp/443", "to:tcp/443"},
		{PortOpen, "tcp/80", "at:tcp/80"},
		{DHCPHost, "HS110(EU)", "host:eu host:hs110"},
		{DHCPHost, "Philips-hue-2476FF", "host:hue host:philips"},
		{DHCPHost, "ESP_07AEFB", "host:esp"},
		{DHCPHost, "kettle-12ab", "host:kettle"},
		{DHCPHost, "cafe x12345z", "host:x1234 host:z"},
		{DHCPClientID, "00616263", ""}, // a unit's
		{DHCP6ClientID, "0001000100000007001788010203", ""},
		{DHCPClass, "udhcp 1.19.4", "class:1.19.4 class:udhcp"},
		{DHCPParams, "0103060c0f1c2a", "opt55:0103060c0f1c2a"},
		{DNSName, "www.ecdinterface.philips.com", "dns:ecdinterface.philips.com dns:philips.com"},
		{DNSName, "local", "dns:local"},
		{DNSName, "a001788fffe.meethue.com", "dns:meethue.com"},
		{TLSName, "a.b.co.uk", "sni:b.co.uk sni:co.uk"},
		{HTTPHost, "dcp.cpp.philips.com:80", "http:cpp.philips.com http:philips.com"},
		{HTTPHost, "10.10.10.6:8080", ""},
		{HTTPHost, "[fe80::1]", ""},
		{MDNSAsks, "_hap._tcp", "asks:_hap._tcp"},
		{MDNSOffers, "_http._tcp", "offers:_http._tcp"},
		{MDNSTXT, "id=00:17:88:24:76:FF", "txt:id="},
		{MDNSTXT, "md=BSB002", "txt:md=bsb002"},
		{MDNSTXT, "SSID=Home", ""},
		{SSDP, "SERVER: Linux/3.14.0 UPnP/1.0, IpBridge/1.9.0", "ssdp:ipbridge/1.9.0 ssdp:linux/3.14.0 ssdp:server: ssdp:upnp/1.0"},
		{SSDPAsks, "urn:Belkin:device:**", "asks:urn:belkin:device:**"},
		{SSDPOffers, "urn:schemas-upnp-org:device:basic:1", "offers:urn:schemas-upnp-org:device:basic:1"},
		{SSDPOffers, "uuid:2f402f80-da50-11e1-9b23-0017882476ff", "offers:uuid:"},
		{HTTPAgent, "lwip/2.0 (ESP8266)", "agent:esp8266 agent:lwip/2.0"},
		{HTTPServer, "lighttpd", "server:lighttpd"},
		{UPnP, "modelName: Socket Insight", "upnp:insight upnp:socket"},
		{UPnP, "friendlyName: Kitchen", ""},
		{TPLink, "model: HS110(EU)", "tplink:eu tplink:hs110"},
		{TPLink, "type: IOT.SMARTPLUGSWITCH", ""},
		{JA4, "t13d1516h2_8daaf6152771_e5627efa2ab1", ""},
		{NetBIOS, "NAS", ""},
	} {
		got := Tokens([]Fact{{Kind: tt.kind, Source: Sent, Value: tt.value}, {Kind: tt.kind, Source: Heard, Value: "other.example.com"}})
		want := append(strings.Fields(tt.want), "oui:none")
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v %q: %v, want %s", tt.kind, tt.value, got, tt.want)
		}
	}
}

// There is always a token of the maker.
func TestTokensMaker(t *testing.T) {
	for _, tt := range []struct {
		facts []Fact
		want  []string
	}{
		{nil, []string{"oui:none"}},
		{[]Fact{{Kind: MACKind, Value: "unlisted"}}, []string{"oui:none"}},
		{[]Fact{{Kind: MACKind, Value: "random"}}, []string{"oui:random"}},
		{[]Fact{{Kind: Maker, Value: "TP-LINK"}}, []string{"oui:tplink"}},
		{[]Fact{{Kind: Maker, Value: "Philips Lighting"}}, []string{"oui:lighting", "oui:philips", "oui:philipslighting"}},
		{[]Fact{{Kind: Maker, Value: "Apple"}, {Kind: Maker, Value: "Apple"}}, []string{"oui:apple"}},
	} {
		if d := cmp.Diff(tt.want, Tokens(tt.facts)); d != "" {
			t.Error(d)
		}
	}
}
