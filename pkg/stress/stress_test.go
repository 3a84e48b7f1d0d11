package stress

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/pcap"
)

var start = time.Date(2016, time.May, 25, 12, 0, 0, 0, time.UTC)

const device = "02:00:00:00:00:0d"

// find is the change of that name.
func find(t testing.TB, name string) Change {
	t.Helper()
	for _, c := range Changes() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no change %q", name)
	return Change{}
}

// at is a packet so many seconds after the start; untimed ones have a time of their own.
func at(seconds float64, data []byte) pcap.Packet {
	return pcap.Packet{Data: data, Length: len(data), Link: 1, Timed: true, Time: start.Add(time.Duration(seconds * float64(time.Second)))}
}

func udp(src, dst packet.IP, ports ...uint16) []byte {
	ip := packet.IP{Src: src.Src, Dst: dst.Dst, Proto: packet.UDPProto}
	return packet.IPv4(ip, packet.UDP(ports[0], ports[1], packet.Payload(4)))
}

// What becomes of these packets, by number.
func TestChanges(t *testing.T) {
	query := packet.Ethernet(packet.IPv4Type, udp(packet.IP{}, packet.IP{}, 5000, 53))
	answer := packet.EthernetFrom(packet.RouterMAC, packet.DeviceMAC, packet.IPv4Type, udp(packet.IP{Src: packet.ServerIP}, packet.IP{Dst: packet.DeviceIP}, 53, 5000))
	other := packet.EthernetFrom(packet.RouterMAC, [6]byte{2, 0, 0, 0, 0, 9}, packet.IPv4Type, udp(packet.IP{}, packet.IP{}, 5000, 53))
	asked := packet.EthernetFrom(packet.RouterMAC, [6]byte{255, 255, 255, 255, 255, 255}, packet.ARPType, make([]byte, 28))
	packets := []pcap.Packet{
		at(0, asked), at(1, query), at(1.5, answer), at(-1, other), at(29.999999, query),
		at(30, query), {Data: query, Length: len(query), Link: 1}, at(12, answer), at(60, packet.Ethernet(packet.ARPType, make([]byte, 28))), at(70, query[:20]),
	}
	for _, tt := range []struct{ change, want string }{
		{"late-30s", "5 6 8 9"},
		{"late-60s", "8 9"},
		{"twice", "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9"},
		{"sent-only", "1 4 5 6 8 9"},
		{"received-only", "2 7"},
		{"another-home", "0 1 2 3 4 5 6 7 8 9"},
	} {
		c := find(t, tt.change).Begin(1, "a.pcap", []string{device})
		var got []string
		for i, p := range packets {
			c.Packet(p, func(out pcap.Packet) {
				got = append(got, fmt.Sprint(i))
				if tt.change != "another-home" && (!bytes.Equal(out.Data, p.Data) || out.Time != p.Time) || len(out.Data) != len(p.Data) || out.Length != p.Length {
					t.Errorf("%s: packet %d became another", tt.change, i)
				}
			})
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.change, s, tt.want)
		}
	}
}

// On a link without MACs devices are addresses.
func TestWaysWithoutMAC(t *testing.T) {
	sent := udp(packet.IP{}, packet.IP{}, 5000, 53)
	received := udp(packet.IP{Src: packet.ServerIP}, packet.IP{Dst: packet.DeviceIP}, 53, 5000)
	for change, want := range map[string][]byte{"sent-only": sent, "received-only": received} {
		c := find(t, change).Begin(1, "a", []string{"ip:192.168.7.2"})
		var got [][]byte
		for _, b := range [][]byte{sent, received} {
			c.Packet(pcap.Packet{Data: b, Length: len(b), Link: 101}, func(p pcap.Packet) { got = append(got, p.Data) })
		}
		if len(got) != 1 || !bytes.Equal(got[0], want) {
			t.Errorf("%s: %x", change, got)
		}
	}
}

// The first seconds are those of each device, from the first packet that it sends on.
func TestFirst(t *testing.T) {
	late := [6]byte{2, 0, 0, 0, 0, 9}
	query := packet.Ethernet(packet.IPv4Type, udp(packet.IP{}, packet.IP{}, 5000, 53))
	answer := packet.EthernetFrom(packet.RouterMAC, packet.DeviceMAC, packet.IPv4Type, udp(packet.IP{Src: packet.ServerIP}, packet.IP{Dst: packet.DeviceIP}, 53, 5000))
	toLate := packet.EthernetFrom(packet.RouterMAC, late, packet.ARPType, make([]byte, 28))
	fromLate := packet.EthernetFrom(late, packet.RouterMAC, packet.ARPType, make([]byte, 28))
	between := packet.EthernetFrom(packet.DeviceMAC, late, packet.ARPType, make([]byte, 28))
	other := packet.EthernetFrom(packet.RouterMAC, [6]byte{2, 0, 0, 0, 0, 8}, packet.ARPType, make([]byte, 28))
	untimed := pcap.Packet{Data: query, Length: len(query), Link: 1}
	c := First(10*time.Second).Begin(1, "a.pcap", []string{device, "02:00:00:00:00:09"})
	var got []string
	for i, p := range []pcap.Packet{
		at(0, other), at(1, answer), at(5, query), at(9, query), at(15, answer), untimed, at(15.1, query), at(16, toLate), untimed,
		at(30, between), at(31, fromLate), at(40, between), at(41.1, between),
	} {
		c.Packet(p, func(pcap.Packet) { got = append(got, fmt.Sprint(i)) })
	}
	if s, want := strings.Join(got, " "), "1 2 3 4 5 7 9 10 11"; s != want {
		t.Errorf("packets %s, want %s", s, want)
	}
	if name := First(time.Minute).Name; name != "first-60s" {
		t.Error(name)
	}
}

// given is what a change makes of n packets: how many of each.
func given(c capture.Changer, n int) []int {
	counts := make([]int, n)
	for i := range counts {
		c.Packet(at(float64(i), []byte{1}), func(pcap.Packet) { counts[i]++ })
	}
	return counts
}

// What is drawn depends on seed, capture and change alone, and is of the share named.
func TestDrawn(t *testing.T) {
	const n = 20_000
	for _, tt := range []struct {
		change   string
		from, to float64 // packets given of each
	}{{"lost-5", 0.94, 0.96}, {"lost-20", 0.79, 0.81}, {"twice-10", 1.09, 1.11}} {
		change := find(t, tt.change)
		counts, sum := given(change.Begin(1, "a", nil), n), 0
		for _, k := range counts {
			sum += k
		}
		if share := float64(sum) / n; share < tt.from || share > tt.to {
			t.Errorf("%s gives %.3f of packets", tt.change, share)
		}
		if !slices.Equal(counts, given(change.Begin(1, "a", nil), n)) {
			t.Errorf("%s: another time other packets", tt.change)
		}
		if slices.Equal(counts, given(change.Begin(2, "a", nil), n)) || slices.Equal(counts, given(change.Begin(1, "b", nil), n)) {
			t.Errorf("%s: the same packets with another seed or capture", tt.change)
		}
	}
	if slices.Equal(given(find(t, "lost-5").Begin(1, "a", nil), n), given(find(t, "twice-10").Begin(1, "a", nil), n)) {
		t.Error("two changes do the same")
	}
}

// read makes the records of a device's recording, changed or not.
func read(t testing.TB, r lab.Recording, change string) ([]*flows.Record, capture.Stats) {
	t.Helper()
	if change == "" {
		return readChanged(t, r, Change{})
	}
	return readChanged(t, r, find(t, change))
}

func readChanged(t testing.TB, r lab.Recording, change Change) ([]*flows.Record, capture.Stats) {
	t.Helper()
	var file bytes.Buffer
	if err := lab.WritePCAP(&file, r); err != nil {
		t.Fatal(err)
	}
	spec := flows.RecordSpec{Direction: flows.Bi, Packets: 10, Prefix: 1000, Payload: 3000, Lifetime: time.Minute}
	cfg, name := capture.Config{RecordSpec: spec}, r.Device.String()
	if change.begin != nil {
		cfg.Change = change.Begin(1, r.Label, []string{name})
		name = cfg.Change.Device(name)
	}
	cfg.Locals = flows.NewLocals(nil).WithDevices(name)
	var records []*flows.Record
	stats, err := capture.ReadPackets(context.Background(), &file, cfg, func(r *flows.Record) { records = append(records, r) })
	if err != nil { // the accounting identities among them
		t.Fatalf("%s: %v", change.Name, err)
	}
	for _, r := range records {
		if r.Device != name {
			t.Errorf("%s: a record of %s", change.Name, r.Device)
		}
	}
	return records, stats
}

// Records of changed recordings of every kind of device in the lab, beside the unchanged.
func TestRecordsOfChangedCaptures(t *testing.T) {
	for _, kind := range lab.Kinds() {
		recording, err := lab.Generate(kind, 1, 3, 90*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		plain, seen := read(t, recording, "")
		if len(plain) == 0 {
			t.Fatalf("%s: no record", kind)
		}
		for _, c := range append(Changes(), First(10*time.Second)) {
			records, stats := readChanged(t, recording, c)
			var packets uint64
			for _, r := range records {
				packets += r.PacketCount
				for _, p := range r.Packets {
					if c.Name == "sent-only" && !p.Sent || c.Name == "received-only" && p.Sent {
						t.Fatalf("%s, %s: a packet of the other way", kind, c.Name)
					}
				}
			}
			if packets != stats.WithDevice {
				t.Errorf("%s, %s: %d packets in records, %d with a device", kind, c.Name, packets, stats.WithDevice)
			}
			switch c.Name {
			case "twice":
				sameRecords(t, kind, plain, records, 2)
				if stats.Seen != 2*seen.Seen || stats.NotIP != 2*seen.NotIP || stats.Counted != 2*seen.Counted {
					t.Errorf("%s: twice %+v is %+v", kind, seen.PacketStats, stats.PacketStats)
				}
			case "another-home":
				sameRecords(t, kind, plain, records, 1)
				if stats.PacketStats != seen.PacketStats || stats.Last-stats.First != seen.Last-seen.First || stats.First-seen.First < month.Microseconds() {
					t.Errorf("%s: another home %+v is %+v", kind, seen, stats)
				}
				if bytes.Contains(payloads(records), recording.Device[:]) || bytes.Contains(bytes.ToLower(payloads(records)), []byte(recording.Device.String())) {
					t.Errorf("%s: its MAC is still in payloads", kind)
				}
			default:
				if stats.Seen >= seen.Seen && c.Name != "twice-10" {
					t.Errorf("%s, %s: %d packets of %d", kind, c.Name, stats.Seen, seen.Seen)
				}
			}
		}
	}
}

func payloads(records []*flows.Record) (all []byte) {
	for _, r := range records {
		for _, p := range r.Packets {
			all = append(all, p.Payload...)
		}
	}
	return all
}

// sameRecords holds flows against those with so many times the packets.
func sameRecords(t *testing.T, kind string, was, is []*flows.Record, times int) {
	t.Helper()
	if len(was) != len(is) {
		t.Errorf("%s: %d records are %d", kind, len(was), len(is))
		return
	}
	for i, r := range was {
		o := is[i]
		if o.PacketCount != uint64(times)*r.PacketCount || o.TotalBytes != uint64(times)*r.TotalBytes || o.LastSeen-o.FirstSeen != r.LastSeen-r.FirstSeen || o.Proto != r.Proto || r.Remote.Is4() && o.Remote != r.Remote {
			t.Errorf("%s, record %d: %+v is %+v", kind, i, r, o)
			return
		}
		for n, p := range o.Packets {
			if q := r.Packets[n/times]; p.Size != q.Size || p.Sent != q.Sent || p.Offset != q.Offset || times == 1 && len(p.Payload) != len(q.Payload) { // twice as many share a row's room
				t.Errorf("%s, record %d, packet %d: %d bytes at %d are %d at %d", kind, i, n, q.Size, q.Offset, p.Size, p.Offset)
				return
			}
		}
	}
}

// Whatever a frame holds, a change gives it back as long as it was, and leaves it alone.
func FuzzPacket(f *testing.F) {
	f.Add(1, packet.Ethernet(packet.IPv4Type, udp(packet.IP{}, packet.IP{}, 5000, 53)))
	f.Add(1, packet.Ethernet(packet.IPv6Type, packet.IPv6(packet.IP{Proto: packet.TCPProto}, packet.TCP(50000, 443, []byte("Host: 192.168.7.2:49153 02:00:00:00:00:0d")))))
	f.Add(101, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(68, 67, []byte("2f402f80-da50-11e1-9b23-00000000000d, 25 May 2016"))))
	f.Fuzz(func(t *testing.T, link int, data []byte) {
		was := bytes.Clone(data)
		for _, c := range slices.Concat(Changes(), Copies(), []Change{First(0)}) {
			p := pcap.Packet{Data: data, Length: len(data), Link: link, Time: start, Timed: true}
			c.Begin(1, "", []string{device, "ip:192.168.7.2"}).Packet(p, func(out pcap.Packet) {
				if len(out.Data) != len(was) || out.Length != len(was) {
					t.Errorf("%s: %d bytes of %d", c.Name, len(out.Data), len(was))
				}
			})
			if !bytes.Equal(data, was) {
				t.Fatalf("%s writes into what it was given", c.Name)
			}
		}
	})
}

// Copies are in another home each, the same when they are made again, and add up.
func TestCopies(t *testing.T) {
	recording, err := lab.Generate("camera", 1, 3, 2*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, seen := read(t, recording, "")
	names := map[string]bool{recording.Device.String(): true}
	for _, c := range Copies() {
		for capture := range 8 { // of any kind, most have met some
			recording.Label = fmt.Sprint(capture)
			records, stats := readChanged(t, recording, c)
			again, twice := readChanged(t, recording, c)
			if stats != twice || len(records) != len(again) || !bytes.Equal(payloads(records), payloads(again)) {
				t.Errorf("%s is another one the second time", c.Name)
			}
			if stats.Seen == 0 || stats.Seen > 2*seen.Seen || len(records) == 0 {
				t.Errorf("%s: %d records of %d packets of %d", c.Name, len(records), stats.Seen, seen.Seen)
			}
			names[records[0].Device] = true
		}
	}
	if len(names) < 4*8 {
		t.Errorf("%d names of a device in %d homes", len(names), 4*8)
	}
}

// Changes come one after the other.
func TestChain(t *testing.T) {
	c := &changer{}
	c.chain(late(30*time.Second), func(c *changer) { c.random = rand.New(rand.NewPCG(1, 1)); twice(1)(c) }, twice(1))
	if got := given(c, 40); got[29] != 0 || got[30] != 4 {
		t.Errorf("%v", got)
	}
}

// Every change is found by its name, and one of a time by the name that it says.
func TestNamed(t *testing.T) {
	for _, c := range append(slices.Concat(Changes(), Copies()), First(10*time.Second), First(1500*time.Millisecond)) {
		if got, err := Named(c.Name); err != nil || got.Name != c.Name || got.Meaning != c.Meaning {
			t.Errorf("%s: %v, %v", c.Name, got, err)
		}
	}
	for _, name := range []string{"", "first-", "first-10", "first--1s", "Twice"} {
		if _, err := Named(name); err == nil || !strings.Contains(err.Error(), "another-home, copy-late") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
