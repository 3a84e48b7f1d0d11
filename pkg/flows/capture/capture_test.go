package capture_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
)

// stamped is one packet of a capture.
type stamped struct {
	us   int64
	data []byte
}

// pcapFile is a pcap file of any byte order, nanoseconds or microseconds, as
// draft-ietf-opsawg-pcap has it.
func pcapFile(order binary.AppendByteOrder, nano bool, link uint32, packets ...stamped) []byte {
	magic, unit := uint32(0xa1b2c3d4), int64(1)
	if nano {
		magic, unit = 0xa1b23c4d, 1000
	}
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	for _, v := range []uint32{0, 0, 65535, link} {
		b = order.AppendUint32(b, v)
	}
	for _, p := range packets {
		for _, v := range []uint32{uint32(p.us / 1e6), uint32(p.us % 1e6 * unit), uint32(len(p.data)), uint32(len(p.data))} {
			b = order.AppendUint32(b, v)
		}
		b = append(b, p.data...)
	}
	return b
}

// pcapngFile has one interface for each packet.
func pcapngFile(t testing.TB, links []layers.LinkType, packets ...stamped) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{LinkType: links[0], SnapLength: 65535}, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		if i > 0 {
			if _, err := w.AddInterface(pcapgo.NgInterface{LinkType: links[i%len(links)], SnapLength: 65535}); err != nil {
				t.Fatal(err)
			}
		}
		info := gopacket.CaptureInfo{Timestamp: time.UnixMicro(p.us), CaptureLength: len(p.data), Length: len(p.data), InterfaceIndex: i}
		if err := w.WritePacket(info, p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// query and answer are a device's exchange with a server.
func query(n int) []byte {
	return packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(5000, 53, packet.Payload(n))))
}

func answer(n int) []byte {
	ip := packet.IP{Src: packet.ServerIP, Dst: packet.DeviceIP, Proto: packet.UDPProto}
	return packet.EthernetFrom(packet.RouterMAC, packet.DeviceMAC, packet.IPv4Type, packet.IPv4(ip, packet.UDP(53, 5000, packet.Payload(n))))
}

// readPackets reads a stream and checks what must be true of every one.
func readPackets(t testing.TB, file []byte, cfg capture.Config) ([]*flows.Record, capture.Stats, error) {
	t.Helper()
	var records []*flows.Record
	stats, err := capture.ReadPackets(context.Background(), bytes.NewReader(file), cfg, func(r *flows.Record) { records = append(records, r) })
	checkAccounting(t, stats, records)
	return records, stats, err
}

// checkAccounting holds the identities of the packet counters against each other
// and against the records.
func checkAccounting(t testing.TB, s capture.Stats, records []*flows.Record) {
	t.Helper()
	p := s.PacketStats
	if p.Seen != p.Counted+p.NotIP+p.Malformed+p.TableFull+p.Duplicate {
		t.Errorf("seen is not the sum of its parts: %+v", p)
	}
	if p.Counted != p.InClosed+p.InOpen || p.InOpen != 0 {
		t.Errorf("counted is not in_closed with nothing open: %+v", p)
	}
	if p.InClosed != p.WithDevice+p.NoDevice {
		t.Errorf("in_closed is not with_device + no_device: %+v", p)
	}
	if p.Truncated > p.Counted || p.Fragment > p.Counted {
		t.Errorf("parts of counted are larger than it: %+v", p)
	}
	var packets, incomplete uint64
	for i, r := range records {
		packets += r.PacketCount
		if r.Incomplete {
			incomplete++
		}
		if n := min(r.PacketCount, flows.RowPackets); len(r.Packets) != int(n) {
			t.Errorf("record %d describes %d packets of %d", i, len(r.Packets), r.PacketCount)
		}
	}
	if packets < p.WithDevice || packets > 2*p.WithDevice {
		t.Errorf("records hold %d packets, with_device %d", packets, p.WithDevice)
	}
	if s.Records != uint64(len(records)) || s.Incomplete != incomplete || incomplete != 0 {
		t.Errorf("%d records, %d incomplete; counted %d, %d", len(records), incomplete, s.Records, s.Incomplete)
	}
}

// One exchange, in every file format: the same record.
func TestReadPacketsFormats(t *testing.T) {
	const t0 = 1_472_729_032_788_901
	exchange := []stamped{{t0, query(20)}, {t0 + 1600, answer(70)}}
	want := []*flows.Record{{
		Device: "02:00:00:00:00:0d", FirstSeen: t0, LastSeen: t0 + 1600, Remote: packet.ServerIP, Proto: 17, DevPort: 5000, RemPort: 53,
		TotalBytes: 48 + 98, SentBytes: 48, PacketCount: 2, SentPackets: 1,
		Packets:    []flows.RowPacket{{Offset: 0, Size: 48, Sent: true, Payload: packet.Payload(20)}, {Offset: 1600, Size: 98, Payload: packet.Payload(70)}},
		DeviceAddr: packet.DeviceIP, RemoteAddr: packet.ServerIP,
	}}
	ng := pcapngFile(t, []layers.LinkType{layers.LinkTypeEthernet}, exchange...)
	for _, tt := range []struct {
		name string
		file []byte
	}{
		{"pcap, little-endian", pcapFile(binary.LittleEndian, false, 1, exchange...)},
		{"pcap, big-endian", pcapFile(binary.BigEndian, false, 1, exchange...)},
		{"pcap, nanoseconds", pcapFile(binary.LittleEndian, true, 1, exchange...)},
		{"pcap, big-endian nanoseconds", pcapFile(binary.BigEndian, true, 1, exchange...)},
		{"pcap, frame check sequence flag", pcapFile(binary.LittleEndian, false, 0x24000001, exchange...)},
		{"pcapng", ng},
		{"pcap, gzipped", gzipped(t, pcapFile(binary.LittleEndian, false, 1, exchange...))},
		{"pcapng, gzipped", gzipped(t, ng)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, stats, err := readPackets(t, tt.file, capture.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, records, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
				t.Error(diff)
			}
			if stats.First != t0 || stats.Last != t0+1600 {
				t.Errorf("from %d to %d", stats.First, stats.Last)
			}
		})
	}
}

// A packet of which the file has more than was on the wire is counted without the
// rest, and noted; blocks of pcapng that hold no packet are passed over.
func TestReadPacketsOddPackets(t *testing.T) {
	exchange := []stamped{{1e6, query(20)}, {2e6, append(answer(20), 1, 2, 3, 4)}, {3e6, query(20)}}
	longer := pcapFile(binary.LittleEndian, false, 1, exchange...)
	one, two := len(pcapFile(binary.LittleEndian, false, 1, exchange[:1]...)), len(pcapFile(binary.LittleEndian, false, 1, exchange[:2]...))
	longer[one+12] -= 4 // the length on the wire
	unknown := slices.Clone(longer)
	unknown[24+12] = 0
	exchange[1].data = answer(20)
	ng := pcapngFile(t, []layers.LinkType{layers.LinkTypeEthernet}, exchange...)
	head := binary.LittleEndian.Uint32(ng[4:])
	statistics := []byte{5, 0, 0, 0, 24, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0} // of interface 200
	for _, tt := range []struct {
		name             string
		file             []byte
		overlong, passed uint64
	}{
		{"pcap", longer, 1, 0},
		{"pcap, no length on the wire", unknown, 1, 0},
		{"cut between", slices.Concat(longer[:one], longer[two:]), 0, 0},
		{"pcapng", append(slices.Clone(ng), statistics...), 0, 1},
		{"pcapng, in the middle", slices.Concat(ng[:head], statistics, statistics, ng[head:]), 0, 2},
	} {
		records, stats, err := readPackets(t, tt.file, capture.Config{})
		if err != nil || len(records) != 1 {
			t.Fatalf("%s: %d records, %v", tt.name, len(records), err)
		}
		if stats.Overlong != tt.overlong || stats.Passed != tt.passed || stats.Truncated != 0 || records[0].TotalBytes != 48*records[0].PacketCount {
			t.Errorf("%s: %+v; %d packets of %d bytes", tt.name, stats, records[0].PacketCount, records[0].TotalBytes)
		}
	}
}

// Damage is an error that says what and where; what came before it is kept.
func TestReadPacketsDamaged(t *testing.T) {
	le := binary.LittleEndian
	whole := pcapFile(le, false, 1, stamped{1e6, query(20)}, stamped{2e6, answer(20)})
	one := len(pcapFile(le, false, 1, stamped{1e6, query(20)}))
	ng := pcapngFile(t, []layers.LinkType{layers.LinkTypeEthernet}, stamped{1e6, query(20)}, stamped{2e6, answer(20)})
	change := func(b []byte, at int, v byte) []byte { b = slices.Clone(b); b[at] = v; return b }
	cutBy := func(n int, b []byte) []byte { return b[:len(b)-n] }

	for _, tt := range []struct {
		name    string
		file    []byte
		want    string // part of the error; empty: none
		packets uint64 // read before
	}{
		{"empty", nil, "empty", 0},
		{"one byte", []byte{0xd4}, "truncated", 0},
		{"text", []byte("capture,mac,label\nan,honest,table\n"), "not a pcap or pcapng file", 0},
		{"header cut", whole[:23], "truncated", 0},
		{"header alone", whole[:24], "", 0},
		{"cut in the first packet's header", whole[:24+15], "packet 1: file ends in the middle", 0},
		{"cut after the first packet's header", whole[:24+16], "packet 1: file ends in the middle", 0},
		{"cut in the first packet", whole[:24+17], "packet 1: file ends in the middle", 0},
		{"cut in the second packet's header", whole[:one+3], "packet 2: file ends in the middle", 1},
		{"cut after the second packet's header", whole[:one+16], "packet 2: file ends in the middle", 1},
		{"cut in the second packet", whole[:len(whole)-1], "packet 2: file ends in the middle", 1},
		{"captured length above the wire's, and the file's end", change(whole, one+8, 255), "packet 2: file ends in the middle", 1},
		{"captured length of 1.9 GB", change(whole, one+11, 0x70), "packet 2: capture length exceeds", 1},
		{"pcap version 3", change(whole, 4, 3), "version", 0},
		{"unsupported link type", pcapFile(le, false, 105, stamped{1e6, query(20)}), "link type 105 is not supported (802.11): want Ethernet", 0},
		{"radiotap", pcapFile(le, false, 127, stamped{1e6, query(20)}), "link type 127 is not supported (802.11 with a radiotap header)", 0},
		{"a link type without a name", pcapFile(le, false, 147, stamped{1e6, query(20)}), "link type 147 is not supported: want", 0},
		{"pcapng cut in its header", ng[:20], "truncated", 0},
		{"pcapng cut in the last packet", ng[:len(ng)-20], "packet 2: file ends in the middle", 1},
		{"pcapng of version 2", change(ng, 12, 2), "pcapng header", 0},
		{"pcapng, a packet of another link type", pcapngFile(t, []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeIEEE802_11},
			stamped{1e6, query(20)}, stamped{2e6, answer(20)}, stamped{3e6, query(20)}), "packets skipped: 1 of 3: link type 105", 2},
		{"the same, cut in the last packet", cutBy(20, pcapngFile(t, []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeIEEE802_11},
			stamped{1e6, query(20)}, stamped{2e6, answer(20)}, stamped{3e6, query(20)})), "packets skipped: 1 of 2: link type 105", 1},
		{"gzip of nothing", gzipped(t, nil), "gzip content", 0},
		{"gzip cut", gzipped(t, whole)[:40], "truncated", 0},
		{"gzip header damaged", []byte{0x1f, 0x8b, 0xff, 0, 0, 0, 0, 0, 0, 0}, "gzip", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, stats, err := readPackets(t, tt.file, capture.Config{})
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if stats.Seen != tt.packets || len(records) != min(1, int(tt.packets)) {
				t.Errorf("%d packets, %d records; want %d packets", stats.Seen, len(records), tt.packets)
			}
		})
	}
}

func TestReadCaptureUnreadable(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "no.pcap")
	for _, path := range []string{missing, dir} {
		_, err := capture.Read(context.Background(), path, capture.Config{Locals: flows.NewLocals(nil)}, func(*flows.Record) {})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names it", path, err)
		}
	}
	if _, err := capture.Read(context.Background(), missing, capture.Config{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want os.ErrNotExist in it", err)
	}
}

func TestReadPacketsCancelled(t *testing.T) {
	packets := make([]stamped, 10_000)
	for i := range packets {
		packets[i] = stamped{int64(i), query(1)}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stats, err := capture.ReadPackets(ctx, bytes.NewReader(pcapFile(binary.LittleEndian, false, 1, packets...)),
		capture.Config{Locals: flows.NewLocals(nil)}, func(*flows.Record) {})
	if !errors.Is(err, context.Canceled) || stats.Seen >= 10_000 {
		t.Errorf("%v after %d packets", err, stats.Seen)
	}
}

// What each link type's header leaves to the IP parser.
func TestReadPacketsLinkTypes(t *testing.T) {
	v4 := packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(5000, 53, packet.Payload(4)))
	v6 := packet.IPv6(packet.IP{Proto: packet.UDPProto}, packet.UDP(5000, 53, packet.Payload(4)))
	cooked := func(protocol uint16, ip []byte) []byte {
		return append(binary.BigEndian.AppendUint16(make([]byte, 14), protocol), ip...)
	}
	cooked2 := func(protocol uint16, ip []byte) []byte {
		return slices.Concat(binary.BigEndian.AppendUint16(nil, protocol), make([]byte, 18), ip)
	}
	of := func(hardware byte, at int, frame []byte) []byte { // a cooked frame of another kind of interface
		frame[at], frame[at+1] = 3, hardware
		return frame
	}
	tagged := packet.VLAN(5, packet.IPv4Type, v4)
	twice := packet.VLAN(5, packet.VLANType, packet.VLAN(6, packet.IPv6Type, v6))
	for _, tt := range []struct {
		name string
		link uint32
		data []byte
		want string // device, or the counter that the packet raises
	}{
		{"ethernet", 1, query(4), "02:00:00:00:00:0d"},
		{"raw", 101, v4, "ip:192.168.7.2"},
		{"raw, ipv6", 101, v6, "ip:fd00:7::2"},
		{"raw (12)", 12, v4, "ip:192.168.7.2"},
		{"raw (14)", 14, v4, "ip:192.168.7.2"},
		{"raw, empty", 101, nil, "malformed"},
		{"ipv4", 228, v4, "ip:192.168.7.2"},
		{"ipv6", 229, v6, "ip:fd00:7::2"},
		{"loopback, little-endian", 0, append([]byte{2, 0, 0, 0}, v4...), "ip:192.168.7.2"},
		{"loopback, big-endian", 108, append([]byte{0, 0, 0, 2}, v4...), "ip:192.168.7.2"},
		{"loopback, ipv6 of NetBSD", 0, append([]byte{24, 0, 0, 0}, v6...), "ip:fd00:7::2"},
		{"loopback, ipv6 of FreeBSD", 0, append([]byte{28, 0, 0, 0}, v6...), "ip:fd00:7::2"},
		{"loopback, ipv6 of Darwin", 0, append([]byte{30, 0, 0, 0}, v6...), "ip:fd00:7::2"},
		{"loopback, ipv6 of Windows", 0, append([]byte{23, 0, 0, 0}, v6...), "ip:fd00:7::2"},
		{"loopback, EtherType", 0, append([]byte{0, 0, 8, 0}, v4...), "ip:192.168.7.2"},
		{"loopback, EtherType, little-endian", 0, append([]byte{0, 8, 0, 0}, v4...), "ip:192.168.7.2"},
		{"loopback, EtherType of ipv6", 108, append([]byte{0, 0, 0x86, 0xdd}, v6...), "ip:fd00:7::2"},
		{"loopback, EtherType of ipv6, little-endian", 0, append([]byte{0xdd, 0x86, 0, 0}, v6...), "ip:fd00:7::2"},
		{"loopback, EtherType of a tag", 0, append([]byte{0, 0, 0x81, 0}, tagged...), "ip:192.168.7.2"},
		{"loopback, EtherType of arp", 0, append([]byte{0, 0, 8, 6}, make([]byte, 28)...), "not_ip"},
		{"loopback, neither", 0, append([]byte{1, 2, 8, 0}, v4...), "not_ip"},
		{"loopback, AppleTalk", 0, append([]byte{16, 0, 0, 0}, v4...), "not_ip"},
		{"loopback, cut", 0, []byte{2, 0, 0}, "malformed"},
		{"ppp", 9, append([]byte{0xff, 3, 0, 0x21}, v4...), "ip:192.168.7.2"},
		{"ppp without address and control", 9, append([]byte{0, 0x57}, v6...), "ip:fd00:7::2"},
		{"ppp, HDLC framing", 50, append([]byte{0xff, 3, 0, 0x21}, v4...), "ip:192.168.7.2"},
		{"ppp, protocol of one byte", 9, append([]byte{0xff, 3, 0x21}, v4...), "ip:192.168.7.2"},
		{"ppp, protocol of one byte alone", 9, append([]byte{0x57}, v6...), "ip:fd00:7::2"},
		{"ppp, HDLC framing, protocol of one byte", 50, append([]byte{0x21}, v4...), "ip:192.168.7.2"},
		{"ppp, a label", 9, append([]byte{0xff, 3, 2, 0x81}, packet.MPLS(1, v4)...), "ip:192.168.7.2"},
		{"ppp, Van Jacobson", 9, append([]byte{0xff, 3, 0x2d}, v4...), "not_ip"},
		{"pppoe", 51, packet.PPPoE(packet.PPPIPv4, v4), "ip:192.168.7.2"},
		{"pppoe, cut", 51, packet.PPPoE(packet.PPPIPv4, nil)[:7], "malformed"},
		{"ppp, LCP", 9, []byte{0xff, 3, 0xc0, 0x21, 1, 1}, "not_ip"},
		{"ppp, cut", 9, []byte{0xff, 3, 0}, "malformed"},
		{"cooked", 113, cooked(packet.IPv4Type, v4), "ip:192.168.7.2"},
		{"cooked, ipv6", 113, cooked(packet.IPv6Type, v6), "ip:fd00:7::2"},
		{"cooked, arp", 113, cooked(packet.ARPType, make([]byte, 28)), "not_ip"},
		{"cooked, a tag", 113, cooked(packet.VLANType, tagged), "ip:192.168.7.2"},
		{"cooked, two tags", 113, cooked(packet.QinQType, twice), "ip:fd00:7::2"},
		{"cooked, tag cut", 113, cooked(packet.VLANType, tagged[:3]), "malformed"},
		{"cooked, pppoe in a tag", 113, cooked(packet.VLANType, packet.VLAN(5, packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, v4))), "ip:192.168.7.2"},
		{"cooked, labels", 113, cooked(packet.MPLSType, packet.MPLS(3, v6)), "ip:fd00:7::2"},
		{"cooked, snap", 113, cooked(4, packet.SNAP(packet.IPv4Type, v4)), "ip:192.168.7.2"},
		{"cooked, spanning tree", 113, cooked(4, append([]byte{0x42, 0x42, 3}, make([]byte, 35)...)), "not_ip"},
		{"cooked, radiotap", 113, of(0x23, 2, cooked(packet.IPv4Type, v4)), "not_ip"},
		{"cooked, gre", 113, of(0x0a, 2, cooked(packet.IPv4Type, v4)), "ip:192.168.7.2"},
		{"cooked, cut", 113, make([]byte, 15), "malformed"},
		{"cooked 2", 276, cooked2(packet.IPv4Type, v4), "ip:192.168.7.2"},
		{"cooked 2, arp", 276, cooked2(packet.ARPType, make([]byte, 28)), "not_ip"},
		{"cooked 2, a tag", 276, cooked2(packet.VLANType, tagged), "ip:192.168.7.2"},
		{"cooked 2, two tags", 276, cooked2(packet.QinQType, twice), "ip:fd00:7::2"},
		{"cooked 2, pppoe", 276, cooked2(packet.PPPoEType, packet.PPPoE(packet.PPPIPv6, v6)), "ip:fd00:7::2"},
		{"cooked 2, radiotap", 276, of(0x23, 8, cooked2(packet.IPv4Type, v4)), "not_ip"},
		{"cooked 2, cut", 276, make([]byte, 19), "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, stats, err := readPackets(t, pcapFile(binary.BigEndian, false, tt.link, stamped{1e6, tt.data}), capture.Config{})
			if err != nil {
				t.Fatal(err)
			}
			var got string
			switch {
			case len(records) == 1:
				got = records[0].Device
				if p := records[0].Packets[0]; !bytes.Equal(p.Payload, packet.Payload(4)) || stats.Truncated != 0 {
					t.Errorf("payload %x, %d truncated", p.Payload, stats.Truncated)
				}
			case stats.NotIP == 1:
				got = "not_ip"
			case stats.Malformed == 1:
				got = "malformed"
			}
			if got != tt.want {
				t.Errorf("%q, want %q: %+v", got, tt.want, stats)
			}
		})
	}
}

// Simple packets carry no time: they get that of the packet before.
func TestReadPacketsSimplePacket(t *testing.T) {
	ng := pcapngFile(t, []layers.LinkType{layers.LinkTypeEthernet}, stamped{5e6, query(20)})
	simple := answer(22) // 64 bytes: no padding
	block := binary.LittleEndian.AppendUint32(nil, 3)
	block = binary.LittleEndian.AppendUint32(block, uint32(16+len(simple)))
	block = binary.LittleEndian.AppendUint32(block, uint32(len(simple)))
	block = append(block, simple...)
	block = binary.LittleEndian.AppendUint32(block, uint32(16+len(simple)))
	records, stats, err := readPackets(t, append(ng, block...), capture.Config{})
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	if r := records[0]; r.PacketCount != 2 || r.Packets[1].Offset != 0 || r.LastSeen != 5e6 || stats.Last != 5e6 {
		t.Errorf("%+v, last %d", r, stats.Last)
	}
}

// Super-packets in a file are counted as the wire packets they were.
func TestReadPacketsOffloaded(t *testing.T) {
	super := func(n int) []byte {
		return packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.TCPProto}, packet.TCP(5000, 443, packet.Payload(n))))
	}
	for _, tt := range []struct {
		payload   int
		offloaded bool
		packets   uint64
		bytes     uint64
	}{
		{9176, false, 1, 9216},
		{9177, false, 7, 9177 + 7*40},
		{9176, true, 7, 9176 + 7*40},
		{1460, true, 1, 1500},
		{2920, true, 2, 3000},
		{2920, false, 1, 2960},
	} {
		t.Run(fmt.Sprintf("%d bytes, offloaded %v", tt.payload, tt.offloaded), func(t *testing.T) {
			records, stats, err := readPackets(t, pcapFile(binary.LittleEndian, false, 1, stamped{1e6, super(tt.payload)}),
				capture.Config{Offloaded: tt.offloaded})
			if err != nil {
				t.Fatal(err)
			}
			if r := records[0]; r.PacketCount != tt.packets || r.TotalBytes != tt.bytes || stats.Seen != tt.packets {
				t.Errorf("%d packets, %d bytes, %d seen; want %d, %d", r.PacketCount, r.TotalBytes, stats.Seen, tt.packets, tt.bytes)
			}
		})
	}
}

// A frame that claims more than was on the wire is one packet, as it is live, where
// the kernel says what is a super-packet.
func TestReadPacketsClaimBeyondWire(t *testing.T) {
	frame := func(ip packet.IP, b []byte) []byte { return packet.Ethernet(packet.IPv4Type, packet.IPv4(ip, b)) }
	body := packet.TCP(5000, 443, packet.Payload(12000))
	whole := frame(packet.IP{Proto: packet.TCPProto}, body)
	for _, tt := range []struct {
		name      string
		frame     []byte
		wire      int
		offloaded bool
		packets   uint64
		bytes     uint64
	}{
		{"claims 40,000 of 60", frame(packet.IP{Proto: packet.TCPProto, Length: 40000}, body[:40]), 74, false, 1, 40000},
		{"claims 40,000 of 60, offloaded", frame(packet.IP{Proto: packet.TCPProto, Length: 40000}, body[:40]), 74, true, 1, 40000},
		{"claims 2,000 of 1,500, offloaded", frame(packet.IP{Proto: packet.TCPProto, Length: 2000}, body[:1480]), 1514, true, 1, 2000},
		{"a byte short on the wire", whole, len(whole) - 1, false, 1, 12040},
		{"on the wire, cut by the snapshot length", whole[:96], len(whole), false, 9, 12000 + 9*40},
		{"whole", whole, len(whole), false, 9, 12000 + 9*40},
		{"in a tag, a byte short", packet.Ethernet(packet.VLANType, packet.VLAN(1, packet.IPv4Type, whole[14:])), len(whole) + 3, false, 1, 12040},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := pcapFile(binary.LittleEndian, false, 1, stamped{1e6, tt.frame})
			binary.LittleEndian.PutUint32(file[24+12:], uint32(tt.wire))
			if tt.wire < len(tt.frame) { // the capture holds no more than the wire did
				binary.LittleEndian.PutUint32(file[24+8:], uint32(tt.wire))
				file = file[:24+16+tt.wire]
			}
			records, stats, err := readPackets(t, file, capture.Config{Offloaded: tt.offloaded})
			if err != nil {
				t.Fatal(err)
			}
			if r := records[0]; r.PacketCount != tt.packets || r.TotalBytes != tt.bytes || stats.Seen != tt.packets {
				t.Errorf("%d packets, %d bytes, %d seen; want %d, %d", r.PacketCount, r.TotalBytes, stats.Seen, tt.packets, tt.bytes)
			}
		})
	}
}

// The accounting's line for each packet of a mixed capture.
func TestReadPacketsAccounting(t *testing.T) {
	ip := func(src, dst string) packet.IP {
		return packet.IP{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: packet.UDPProto}
	}
	frame := func(h packet.IP, b []byte) []byte { return packet.Ethernet(packet.IPv4Type, packet.IPv4(h, b)) }
	dgram := packet.UDP(1, 2, packet.Payload(10))
	later := ip("10.0.0.1", "8.8.8.8")
	later.Fragment = 100
	file := pcapFile(binary.LittleEndian, false, 1,
		stamped{1, frame(ip("10.0.0.1", "8.8.8.8"), dgram)},
		stamped{2, frame(later, dgram)},
		stamped{3, frame(ip("10.0.0.1", "10.0.0.2"), dgram)},
		stamped{4, frame(ip("1.1.1.1", "8.8.8.8"), dgram)},
		stamped{5, packet.Ethernet(packet.ARPType, make([]byte, 46))},
		stamped{6, packet.Ethernet(packet.IPv4Type, []byte{0x45})},
		stamped{7, frame(ip("10.0.0.1", "8.8.8.8"), dgram)[:50]},
	)
	records, stats, err := readPackets(t, file, capture.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := flows.PacketStats{Seen: 7, Counted: 5, NotIP: 1, Malformed: 1, Truncated: 1, Fragment: 1, InClosed: 5, WithDevice: 4, NoDevice: 1}
	if diff := cmp.Diff(want, stats.PacketStats); diff != "" {
		t.Error(diff)
	}
	if len(records) != 4 {
		t.Errorf("%d records, want 4: two of the packet between devices", len(records))
	}
}

// The identities hold for every capture of the data set, whoever is a device.
func TestReadCaptureAccounting(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testenv.Data(t), "*", "*.pcap"))
	if err != nil || len(paths) != 440 {
		t.Fatalf("%d captures, %v", len(paths), err)
	}
	var total [2]flows.PacketStats
	for _, path := range paths {
		for _, direction := range []flows.Direction{flows.Bi, flows.Uni} {
			var records []*flows.Record
			cfg := capture.Config{RecordSpec: flows.RecordSpec{Direction: direction}}
			stats, err := capture.Read(context.Background(), path, cfg, func(r *flows.Record) { records = append(records, r) })
			if err != nil {
				t.Fatal(err)
			}
			if checkAccounting(t, stats, records); t.Failed() {
				t.Fatalf("in %s, %v", path, direction)
			}
			last := map[string]int64{}
			for _, r := range records {
				if before := last[r.Device]; r.FirstSeen < before-100 { // backward steps are of up to 82 us
					t.Fatalf("%s, %v: a record of %s first seen at %d comes after one at %d", path, direction, r.Device, r.FirstSeen, before)
				}
				last[r.Device] = r.FirstSeen
			}
			sum := &total[direction]
			sum.Seen, sum.NotIP, sum.Malformed = sum.Seen+stats.Seen, sum.NotIP+stats.NotIP, sum.Malformed+stats.Malformed
			sum.Truncated, sum.Fragment = sum.Truncated+stats.Truncated, sum.Fragment+stats.Fragment
		}
	}
	if diff := cmp.Diff(total[flows.Bi], total[flows.Uni]); diff != "" {
		t.Errorf("the direction changes what is seen (-bi +uni):\n%s", diff)
	}
	t.Logf("%+v", total[flows.Bi])
}

// FuzzReadPackets: any stream ends, without a panic, in records that add up.
func FuzzReadPackets(f *testing.F) {
	exchange := []stamped{{1e6, query(2)}, {61e6, answer(3)}}
	ng := pcapngFile(f, []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeRaw}, exchange...)
	for _, seed := range [][]byte{
		pcapFile(binary.LittleEndian, false, 1, exchange...),
		pcapFile(binary.BigEndian, true, 113, exchange...),
		ng, gzipped(f, ng[:len(ng)-9]),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, file []byte, uni bool) {
		cfg := capture.Config{Offloaded: uni}
		if uni {
			cfg.Direction = flows.Uni
		}
		_, stats, err := readPackets(t, file, cfg)
		if err == nil && len(file) < 24 {
			t.Errorf("%d bytes were read without an error: %+v", len(file), stats)
		}
	})
}

func BenchmarkReadPackets(b *testing.B) {
	var exchange []stamped
	for i := range int64(1000) {
		exchange = append(exchange, stamped{i * 1000, query(200)}, stamped{i*1000 + 500, answer(800)})
	}
	file := pcapFile(binary.LittleEndian, false, 1, exchange...)
	benchmarkRead(b, func(cfg capture.Config) (capture.Stats, error) {
		return capture.ReadPackets(context.Background(), bytes.NewReader(file), cfg, func(*flows.Record) {})
	})
}

func BenchmarkReadCapture(b *testing.B) {
	path := filepath.Join(testenv.Data(b), "HueBridge", "Setup-A-1-STA.pcap")
	benchmarkRead(b, func(cfg capture.Config) (capture.Stats, error) {
		return capture.Read(context.Background(), path, cfg, func(*flows.Record) {})
	})
}

func benchmarkRead(b *testing.B, read func(capture.Config) (capture.Stats, error)) {
	cfg := capture.Config{Locals: flows.NewLocals(nil)}
	var packets uint64
	b.ReportAllocs()
	for b.Loop() {
		stats, err := read(cfg)
		if err != nil {
			b.Fatal(err)
		}
		packets += stats.Seen
	}
	b.ReportMetric(float64(packets)/b.Elapsed().Seconds(), "packets/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
}
