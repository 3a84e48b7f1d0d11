package loader

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// craftedFrames has a frame for each way through the parser.
func craftedFrames() map[string][]byte {
	type IP = packet.IP
	var (
		body = packet.Payload(100)
		udp  = packet.UDP(5000, 53, body)
		tcp  = packet.TCP(5000, 443, body)
		ipv4 = func(h IP, b []byte) []byte { return packet.Ethernet(packet.IPv4Type, packet.IPv4(h, b)) }
		ipv6 = func(h IP, b []byte) []byte { return packet.Ethernet(packet.IPv6Type, packet.IPv6(h, b)) }
	)
	frames := map[string][]byte{
		"udp":                 ipv4(IP{Proto: 17}, udp),
		"tcp":                 ipv4(IP{Proto: 6}, tcp),
		"tcp options":         ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 8, body)),
		"tcp offset 4":        ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 4, body)),
		"tcp offset past end": ipv4(IP{Proto: 6}, packet.TCPOffset(1, 2, 15, body[:8])),
		"pure ack":            ipv4(IP{Proto: 6}, packet.TCP(1, 2, nil)),
		"udp length 7":        ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 7, body)),
		"udp length short":    ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 20, body)),
		"udp length long":     ipv4(IP{Proto: 17}, packet.UDPLength(1, 2, 2000, body)),
		"ip options":          ipv4(IP{Proto: 17, Options: make([]byte, 40)}, udp),
		"icmp":                ipv4(IP{Proto: packet.ICMP}, body),
		"igmp":                ipv4(IP{Proto: packet.IGMP, Options: []byte{0x94, 4, 0, 0}}, body[:8]),
		"gre":                 ipv4(IP{Proto: packet.GRE}, body),
		"esp":                 ipv4(IP{Proto: packet.ESP}, body),
		"sctp":                ipv4(IP{Proto: packet.SCTP}, body),
		"first fragment":      ipv4(IP{Proto: 17, Fragment: packet.MoreFragments}, udp),
		"later fragment":      ipv4(IP{Proto: 17, Fragment: packet.MoreFragments | 10}, udp),
		"last fragment":       ipv4(IP{Proto: 17, Fragment: 20}, udp),
		"zero length":         ipv4(IP{Proto: 6, Length: packet.Zero}, tcp),
		"length 19":           ipv4(IP{Proto: 17, Length: 19}, udp),
		"length long":         ipv4(IP{Proto: 17, Length: 1500}, udp),
		"IHL 4":               ipv4(IP{Proto: 17, IHL: 4}, udp),
		"IHL 15":              ipv4(IP{Proto: 17, IHL: 15}, udp),
		"padded":              append(ipv4(IP{Proto: 6}, packet.TCP(1, 2, nil)), make([]byte, 6)...),
		"udp over ipv6":       ipv6(IP{Proto: 17}, udp),
		"tcp over ipv6":       ipv6(IP{Proto: 6}, tcp),
		"icmpv6":              ipv6(IP{Proto: packet.ICMPv6}, body),
		"ipv6 no next":        ipv6(IP{Proto: packet.NoNext}, nil),
		"ipv6 zero length":    ipv6(IP{Proto: 6, Length: packet.Zero}, tcp),
		"ipv6 atomic":         ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 0, false, udp)),
		"ipv6 first fragment": ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 0, true, udp)),
		"ipv6 later fragment": ipv6(IP{Proto: packet.FragmentV6}, packet.FragmentHeader(17, 800, true, udp)),
		"ipv6 auth":           ipv6(IP{Proto: packet.Auth}, packet.AuthHeader(6, 4, tcp)),
		"ipv6 long extension": ipv6(IP{Proto: packet.HopByHop}, packet.Extension(17, 3, udp)),
		"ipv6 routing":        ipv6(IP{Proto: packet.Routing}, packet.Extension(packet.DestOpts, 0, packet.Extension(6, 1, tcp))),
		"v6 in v4 frame":      packet.Ethernet(packet.IPv4Type, packet.IPv6(IP{Proto: 17}, udp)),
		"v4 in v6 frame":      packet.Ethernet(packet.IPv6Type, packet.IPv4(IP{Proto: 17}, udp)),
		"arp":                 packet.Ethernet(packet.ARPType, make([]byte, 46)),
		"eapol":               packet.Ethernet(packet.EAPType, make([]byte, 46)),
		"llc":                 packet.LLC(append([]byte{0x42, 0x42, 3}, make([]byte, 43)...)),
		"snap":                packet.LLC(packet.SNAP(packet.IPv4Type, packet.IPv4(IP{Proto: 17}, udp))),
		"snap of another":     packet.LLC(append([]byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 8, 0}, packet.IPv4(IP{Proto: 17}, udp)...)),
		"snap, arp":           packet.LLC(packet.SNAP(packet.ARPType, make([]byte, 28))),
		"snap in a tag":       packet.Ethernet(packet.VLANType, packet.VLAN(3, 136, packet.SNAP(packet.IPv6Type, packet.IPv6(IP{Proto: 17}, udp)))),
		"pppoe":               packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 6}, tcp))),
		"pppoe, ipv6":         packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv6, packet.IPv6(IP{Proto: 17}, udp))),
		"pppoe, one byte":     packet.Ethernet(packet.PPPoEType, slices.Concat(packet.PPPoE(packet.PPPIPv4, nil)[:6], []byte{packet.PPPIPv4}, packet.IPv4(IP{Proto: 17}, udp))),
		"pppoe, lcp":          packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPLCP, make([]byte, 40))),
		"pppoe with a code":   packet.Ethernet(packet.PPPoEType, append([]byte{0x11, 0xa7}, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 17}, udp))[2:]...)),
		"pppoe in two tags":   packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, packet.IPv4(IP{Proto: 17}, udp))))),
		"pseudowire":          packet.Ethernet(packet.MPLSType, packet.MPLS(1, append(make([]byte, 4), ipv4(IP{Proto: 17}, udp)...))),
		"one of each":         packet.LLC(packet.SNAP(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.PPPoEType, packet.PPPoE(0x0281, packet.MPLS(4, packet.IPv4(IP{Proto: 17}, udp))))))),
		"one too many":        packet.LLC(packet.SNAP(packet.QinQType, packet.VLAN(0, packet.VLANType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.PPPoEType, packet.PPPoE(0x0281, packet.MPLS(4, packet.IPv4(IP{Proto: 17}, udp)))))))),
		"empty":               packet.Ethernet(packet.IPv4Type, nil),
		"802.1ad":             packet.Ethernet(packet.QinQType, packet.VLAN(1, packet.VLANType, packet.VLAN(2, packet.IPv6Type, packet.IPv6(IP{Proto: 17}, udp)))),
	}
	for n := range 11 {
		inner, typ := packet.IPv4(IP{Proto: 17}, udp), uint16(packet.IPv4Type)
		b, next := udp, uint8(17)
		for range n {
			inner, typ = packet.VLAN(7, typ, inner), packet.VLANType
			b, next = packet.Extension(next, 0, b), packet.DestOpts
		}
		frames[fmt.Sprintf("%d tags", n)] = packet.Ethernet(typ, inner)
		frames[fmt.Sprintf("%d labels", n)] = packet.Ethernet(packet.MPLSType+uint16(n%2), packet.MPLS(n, packet.IPv6(IP{Proto: 17}, udp)))
		frames[fmt.Sprintf("%d extensions", n)] = ipv6(IP{Proto: next}, b)
	}
	for _, a := range []string{
		"0.0.0.0", "0.0.0.1", "255.255.255.255", "224.0.0.251", "169.254.1.1", "10.255.255.255", "11.0.0.0", "172.15.0.1",
		"172.16.0.1", "172.31.255.255", "172.32.0.0", "192.168.7.255", "192.169.0.1", "198.51.100.9", "203.0.113.7",
	} {
		frames["to "+a] = ipv4(IP{Proto: 17, Dst: netip.MustParseAddr(a)}, udp)
		frames["from "+a] = ipv4(IP{Proto: 17, Src: netip.MustParseAddr(a)}, udp)
	}
	for _, a := range []string{
		"::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fdff::1", "fe00::1", "ff02::fb", "2001:db8::9", "2001:db8:1::9", "::ffff:10.0.0.1",
	} {
		frames["to "+a] = ipv6(IP{Proto: 17, Dst: netip.MustParseAddr(a)}, udp)
		frames["from "+a] = ipv6(IP{Proto: 17, Src: netip.MustParseAddr(a)}, udp)
	}
	same := netip.MustParseAddr("0.0.0.0")
	frames["both ends alike"] = packet.EthernetFrom(packet.DeviceMAC, packet.DeviceMAC, packet.IPv4Type,
		packet.IPv4(IP{Proto: 17, Src: same, Dst: same}, packet.UDP(68, 68, body)))
	frames["told apart by MAC"] = packet.Ethernet(packet.IPv4Type,
		packet.IPv4(IP{Proto: 17, Src: same, Dst: same}, packet.UDP(68, 68, body)))
	for _, n := range []int{0, 1, 2, 7, 8, 999, 1000, 1001, 1472, 2900} {
		frames[fmt.Sprintf("payload of %d", n)] = ipv4(IP{Proto: 17}, packet.UDP(1, 2, packet.Payload(n)))
	}
	return frames
}

// minFrame is what BPF_PROG_TEST_RUN wants at least, maxFrame at most.
const (
	minFrame = 14
	maxFrame = 3500
)

// runnable reports whether a test run takes a frame as an skb: the kernel looks
// for a whole IP header behind an EtherType of IP. XDP takes every frame.
func runnable(frame []byte) bool {
	switch [2]byte(frame[12:]) {
	case [2]byte{8, 0}:
		return len(frame) >= 14+20
	case [2]byte{0x86, 0xdd}:
		return len(frame) >= 14+40
	}
	return true
}

// everyCut is each crafted frame, and cut after each byte.
func everyCut() [][]byte {
	crafted := craftedFrames()
	var list [][]byte
	names := make([]string, 0, len(crafted))
	for name := range crafted {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		frame := crafted[name]
		for n := min(len(frame), 200); n >= minFrame; n-- {
			list = append(list, frame[:n])
		}
		list = append(list, frame)
	}
	return list
}

// mutated is n frames with bits of the headers turned.
func mutated(seed uint64, n int) [][]byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	base := everyCut()
	list := make([][]byte, n)
	for i := range list {
		f := slices.Clone(base[rng.IntN(len(base))])
		for range 1 + rng.IntN(4) {
			f[rng.IntN(min(len(f), 80))] ^= 1 << rng.IntN(8)
		}
		list[i] = f
	}
	return list
}

// The kernel's parser, key and byte counts are those of package flows, on every
// frame, for each hook and for both directions.
func TestParserAgreesWithGo(t *testing.T) {
	random := 20000
	if testing.Short() {
		random = 1000
	}
	frames := append(everyCut(), mutated(1, random)...)
	local := []netip.Prefix{
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("192.168.0.0/17"),
	}
	for _, tt := range []struct {
		name    string
		cfg     Config
		program string
		link    flows.Link
	}{
		{"tc in", Config{}, gen.IotsenseProgIotsenseIn, flows.LinkEthernet},
		{"tc out uni", Config{Direction: flows.Uni}, gen.IotsenseProgIotsenseOut, flows.LinkEthernet},
		{"tc local ranges added", Config{Local: append(flows.DefaultLocal(), local...)}, gen.IotsenseProgIotsenseIn, flows.LinkEthernet},
		{"tc local ranges replaced", Config{Local: local}, gen.IotsenseProgIotsenseIn, flows.LinkEthernet},
		{"tc raw ip", Config{}, gen.IotsenseProgIotsenseInIp, flows.LinkIP},
		{"xdp", Config{Hook: attach.HookXDP}, gen.IotsenseProgIotsenseXdp, flows.LinkEthernet},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Packets, tt.cfg.Prefix, tt.cfg.Lifetime = object.MaxPackets, object.MaxPrefix, math.MaxInt32*1000
			k := newKernel(t, tt.cfg, tt.program)
			for batch := range slices.Chunk(frames, 1000) {
				k.compare(tt.program, tt.link, batch)
			}
		})
	}
}

// expected is what package flows makes of a frame.
type expected struct {
	packet  flows.Packet
	verdict flows.Outcome
	key     flows.Key
	fromA   bool
}

func (k *kernel) expect(link flows.Link, frame []byte) expected {
	var e expected
	e.verdict = flows.Parse(&e.packet, link, frame, len(frame))
	if e.verdict == flows.Counted {
		e.key, e.fromA = flows.NewLocals(k.cfg.Local).Key(&e.packet, k.cfg.Direction)
	}
	return e
}

// compare runs a batch of frames and compares counters, samples and totals.
func (k *kernel) compare(program string, link flows.Link, frames [][]byte) {
	k.t.Helper()
	before := k.count().Packets
	var want flows.PacketStats
	var counted []expected
	var bytesWant uint64
	for _, f := range frames {
		if link == flows.LinkIP && len(f) >= 2*minFrame {
			f = f[14:]
		}
		if program != gen.IotsenseProgIotsenseXdp && !runnable(f) {
			continue
		}
		e := k.expect(link, f)
		k.run(program, f)
		want.Seen++
		switch e.verdict {
		case flows.NotIP:
			want.NotIP++
		case flows.Malformed:
			want.Malformed++
		default:
			want.Counted++
			want.Truncated += btoi(e.packet.Truncated)
			want.Fragment += btoi(e.packet.Fragment)
			bytesWant += e.packet.WireBytes()
			counted = append(counted, e)
		}
	}
	k.settle()
	after := k.count().Packets
	got := flows.PacketStats{
		Seen: after.Seen - before.Seen, Counted: after.Counted - before.Counted, NotIP: after.NotIP - before.NotIP,
		Malformed: after.Malformed - before.Malformed, Truncated: after.Truncated - before.Truncated, Fragment: after.Fragment - before.Fragment,
	}
	if got != want {
		k.t.Fatalf("counters %+v, want %+v", got, want)
	}
	k.compareSamples(counted)
	k.closes = nil
	k.must(k.flush())
	if packets, bytes := k.total(); packets != want.Counted || bytes != bytesWant {
		k.t.Fatalf("%d packets of %d bytes in the closes, want %d of %d", packets, bytes, want.Counted, bytesWant)
	}
	k.samples = nil
}

// compareSamples matches the samples, which come in the order of the frames,
// with the frames that were counted; a life has no more than object.MaxPackets.
func (k *kernel) compareSamples(counted []expected) {
	k.t.Helper()
	taken := map[flows.Key]int{}
	next := 0
	for _, e := range counted {
		if taken[e.key]++; taken[e.key] > object.MaxPackets {
			continue
		}
		if next == len(k.samples) {
			k.t.Fatalf("only %d samples", next)
		}
		s := k.samples[next]
		next++
		payload := e.packet.Payload[:min(len(e.packet.Payload), object.MaxPrefix)]
		if s.Life.Key != e.key || s.FromA != e.fromA || s.Size != e.packet.Size || int(s.Index) != taken[e.key]-1 || !bytes.Equal(s.Payload, payload) {
			k.t.Fatalf("sample %d: %+v %v size %d, %d bytes of payload; want %+v %v size %d, %d bytes", next,
				s.Life.Key, s.FromA, s.Size, len(s.Payload), e.key, e.fromA, e.packet.Size, len(payload))
		}
	}
	if next != len(k.samples) {
		k.t.Fatalf("%d samples, want %d", len(k.samples), next)
	}
}

func btoi(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// Super-packets are counted as the wire packets that they stand for.
func TestSegmentsOfSuperPackets(t *testing.T) {
	k := newKernel(t, Config{Packets: 10, Prefix: 1000})
	body := packet.Payload(2500)
	tcp := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 6}, packet.TCP(1, 2, body)))
	udp := packet.Ethernet(packet.IPv6Type, packet.IPv6(packet.IP{Proto: 17}, packet.UDP(1, 2, body)))
	ack := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 6}, packet.TCP(3, 4, nil)))
	for _, tt := range []struct {
		name    string
		frame   []byte
		segment int
		headers uint32
		payload []int // of each wire packet
	}{
		{"tcp", tcp, 1000, 40, []int{1000, 1000, 500}},
		{"tcp in pppoe", packet.Ethernet(packet.PPPoEType, packet.PPPoE(packet.PPPIPv4, tcp[14:])), 1000, 40, []int{1000, 1000, 500}},
		{"tcp behind a label", packet.Ethernet(packet.MPLSType, packet.MPLS(1, tcp[14:])), 1000, 40, []int{1000, 1000, 500}},
		{"udp over ipv6", udp, 1250, 48, []int{1250, 1250}},
		{"more segments than samples", tcp, 100, 40, slices.Repeat([]int{100}, 25)},
		{"one segment", tcp, 2500, 40, []int{2500}},
		{"no payload", ack, 1000, 40, []int{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			*k.events = events{}
			before := k.count().Packets
			k.runWith(gen.IotsenseProgIotsenseIn, ebpf.RunOptions{Data: tt.frame, Context: skb{gsoSize: tt.segment}.bytes()})
			k.settle()
			k.must(k.sweep(math.MaxUint64))
			want := uint64(len(tt.payload))
			if got := k.count().Packets; got.Seen-before.Seen != want || got.Counted-before.Counted != want {
				t.Errorf("seen %d, counted %d, want %d", got.Seen-before.Seen, got.Counted-before.Counted, want)
			}
			all := 0
			for _, n := range tt.payload {
				all += n
			}
			wire := uint64(all) + want*uint64(tt.headers)
			if packets, bytes := k.total(); packets != want || bytes != wire {
				t.Errorf("%d packets, %d bytes, want %d, %d", packets, bytes, want, wire)
			}
			if len(k.samples) != min(10, len(tt.payload)) {
				t.Fatalf("%d samples", len(k.samples))
			}
			rest := tt.frame[len(tt.frame)-all:]
			for i, s := range k.samples {
				n := tt.payload[i]
				if s.Size != tt.headers+uint32(n) || int(s.Index) != i || !bytes.Equal(s.Payload, rest[:min(n, 1000)]) {
					t.Errorf("sample %d: index %d, size %d, %d bytes of payload", i, s.Index, s.Size, len(s.Payload))
				}
				rest = rest[n:]
			}
		})
	}
}

// A frame that claims more than it has is no more wire packets than the kernel counts:
// one, as in a file, if that says nothing.
func TestClaimBeyondFrame(t *testing.T) {
	const claimed = 40000
	frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 6, Length: claimed}, packet.TCP(1, 2, packet.Payload(1200))))
	var p flows.Packet
	if v := flows.Parse(&p, flows.LinkEthernet, frame, len(frame)); v != flows.Counted || p.Size != claimed || p.Segments() != 1 {
		t.Fatalf("in a file %d packets of %d, verdict %v", p.Segments(), p.Size, v)
	}
	for _, tt := range []struct {
		ctx     skb
		packets uint64
	}{{skb{}, 1}, {skb{gsoSize: 1000}, 1}, {skb{gsoSize: 1000, gsoSegs: 2}, 2}} {
		k := newKernel(t, Config{Packets: 10, Prefix: 1000})
		k.runWith(gen.IotsenseProgIotsenseIn, ebpf.RunOptions{Data: frame, Context: tt.ctx.bytes()})
		k.must(k.flush())
		got := k.count().Packets
		packets, bytes := k.total()
		if got.Counted != tt.packets || got.Truncated != tt.packets || !identities(got) || packets != tt.packets || bytes != claimed {
			t.Errorf("%+v: %d packets of %d bytes, %+v", tt.ctx, packets, bytes, got)
		}
	}
}

// A super-packet of a tunnel is cut by the packets inside: the kernel's count holds.
func TestTunnelledSegments(t *testing.T) {
	const gre, vxlan, count = 47, 4789, 3
	inner := packet.IPv4(packet.IP{Proto: packet.TCPProto}, packet.TCP(1, 2, packet.Payload(2400)))
	k := newKernel(t, Config{Packets: 10, Prefix: 1000})
	for _, tt := range []struct {
		name  string
		frame []byte
		size  int // of the outer IP packet
	}{
		{"vxlan", packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto},
			packet.UDP(5000, vxlan, append(make([]byte, 8), packet.Ethernet(packet.IPv4Type, inner)...)))), 20 + 8 + 8 + 14 + 2440},
		{"gre", packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: gre}, append([]byte{0, 0, 8, 0}, inner...))), 20 + 4 + 2440},
		{"a pseudowire", packet.Ethernet(packet.MPLSType, packet.MPLS(1, append(make([]byte, 4), packet.Ethernet(packet.IPv4Type, inner)...))), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			*k.events = events{}
			before := k.count().Packets
			k.runWith(gen.IotsenseProgIotsenseIn, ebpf.RunOptions{Data: tt.frame, Context: skb{gsoSize: 800, gsoSegs: count}.bytes()})
			k.must(k.flush())
			got := k.count().Packets
			if tt.size == 0 {
				if got.NotIP-before.NotIP != count || !identities(got) {
					t.Errorf("%+v, want %d not IP", got, count)
				}
				return
			}
			size := (tt.size + count - 1) / count
			if got.Counted-before.Counted != count || !identities(got) || len(k.samples) != 1 || len(k.closes) != 1 {
				t.Fatalf("%+v, %d samples, %d lives", got, len(k.samples), len(k.closes))
			}
			c, s := k.closes[0], k.samples[0]
			if _, bytes := k.total(); bytes != uint64(count*size) || c.Samples != 1 || int(s.Size) != size || len(s.Payload) > size {
				t.Errorf("%d bytes, a sample of %d with %d of payload, want packets of %d", bytes, s.Size, len(s.Payload), size)
			}
		})
	}
}

// skb is the part of struct __sk_buff (linux/bpf.h) that a test run may set.
type skb struct {
	ifindex, gsoSegs, gsoSize int
}

func (s skb) bytes() []byte {
	const size, ifindex, gsoSegs, gsoSize = 192, 40, 164, 176
	b := make([]byte, size)
	b[ifindex], b[ifindex+1] = byte(s.ifindex), byte(s.ifindex>>8)
	b[gsoSegs], b[gsoSegs+1] = byte(s.gsoSegs), byte(s.gsoSegs>>8)
	b[gsoSize], b[gsoSize+1] = byte(s.gsoSize), byte(s.gsoSize>>8)
	return b
}
