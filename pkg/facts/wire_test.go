package facts

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/miekg/dns"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// wire is a payload between two ports and what it says.
type wire struct {
	name        string
	proto       uint8
	own, remote uint16
	payload     []byte
	want        []string
}

// run tests each payload whole, and that whatever is cut off it the rest says no more
// than the whole did.
func run(t *testing.T, tests []wire) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCollector(0)
			before := bytes.Clone(tt.payload)
			c.Sample(hue, true, 1, sample(tt.proto, tt.own, tt.remote, tt.payload))
			if d := cmp.Diff(tt.want, said(c, hue)); d != "" {
				t.Error(d)
			}
			if !bytes.Equal(before, tt.payload) {
				t.Error("the payload was changed")
			}
			for cut := range tt.payload {
				part := NewCollector(0)
				part.Sample(hue, true, 1, sample(tt.proto, tt.own, tt.remote, tt.payload[:cut]))
				check(t, part.Of(hue))
				for _, more := range said(part, hue) {
					if !slices.Contains(tt.want, more) {
						t.Errorf("the first %d bytes say %s", cut, more)
					}
				}
			}
		})
	}
}

func dhcp4(t *testing.T, options ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.NewDiscovery(net.HardwareAddr{0, 0x17, 0x88, 1, 2, 3}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return m.ToBytes()
}

func dhcp6Message(t *testing.T, options ...dhcpv6.Modifier) []byte {
	t.Helper()
	mac := net.HardwareAddr{0, 0x17, 0x88, 1, 2, 3}
	m, err := dhcpv6.NewSolicit(mac, append([]dhcpv6.Modifier{dhcpv6.WithClientID(&dhcpv6.DUIDLLT{HWType: 1, Time: 7, LinkLayerAddr: mac})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.ToBytes()
}

func option(code uint8, value string) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(value))
}

func TestDHCP(t *testing.T) {
	own := []byte{0, 0x17, 0x88, 0x24, 0x76, 0xff} // hue's
	all := dhcp4(t, option(12, "Philips-hue\x00"), option(60, "udhcp 1.19.4"), option(61, "\x01\x00\x17\x88\x01\x02\x03"))
	run(t, []wire{
		{"v4", protoUDP, 68, 67, all, []string{"dhcp_host Philips-hue", "dhcp_params 01030f06", "dhcp_class udhcp 1.19.4", "dhcp_client_id 01001788010203", "dhcp_client mac"}},
		{"its own MAC", protoUDP, 68, 67, dhcp4(t, option(61, "\x01"+string(own))), []string{"dhcp_params 01030f06", "dhcp_client mac"}},
		{"a DUID of it", protoUDP, 68, 67, dhcp4(t, option(61, "\xff\x00\x00\x00\x01\x00\x03\x00\x01"+string(own))), []string{"dhcp_params 01030f06", "dhcp_client duid-ll"}},
		{"full name", protoUDP, 68, 67, dhcp4(t, option(81, "\x00\x00\x00cam.lan")), []string{"dhcp_params 01030f06", "dhcp_host cam.lan"}},
		{"full name in labels", protoUDP, 68, 67, dhcp4(t, option(81, "\x04\x00\x00\x03cam\x03lan\x00")), []string{"dhcp_params 01030f06", "dhcp_host cam.lan"}},
		{"identifiers", protoUDP, 68, 67, dhcp4(t, option(61, "\xff\x00\x00\x00\x01\x00\x02\x00\x00\xab\x11xxxx")), []string{"dhcp_params 01030f06", "dhcp_client_id ff0000000100020000ab1178787878", "dhcp_client duid-en/43793"}},
		{"text", protoUDP, 68, 67, dhcp4(t, option(61, "\x00abc")), []string{"dhcp_params 01030f06", "dhcp_client_id 00616263", "dhcp_client text"}},
		{"odd", protoUDP, 68, 67, dhcp4(t, option(61, "\x07abc")), []string{"dhcp_params 01030f06", "dhcp_client_id 07616263", "dhcp_client type 7"}},
		{"v6", protoUDP, 546, 547, dhcp6Message(t,
			dhcpv6.WithFQDN(0, "cam.lan"),
			dhcpv6.WithOption(&dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte("MSFT 5.0")}}),
		), []string{"dhcp6_client llt", "dhcp6_client_id 0001000100000007001788010203", "dhcp6_params 00170018", "dhcp6_host cam.lan", "dhcp6_class 343 MSFT 5.0"}},
		{"v6, its own MAC", protoUDP, 546, 547, dhcp6Message(t, dhcpv6.WithClientID(&dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: own})), []string{"dhcp6_client ll", "dhcp6_params 00170018"}},
	})
	// Options in the fields of file and server name, one in three parts (RFC 3396), a full
	// name of more than one option holds.
	overloaded := dhcp4(t, option(52, "\x03"), option(60, strings.Repeat("c", 20)), option(81, "\x00\x00\x00"+strings.Repeat("n", 252)))
	split := slices.Concat(overloaded[:len(overloaded)-1], []byte{81, 3, '.', 'd', 'e', 255})
	copy(split[108:], "\x0c\x03cam\x3c\x02dd\xff\x0c\x01x")
	copy(split[44:], "\x3d\x07\x01\x00\x17\x88\x01\x02\x03\x3c\x01e")
	c := NewCollector(0)
	c.Sample(hue, true, 1, sample(protoUDP, 68, 67, split))
	if d := cmp.Diff([]string{"dhcp_params 01030f06", "dhcp_class " + strings.Repeat("c", 20) + "dde", "dhcp_host " + strings.Repeat("n", MaxValue), "dhcp_host cam", "dhcp_client_id 01001788010203", "dhcp_client mac"}, said(c, hue)); d != "" {
		t.Errorf("of options in other fields: %s", d)
	}
	relayed := bytes.Clone(all)
	relayed[24] = 10 // the relay's own address
	run(t, []wire{{"another's, relayed", protoUDP, 67, 67, relayed, nil}})
	c = NewCollector(0)
	for _, bad := range [][]byte{[]byte("x"), all[:250], append([]byte{2}, all[1:]...), slices.Concat(all[:240], []byte{12, 9, 'x'})} {
		c.Sample(hue, true, 1, sample(protoUDP, 68, 67, bad))
	}
	if got := c.Tally(DHCP); got.Malformed != 4 || got.Read != 0 {
		t.Errorf("tally %+v", got)
	}
	c.Sample(hue, true, 1, sample(protoUDP, 68, 67, all))
	if got := c.Tally(DHCP); got.Read != 1 {
		t.Errorf("tally %+v", got)
	}
	if got, want := c.Stats(), (v1.FactStats{Payloads: 5, Malformed: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for p, got := range c.Tallies {
		if p != DHCP || p.String() != "dhcp" || got.Read != 1 {
			t.Errorf("%v %+v", p, got)
		}
	}
}

// message packs records of DNS.
func message4(t *testing.T, response bool, questions []string, answers, authority, extra []string) []byte {
	t.Helper()
	m := &dns.Msg{Compress: true}
	m.Response = response
	for _, q := range questions {
		name, kind, _ := strings.Cut(q, " ")
		m.Question = append(m.Question, dns.Question{Name: name, Qtype: dns.StringToType[kind], Qclass: 1})
	}
	for _, part := range []struct {
		to   *[]dns.RR
		text []string
	}{{&m.Answer, answers}, {&m.Ns, authority}, {&m.Extra, extra}} {
		for _, line := range part.text {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			*part.to = append(*part.to, rr)
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNames(t *testing.T) {
	query := message4(t, false, []string{"Bridge.MeetHue.com. A", "1.0.168.192.in-addr.arpa. PTR"}, nil, nil, nil)
	offer := message4(t, true, nil, []string{
		`_services._dns-sd._udp.local. 10 PTR _hap._tcp.local.`,
		`_HAP._tcp.local. 10 PTR hue\ v2\.1._hap._tcp.local.`,
		`hue\ v2\.1._hap._tcp.local. 10 TXT "md=BSB002" "ci=2" "sf=1"`,
		`hue\ v2\.1._hap._tcp.local. 10 SRV 0 0 80 Philips-hue.local.`,
	}, nil, []string{`Philips-hue.local. 10 A 192.168.0.2`})
	cast := message4(t, true, nil, []string{`x._googlecast._tcp.local. 10 TXT "md=Chromecast"`, `y._matter._tcp.local. 10 TXT "VP=1+2" "T=0"`}, nil, nil)
	run(t, []wire{
		{"dns", protoUDP, 40000, 53, query, []string{"dns bridge.meethue.com"}},
		{"dns over tcp", protoTCP, 40000, 53, append([]byte{0, byte(len(query))}, query...), []string{"dns bridge.meethue.com"}},
		{"dns answer", protoUDP, 40000, 53, message4(t, true, []string{"a.b. A"}, nil, nil, nil), nil},
		{"mdns", protoUDP, 5353, 5353, offer, []string{
			"mdns_offers _hap._tcp", "mdns_name hue v2.1", "mdns_txt md=BSB002", "homekit md=BSB002", "mdns_txt ci=2", "homekit ci=2",
			"mdns_txt sf=1", "mdns_host Philips-hue"}},
		{"mdns target", protoUDP, 5353, 5353, message4(t, true, nil, []string{`tv._x._tcp.local. 10 SRV 0 0 80 annas-tv.local.`, `tv._x._tcp.local. 10 SRV 0 0 80 tv.example.org.`}, nil, nil),
			[]string{"mdns_name tv", "mdns_offers _x._tcp", "mdns_host annas-tv"}},
		{"mdns models", protoUDP, 5353, 5353, cast, []string{
			"mdns_name x", "mdns_offers _googlecast._tcp", "mdns_txt md=Chromecast", "cast Chromecast",
			"mdns_name y", "mdns_offers _matter._tcp", "mdns_txt VP=1+2", "matter VP=1+2", "mdns_txt T=0"}},
		// What others answered before is not the asking device's.
		{"mdns query", protoUDP, 5353, 5353, message4(t, false,
			[]string{"_hap._tcp.local. PTR", "_light._sub._hue._tcp.local. PTR", "_services._dns-sd._udp.local. PTR", "x.local. A"},
			[]string{`_hap._tcp.local. 10 PTR other._hap._tcp.local.`}, nil, nil), []string{"mdns_asks _hap._tcp", "mdns_asks _hue._tcp", "mdns_asks _dns-sd._udp"}},
		{"mdns probe", protoUDP, 5353, 5353, message4(t, false, []string{"cam.local. ANY"}, nil, []string{"cam.local. 10 A 192.168.0.2"}, nil),
			[]string{"mdns_host cam"}},
		{"llmnr", protoUDP, 50000, 5355, message4(t, false, []string{"WPAD. A"}, nil, nil, nil), []string{"llmnr_asks wpad"}},
		{"llmnr answer", protoUDP, 5355, 50000, message4(t, true, []string{"nas. A"}, []string{"nas. 10 A 192.168.0.2"}, nil, nil), []string{"llmnr_host nas"}},
	})
}

func netbiosCoded(name string) string {
	coded := ""
	for _, c := range []byte((name + strings.Repeat(" ", 15))[:15] + "\x00") {
		coded += string([]byte{'A' + c>>4, 'A' + c&15})
	}
	return coded
}

func TestNetBIOS(t *testing.T) {
	registration := func(name string, flags byte) []byte {
		b := []byte("\x00\x01\x29\x10\x00\x01\x00\x00\x00\x00\x00\x01\x20" + netbiosCoded(name) + "\x00\x00\x20\x00\x01\xc0\x0c\x00\x20\x00\x01\x00\x04\x93\xe0\x00\x06")
		return append(b, flags, 0, 192, 168, 0, 2)
	}
	datagram := []byte("\x11\x02\x00\x01\xc0\xa8\x00\x02\x00\x8a\x00\xbb\x00\x00\x20" + netbiosCoded("MYNAS") + "\x00")
	query := []byte("\x00\x01\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x20" + netbiosCoded("OTHER") + "\x00\x00\x20\x00\x01")
	run(t, []wire{
		{"own", protoUDP, 137, 137, registration("MYNAS", 0), []string{"netbios MYNAS"}},
		{"group", protoUDP, 137, 137, registration("WORKGROUP", 0x80), nil},
		{"question", protoUDP, 137, 137, query, nil},
		{"datagram", protoUDP, 138, 138, datagram, []string{"netbios MYNAS"}},
	})
}

// hello makes a client's hello of what JA4 writes down in the order sent: version,
// ciphers, extensions, signature algorithms.
func hello4(t *testing.T, legacy uint16, name string, protocols []string, versions, ciphers, extensions, algorithms string) []byte {
	t.Helper()
	list := func(text string) (b []byte) {
		for _, s := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
			n, err := strconv.ParseUint(s, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			b = binary.BigEndian.AppendUint16(b, uint16(n))
		}
		return b
	}
	sized := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	body := binary.BigEndian.AppendUint16(nil, legacy)
	body = append(append(body, make([]byte, 32)...), 0)
	body = append(append(body, sized(list(ciphers))...), 1, 0)
	var all []byte
	for _, e := range slices.Collect(slices.Chunk(list(extensions), 2)) {
		var data []byte
		switch binary.BigEndian.Uint16(e) {
		case extServerName:
			data = sized(append([]byte{0}, sized([]byte(name))...))
		case extALPN:
			for _, p := range protocols {
				data = append(append(data, byte(len(p))), p...)
			}
			data = sized(data)
		case extSupportedVersions:
			v := list(versions)
			data = append([]byte{byte(len(v))}, v...)
		case extSignatures:
			data = sized(list(algorithms))
		}
		all = append(append(all, e...), sized(data)...)
	}
	if extensions != "" {
		body = append(body, sized(all)...)
	}
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{22, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
}

// records puts a hello of one record into several, of which all but the last have the
// given sizes.
func records(hello []byte, sizes ...int) (b []byte) {
	message := hello[5:]
	for _, size := range append(sizes, len(message)) {
		size = min(size, len(message))
		b = append(append(b, 22, 3, 1, byte(size>>8), byte(size)), message[:size]...)
		message = message[size:]
	}
	return b
}

// The examples of the specification, "ALPN Extension Value".
func TestEnds(t *testing.T) {
	for protocol, want := range map[string]string{
		"h2": "h2", "http/1.1": "h1", "h": "hh", "\xab": "ab", "\xab\xcd": "ad", "0\xab": "3b", "01\xab\xcd": "3d", "0\xab\xcd1": "01",
	} {
		if got := ends([]byte(protocol)); got != want {
			t.Errorf("%q: %s, want %s", protocol, got, want)
		}
	}
}

// The first two are the fingerprints that the specification and a public echo service
// give of Chrome, the order of ciphers and extensions as sent.
func TestTLS(t *testing.T) {
	const (
		chrome = "0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
		signed = "0403,0804,0401,0503,0805,0501,0806,0601"
	)
	h2 := []string{"h2", "http/1.1"}
	full := hello4(t, 0x303, "Example.com", h2, "3a3a,0304,0303", chrome,
		"2a2a,0000,0017,ff01,000a,000b,0023,0010,0005,000d,0012,0033,002d,002b,001b,4469,fafa,0015", signed)
	run(t, []wire{
		{"specification", protoTCP, 40000, 443, full,
			[]string{"tls_name example.com", "tls_alpn h2,http/1.1", "ja4 t13d1516h2_8daaf6152771_e5627efa2ab1"}},
		{"chrome 143", protoTCP, 40000, 8443, hello4(t, 0x303, "x.y", h2, "6a6a,0304,0303", chrome,
			"1a1a,002d,0033,0010,fe0d,0017,44cd,0000,000b,000a,002b,ff01,0023,0012,0005,000d,001b,4a4a", signed),
			[]string{"tls_name x.y", "tls_alpn h2,http/1.1", "ja4 t13d1516h2_8daaf6152771_d8a2da3f94cd"}},
		{"records", protoTCP, 40000, 443, records(full, 1, 2, 150), []string{"tls_name example.com", "tls_alpn h2,http/1.1", "ja4 t13d1516h2_8daaf6152771_e5627efa2ab1"}},
		// By the specification: no server name, no protocol, an older version.
		{"bare", protoTCP, 40000, 443, hello4(t, 0x301, "", nil, "", "002f,0035", "", ""),
			[]string{"ja4 t10i020000_f54dd463d39b_000000000000"}},
		{"odd protocol", protoTCP, 40000, 443, hello4(t, 0x303, "a.b", []string{"\xab\xcd"}, "", "", "0000,0010", ""),
			[]string{"tls_name a.b", "ja4 t12d0002ad_000000000000_000000000000"}},
		{"empty protocol", protoTCP, 40000, 443, hello4(t, 0x303, "a.b", []string{"", "h2"}, "0a0a", "00ff,5600,fe01", "0000,0010,002b", ""),
			[]string{"tls_name a.b", "tls_alpn ,h2", "ja4 t12d030300_7a963cc9b054_b9a491fefe05"}},
		{"no algorithms", protoTCP, 40000, 443, hello4(t, 0x303, "a.b", h2[:1], "0304", chrome,
			"001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015", "0a0a"),
			[]string{"tls_name a.b", "tls_alpn h2", "ja4 t13d1516h2_8daaf6152771_6d807ffa2a79"}},
	})
	c := NewCollector(0)
	c.Sample(hue, true, 1, sample(protoTCP, 40000, 443, full[:150]))
	if d := cmp.Diff([]string{"tls_name example.com"}, said(c, hue)); d != "" {
		t.Error(d)
	}
	beyond := bytes.Clone(full)
	beyond[bytes.Index(full, []byte("Example.com"))-1] = 200 // longer than its list
	beyond[bytes.Index(full, []byte("http/1.1"))-1] = 200
	c = NewCollector(0)
	c.Sample(hue, true, 1, sample(protoTCP, 40000, 443, beyond))
	if d := cmp.Diff([]string{"tls_alpn h2", "ja4 t13d1516h2_8daaf6152771_e5627efa2ab1"}, said(c, hue)); d != "" {
		t.Errorf("of names beyond their lists: %s", d)
	}
	c = NewCollector(0)
	bad := bytes.Clone(full)
	bad[5+4+2+32] = 200 // a session identifier beyond the message
	for range 2 {
		c.Sample(hue, true, 1, sample(protoTCP, 40000, 443, append(bad[:5+4+2+32+1:5+4+2+32+1], 0, 0)))
	}
	if got := c.Tally(TLS); got.Cut != 2 || got.Malformed != 0 {
		t.Errorf("tally %+v", got)
	}
	c.Sample(hue, true, 1, sample(protoTCP, 40000, 443, bad))
	if got := c.Tally(TLS); got.Malformed != 1 {
		t.Errorf("tally %+v", got)
	}
}

const description = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:Belkin:device:insight:1</deviceType>
<friendlyName>WeMo Insight</friendlyName><manufacturer>Belkin International Inc.</manufacturer><modelDescription>Belkin Insight 1.0</modelDescription>
<modelName>Insight</modelName><modelNumber>1.0</modelNumber><serialNumber>221517K0101769</serialNumber></device></root>`

func TestHTTP(t *testing.T) {
	described := []string{"upnp deviceType: urn:Belkin:device:insight:1", "upnp friendlyName: WeMo Insight", "upnp manufacturer: Belkin International Inc.",
		"upnp modelDescription: Belkin Insight 1.0", "upnp modelName: Insight", "upnp modelNumber: 1.0"}
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nSERVER: Unspecified, UPnP/1.0\r\n\r\n")
	run(t, []wire{
		{"request", protoTCP, 40000, 8080, []byte("GET /x HTTP/1.1\r\nHost: API.example.com\r\nUser-Agent: lwip/2.0\r\nServer: no\r\n\r\nUser-Agent: body\r\n"),
			[]string{"http_host api.example.com", "http_agent lwip/2.0"}},
		{"answer", protoTCP, 49153, 40000, slices.Concat(answer, []byte(description)), append([]string{"http_server Unspecified, UPnP/1.0"}, described...)},
		{"answer's body", protoTCP, 49153, 40000, []byte(description), described},
		{"realm", protoTCP, 80, 40000, []byte("HTTP/1.0 401 Unauthorized\nWWW-Authenticate: Basic realm=\"Default: admin/1234\"\n\n"), []string{"http_realm Default: admin/1234"}},
		{"no header", protoTCP, 40000, 80, []byte("GET / HTTP/1.1\r\n\r\n"), nil},
		{"notify", protoUDP, 1900, 1900, []byte("NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\nUSN: uuid:1\r\nLOCATION: http://x\r\nEXT:\r\nSERVER: Linux UPnP/1.0\r\n\r\n"),
			[]string{"ssdp_offers upnp:rootdevice", "ssdp SERVER: Linux UPnP/1.0"}},
		// Whoever looks for a root device is none, and whoever answers is one.
		{"search", protoUDP, 40000, 1900, []byte("M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nST: upnp:rootdevice\r\n\r\n"),
			[]string{`ssdp MAN: "ssdp:discover"`, "ssdp_asks upnp:rootdevice"}},
		{"found", protoUDP, 1900, 40000, []byte("HTTP/1.1 200 OK\r\nst: upnp:rootdevice\r\n\r\n"), []string{"ssdp_offers upnp:rootdevice"}},
		{"other", protoUDP, 1900, 1900, []byte("hello"), nil},
	})
	c := NewCollector(0)
	c.Sample(hue, false, 1, sample(protoTCP, 80, 40000, []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n")))
	c.Sample(hue, false, 1, sample(protoUDP, 1900, 1900, []byte("NOTIFY * HTTP/1.1\r\nSERVER: x\r\n\r\n")))
	if d := cmp.Diff([]string{"heard http_server nginx"}, said(c, hue)); d != "" {
		t.Error(d)
	}
	c.Sample(hue, true, 1, sample(protoTCP, 40000, 80, []byte("GET /a/long/path")))
	c.Sample(hue, true, 1, sample(protoTCP, 40000, 80, []byte("GET / HTTP/1.1\r\nHost: a")))
	if got := c.Tally(HTTP); got != (Tally{Read: 1, Cut: 2}) {
		t.Errorf("tally %+v", got)
	}
}

// sealed is what TP-Link's plugs send.
func tplinkSealed(text string) []byte {
	key, b := byte(171), []byte(text)
	for i := range b {
		b[i] ^= key
		key = b[i]
	}
	return b
}

func tuyaMessage(body []byte) []byte {
	b := append([]byte("\x00\x00\x55\xaa\x00\x00\x00\x00\x00\x00\x00\x13"), binary.BigEndian.AppendUint32(nil, uint32(len(body)+12))...)
	return slices.Concat(b, []byte{0, 0, 0, 0}, body, []byte("\x01\x02\x03\x04\x00\x00\xaa\x55"))
}

func TestLocalProtocols(t *testing.T) {
	info := tplinkSealed(`{"system":{"get_sysinfo":{"sw_ver":"1.0","type":"IOT.SMARTPLUGSWITCH","model":"HS110(EU)","dev_name":"Wi-Fi Smart Plug","relay_state": 1}}}`)
	plain := []byte(`{"ip":"192.168.0.2","gwId":"1","productKey":"keym9qkuywghyrvs","version":"3.3"}`)
	block, err := aes.NewCipher(tuyaKey())
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(16 - len(plain)%16)}, 16-len(plain)%16)...)
	for at := 0; at < len(padded); at += 16 {
		block.Encrypt(padded[at:], padded[at:])
	}
	tuya := []string{"tuya productKey: keym9qkuywghyrvs", "tuya version: 3.3"}
	tplink := []string{"tplink model: HS110(EU)", "tplink dev_name: Wi-Fi Smart Plug", "tplink type: IOT.SMARTPLUGSWITCH"}
	run(t, []wire{
		{"mqtt", protoTCP, 40000, 1883, []byte("\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05abcde"), []string{"mqtt_protocol MQTT 4", "mqtt_client abcde"}},
		{"mqtt 3.1", protoTCP, 40000, 1883, []byte("\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03abc"), []string{"mqtt_protocol MQIsdp 3", "mqtt_client abc"}},
		{"mqtt 5", protoTCP, 40000, 1883, []byte("\x10\x17\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x05abcde"), []string{"mqtt_protocol MQTT 5", "mqtt_client abcde"}},
		{"tplink", protoTCP, 9999, 40000, append([]byte{0, 0, 0, byte(len(info))}, info...), tplink},
		{"tplink udp", protoUDP, 9999, 40000, info, tplink},
		{"asks tplink", protoUDP, 40000, 9999, info, nil},
		{"tuya", protoUDP, 40000, 6666, tuyaMessage(plain), tuya},
		{"tuya sealed", protoUDP, 40000, 6667, tuyaMessage(padded), tuya},
		{"wsd", protoUDP, 3702, 40000, []byte(`<s:Header><a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</a:Action></s:Header>` +
			`<d:Types />a</d:x><d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types><d:Scopes> onvif://www.onvif.org/hardware/IPC
</d:Scopes>`), []string{"wsd ProbeMatches dn:NetworkVideoTransmitter", "wsd ProbeMatches tds:Device", "wsd ProbeMatches onvif://www.onvif.org/hardware/IPC"}},
	})
}

// fuzz gives a payload to every parser, at both ends and over both protocols.
func fuzz(f *testing.F, ports []uint16, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		payload = payload[:min(len(payload), flows.PayloadPrefix)]
		before := bytes.Clone(payload)
		c := NewCollector(0)
		for _, proto := range []uint8{protoTCP, protoUDP} {
			for _, port := range ports {
				c.Sample(hue, true, 1, sample(proto, port, 40000, payload))
				c.Sample(hue, true, 2, sample(proto, 40000, port, payload))
				c.Sample(hue, false, 3, sample(proto, 40000, port, payload))
			}
		}
		check(t, c.Of(hue))
		if !bytes.Equal(before, payload) {
			t.Error("the payload was changed")
		}
	})
}

func unhex(s string) []byte { b, _ := hex.DecodeString(s); return b }

func FuzzDHCP(f *testing.F) {
	message := append(append([]byte{1}, make([]byte, 235)...), "\x63\x82\x53\x63\x0c\x03cam\x37\x02\x01\x03\x3d\x07\x01\x00\x17\x88\x01\x02\x03\xff"...)
	overloaded := slices.Concat(message[:108], []byte("\x0c\x01.\xff"), message[112:240], []byte{52, 1, 1}, message[240:])
	fuzz(f, []uint16{67}, message, overloaded)
}

func FuzzDHCPv6(f *testing.F) {
	fuzz(f, []uint16{547}, unhex("01abcdef0001000e000100011c39cf88080027fe8f9500060004001700180027000600036c616e00"))
}

func FuzzDNS(f *testing.F) {
	fuzz(f, []uint16{53}, unhex("abcd0100000100000000000003777777076578616d706c6503636f6d0000010001"))
}

func FuzzMDNS(f *testing.F) {
	fuzz(f, []uint16{5353}, unhex("000084000000000100000000045f686170045f746370056c6f63616c00000c000100000078000603687565c00c"))
}

func FuzzLLMNR(f *testing.F) {
	fuzz(f, []uint16{5355}, unhex("abcd00000001000000000000047770616400001c0001"))
}

func FuzzNetBIOS(f *testing.F) {
	fuzz(f, []uint16{137, 138}, []byte("\x00\x01\x29\x10\x00\x01\x00\x00\x00\x00\x00\x01\x20"+netbiosCoded("NAS")+"\x00\x00\x20\x00\x01\xc0\x0c\x00\x20\x00\x01\x00\x00\x00\x00\x00\x06\x00\x00\xc0\xa8\x00\x02"))
}

func FuzzTLS(f *testing.F) {
	fuzz(f, []uint16{443}, unhex("160301004a010000460303"+strings.Repeat("00", 32)+"00"+"0002c02f0100001b0000000800060000036162630010000500030268322b000302030400"))
}

func FuzzHTTP(f *testing.F) {
	fuzz(f, []uint16{80}, []byte("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"+description), []byte("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n"))
}

func FuzzSSDP(f *testing.F) {
	fuzz(f, []uint16{1900}, []byte("NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nSERVER: x\r\n\r\n"))
}

func FuzzWSD(f *testing.F) {
	fuzz(f, []uint16{3702}, []byte(`<a:Action>x/Hello</a:Action><d:Types a="b">c d</d:Types>`))
}

func FuzzMQTT(f *testing.F) {
	fuzz(f, []uint16{1883}, []byte("\x10\x17\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x05abcde"))
}

func FuzzTPLink(f *testing.F) {
	fuzz(f, []uint16{9999}, tplinkSealed(`{"model":"HS110(EU)","type" : "x"}`))
}

func FuzzTuya(f *testing.F) {
	fuzz(f, []uint16{6666, 6667}, tuyaMessage([]byte(`{"productKey":"x","version":"3.1"}`)))
}
