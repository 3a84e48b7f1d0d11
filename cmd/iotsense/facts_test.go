package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
)

// knowing is a sensor that knows one device.
type knowing struct{ api.Source }

func (knowing) ID() string { return "0d" }

func (knowing) Stats() (v1.Stats, error) { return v1.Stats{}, nil }

func (knowing) Facts(device string) ([]v1.Fact, error) {
	if device != "02:00:00:00:00:0d" {
		return []v1.Fact{}, nil
	}
	return []v1.Fact{{Device: device, Kind: "dhcp_host", Value: "plug", Source: "sent", Count: 2}}, nil
}

func (knowing) Peers(device string) (v1.Peers, error) {
	p := v1.Peers{Device: device, LeftOut: 2}
	if by := v1.OpenedByDevice; device == "02:00:00:00:00:0d" {
		p.Peers = []v1.Peer{{Peer: "api.example.com", IPVersion: 4, Proto: 6, Port: 443, OpenedBy: &by, Last: v1.UnixMicro(1e15)}}
	}
	return p, nil
}

func (knowing) Devices() ([]v1.DeviceVerdict, error) { return nil, nil }

func (knowing) Flows(int) ([]v1.Flow, int, error) { return nil, 0, nil }

// answer has source answer on a socket until the test ends, and returns the socket's path.
func answer(t *testing.T, source api.Source) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	go func() { api.Serve(ctx, l, source, slog.New(slog.DiscardHandler)); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return path
}

// A running sensor is asked for one device.
func TestLiveFacts(t *testing.T) {
	path := answer(t, knowing{})
	for _, tt := range []struct {
		args   []string
		status int
		prints string
		says   string
	}{
		{[]string{"02:00:00:00:00:0D"}, 0, "plug", ""},
		{[]string{"02-00-00-00-00-0d", "--json"}, 0, `"capture":null,"kind":"dhcp_host","value":"plug"`, ""},
		{[]string{"02:00:00:00:00:0e"}, terminal.ExitFailed, "", "the sensor has not seen it"},
		{[]string{"02:00:00:00:00:0d", "--socket", path + "x"}, terminal.ExitFailed, "", "start `iotsense run`"},
	} {
		stdout, stderr, status := command(t, append([]string{"facts", "--socket", path}, tt.args...)...)
		if status != tt.status || !strings.Contains(stdout, tt.prints) || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: status %d, stdout %q, stderr %q", tt.args, status, stdout, stderr)
		}
	}
}

// A device's MUD file comes of a running sensor, or of a capture; of which device has to be clear.
func TestMUD(t *testing.T) {
	path := answer(t, knowing{})
	readHere(t)
	raw := pcap(t, layers.LinkTypeRaw, 1500, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(40000, 53, []byte("q"))))
	if err := os.WriteFile("d/raw.pcap", raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		status int
		prints string
		says   string
	}{
		{[]string{"02:00:00:00:00:0D", "--socket", path}, 0, `"ietf-acldns:dst-dnsname": "api.example.com"`, "2 packets were to more peers"},
		{[]string{"02:00:00:00:00:0d", "--socket", path, "--url", "https://mud.example.org/x"}, 0, `"mud-url": "https://mud.example.org/x"`, "2 packets"},
		{[]string{"02:00:00:00:00:0e", "--socket", path}, terminal.ExitFailed, "", "the sensor has not seen it"},
		{[]string{"d/raw.pcap"}, 0, `"destination-ipv4-network": "198.51.100.9/32"`, ""},
		{[]string{"d/raw.pcap", "--device", "192.168.7.2"}, 0, `"port": 53`, ""},
		{[]string{"d/raw.pcap", "--device", "192.168.7.3"}, terminal.ExitFailed, "", "no packet of it"},
		{[]string{"d/raw.pcap", "--device", "plug"}, terminal.ExitUsage, "", "--device"},
		{[]string{"d/raw.pcap", "--url", "http://mud.example.org/x"}, terminal.ExitUsage, "", "want https://HOST"},
		{[]string{"d/raw.pcap", "--socket", path}, terminal.ExitUsage, "", "by MAC"},
		{[]string{"02:00:00:00:00:0d", "--device", "02:00:00:00:00:0d"}, terminal.ExitUsage, "", "for captures"},
		{nil, terminal.ExitUsage, "", "name one device's MAC"},
	} {
		stdout, stderr, status := command(t, append([]string{"mud"}, tt.args...)...)
		if status != tt.status || !strings.Contains(stdout, tt.prints) || (stdout == "") != (tt.prints == "") || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: status %d, stdout %q, stderr %q", tt.args, status, stdout, stderr)
		}
	}
}

// classify tells what a device says of itself with its verdict.
func TestClassifyTellsFacts(t *testing.T) {
	readHere(t)
	stdout, stderr, status := command(t, "classify", "--json", "d/a.pcap")
	var v v1.Verdict
	if err := json.Unmarshal([]byte(stdout), &v); status != 0 || err != nil {
		t.Fatalf("status %d, %v, stderr %q", status, err, stderr)
	}
	if d := cmp.Diff(v1.Facts{"mac": "random", "port_to": "udp/53"}, v.Facts); d != "" || v.Vendor != nil {
		t.Errorf("facts, vendor %v\n%s", v.Vendor, d)
	}
}

// With --dates a verdict's facts are of these days alone, and of its own capture.
func TestClassifyTellsFactsOfDates(t *testing.T) {
	readHere(t)
	var frames []lab.Frame // of the two days after a.pcap's
	for i, port := range []uint16{443, 80} {
		data := packet.Ethernet(0x0800, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(port, 40000, []byte("q"))))
		frames = append(frames, lab.Frame{Time: time.Unix(1_600_000_000, 0).AddDate(0, 0, 1+i), Data: data})
	}
	var b bytes.Buffer
	if err := errors.Join(lab.WritePCAP(&b, lab.Recording{Frames: frames}), os.WriteFile("d/b.pcap", b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := command(t, "classify", "--json", "d", "--dates", "2020-09-14")
	var v v1.Verdict
	if err := json.Unmarshal([]byte(stdout), &v); status != 0 || err != nil {
		t.Fatalf("status %d, %v, stderr %q", status, err, stderr)
	}
	if d := cmp.Diff(v1.Facts{"mac": "random", "port_open": "udp/443"}, v.Facts); d != "" {
		t.Error(d)
	}
}

// A line for each fact, in JSON with its keys, as a table, of one device alone; a capture
// without any says why on stderr.
func TestFacts(t *testing.T) {
	readHere(t)
	stdout, stderr, status := command(t, "facts", "--json", "d/a.pcap")
	if status != 0 || !strings.Contains(stderr, "1 of 1 payloads of dns") || strings.Contains(stderr, "no device") {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var got []string
	for line := range strings.Lines(stdout) {
		var f v1.Fact
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		if f.Capture == nil || *f.Capture != "d/a.pcap" || f.Count != 1 || f.First != f.Last || f.First.Unix() != 1_600_000_000 {
			t.Errorf("line %s", line)
		}
		got = append(got, strings.Join([]string{f.Device, f.Kind, f.Value, f.Source}, " "))
	}
	want := []string{"02:00:00:00:00:0d mac random mac", "02:00:00:00:00:0d port_to udp/53 sent"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	stdout, _, _ = command(t, "facts", "d/a.pcap", "--device", "02:00:00:00:00:0D")
	if !strings.Contains(stdout, "udp/53") {
		t.Errorf("printed\n%s", stdout)
	}
	stdout, stderr, status = command(t, "facts", "d/a.pcap", "--device", "02:00:00:00:00:0e")
	if stdout != "" || status != terminal.ExitFailed || !strings.Contains(stderr, "02:00:00:00:00:0e") {
		t.Errorf("of another device: status %d, stderr %q\n%s", status, stderr, stdout)
	}
	raw := pcap(t, layers.LinkTypeRaw, 1500, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(40000, 53, []byte("q"))))
	if err := os.WriteFile("d/raw.pcap", raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"ip:192.168.7.2", "192.168.7.2"} {
		if stdout, stderr, status = command(t, "facts", "d/raw.pcap", "--device", device); status != 0 || !strings.Contains(stdout, "udp/53") {
			t.Errorf("of %s: status %d, stderr %q\n%s", device, status, stderr, stdout)
		}
	}
	if err := os.Link("d/a.pcap", "d/\xff.pcap"); err != nil {
		t.Fatal(err)
	}
	if stdout, _, _ = command(t, "facts", "--json", "d/\xff.pcap"); !strings.Contains(stdout, `"capture":"d/\\xff.pcap"`) {
		t.Errorf("of a path that is not UTF-8\n%s", stdout)
	}
	stdout, stderr, status = command(t, "facts", "d/a.pcap", "--local", "203.0.113.0/24")
	if status != 0 || stdout != "" || !strings.Contains(stderr, "local") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	for _, args := range [][]string{
		{"facts"}, {"facts", "d/a.pcap", "--device", "plug"}, {"facts", "d/a.pcap", "--local", "x"}, {"facts", "d/a.pcap", "--socket", "x"},
		{"facts", "02:00:00:00:00:0d", "02:00:00:00:00:0e"}, {"facts", "02:00:00:00:00:0d", "--device", "02:00:00:00:00:0d"},
	} {
		if _, _, status := command(t, args...); status != terminal.ExitUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
}
