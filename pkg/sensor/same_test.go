package sensor

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/registry"
)

// A device is said to be another one only where it may have changed its MAC.
func TestSuggestSame(t *testing.T) {
	device := func(name, host string, random bool, first, last int64) v1.DeviceVerdict {
		return v1.DeviceVerdict{
			Verdict: v1.Verdict{Device: name, Facts: v1.Facts{"dhcp_host": host}}, RandomMAC: random, FirstSeen: v1.UnixMicro(first), LastSeen: v1.UnixMicro(last),
		}
	}
	list := []v1.DeviceVerdict{
		device("c", "phone", true, 300, 400), device("a", "phone", true, 1, 99), device("b", "phone", true, 100, 250),
		device("twin", "phone", true, 50, 500),     // there at the same time
		device("fixed", "plug", false, 1, 9),       // its MAC stays
		device("fixed too", "plug", false, 10, 20), // another unit
		device("nameless", "", true, 1, 2), device("nameless too", "", true, 3, 4),
		device("common", "iPhone", true, 1, 2), device("common too", "iphone.local", true, 3, 4),
	}
	suggestSame(list)
	for i, want := range []string{"b a", "b c", "a c", "", "", "", "", "", "", ""} {
		if got := strings.Join(list[i].SameAs, " "); got != want {
			t.Errorf("%s: same as %q, want %q", list[i].Device, got, want)
		}
	}
	flood := make([]v1.DeviceVerdict, 1000)
	for i := range flood {
		flood[i] = device(string(rune('a'+i)), "phone", true, int64(10*i), int64(10*i+5))
	}
	suggestSame(flood)
	if last := &flood[len(flood)-1]; len(last.SameAs) != mostSame || last.SameAs[0] != flood[len(flood)-2].Device {
		t.Errorf("the last of a flood may be %d others, %q first", len(last.SameAs), last.SameAs[0])
	}
}

// stay is what a capture has of a device: what it said under one MAC.
type stay struct {
	mac      string
	from     int64  // s, for a minute
	client   string // option 61
	host     string // option 12
	instance string // of a service, mDNS
	target   string // that the service is at
}

// play makes a capture of stays, and lists its devices.
func play(t *testing.T, stays ...stay) []v1.DeviceVerdict {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, s := range stays {
		for at := s.from; at <= s.from+60; at += 60 {
			for _, frame := range s.frames(t) {
				if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(at, 0), CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	said, r := facts.NewCollector(0), registry.New(registry.Config{})
	cfg := capture.Config{RecordSpec: flows.DefaultRecordSpec(), Observe: said.Sample}
	if _, err := capture.ReadPackets(t.Context(), &file, cfg, func(rec *flows.Record) { r.Record(rec) }); err != nil {
		t.Fatal(err)
	}
	list := r.Devices()
	for i := range list {
		said.Of(list[i].Device).Tell(&list[i].Verdict)
	}
	return list
}

func (s *stay) frames(t *testing.T) [][]byte {
	t.Helper()
	mac, err := net.ParseMAC(s.mac)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(from string, to [6]byte, target string, ports [2]uint16, payload []byte) []byte {
		ip := packet.IP{Src: netip.MustParseAddr(from), Dst: netip.MustParseAddr(target), Proto: 17}
		return packet.EthernetFrom([6]byte(mac), to, 0x0800, packet.IPv4(ip, packet.UDP(ports[0], ports[1], payload)))
	}
	options := []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionHostName, []byte(s.host))}
	if s.client != "" {
		options = append(options, dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, []byte(s.client)))
	}
	asks, err := dhcpv4.NewDiscovery(mac, options...)
	if err != nil {
		t.Fatal(err)
	}
	frames := [][]byte{frame("0.0.0.0", [6]byte{255, 255, 255, 255, 255, 255}, "255.255.255.255", [2]uint16{68, 67}, asks.ToBytes())}
	if s.instance == "" {
		return frames
	}
	answer := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	rr, err := dns.NewRR(s.instance + "._device-info._tcp.local. 10 SRV 0 0 80 " + s.target + ".local.")
	if err != nil {
		t.Fatal(err)
	}
	answer.Answer = []dns.RR{rr}
	b, err := answer.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(frames, frame("192.168.0.7", [6]byte{1, 0, 0x5e, 0, 0, 251}, "224.0.0.251", [2]uint16{5353, 5353}, b))
}

// Captures of devices that come back under another random MAC: by what they are known again.
func TestSameInCaptures(t *testing.T) {
	const one, two, fixed = "02:11:22:33:44:01", "06:11:22:33:44:02", "50:c7:bf:00:00:01"
	duid := "\x00\x01\x00\x01\x00\x00\x00\x07\x50\xc7\xbf\x00\x00\x01"
	for _, tt := range []struct {
		name         string
		first, later stay
		want         string // by what they may be one
	}{
		{"client id", stay{client: "\x00laptop-17"}, stay{client: "\x00laptop-17"}, v1.SameClientID},
		{"DUID, another IAID", stay{client: "\xff\x00\x00\x00\x01" + duid}, stay{client: "\xff\x00\x00\x00\x02" + duid}, v1.SameClientID},
		{"the MAC that it had", stay{}, stay{client: "\x01\x02\x11\x22\x33\x44\x01"}, v1.SameClientID},
		{"the MAC that it has", stay{client: "\x01\x02\x11\x22\x33\x44\x01"}, stay{client: "\x01\x06\x11\x22\x33\x44\x02"}, ""},
		{"other client ids, one name", stay{client: "\x00laptop-17", host: "lab"}, stay{client: "\x00laptop-18", host: "lab"}, ""},
		{"service", stay{instance: "Anna", target: "a"}, stay{instance: "Anna", target: "b"}, v1.SameMDNSName},
		{"service's host", stay{instance: "x", target: "Annas-Phone"}, stay{instance: "y", target: "annas-phone"}, v1.SameMDNSName},
		{"host", stay{host: "annas-phone"}, stay{host: "annas-phone"}, v1.SameHostName},
		{"host of each its own way", stay{host: "annas-phone"}, stay{instance: "x", target: "annas-phone"}, v1.SameHostName},
		{"common names", stay{host: "android", instance: "iPhone", target: "localhost"}, stay{host: "android", instance: "iPhone", target: "iPhone-2"}, ""},
		{"there at once", stay{host: "annas-phone"}, stay{host: "annas-phone", from: 1030}, ""},
		{"two fixed MACs", stay{mac: fixed, host: "plug"}, stay{mac: "50:c7:bf:00:00:02", host: "plug"}, ""},
		{"one of them fixed", stay{mac: fixed, host: "laptop"}, stay{host: "laptop"}, v1.SameHostName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.first.from = 1000; tt.first.mac == "" {
				tt.first.mac = one
			}
			if tt.later.mac == "" {
				tt.later.mac = two
			}
			if tt.later.from == 0 {
				tt.later.from = 5000
			}
			list := play(t, tt.first, tt.later)
			if len(list) != 2 {
				t.Fatalf("%d devices", len(list))
			}
			suggestSame(list)
			if got := len(list[0].SameAs) > 0; got != (tt.want != "") || got != (len(list[1].SameAs) > 0) {
				t.Errorf("same as %v and %v", list[0].SameAs, list[1].SameAs)
			}
			if got := list[0].SameBy(&list[1]); tt.want != "" && (got != tt.want || list[1].SameBy(&list[0]) != got) {
				t.Errorf("by %q, want %q", got, tt.want)
			}
		})
	}
}
