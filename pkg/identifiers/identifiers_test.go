package identifiers

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSearch(t *testing.T) {
	n := NewFinder("02:1f:3c:4d:5e:6f",
		[]netip.Addr{netip.MustParseAddr("192.168.7.20")}, []netip.Addr{netip.MustParseAddr("192.168.7.1")})
	for _, tt := range []struct {
		name, payload string
		want          []string
	}{
		{"nothing", "", nil},
		{"plain text", "GET /setup.xml HTTP/1.1\r\n", nil},
		{"MAC, bytes", "\x01\x02\x1f\x3c\x4d\x5e\x6f\x00", []string{"mac_binary"}},
		{"MAC, colons", "id=02:1F:3c:4D:5e:6f", []string{"mac_text"}},
		{"MAC, dashes", "id=02-1f-3c-4d-5e-6f", []string{"mac_text"}},
		{"MAC, bare", "plug021F3C4D5E6F", []string{"mac_text", "serial"}},
		{"EUI-64, bytes", "\xfe\x80\x00\x1f\x3c\xff\xfe\x4d\x5e\x6f", []string{"mac_eui64"}},
		{"EUI-64 as an address", "fe80::1f:3cff:fe4d:5e6f", []string{"mac_eui64", "mac_tail"}},
		{"EUI-64 reversed", "f.6.e.5.d.4.e.f.f.f.c.3.f.1.0.0.ip6.arpa", []string{"mac_eui64"}},
		{"another interface", "02:1f:3c:4d:5e:70", []string{"mac_neighbour"}},
		{"two bytes of it", "Plug-X150-5E6F.local", []string{"mac_tail"}},
		{"three bytes of it", "Camera_4D5E6F", []string{"mac_tail"}},
		{"not a word", "Plug-X5E6Fx.local", nil},
		{"in no text", "\x00\x015E6F\x02\x03", nil},
		{"own address, bytes", "\x35\xc0\xa8\x07\x14", []string{"own_address_binary"}},
		{"own address, text", "Host: 192.168.7.20:49153", []string{"own_address_text"}},
		{"a longer address is another", "192.168.7.200", []string{"local_address_text"}},
		{"gateway, bytes", "\x36\x04\xc0\xa8\x07\x01", []string{"local_address_binary"}},
		{"another private address", "http://10.1.2.3/", []string{"local_address_text"}},
		{"a public address", "http://8.8.4.4/", nil},
		{"no address", "version 10.1.2.3.4", nil},
		{"UUID", "uuid:2F402F80-DA50-11E1-9B23-00178824760F!", []string{"uuid", "serial"}},
		{"nearly a UUID", "2F402F80-DA50-11E1-9B23-0017882476xy", []string{"serial"}},
		{"serial number", "<serialNumber>PVT42XK9031</serialNumber>", []string{"serial"}},
		{"a word of letters", "serialNumberless", nil},
		{"a number", "1472729032788901", nil},
	} {
		k := n.Kinds([]byte(tt.payload))
		var got []string
		for kind, info := range Infos {
			if Kind(kind) < AnyMAC && k.Has(Kind(kind)) {
				got = append(got, info.Key)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		anyMACWanted := slices.ContainsFunc(tt.want, func(s string) bool { return s[:3] == "mac" })
		if k.Has(AnyMAC) != anyMACWanted || k.Has(AnyIdentifier) != (len(tt.want) > 0) {
			t.Errorf("%s: unions %v, %v", tt.name, k.Has(AnyMAC), k.Has(AnyIdentifier))
		}
	}
}

func TestSearchWithoutMAC(t *testing.T) {
	n := NewFinder("Amazon Echo", nil, nil) // a published file's device
	if k := n.Kinds([]byte("\x00\x00\x00\x00\x00\x00 and text without any")); k != 0 {
		t.Errorf("found %b in nothing", k)
	}
}

func TestNamesUnit(t *testing.T) {
	devices := []*Finder{NewFinder("02:1f:3c:4d:5e:6f", nil, nil)}
	for text, want := range map[string]bool{
		"DCH-S150":                             false,
		"DCH-S150-5E6F":                        true,
		"ESP_4D5E6F":                           true,
		"plug021F3C4D5E6F":                     true,
		"http://192.168.7.20:49153/setup.xml":  true,
		"2F402F80-DA50-11E1-9B23-00178824760F": true,
		"www.example.com":                      false,
		"SN4711X0815":                          true,
		"urn:Maker:device:controllee:1":        false,
	} {
		if got := NamesUnit(text, devices); got != want {
			t.Errorf("%s names a unit: %v, want %v", text, got, want)
		}
	}
}
