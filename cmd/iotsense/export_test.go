package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/replay"
)

// A confined sensor sends each of its records to a collector that another made, once, as soon as its
// file names that, and writes the same to a file.
func TestRunExports(t *testing.T) {
	testenv.Root(t)
	capd, dump := testenv.Tool(t, "nfcapd"), testenv.Tool(t, "nfdump")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, dir := liveNetwork(t), t.TempDir()
	var port int
	if err := n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			return err
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		port = c.LocalAddr().(*net.UDPAddr).Port
		return c.Close()
	}); err != nil {
		t.Fatal(err)
	}
	collector := exec.Command(capd, "-b", "127.0.0.1", "-p", fmt.Sprint(port), "-w", dir, "-B", "4000000")
	ended, err := n.Start(collector)
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Process.Kill()
	lines, config := filepath.Join(t.TempDir(), "flows.ndjson"), filepath.Join(t.TempDir(), "config.yaml")
	put := func(port int) {
		t.Helper()
		text := fmt.Sprintf("interfaces: [%s]\nmodel: lab\nflows_json: %s\n", replay.Interface, lines)
		if port != 0 {
			text += fmt.Sprintf("ipfix: 127.0.0.1:%d\n", port)
		}
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(9) // where nobody listens
	s := runLiveOn(t, n, nil, w, "--config", config)
	log := bufio.NewScanner(r)
	for _, port := range []int{0, port} { // none meanwhile
		put(port)
		if err := syscall.Kill(s.pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for log.Scan() && !strings.Contains(log.Text(), "onfiguration: ") {
		}
		if !strings.Contains(log.Text(), "setting=ipfix ") {
			t.Fatalf("port %d is not taken over: %s", port, log.Text())
		}
	}
	const flows = 64 * 3
	s.play(datagrams(flows, 6400))
	s.until("all are open", func(stats v1.Stats) bool { return stats.Packets.InOpen == flows })
	if _, there := testenv.UDPQueue(t, collector.Process.Pid, port); !there {
		t.Fatal("nfcapd does not listen")
	}
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
	var last string
	for log.Scan() {
		last = log.Text()
	}
	for _, count := range []string{"records=192", "export.ipfix.sent=192", "export.ipfix.lost=0", "export.flows_json.written=192"} {
		if !strings.Contains(last, " "+count+" ") {
			t.Errorf("the last line of the log is without %s: %s", count, last)
		}
	}
	for end := time.Now().Add(deadlock); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if waiting, _ := testenv.UDPQueue(t, collector.Process.Pid, port); strings.Trim(waiting, "0") == "" {
			break
		}
	}
	if err := collector.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("nfcapd: %v", err)
	}
	compareExports(t, dump, dir, lines)
}

// compareExports holds what a collector has of a sensor's flows against their lines.
func compareExports(t *testing.T, dump, dir, lines string) {
	t.Helper()
	read := exec.Command(dump, "-R", dir, "-o", "json")
	read.Env = append(os.Environ(), "TZ=UTC")
	text, err := read.Output()
	if err != nil {
		t.Fatalf("nfdump: %v", err)
	}
	var collected []struct {
		First, Last string
		InPackets   uint64 `json:"in_packets"`
		InBytes     uint64 `json:"in_bytes"`
		OutBytes    uint64 `json:"out_bytes"`
		Src         string `json:"src4_addr"`
		Dst         string `json:"dst4_addr"`
		SrcPort     int32  `json:"src_port"`
		DstPort     int32  `json:"dst_port"`
		MAC         string `json:"in_src_mac"`
		Proto       uint8
	}
	if err := json.Unmarshal(text, &collected); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	var got, want []string
	for _, f := range collected {
		got = append(got, fmt.Sprint(f.First, f.Last, f.InPackets, f.InBytes, f.OutBytes, f.Src, f.Dst, f.SrcPort, f.DstPort, f.MAC, f.Proto))
	}
	file, err := os.Open(lines)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const form = "2006-01-02T15:04:05.000"
	for d := json.NewDecoder(file); d.More(); {
		var f v1.FlowRecord
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		if f.Interface != replay.Interface || f.EndReason != v1.ForcedEnd || f.Packets != f.PacketsSent {
			t.Errorf("%+v", f)
		}
		want = append(want, fmt.Sprint(f.FirstSeen.UTC().Format(form), f.LastSeen.UTC().Format(form), f.PacketsSent, f.BytesSent, f.Bytes-f.BytesSent,
			f.Address, f.Remote, f.DevPort, f.RemPort, *f.Device, f.Proto))
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("nfcapd has %d flows:\n%.600v\nwritten are %d:\n%.600v", len(got), got, len(want), want)
	}
}
