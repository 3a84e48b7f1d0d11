package export

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

const start = 1_700_000_000_123_456 // us since the Unix epoch

// records are of two devices, over IPv4 and IPv6; what one is called is not easily written.
func records() []*Record {
	label, path, confidence := "TP-LinkPlugHS110", "TP-Link/plug/TP-LinkPlugHS110", 0.875
	long := strings.Repeat("ü", 150) + "\xff\n"
	known := &v1.Verdict{Device: "50:c7:bf:00:00:01", State: v1.Known, Known: true, Label: &label, Path: &path, Confidence: &confidence}
	hostile := &v1.Verdict{Device: "50:c7:bf:00:00:02", State: v1.Unknown, Label: &long, UserLabel: &long, Confidence: &confidence}
	nameless := &v1.Verdict{Device: "ip:10.0.0.9", State: v1.Gathering}
	record := func(device, own, remote string, proto uint8, ports [2]int32, packets, sent uint64) *flows.Record {
		return &flows.Record{
			Device: device, DeviceAddr: netip.MustParseAddr(own), RemoteAddr: netip.MustParseAddr(remote), Proto: proto, DevPort: ports[0], RemPort: ports[1],
			FirstSeen: start, LastSeen: start + 59_500_000, PacketCount: packets, SentPackets: sent, TotalBytes: 100 * packets, SentBytes: 60 * sent,
			Interface: flows.Interface{Index: 7, Name: "eth0"},
		}
	}
	return []*Record{
		Of(record("50:c7:bf:00:00:01", "192.168.1.10", "203.0.113.5", 6, [2]int32{50000, 443}, 30, 12), known, false),
		Of(record("50:c7:bf:00:00:02", "2001:db8::10", "2001:db8:1::53", 17, [2]int32{5353, 53}, 1<<33, 1<<32), hostile, false),
		Of(record("50:c7:bf:00:00:02", "192.168.1.11", "192.168.1.1", 1, [2]int32{flows.Missing, flows.Missing}, 2, 2), hostile, true),
		Of(record("ip:10.0.0.9", "10.0.0.9", "10.0.0.1", 17, [2]int32{123, 123}, 1, 1), nameless, true),
	}
}

// listen is a socket on this machine.
func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// open is an exporter that the test ends.
func open(t *testing.T, cfg Config) *Exporter {
	t.Helper()
	e, err := Open(cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(0) })
	return e
}

func ipfix(collector string) IPFIX {
	return IPFIX{Collector: collector, Domain: DefaultDomain, Enterprise: DefaultEnterprise}
}

// received are the next n messages.
func received(t *testing.T, c *net.UDPConn, n int) (list [][]byte) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for range n {
		b := make([]byte, 65536)
		size, err := c.Read(b)
		if err != nil {
			t.Fatalf("%d of %d messages: %v", len(list), n, err)
		}
		list = append(list, b[:size])
	}
	return list
}

// numbered are records that differ in their own port.
func numbered(n int) (list []*Record) {
	for i := range n {
		r := *records()[i%2]
		r.DevPort = int32(1000 + i)
		list = append(list, &r)
	}
	return list
}

// Each record is counted once: sent, dropped or lost.
func accounted(t *testing.T, e *Exporter, added uint64) {
	t.Helper()
	s := e.Stats()
	for way, sum := range map[string]uint64{
		"ipfix":      s.IPFIX.Sent + s.IPFIX.Dropped + s.IPFIX.Lost,
		"flows_json": s.FlowsJSON.Written + s.FlowsJSON.Dropped + s.FlowsJSON.Lost,
	} {
		if sum != 0 && sum != added {
			t.Errorf("%s: %d of %d records are accounted for: %+v", way, sum, added, s)
		}
	}
}

// A record has what `flows` and `devices` say of it, by the same keys.
func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.ndjson")
	e := open(t, Config{Lines: Lines{Path: path}})
	for _, r := range records() {
		e.Add(r)
	}
	e.Close(time.Minute)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 5 || lines[4] != "" {
		t.Fatalf("%d lines:\n%s", len(lines), text)
	}
	const want = `{"device":"50:c7:bf:00:00:01","remote":"203.0.113.5","proto":6,"dev_port":50000,"rem_port":443,"first_seen":"2023-11-14T22:13:20.123456Z",` +
		`"packets":30,"bytes":3000,"bytes_sent":720,"interface":"eth0","address":"192.168.1.10","last_seen":"2023-11-14T22:14:19.623456Z","packets_sent":12,` +
		`"end_reason":"active_timeout","label":"TP-LinkPlugHS110","confidence":0.875,"known":true,"state":"known","path":"TP-Link/plug/TP-LinkPlugHS110","user_label":null}`
	if lines[0] != want {
		t.Errorf("%s\nwant\n%s", lines[0], want)
	}
	for _, line := range lines[:4] {
		if !utf8.ValidString(line) || !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	accounted(t, e, 4)
}

// BenchmarkExport is what a record costs from its end until the system has it.
func BenchmarkExport(b *testing.B) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var counted counts
	session, err := newSession(ipfix(c.LocalAddr().String()), &counted, silent)
	if err != nil {
		b.Fatal(err)
	}
	file, err := openLines(Lines{Path: filepath.Join(b.TempDir(), "flows.ndjson")}, &counted, silent)
	if err != nil {
		b.Fatal(err)
	}
	for name, w := range map[string]way{"ipfix": session, "lines": file} {
		b.Run(name, func(b *testing.B) {
			r := records()[0]
			for b.Loop() {
				if err := w.take(r); err != nil {
					b.Fatal(err)
				}
			}
		})
		w.end(time.Second)
	}
}
