package makers

import (
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

func mac(t *testing.T, s string) flows.MAC {
	t.Helper()
	m, err := flows.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOf(t *testing.T) {
	for address, want := range map[string]string{
		"00:17:88:24:76:ff": "Philips Lighting",
		"50:c7:bf:00:56:39": "TP-LINK",
		"00:00:00:00:00:00": "XEROX",
		"ff:ff:ff:ff:ff:ff": "",
		"02:17:88:24:76:ff": "",        // local
		"01:00:5e:00:00:fb": "",        // a group
		"70:b3:d5:00:00:01": "",        // a block of blocks
		"00:50:c2:f7:1f:ff": "RF Code", // a part of one that was given away until 2014
	} {
		if got := Of(mac(t, address)); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

const listing = `Registry,Assignment,Organization Name,Organization Address
MA-L,00E04C,REALTEK SEMICONDUCTOR CORP.,Hsinchu
MA-L,00E04D,"Realtek Semiconductor Co., Ltd.",Hsinchu
MA-L,1000AA,Realtek Semiconductor Corp.,Hsinchu
MA-L,70B3D5,IEEE Registration Authority,Piscataway
MA-M,1000BB7,"Shenzhen Éclair (Smart) Technology Co.,Ltd",Shenzhen
MA-S,70B3D5123,Ünder & Co KG,Wien
MA-S,70B3D5124,The Very Long Name Of A Manufacturer Of Things,Wien
`

// Of packed prefixes each has its maker, the ones before and after it have none, at
// every distance from the remembered ones.
func TestPack(t *testing.T) {
	list, err := ReadCSV(strings.NewReader(listing))
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(1000) {
		name := "Many"
		if i%3 == 0 {
			name = "One" + strings.Repeat("x", int(i/3%20)) + string(rune('a'+i/60))
		}
		list = append(list, Assignment{Bits: 24, Prefix: 0x200000 + 2*i, Name: name})
	}
	packed, err := Pack(list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := open(packed)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"00:e0:4c:01:02:03": "Realtek",
		"00:e0:4d:01:02:03": "Realtek",
		"10:00:bb:7f:ff:ff": "clair",
		"10:00:bb:8f:ff:ff": "",
		"70:b3:d5:12:3f:ff": "nder",
		"70:b3:d5:12:40:00": "Very Long Name Of A",
		"70:b3:d5:12:50:00": "",
		"00:00:00:00:00:00": "",
		"ff:ff:ff:ff:ff:ff": "",
	} {
		if name := got.of(mac(t, address)); name != want {
			t.Errorf("%s: %q, want %q", address, name, want)
		}
	}
	for _, a := range list[len(list)-1000:] {
		m := flows.MAC{byte(a.Prefix >> 16), byte(a.Prefix >> 8), byte(a.Prefix), 1, 2, 3}
		if name := got.of(m); name != a.Name {
			t.Errorf("%v: %q, want %q", m, name, a.Name)
		}
		if m[2]++; got.of(m) != "" {
			t.Errorf("%v: %q, want none", m, got.of(m))
		}
	}
}

func TestReadCSVErrors(t *testing.T) {
	for _, bad := range []string{"a,b,c\nMA-L,XYZ,Name", "a,b\nMA-L,001122", "a,b,c\n\"", "a,b,c\nMA-L,0011223344556677,Name"} {
		if list, err := ReadCSV(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %v, want an error", bad, list)
		}
	}
}

// A damaged list is refused, wherever it ends.
func TestOpenRefuses(t *testing.T) {
	list, err := ReadCSV(strings.NewReader(listing))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Pack(list)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if _, err := open(whole[:cut]); err == nil {
			t.Errorf("a list cut after %d of %d bytes is taken", cut, len(whole))
		}
	}
	for _, data := range []string{"\x01\x05\x00\x00\x00\x80\x00", "\x00\x00\x00\x00x"} {
		if _, err := open([]byte(data)); err == nil {
			t.Errorf("%q is taken", data)
		}
	}
}

func TestShorten(t *testing.T) {
	for name, want := range map[string]string{
		"TP-LINK TECHNOLOGIES CO.,LTD.":           "TP-LINK",
		"TP-Link Systems Inc":                     "TP-Link",
		"Samsung Electronics Co.,Ltd":             "Samsung",
		"LG Electronics (Mobile Communications)":  "LG",
		"Hangzhou Hikvision Digital Technology":   "Hikvision Digital",
		"Co.,Ltd.":                                "Co",
		"(broken":                                 "(broken",
		"":                                        "",
		"eQ-3 Entwicklung GmbH":                   "eQ-3 Entwicklung",
		"Somfy SAS (a":                            "Somfy SAS (a",
		"Donaudampfschifffahrtsgesellschaft GmbH": "Donaudampfschifffahrtsgesellschaft",
	} {
		if got := shorten(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	m := flows.MAC{0x50, 0xc7, 0xbf, 0, 0x56, 0x39}
	for range b.N {
		Of(m)
		m[1]++
	}
}
