package flows_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
)

// This file holds an outsider's opinion: tshark dissects every capture of the
// data set, the few lines below group its packets into flows by the rules of
// the paper alone, and the records of this package must be the same, to the
// last byte. docs/RECORDS.md says what differs and why.

// outsider is one packet as tshark sees it.
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

var tsharkFields = []string{"frame.interface_id", "frame.time_epoch", "eth.src", "eth.dst",
	"ip.src", "ip.dst", "ip.proto", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.hopopts.nxt", "ipv6.plen",
	"udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport", "udp.payload", "tcp.payload"}

// tsharkPackets dissects captures in one run and gives each packet to emit, with
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

// tsharkPacket reads one line of tshark's output; a packet without IP is none.
func tsharkPacket(values []string, emit func(int, outsider)) error {
	if len(values) != len(tsharkFields) {
		return fmt.Errorf("%d fields, want %d", len(values), len(tsharkFields))
	}
	v := map[string]string{}
	for i, name := range tsharkFields {
		v[name] = values[i]
	}
	if v["ip.src"] == "" && v["ipv6.src"] == "" {
		return nil
	}
	var err error
	number := func(name string) int {
		n, e := strconv.Atoi(v[name])
		if e != nil && err == nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
		return n
	}
	p := outsider{srcMAC: v["eth.src"], dstMAC: v["eth.dst"], srcPort: -1, dstPort: -1}
	seconds, fraction, _ := strings.Cut(v["frame.time_epoch"], ".")
	if p.us, err = strconv.ParseInt(seconds+fraction[:6], 10, 64); err != nil {
		return err
	}
	if v["ip.src"] != "" {
		p.srcIP, p.dstIP, p.proto, p.size = v["ip.src"], v["ip.dst"], number("ip.proto"), number("ip.len")
	} else {
		p.srcIP, p.dstIP, p.proto, p.size = v["ipv6.src"], v["ipv6.dst"], number("ipv6.nxt"), 40+number("ipv6.plen")
		if p.proto == 0 {
			p.proto = number("ipv6.hopopts.nxt")
		}
	}
	// An ICMP error carries another packet's ports: only the outer protocol counts.
	name := map[int]string{6: "tcp", 17: "udp"}[p.proto]
	if name != "" && v[name+".srcport"] != "" {
		p.srcPort, p.dstPort = number(name+".srcport"), number(name+".dstport")
		if p.payload, err = hex.DecodeString(v[name+".payload"]); err != nil {
			return fmt.Errorf("%s.payload: %w", name, err)
		}
	}
	if err == nil {
		emit(number("frame.interface_id"), p)
	}
	return err
}

// outsideRecords groups a capture's packets into the records of one device: flows
// by five-tuple, and the MAC of a private remote, a new record 60 s after the
// first packet.
func outsideRecords(packets []outsider, device string, uni bool) []*outsideRecord {
	var records []*outsideRecord
	open := map[string]*outsideRecord{}
	for _, p := range packets {
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
	cfg := flows.CaptureConfig{
		TableConfig: flows.TableConfig{Direction: direction},
		Locals:      flows.NewLocals(nil).WithDevices(device),
	}
	stats, err := flows.ReadCapture(context.Background(), path, cfg, func(r *flows.Record) {
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
	if stats.Records != uint64(len(records)) || stats.Seen != stats.Counted+stats.NotIP+stats.Malformed || stats.InClosed != stats.PacketStats.WithDevice+stats.PacketStats.NoDevice {
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
