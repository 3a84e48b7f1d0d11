package identifiers

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

func record(payloads ...string) *flows.Record {
	r := &flows.Record{
		Device: "02:1f:3c:4d:5e:6f", Proto: 17, DevPort: 5000, RemPort: 1900, Remote: netip.IPv4Unspecified(),
		DeviceAddr: netip.MustParseAddr("192.168.7.20"), RemoteAddr: netip.MustParseAddr("192.168.7.1"),
	}
	for _, p := range payloads {
		r.Packets = append(r.Packets, flows.RowPacket{Payload: []byte(p)})
	}
	return r
}

func TestScrub(t *testing.T) {
	for _, tt := range []struct{ name, payload, want string }{
		{"nothing", "GET /setup.xml HTTP/1.1\r\n", "GET /setup.xml HTTP/1.1\r\n"},
		{"MAC", "\x01\x02\x1f\x3c\x4d\x5e\x6f\x02", "\x01\x00\x00\x00\x00\x00\x00\x02"},
		{"twice", "id=02:1F:3c:4D:5e:6f, id=02:1F:3c:4D:5e:6f", "id=xxxxxxxxxxxxxxxxx, id=xxxxxxxxxxxxxxxxx"},
		{"tail", "Plug-X150-5E6F.local", "Plug-X150-xxxx.local"},
		{"own address", "Host: 192.168.7.20:49153", "Host: xxxxxxxxxxxx:49153"},
		{"remote address", "\x36\x04\xc0\xa8\x07\x01", "\x36\x04\x00\x00\x00\x00"},
		{"private address", "..10.1.2.3..", "..xxxxxxxx.."},
		{"UUID", "uuid:2f402f80-da50-11e1-9b23-00178824760f!", "uuid:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx!"},
		{"after bytes that are no text", "\xff\xc3\x9f 02:1F:3c:4D:5e:6f", "\xff\xc3\x9f xxxxxxxxxxxxxxxxx"},
		{"serial", "serial PVT42XK9031!", "serial xxxxxxxxxxx!"},
	} {
		r := record("first", tt.payload)
		got := Scrub(r)
		if string(got.Packets[1].Payload) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got.Packets[1].Payload, tt.want)
		}
		if string(r.Packets[1].Payload) != tt.payload {
			t.Errorf("%s: the record it was given changed", tt.name)
		}
		if (got == r) != (tt.payload == tt.want) || string(got.Packets[0].Payload) != "first" {
			t.Errorf("%s: same record %v, first payload %q", tt.name, got == r, got.Packets[0].Payload)
		}
		if again := Scrub(got); again != got {
			t.Errorf("%s: scrubbing twice is not scrubbing once", tt.name)
		}
	}
}

func TestScrubDHCP(t *testing.T) {
	message := bytes.Repeat([]byte{1}, 236)
	message = append(message, 0x63, 0x82, 0x53, 0x63)
	message = append(message, 53, 1, 3, 0, 50, 4, 10, 0, 0, 9, 55, 2, 1, 3, 61, 3, 1, 2, 3, 255)
	want := bytes.Clone(message)
	clear(want[12:44])
	clear(want[240+6 : 240+10])  // option 50
	clear(want[240+16 : 240+19]) // option 61
	r := record(string(message), string(message[:250]), "too short")
	r.DevPort, r.RemPort = 68, 67
	got := Scrub(r)
	if !bytes.Equal(got.Packets[0].Payload, want) {
		t.Errorf("got  %v\nwant %v", got.Packets[0].Payload[236:], want[236:])
	}
	if !bytes.Equal(got.Packets[1].Payload, want[:250]) || string(got.Packets[2].Payload) != "too short" {
		t.Error("a message that is cut is not masked as far as it goes")
	}
	r.RemPort = 1900
	if Scrub(r) != r {
		t.Error("masked what is not DHCP")
	}
}

// Whatever the bytes, masking never panics and keeps their number.
func FuzzScrub(f *testing.F) {
	f.Add([]byte("Plug-X150-5E6F.local 192.168.7.20 10.0.0.1"))
	f.Add([]byte("\xff\xff\xff 02:1f:3c:4d:5e:6f"))
	f.Add([]byte("2f402f80-da50-11e1-9b23-00178824760f"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r := record(string(payload))
		r.DevPort, r.RemPort = 68, 67
		if got := Scrub(r).Packets[0].Payload; len(got) != len(payload) {
			t.Errorf("%d bytes, want %d", len(got), len(payload))
		}
	})
}
