package analyze

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

var update = flag.Bool("update", false, "write the golden files")

// household is a small data set: two classes, three units, four captures.
func household() []made {
	const plug1, plug2, cam = "02:00:00:00:a1:b2", "02:00:00:00:c3:d4", "02:00:00:00:e5:f6"
	var records []made
	add := func(label, unit, capture, split, device string, rs ...made) {
		for i, r := range rs {
			r.label, r.unit, r.capture, r.split, r.device, r.at = label, unit, capture, split, device, int64(10*i)
			records = append(records, r)
		}
	}
	dns := made{proto: udp, dev: 40000, rem: 53, payloads: []string{"\x00\x01query", "\x00\x01answer"}}
	ntp := made{proto: udp, dev: 123, rem: 123, remote: "203.0.113.123", payloads: []string{"\x1b\x00", "\x1c\x00"}}
	hello := func(name string) made {
		return made{proto: tcp, dev: 49152, rem: 80, remote: "198.51.100.7", payloads: []string{"", "", "GET /plug?name=" + name}, packets: 14}
	}
	igmp := made{proto: 2, dev: flows.Missing, rem: flows.Missing, remote: "224.0.0.251", payloads: []string{""}}
	add("Plug", "plug-1", "plug/1.pcap", "train", plug1, dns, ntp, hello("Plug-A1B2"), ntp)
	add("Plug", "plug-1", "plug/2.pcap", "test", plug1, dns, hello("Plug-A1B2"))
	add("Plug", "plug-2", "plug/3.pcap", "test", plug2, dns, ntp, hello("Plug-C3D4"))
	add("Cam", "cam-1", "cam/1.pcap", "train", cam, igmp, dns, made{proto: tcp, dev: 554, rem: 51000, payloads: []string{"RTSP/1.0 camera 192.168.7.20"}})
	return records
}

func TestGolden(t *testing.T) {
	result := analyzeMade(Config{Leaks: true}, household())
	var text bytes.Buffer
	if err := WriteText(&text, result); err != nil {
		t.Fatal(err)
	}
	blob, err := json.MarshalIndent(result, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"household.json": append(blob, '\n'), "household.txt": text.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; if that is meant, run go test ./pkg/analyze -update and read the diff", path)
		}
	}
}

func TestDeterministic(t *testing.T) {
	var first []byte
	for range 5 {
		blob, err := json.Marshal(analyzeMade(Config{Leaks: true}, household()))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = blob
		}
		if !bytes.Equal(blob, first) {
			t.Fatal("the same records give another result")
		}
	}
}

func TestMetadataByHand(t *testing.T) {
	r := analyzeMade(Config{}, []made{
		{label: "A", proto: udp, dev: 1, rem: 53, remote: "198.51.100.1", payloads: []string{"x"}},
		{label: "A", proto: udp, dev: 2, rem: 53, remote: "198.51.100.2", payloads: []string{"x"}},
		{label: "A", proto: udp, dev: 3, rem: 53, remote: "203.0.113.1", payloads: []string{"x"}},
		{label: "A", proto: udp, dev: 4, rem: 53, remote: "203.0.113.1", payloads: []string{"x", "y"}},
		{label: "A", proto: 1, dev: flows.Missing, rem: flows.Missing, remote: "203.0.113.1", payloads: []string{"x", "y", "z"}},
	})
	// Without ports a flow has no place in the ports' entropy.
	want := map[string]struct {
		entropy float64
		records uint64
	}{
		"device_port": {2, 4}, "remote_port": {0, 4},
		"remote_ipv4": {1.370951, 5},                                                         // 1, 1, 3
		"remote_o1":   {0.970951, 5}, "remote_o2": {0.970951, 5}, "remote_o3": {0.970951, 5}, // 2, 3
		"remote_o4":    {0.721928, 5}, // 1, 4
		"packet_count": {1.370951, 5}, "byte_count": {1.370951, 5},
	}
	for _, f := range r.Classes[0].Metadata {
		if w := want[f.Field]; f.Entropy != w.entropy || f.Records != w.records {
			t.Errorf("%s: %v over %d records, want %v over %d", f.Field, f.Entropy, f.Records, w.entropy, w.records)
		}
	}
}

func TestIPv6(t *testing.T) {
	four := made{label: "A", capture: "c", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, payloads: []string{"4"}}.record()
	six := made{label: "A", capture: "c", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 5353, payloads: []string{"6"}}.record()
	six.Remote = netip.MustParseAddr("ff02::fb")
	for _, tt := range []struct {
		cfg                           Config
		flows, transitions, addresses uint64
	}{
		{Config{}, 1, 0, 1},
		{Config{IPv6: true}, 2, 1, 1},
	} {
		a := New(tt.cfg)
		a.Add(four)
		a.Add(six)
		c := a.Result().Classes[0]
		if c.Records != 2 || c.IPv6 != 1 || c.Shares.ShortFlows.Of != tt.flows || c.Services.Total != tt.transitions || c.Metadata[2].Records != tt.addresses {
			t.Errorf("%+v: %d records, %d IPv6, %d flows, %d transitions, %d addresses", tt.cfg, c.Records, c.IPv6, c.Shares.ShortFlows.Of, c.Services.Total, c.Metadata[2].Records)
		}
	}
}

// A records file has no local address: that its records hold none of it is no finding.
func TestStoredRecordsAreTold(t *testing.T) {
	a := New(Config{Leaks: true})
	whole := made{label: "A", capture: "c", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, payloads: []string{"x"}}.record()
	stored := whole
	record := *whole.Record
	record.RemoteAddr, record.DeviceAddr = netip.Addr{}, netip.Addr{}
	stored.Record = &record
	for i, r := range []flows.LabelledRecord{whole, stored} {
		a.Add(r)
		var text strings.Builder
		if err := WriteText(&text, a.Result()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text.String(), "1 of the records are of "+StoredNote); got != (i == 1) {
			t.Errorf("after record %d: told %v", i+1, got)
		}
	}
}

func TestClassesWithoutLabels(t *testing.T) {
	r := analyzeMade(Config{Leaks: true}, []made{{capture: "c", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53}})
	if r.Classes[0].Label != "02:00:00:00:00:0a" || r.Leaks.Classes[0].Label != r.Classes[0].Label {
		t.Errorf("class %q, want the device's name", r.Classes[0].Label)
	}
}

func TestClassLimit(t *testing.T) {
	a := New(Config{Leaks: true})
	for i := range maxClasses + 5 {
		a.Add(made{label: strings.Repeat("x", i+1), device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53}.record())
	}
	r := a.Result()
	if len(r.Classes) != maxClasses+1 || r.Classes[0].Label != otherClass || r.Classes[0].Records != 5 || r.Records != maxClasses+5 {
		t.Errorf("%d classes, first %s of %d records, %d in all", len(r.Classes), r.Classes[0].Label, r.Classes[0].Records, r.Records)
	}
}
