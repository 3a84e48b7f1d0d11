package capture_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
)

// This file holds an outsider's opinion: tshark dissects every capture of the
// data set, the few lines below group its packets into flows by the rules of
// the paper alone, and the records of this package must be the same, to the
// last byte. docs/RECORDS.md says what differs and why.

// outsider is one frame as tshark sees it; without IP it has no addresses.
type outsider struct {
	us               int64
	srcMAC, dstMAC   string
	srcIP, dstIP     string
	proto            int
	srcPort, dstPort int // -1: none
	size             int // IP length
	payload          []byte
}

// outsideRecord is one flow's minute as the outsider counts it.
type outsideRecord struct {
	First, Last      int64
	DevIP, RemIP     string
	Proto            int
	DevPort, RemPort int
	Packets, Bytes   int
	Offsets, Sizes   []int64
	Sent             []bool
	Tokens           []int16
}

var tsharkFields = []string{"frame.interface_id", "frame.protocols", "frame.time_epoch", "eth.src", "eth.dst",
	"ip.src", "ip.dst", "ip.proto", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.plen",
	"udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport", "udp.payload", "tcp.payload"}

// tsharkPackets dissects captures in one run and gives each frame to emit, with
// its capture's place in paths. Without defragmentation every fragment stands
// for itself.
func tsharkPackets(t *testing.T, dir string, paths []string, emit func(capture int, p outsider)) error {
	merge := exec.Command(testenv.Tool(t, "mergecap"), append([]string{"-a", "-I", "none", "-w", "-"}, paths...)...)
	merge.Dir = dir
	args := []string{"-n", "-Q", "-r", "-", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
		"-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t"}
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	shark := exec.Command(testenv.Tool(t, "tshark"), args...)
	var err error
	if shark.Stdin, err = merge.StdoutPipe(); err != nil {
		return err
	}
	out, err := shark.StdoutPipe()
	if err != nil {
		return err
	}
	if err := merge.Start(); err != nil {
		return err
	}
	if err := shark.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := tsharkPacket(strings.Split(lines.Text(), "\t"), emit); err != nil {
			return fmt.Errorf("tshark line %.200q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := merge.Wait(); err != nil {
		return fmt.Errorf("mergecap: %w", err)
	}
	if err := shark.Wait(); err != nil {
		return fmt.Errorf("tshark: %w", err)
	}
	return nil
}

// tsharkPacket reads one line of tshark's output.
func tsharkPacket(values []string, emit func(int, outsider)) error {
	if len(values) != len(tsharkFields) {
		return fmt.Errorf("%d fields, want %d", len(values), len(tsharkFields))
	}
	v := map[string]string{}
	for i, name := range tsharkFields {
		v[name] = values[i]
	}
	var err error
	number := func(name string) int {
		if v[name] == "" {
			return -1
		}
		n, e := strconv.Atoi(v[name])
		if e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
		return n
	}
	p := outsider{srcMAC: v["eth.src"], dstMAC: v["eth.dst"], srcPort: -1, dstPort: -1}
	seconds, fraction, _ := strings.Cut(v["frame.time_epoch"], ".")
	if p.us, err = strconv.ParseInt(seconds+fraction[:6], 10, 64); err != nil {
		return err
	}
	outer, inner := networkProtocols(v["frame.protocols"])
	switch outer {
	case "ip":
		p.srcIP, p.dstIP, p.proto, p.size = v["ip.src"], v["ip.dst"], number("ip.proto"), number("ip.len")
	case "ipv6":
		p.srcIP, p.dstIP, p.proto, p.size = v["ipv6.src"], v["ipv6.dst"], number("ipv6.nxt"), 40+number("ipv6.plen")
		if last, ok := map[string]int{"tcp": 6, "udp": 17, "icmpv6": 58}[inner]; ok {
			p.proto = last
		}
	}
	// An ICMP error carries another packet's ports: only the outer protocol counts.
	if name := map[int]string{6: "tcp", 17: "udp"}[p.proto]; name != "" && v[name+".srcport"] != "" {
		p.srcPort, p.dstPort = number(name+".srcport"), number(name+".dstport")
		var e error
		if p.payload, e = hex.DecodeString(v[name+".payload"]); e != nil {
			return fmt.Errorf("%s.payload: %w", name, e)
		}
	}
	capture := number("frame.interface_id")
	if err == nil {
		emit(capture, p)
	}
	return err
}

// networkProtocols are what lies on Ethernet, or on the headers that may stand between,
// and what follows it, or its extension headers.
func networkProtocols(protocols string) (outer, inner string) {
	shims := []string{"eth", "ethertype", "vlan", "ieee8021ad", "llc", "pppoes", "ppp", "mpls"}
	for p := range strings.SplitSeq(protocols, ":") {
		switch {
		case slices.Contains(shims, p) || strings.HasPrefix(p, "ipv6."):
		case outer == "":
			outer = p
		default:
			return outer, p
		}
	}
	return outer, ""
}

// outsideRecords groups a capture's packets into the records of one device: flows
// by five-tuple, and the MAC of a private remote, a new record 60 s after the
// first packet.
func outsideRecords(packets []outsider, device string, uni bool) []*outsideRecord {
	var records []*outsideRecord
	open := map[string]*outsideRecord{}
	for _, p := range packets {
		if p.srcIP == "" {
			continue
		}
		sent := p.srcMAC == device
		group := strings.HasPrefix(p.dstIP, "224.") || strings.HasPrefix(p.dstIP, "239.") || p.dstIP == "255.255.255.255" || strings.HasPrefix(p.dstIP, "ff")
		if !sent && (uni || p.dstMAC != device || group) {
			continue
		}
		r := outsideRecord{First: p.us, DevIP: p.srcIP, RemIP: p.dstIP, Proto: p.proto, DevPort: p.srcPort, RemPort: p.dstPort}
		remMAC := p.dstMAC
		if !sent {
			r.DevIP, r.RemIP, r.DevPort, r.RemPort, remMAC = p.dstIP, p.srcIP, p.dstPort, p.srcPort, p.srcMAC
		}
		if !private(r.RemIP) {
			remMAC = ""
		}
		key := fmt.Sprint(r.DevIP, " ", r.RemIP, " ", r.Proto, r.DevPort, r.RemPort, remMAC)
		o := open[key]
		if o == nil || p.us-o.First >= 60e6 {
			o = &r
			open[key] = o
			records = append(records, o)
		}
		o.Last = max(o.Last, p.us)
		o.Packets++
		o.Bytes += p.size
		if o.Packets > 10 {
			continue
		}
		o.Offsets = append(o.Offsets, max(0, p.us-o.First))
		o.Sizes = append(o.Sizes, int64(p.size))
		o.Sent = append(o.Sent, sent)
		o.Tokens = append(o.Tokens, -4)
		for _, b := range p.payload[:min(len(p.payload), 1000)] {
			o.Tokens = append(o.Tokens, int16(b))
		}
		o.Tokens = append(o.Tokens, -8)
		o.Tokens = o.Tokens[:min(len(o.Tokens), 3000)]
	}
	return records
}

func private(ip string) bool {
	for _, prefix := range []string{"10.", "192.168.", "169.254.", "0.0.0.0", "fe80:", "fd", "fc", "::"} {
		if strings.HasPrefix(ip, prefix) {
			return true
		}
	}
	second, ok := strings.CutPrefix(ip, "172.")
	n, _ := strconv.Atoi(strings.SplitN(second, ".", 2)[0])
	return ok && n >= 16 && n < 32
}

func TestAgainstTshark(t *testing.T) {
	dir := testenv.Data(t)
	testenv.Tool(t, "tshark")
	testenv.Tool(t, "mergecap")
	f, err := os.Open(filepath.Join(dir, "manifest.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if rows[0][0] != "capture" || rows[0][1] != "mac" {
		t.Fatalf("manifest begins with %v", rows[0])
	}
	var paths, macs []string
	for _, row := range rows[1:] {
		paths, macs = append(paths, row[0]), append(macs, row[1])
	}

	const batch = 55 // captures of one tshark run
	var (
		mu       sync.Mutex
		total    [2]struct{ records, packets, bytes, differ int }
		captures int
	)
	t.Run("batch", func(t *testing.T) {
		for from := 0; from < len(paths); from += batch {
			to := min(from+batch, len(paths))
			t.Run(strconv.Itoa(from), func(t *testing.T) {
				t.Parallel()
				packets := make([][]outsider, to-from)
				err := tsharkPackets(t, dir, paths[from:to], func(c int, p outsider) { packets[c] = append(packets[c], p) })
				if err != nil {
					t.Fatal(err)
				}
				for i, path := range paths[from:to] {
					for _, direction := range []flows.Direction{flows.Bi, flows.Uni} {
						want := outsideRecords(packets[i], macs[from+i], direction == flows.Uni)
						got := insideRecords(t, filepath.Join(dir, path), macs[from+i], direction)
						differ := compareRecords(t, path, direction, want, got)
						mu.Lock()
						total := &total[direction]
						for _, r := range got {
							total.records, total.packets, total.bytes = total.records+1, total.packets+r.Packets, total.bytes+r.Bytes
						}
						total.differ += differ
						mu.Unlock()
					}
					mu.Lock()
					captures++
					mu.Unlock()
				}
			})
		}
	})
	for d, n := range total {
		t.Logf("%v: %d captures, %d records, %d packets, %d bytes; %d records differ", flows.Direction(d), captures, n.records, n.packets, n.bytes, n.differ)
	}
}

// insideRecords are this package's records in the outsider's words.
func insideRecords(t *testing.T, path, device string, direction flows.Direction) []*outsideRecord {
	var records []*outsideRecord
	cfg := capture.Config{
		RecordSpec: flows.RecordSpec{Direction: direction},
		Locals:     flows.NewLocals(nil).WithDevices(device),
	}
	stats, err := capture.Read(context.Background(), path, cfg, func(r *flows.Record) {
		o := &outsideRecord{
			First: r.FirstSeen, Last: r.LastSeen, DevIP: r.DeviceAddr.String(), RemIP: r.RemoteAddr.String(), Proto: int(r.Proto),
			DevPort: int(r.DevPort), RemPort: int(r.RemPort), Packets: int(r.PacketCount), Bytes: int(r.TotalBytes),
			Tokens: r.Tokens(nil, flows.PayloadTokens),
		}
		for _, p := range r.Packets {
			o.Offsets, o.Sizes, o.Sent = append(o.Offsets, p.Offset), append(o.Sizes, int64(p.Size)), append(o.Sent, p.Sent)
		}
		records = append(records, o)
	})
	if err != nil {
		t.Error(err)
	}
	if stats.Records != uint64(len(records)) || stats.Seen != stats.Counted+stats.NotIP+stats.Malformed || stats.InClosed != stats.WithDevice+stats.NoDevice {
		t.Errorf("%s: %+v", path, stats)
	}
	return records
}

// compareRecords reports every difference and returns how many records differ.
func compareRecords(t *testing.T, capture string, direction flows.Direction, want, got []*outsideRecord) (differ int) {
	if len(want) != len(got) {
		t.Errorf("%s, %v: %d records, tshark has %d", capture, direction, len(got), len(want))
	}
	for i := range min(len(want), len(got)) {
		if !reflect.DeepEqual(want[i], got[i]) { // cmp.Diff alone takes a minute
			differ++
			t.Errorf("%s, %v, record %d (-tshark +ours):\n%s", capture, direction, i, cmp.Diff(want[i], got[i]))
		}
	}
	return differ
}

// Frames that tshark and the parser see differently, by file of the corpus.
var parserDifferences = map[string]string{
	"tests_bigtcp-ipv6.pcap":                       bigTCP,
	"tests_bigtcp-ipv6-hbh.pcap":                   bigTCP,
	"tests_bigtcp-ipv6-geneve-ipv4.pcap":           bigTCP,
	"tests_bigtcp-ipv6-geneve-ipv6.pcap":           bigTCP,
	"tests_bigtcp-ipv6-vxlan-ipv4.pcap":            bigTCP,
	"tests_bigtcp-ipv6-vxlan-ipv6.pcap":            bigTCP,
	"tests_ipv6-too-long-jumbo.pcap":               bigTCP,
	"tests_ipv6_frag6_negative_len.pcap":           bigTCP,
	"tests_ipv6_jumbogram_1.pcap":                  bigTCP,
	"tests_ipv6_jumbogram_invalid_length.pcap":     bigTCP,
	"tests_ipv6_missing_jumbo_payload_option.pcap": bigTCP,
	"tests_ip_printroute_asan.pcap":                cutHeader,
	"tests_ipv4_invalid_length.pcap":               cutHeader,
	"tests_ipv6_39_byte_header.pcap":               cutHeader,
	"tests_ipv6_invalid_length.pcap":               cutHeader,
	"tests_lisp_invalid_length.pcap":               udpLength,
	"tests_ripv2-invalid-length.pcap":              udpLength,
	"tests_sflow_print-segv.pcap":                  udpLength,
	"tests_tcp_rst_data.pcap":                      resetCause,
	"tests_tcp_rst_data-trunc.pcap":                resetCause,
}

const (
	bigTCP     = "IPv6 payload length 0: ours takes the frame's length, tshark 4.0 zero"
	cutHeader  = "IP header cut: malformed for ours, tshark shows the fields that are there"
	udpLength  = "UDP length below the IP length: ours ends the payload there, tshark does not"
	resetCause = "data of a reset: payload for ours, the reset's cause for tshark"
)

// The parser against tshark on every Ethernet frame of the corpus, most of which
// are there because something in them is wrong.
func TestParseAgainstTshark(t *testing.T) {
	dir := testenv.ParserCorpus(t)
	all, err := filepath.Glob(filepath.Join(dir, "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	var frames [][]parsedFrame
	for _, path := range all {
		if f := parseFile(t, path); len(f) > 0 {
			paths, frames = append(paths, filepath.Base(path)), append(frames, f)
		}
	}
	var (
		next     = make([]int, len(paths))
		counts   [3]int
		compared = map[string]bool{}
		compare  = func(c int, p outsider) {
			if next[c] == len(frames[c]) {
				return // the reader has stopped here, with an error
			}
			f := frames[c][next[c]]
			next[c]++
			counts[f.outcome]++
			if diff := f.differs(p); diff != "" {
				compared[paths[c]] = true
				if parserDifferences[paths[c]] == "" {
					t.Errorf("%s, packet %d: %s\ntshark %+v\nours   %+v", paths[c], next[c], diff, p, f)
				}
			}
		}
	)
	if err := tsharkPackets(t, dir, paths, compare); err != nil {
		t.Fatal(err)
	}
	for path, reason := range parserDifferences {
		if !compared[path] {
			t.Logf("%s does not differ with this tshark (%s)", path, reason)
		}
	}
	t.Logf("%d files, %d frames counted, %d not IP, %d malformed; %d files differ", len(paths), counts[flows.Counted], counts[flows.NotIP], counts[flows.Malformed], len(compared))
}

// parsedFrame is one frame as the parser sees it.
type parsedFrame struct {
	outcome flows.Outcome
	packet  flows.Packet
}

// parseFile parses the frames of an Ethernet capture up to its first damage.
func parseFile(t *testing.T, path string) (frames []parsedFrame) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil || r.LinkType() != layers.LinkTypeEthernet {
		return nil
	}
	for {
		data, info, err := r.ReadPacketData()
		if err != nil {
			return frames
		}
		var frame parsedFrame
		frame.outcome = flows.Parse(&frame.packet, flows.LinkEthernet, data, info.Length)
		frames = append(frames, frame)
	}
}

// differs says in what the parser's view of a frame is not tshark's.
func (f parsedFrame) differs(p outsider) string {
	q := &f.packet
	switch {
	case f.outcome != flows.Counted:
		if p.srcIP != "" {
			return "not counted"
		}
		return ""
	case q.Src.String() != p.srcIP || q.Dst.String() != p.dstIP:
		return "addresses"
	case int(q.Size) != p.size:
		return "size"
	case q.Proto != 6 && q.Proto != 17:
		return ""
	case q.HasPorts != (p.srcPort >= 0) || q.HasPorts && (int(q.SrcPort) != p.srcPort || int(q.DstPort) != p.dstPort):
		return "ports"
	case q.HasPorts && !bytes.Equal(q.Payload, p.payload):
		return "payload"
	}
	return ""
}
