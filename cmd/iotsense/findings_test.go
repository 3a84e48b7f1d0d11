package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

const (
	deskMAC, routerMAC = "00:17:88:0a:0b:0c", "00:1d:aa:01:02:03"
	zeroMAC            = "00:00:00:00:00:00"
	resolver           = "198.51.100.53"
)

// frame is an Ethernet frame of a UDP packet; without MACs the packet alone.
func frame(t *testing.T, from, to, src, dst string, payload int) []byte {
	t.Helper()
	var stack []gopacket.SerializableLayer
	udp := &layers.UDP{SrcPort: 40000, DstPort: 53}
	kind := layers.EthernetTypeIPv4
	var ip gopacket.SerializableLayer
	if a := net.ParseIP(src); a.To4() != nil {
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: a, DstIP: net.ParseIP(dst)}
		ip = l
		_ = udp.SetNetworkLayerForChecksum(l)
	} else {
		l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: a, DstIP: net.ParseIP(dst)}
		ip, kind = l, layers.EthernetTypeIPv6
		_ = udp.SetNetworkLayerForChecksum(l)
	}
	if from != "" {
		src, _ := net.ParseMAC(from)
		dst, _ := net.ParseMAC(to)
		stack = append(stack, &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: kind})
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		append(stack, ip, udp, gopacket.Payload(make([]byte, payload)))...)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

// pcap is a capture of frames 100 ms apart, of which snap bytes are kept.
func pcap(t *testing.T, link layers.LinkType, snap int, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(uint32(snap), link); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1_700_000_000, int64(i)*1e8), Length: len(f), CaptureLength: min(len(f), snap)}
		if err := w.WritePacket(info, f[:info.CaptureLength]); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// simple is a pcapng file of simple packet blocks, which carry no time.
func simple(frames ...[]byte) []byte {
	block := func(b []byte, kind uint32, body ...byte) []byte {
		size := uint32(len(body)+15) &^ 3
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, kind), size)
		b = append(append(b, body...), make([]byte, int(size)-12-len(body))...)
		return binary.LittleEndian.AppendUint32(b, size)
	}
	b := block(nil, 0x0a0d0d0a, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = block(b, 1, 1, 0, 0, 0, 0, 0, 0, 0)
	for _, f := range frames {
		b = block(b, 3, append(binary.LittleEndian.AppendUint32(nil, uint32(len(f))), f...)...)
	}
	return b
}

// records is a file of one record of a device in some.pcap.
func records(t *testing.T, device string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := recordfile.NewWriter(&b, nil)
	record := &flows.Record{Device: device, Remote: netip.MustParseAddr(resolver), Proto: 17, Packets: []flows.RowPacket{{Size: 60, Sent: true}}}
	if err := errors.Join(w.Write(&flows.LabelledRecord{Record: record, Capture: "some.pcap"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Why a capture names fewer devices than one looks for is said, in one line, and
// is in the JSON where it is of a verdict.
func TestFindings(t *testing.T) {
	arp := append(bytes.Repeat([]byte{0xff}, 6), 0, 0x17, 0x88, 1, 2, 3, 8, 6)
	arp = append(arp, make([]byte, 28)...)
	desk := frame(t, deskMAC, routerMAC, "10.9.8.7", resolver, 30)
	second := frame(t, deskMAC, routerMAC, "10.9.8.6", resolver, 30)
	long := frame(t, deskMAC, routerMAC, "10.9.8.7", resolver, 300)
	public := frame(t, deskMAC, routerMAC, "203.0.113.7", resolver, 30)
	linkLocal := frame(t, deskMAC, "33:33:00:00:00:fb", "fe80::17", "ff02::fb", 30)
	global := frame(t, deskMAC, routerMAC, "2001:db8:7::1", "2001:db8:ffff::1", 30)
	raw := frame(t, "", "", "10.9.8.7", resolver, 30)
	ethernet, all := layers.LinkTypeEthernet, 1500
	for _, tt := range []struct {
		name    string
		capture []byte
		listed  string
		flags   []string
		says    []string // in one line; none: nothing is to be said
		json    string   // part of the verdict's line
		verdict bool     // it is of verdicts only
	}{
		{"all is well", pcap(t, ethernet, all, desk), "", nil, nil, `"shared_mac":false,"random_mac":false,"ipv6_flows":0,"truncated":0}`, false},
		{"listed and there", pcap(t, ethernet, all, desk), deskMAC, nil, nil, `"addresses":["10.9.8.7"]`, false},
		{"listed, not there", pcap(t, ethernet, all, desk), "00:00:5e:00:53:01", nil, []string{"no packet of the listed 00:00:5e:00:53:01"}, `"flows":0`, false},
		{"listed, no MACs", pcap(t, layers.LinkTypeRaw, all, raw), deskMAC, nil, []string{"no packet of the listed " + deskMAC, "no MAC addresses", "ip:ADDRESS"}, `"flows":0`, false},
		{"no MACs, listed so", pcap(t, layers.LinkTypeRaw, all, raw), "ip:10.9.8.7", nil, nil, `"device":"ip:10.9.8.7"`, false},
		{"no IP", pcap(t, ethernet, all, arp, arp), "", nil, []string{"none of its 2 packets is IP", "2 not IP"}, "", false},
		{"no packet", pcap(t, ethernet, all), deskMAC, nil, []string{"it holds no packet or record", "no packet of the listed " + deskMAC}, `"flows":0`, false},
		{"no packet, none listed", pcap(t, ethernet, all), "", nil, []string{"it holds no packet or record"}, "", false},
		{"cut in the IP header", pcap(t, ethernet, 20, desk, desk, arp), "", nil, []string{"malformed", "snap length"}, "", false},
		{"too few flows", pcap(t, ethernet, all, desk), "", []string{"--window-mode", "strict"}, []string{deskMAC, "too few flows"}, `"windows":0`, true},
		{"public network", pcap(t, ethernet, all, desk, public), "", nil, []string{"1 of 2 packets", "203.0.113.7", "--local"}, `"packets":1,`, false},
		{"public network alone", pcap(t, ethernet, all, public), "", nil, []string{"1 of 1 packets", "--local"}, "", false},
		{"public network, named", pcap(t, ethernet, all, public), "", []string{"--local", "203.0.113.0/24"}, nil, `"addresses":["203.0.113.7"]`, false},
		{"public network, listed", pcap(t, ethernet, all, public), deskMAC, nil, nil, `"addresses":["203.0.113.7"]`, false},
		{"IPv6 only", pcap(t, ethernet, all, linkLocal, global), "", nil, []string{deskMAC, "IPv6 flows only", "leaves out"}, `"ipv6_flows":1`, true},
		{"IPv6 only, named", pcap(t, ethernet, all, global), "", []string{"--local", "2001:db8:7::/48"}, []string{deskMAC, "IPv6 flows only"}, `"ipv6_flows":1`, true},
		{"IPv6 only, global", pcap(t, ethernet, all, global), "", nil, []string{"no device", "IPv6", "--local"}, "", false},
		{"IPv6 only, listed", pcap(t, ethernet, all, global), deskMAC, nil, []string{deskMAC, "IPv6 flows only"}, `"ipv6_flows":1`, true},
		{"IPv6 too", pcap(t, ethernet, all, desk, global), "", nil, nil, `"windows":1`, false},
		{"short snap length", pcap(t, ethernet, 96, desk, long), "", nil, []string{"1 of 2 packets are truncated", "payload"}, `"truncated":1`, false},
		{"no times", simple(desk, desk), "", nil, []string{"2 of 2 packets carry no time"}, `"packets":2,`, false},
		{"loopback", pcap(t, ethernet, all, frame(t, zeroMAC, zeroMAC, "127.0.0.1", "127.0.0.1", 30)), "", nil,
			[]string{"no device: 1 of 1 packets are of a loopback interface"}, "", false},
		{"own address on loopback", pcap(t, ethernet, all, frame(t, zeroMAC, zeroMAC, "10.9.8.7", "10.9.8.7", 30)), "", nil,
			[]string{"1 of 1 packets have no MAC address", "loopback", "ip:10.9.8.7", "IP address alone"}, `"device":"ip:10.9.8.7"`, false},
		{"records of no MAC", records(t, zeroMAC), "", nil, []string{zeroMAC + " is no MAC address", "cannot be told apart"}, `"device":"` + zeroMAC, false},
		{"two behind one MAC", pcap(t, ethernet, all, desk, second), "", nil, []string{"shared MAC " + deskMAC}, `"addresses":["10.9.8.6","10.9.8.7"]`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "some.pcap", tt.capture)
			args := append([]string{path}, tt.flags...)
			if tt.listed != "" {
				manifest := write(t, "list.csv", fmt.Appendf(nil, "capture,mac,label\n%q,%s,HueBridge\n", path, tt.listed))
				args = append(args, "--manifest", manifest)
			}
			stdout, stderr, status := command(t, append([]string{"classify", "--json"}, args...)...)
			if status != 0 || !strings.Contains(stdout, tt.json) || tt.json == "" && stdout != "" {
				t.Errorf("classify: status %d, want %s in:\n%s", status, tt.json, stdout)
			}
			said(t, "classify", stderr, tt.says)
			if tt.listed != "" {
				_, stderr, _ := command(t, append([]string{"evaluate", "--bootstrap", "0"}, args...)...)
				said(t, "evaluate", stderr, tt.says)
			}
			if tt.verdict {
				return // extract makes none
			}
			_, stderr, _ = command(t, append([]string{"extract", "-o", filepath.Join(t.TempDir(), "x.parquet")}, args...)...)
			said(t, "extract", stderr, tt.says)
		})
	}
}

// said checks that stderr is one line with these words, or nothing.
func said(t *testing.T, command, stderr string, words []string) {
	t.Helper()
	want := min(len(words), 1)
	if n := strings.Count(stderr, "\n"); n != want {
		t.Errorf("%s: %d lines on stderr, want %d:\n%s", command, n, want, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) || !strings.Contains(stderr, "some.pcap") {
			t.Errorf("%s: %q is not in %s", command, w, stderr)
		}
	}
}

// Where nothing could be read there is nothing on stdout, not even a table's header.
func TestNothingBeforeAnError(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pcap")
	manifest := write(t, "list.csv", fmt.Appendf(nil, "capture,mac,label\n%s,%s,HueBridge\n", missing, deskMAC))
	text := write(t, "text.pcap", []byte("a letter, not a capture: it goes on a little"))
	for _, args := range [][]string{
		{"classify", missing}, {"classify", "--manifest", manifest}, {"classify", "--json", "--manifest", manifest}, {"classify", text},
		{"facts", missing}, {"facts", "--json", text}, {"mud", missing}, {"mud", text},
		{"evaluate", "--manifest", manifest}, {"evaluate", "--json", "--manifest", manifest}, {"analyze", "--manifest", manifest}, {"analyze", text},
		{"extract", text, "-o", filepath.Join(t.TempDir(), "x.parquet")},
	} {
		if stdout, stderr, status := command(t, args...); status != terminal.ExitFailed || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
	}
}

// A file may hold more devices than a sensor remembers.
func TestManyDevicesOfAFile(t *testing.T) {
	const devices = 4200
	var frames [][]byte
	for i := range devices {
		frames = append(frames, frame(t, fmt.Sprintf("00:17:88:00:%02x:%02x", i>>8, i&255), routerMAC, fmt.Sprintf("10.1.%d.%d", i>>8, i&255), resolver, 8))
	}
	stdout, stderr, status := command(t, "classify", "--json", write(t, "many.pcap", pcap(t, layers.LinkTypeEthernet, 1500, frames...)))
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); seen++ {
		var v struct {
			Device         string
			Flows, Windows int
		}
		if err := d.Decode(&v); err != nil || v.Flows != 1 || v.Windows != 1 {
			t.Fatalf("%+v, %v; want 1 flow and 1 window", v, err)
		}
	}
	if seen != devices {
		t.Errorf("%d devices, want %d", seen, devices)
	}
}
