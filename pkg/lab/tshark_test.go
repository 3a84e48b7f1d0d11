package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
)

// protocols are what tshark must recognise in the captures of each kind.
var protocols = map[string]string{
	"camera":          "dhcp dns ntp tls mdns rtsp sdp rtp igmp",
	"smart-plug":      "dhcp dns ntp tls tplink-smarthome",
	"light-bulb":      "dhcp dns ntp coap mdns",
	"hub":             "dhcp dns ntp tls mdns ssdp http coap icmpv6",
	"thermostat":      "dhcp dns ntp tls http",
	"speaker":         "dhcp dns ntp tls mdns ssdp http icmpv6",
	"motion-sensor":   "dhcp dns ntp mqtt http",
	"smoke-alarm":     "dhcp dns ntp coap cbor",
	"printer":         "dhcp dns tls mdns ssdp http ipp",
	"weather-station": "dhcp dns ntp http",
	"television":      "dhcp dns ntp tls mdns ssdp http",
	"vacuum":          "dhcp dns ntp tls data",
}

// TestTsharkAgrees lets an outsider read the captures: nothing malformed, every
// checksum right, TCP without a gap or a repetition, protocols as named. One
// tshark reads them all, in one file; it takes longer to start than to read.
func TestTsharkAgrees(t *testing.T) {
	bin := testenv.Tool(t, "tshark")
	var all Recording
	var kindOf []string // of each frame
	for _, k := range Kinds() {
		for seed := range int64(4) {
			c := generate(t, k, int(seed), seed)
			all.Frames = append(all.Frames, c.Frames...)
			for range c.Frames {
				kindOf = append(kindOf, k)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "lab.pcap")
	if err := os.WriteFile(file, pcap(t, all), 0o644); err != nil {
		t.Fatal(err)
	}
	fields := []string{"frame.protocols", "_ws.malformed", "tcp.analysis.flags", "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmpv6.checksum.status"}
	args := []string{"-r", file, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(bin, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(kindOf) {
		t.Fatalf("tshark reads %d frames of %d", len(lines), len(kindOf))
	}
	seen := map[string]map[string]bool{}
	for i, line := range lines {
		v := strings.Split(line, "\t")
		for n, f := range fields[1:] {
			got := v[n+1]
			if strings.HasSuffix(f, ".status") && (got == "" || got == "1") { // no such layer, or good
				continue
			}
			if got != "" {
				t.Errorf("%s, frame %d (%s): %s is %q", kindOf[i], i+1, v[0], f, got)
			}
		}
		if seen[kindOf[i]] == nil {
			seen[kindOf[i]] = map[string]bool{}
		}
		for _, p := range strings.FieldsFunc(v[0], func(r rune) bool { return r == ':' || r == ',' }) {
			seen[kindOf[i]][p] = true
		}
	}
	for _, k := range Kinds() {
		want := strings.Fields(protocols[k])
		if len(want) == 0 {
			t.Errorf("%s: no protocols named for it here", k)
		}
		for _, w := range want {
			if !seen[k][w] {
				t.Errorf("%s: tshark recognises no %s", k, w)
			}
		}
	}
}
