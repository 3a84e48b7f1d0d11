package analyze

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

func TestPayloadBytes(t *testing.T) {
	var p payload
	for _, payloads := range [][]string{
		{"\x00\x05", "a"},
		{"\xff\x05", ""},
		{"\xff\x05"},
		{"\x00\x05\x03"},
	} {
		r := made{payloads: payloads}.record()
		p.add(r.Record)
	}
	got := p.result()
	if len(got) != flows.RowPackets {
		t.Fatalf("%d packets, want %d", len(got), flows.RowPackets)
	}
	for _, tt := range []struct {
		packet, place            int
		records                  uint32
		entropy, mean, deviation float64
	}{
		{0, 0, 4, 1, 127.5, 127.5},
		{0, 1, 4, 0, 5, 0},
		{0, 2, 1, 0, 3, 0},
		{1, 0, 1, 0, 'a', 0},
	} {
		q := got[tt.packet]
		if q.Records[tt.place] != tt.records || q.Entropy[tt.place] != tt.entropy || q.Mean[tt.place] != tt.mean || q.Deviation[tt.place] != tt.deviation {
			t.Errorf("P%02d_B%03d: %d records, entropy %v, mean %v, deviation %v; want %v", tt.packet, tt.place,
				q.Records[tt.place], q.Entropy[tt.place], q.Mean[tt.place], q.Deviation[tt.place], tt)
		}
	}
	if got[0].Packet != "P00" || len(got[0].Entropy) != 3 || len(got[1].Entropy) != 1 || len(got[2].Entropy) != 0 {
		t.Errorf("places: %d, %d, %d; want 3, 1, 0", len(got[0].Entropy), len(got[1].Entropy), len(got[2].Entropy))
	}
}

func TestPayloadUniformByte(t *testing.T) {
	var p payload
	for v := range 256 {
		r := made{payloads: []string{string([]byte{byte(v)})}}.record()
		p.add(r.Record)
	}
	got := p.result()[0]
	if got.Entropy[0] != 8 || got.Mean[0] != 127.5 || math.Abs(got.Deviation[0]-73.900271) > 1e-6 {
		t.Errorf("all byte values once: entropy %v, mean %v, deviation %v", got.Entropy[0], got.Mean[0], got.Deviation[0])
	}
}

func TestKnownPayloads(t *testing.T) {
	full := strings.Repeat("x", flows.PayloadPrefix)
	for _, tt := range []struct {
		name     string
		fromFile bool
		payloads []string
		want     int
	}{
		{"live: all", false, []string{full, full, full, full, ""}, 5},
		{"file: short packets are whole", true, []string{"a", "", "b"}, 3},
		{"file: two full packets fit, the third is cut", true, []string{full, full, full[:995], "", ""}, 2},
		{"file: exactly full", true, []string{full, full, full[:994]}, 3},
		{"file: the empty one after a full section is unknown", true, []string{full, full, full[:994], ""}, 3},
	} {
		r := made{payloads: tt.payloads}.record()
		if tt.fromFile {
			r.RemoteAddr, r.DeviceAddr = netip.Addr{}, netip.Addr{}
		}
		if got := knownPayloads(r.Record); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
