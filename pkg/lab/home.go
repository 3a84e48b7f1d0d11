package lab

// This file holds the home around a device: its network, its people's phone and
// the servers of the world as they are seen from there; and the wire beside the device:
// layers in, Ethernet frames out.

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Places in the home's /24 network.
const (
	routerHost = 1
	peerHosts  = 3 // phone, recorder, lamp: from here on
	leaseHosts = 16
	leases     = 224
	unitLeases = 14 // leases set aside for each kind; units beyond share them
)

// epoch is where the lab's time begins; a home's captures start in the year after it.
var epoch = time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)

// home is one household. It depends on the seed alone.
type home struct {
	seed     int64
	start    time.Time
	net      netip.Prefix
	domain   string
	router   host // gateway, DHCP server and resolver
	phone    host // the people's phone: runs the apps
	recorder host // a small server: keeps video, brokers messages
	lamp     host // somebody else's lamp, for the hub to command
	lease    []int
}

func newHome(seed int64) *home {
	r := newRand("home", seed)
	h := &home{seed: seed}
	h.start = epoch.Add(time.Duration(r.Int64N(int64(364 * 24 * time.Hour)))).Truncate(time.Microsecond)
	h.domain = []string{"lan", "home.arpa", "fritz.example", "home"}[r.IntN(4)]
	subnet := [4]byte{192, 168, byte(r.IntN(256))}
	if r.IntN(2) == 0 {
		subnet = [4]byte{10, byte(r.IntN(256)), byte(r.IntN(256))}
	}
	h.net = netip.PrefixFrom(netip.AddrFrom4(subnet), 24)
	local := func(n int, ttl uint8, rtt time.Duration) host {
		m := newMAC(r)
		return host{mac: m, ip: h.at(n), ip6: linkLocal(m), ttl: ttl, rtt: rtt}
	}
	h.router = local(routerHost, 64, time.Millisecond)
	h.phone = local(peerHosts, 64, 6*time.Millisecond)
	h.recorder = local(peerHosts+1, 64, 2*time.Millisecond)
	h.lamp = local(peerHosts+2, 255, 9*time.Millisecond)
	h.lease = r.Perm(leases)
	return h
}

// peers are the home's own machines by their MACs.
func (h *home) peers() map[flows.MAC]string {
	return map[flows.MAC]string{h.router.mac: "router", h.phone.mac: "phone", h.recorder.mac: "recorder", h.lamp.mac: "lamp"}
}

// at is the n-th address of the home's network.
func (h *home) at(n int) netip.Addr {
	b := h.net.Addr().As4()
	b[3] = byte(n)
	return netip.AddrFrom4(b)
}

// server is the public host behind a name, as the DNS answers this week: one of
// the documentation addresses (RFC 5737), some hops and milliseconds away.
func (h *home) server(name string) host {
	r := newRand("server", name, h.seed)
	nets := [][4]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	b := nets[r.IntN(len(nets))]
	b[3] = byte(1 + r.IntN(254))
	return host{mac: h.router.mac, ip: netip.AddrFrom4(b), ttl: uint8(64 - 8 - r.IntN(14)),
		rtt: time.Duration(9+r.IntN(90)) * time.Millisecond}
}

// newMAC draws a locally administered unicast address.
func newMAC(r *rand.Rand) flows.MAC {
	var m flows.MAC
	for i := range m {
		m[i] = byte(r.Uint32())
	}
	m[0] = m[0]&^0x03 | 0x02
	return m
}

// linkLocal is the modified EUI-64 address of a MAC (RFC 4291, appendix A).
func linkLocal(m flows.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 0x02, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// device is one unit during one capture.
type device struct {
	wire
	host  // as it is once it has its lease
	stack stack
	home  *home
	rng   *rand.Rand // the course of events
	own   *rand.Rand // the unit's identity: drawn in the same order in every capture

	serial   string
	uuid     string
	hostname string // set by the kind's script before it boots
	firmware string
	nextEph  uint16
	names    map[string]time.Duration // answers of the resolver, by when they expire
	certs    *authority
	events   []event
}

func newDevice(k kind, number, unit int, seed int64, length time.Duration) *device {
	own := newRand("unit", k.name, unit)
	h := newHome(seed)
	mac := newMAC(own)
	d := &device{
		stack: k.stack, home: h, own: own, rng: newRand("events", k.name, unit, seed),
		names: map[string]time.Duration{}, certs: newAuthority(h.start),
	}
	d.host = host{mac: mac, ip: h.at(leaseHosts + h.lease[(number*unitLeases+unit%unitLeases)%leases]), ttl: k.stack.ttl}
	if k.stack.ipv6 {
		d.ip6 = linkLocal(mac)
	}
	d.wire = wire{device: mac, start: h.start, length: length}
	d.serial = fmt.Sprintf("%08X", own.Uint32())
	d.uuid = fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", own.Uint32(), own.IntN(1<<16), own.IntN(1<<12), own.IntN(1<<12), own.Int64N(1<<48))
	d.firmware = fmt.Sprintf("%d.%d.%d", 1+own.IntN(3), own.IntN(10), own.IntN(200))
	d.nextEph = d.stack.portBase + uint16(d.rng.IntN(int(d.stack.portCount)))
	return d
}

// between draws a duration from [low, high); equal bounds give low.
func (d *device) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(d.rng.Int64N(int64(high-low)))
}

// chance is true with probability p.
func (d *device) chance(p float64) bool { return d.rng.Float64() < p }

// period draws the unit's own value of a timer: the same in all its captures.
func (d *device) period(low, high time.Duration) time.Duration {
	return low + time.Duration(d.own.Int64N(int64(high-low)))
}

// event is something the device will do.
type event struct {
	at time.Duration
	do func(at time.Duration)
}

// after does something at a time to come. What a device remembers - answers of
// the resolver, the last port - is only right when it acts in order of time.
func (d *device) after(at time.Duration, do func(at time.Duration)) {
	d.events = append(d.events, event{at, do})
}

// every does something from a time on, once a period with a twentieth of jitter.
func (d *device) every(from, period time.Duration, do func(at time.Duration)) {
	d.after(from, func(at time.Duration) {
		do(at)
		d.every(at+period+d.between(-period/20, period/20), period, do)
	})
}

// run does all that was put off, in order of time, until the capture ends.
func (d *device) run() {
	for len(d.events) > 0 && d.err == nil {
		next := 0
		for i, e := range d.events {
			if e.at < d.events[next].at {
				next = i
			}
		}
		e := d.events[next]
		d.events = slices.Delete(d.events, next, next+1)
		if e.at >= d.length {
			return
		}
		e.do(e.at)
	}
}

// nextPort is the next ephemeral port.
func (d *device) nextPort() uint16 {
	step := uint16(1)
	if !d.stack.sequential {
		step = uint16(1 + d.rng.IntN(int(d.stack.portCount)-1))
	}
	n := (uint32(d.nextEph-d.stack.portBase) + uint32(step)) % uint32(d.stack.portCount)
	d.nextEph = d.stack.portBase + uint16(n)
	return d.nextEph
}

// bytes draws n bytes: what is secret or compressed on the wire.
func (d *device) bytes(n int) []byte { return randomBytes(d.rng, n) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// clock is the wall time at a time since the capture's start.
func (d *device) clock(at time.Duration) time.Time { return d.wire.start.Add(at) }

var broadcast = flows.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// host is anything that sends or receives on the wire. A host outside the home
// has the router's MAC.
type host struct {
	mac flows.MAC
	ip  netip.Addr // IPv4
	ip6 netip.Addr // link-local; invalid for a host that speaks no IPv6
	ttl uint8      // as seen on the wire
	rtt time.Duration
}

// group is a multicast or broadcast destination (RFC 1112, RFC 2464).
func group(addr string) host {
	ip := netip.MustParseAddr(addr)
	b := ip.AsSlice()
	switch {
	case ip.Is6():
		return host{mac: flows.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}, ip6: ip}
	case ip.IsMulticast():
		return host{mac: flows.MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}, ip: ip}
	}
	return host{mac: broadcast, ip: ip}
}

// wire collects frames. After its first error it collects nothing more.
type wire struct {
	device flows.MAC
	start  time.Time
	length time.Duration
	frames []Frame
	err    error
}

// fail keeps the first error; nil is none.
func (w *wire) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// put serializes the layers above Ethernet, checksums and lengths filled in, and
// puts the frame on the wire at the given time since the capture's start. Frames
// behind the capture's end are dropped.
func (w *wire) put(at time.Duration, from, to flows.MAC, typ layers.EthernetType, upper ...gopacket.SerializableLayer) {
	if w.err != nil || at >= w.length {
		return
	}
	eth := &layers.Ethernet{SrcMAC: from[:], DstMAC: to[:], EthernetType: typ}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{eth}, upper...)...); err != nil {
		w.fail(fmt.Errorf("serialize frame at %v: %w", at, err))
		return
	}
	w.frames = append(w.frames, Frame{Time: w.start.Add(at), Data: buf.Bytes(), FromDevice: from == w.device})
}

// ipv4 puts an IPv4 packet on the wire.
func (w *wire) ipv4(at time.Duration, from, to host, ip layers.IPv4, upper ...gopacket.SerializableLayer) {
	ip.Version, ip.SrcIP, ip.DstIP = 4, from.ip.AsSlice(), to.ip.AsSlice()
	if ip.TTL == 0 {
		ip.TTL = from.ttl
	}
	if ip.Id == 0 && ip.Flags&layers.IPv4DontFragment == 0 {
		ip.Id = uint16(at/(20*time.Microsecond)) + binary.BigEndian.Uint16(ip.SrcIP[2:]) // a counter that all of a host's traffic shares
	}
	w.checksums(&ip, upper)
	w.put(at, from.mac, to.mac, layers.EthernetTypeIPv4, append([]gopacket.SerializableLayer{&ip}, upper...)...)
}

// checksums makes those of the upper layers cover ip's addresses.
func (w *wire) checksums(ip gopacket.NetworkLayer, upper []gopacket.SerializableLayer) {
	for _, l := range upper {
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			w.fail(c.SetNetworkLayerForChecksum(ip))
		}
	}
}

// ipv6 puts an IPv6 packet on the wire; from.ip6 may be the unspecified address.
func (w *wire) ipv6(at time.Duration, from, to host, ip layers.IPv6, upper ...gopacket.SerializableLayer) {
	ip.Version, ip.SrcIP, ip.DstIP = 6, from.ip6.AsSlice(), to.ip6.AsSlice()
	ip.HopLimit = 255
	if ip.NextHeader == layers.IPProtocolIPv6HopByHop {
		ip.HopLimit = 1
	}
	w.checksums(&ip, upper)
	w.put(at, from.mac, to.mac, layers.EthernetTypeIPv6, append([]gopacket.SerializableLayer{&ip}, upper...)...)
}

// udp puts a UDP datagram on the wire, over IPv6 when the destination has only that.
func (w *wire) udp(at time.Duration, from, to host, sport, dport uint16, ip layers.IPv4, payload []byte) {
	u := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	if !to.ip.IsValid() {
		w.ipv6(at, from, to, layers.IPv6{NextHeader: layers.IPProtocolUDP}, u, gopacket.Payload(payload))
		return
	}
	ip.Protocol = layers.IPProtocolUDP
	w.ipv4(at, from, to, ip, u, gopacket.Payload(payload))
}

// arp puts an ARP message on the wire (RFC 826).
func (w *wire) arp(at time.Duration, op uint16, from, to host, target flows.MAC) {
	w.put(at, from.mac, to.mac, layers.EthernetTypeARP, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
		HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: from.mac[:], SourceProtAddress: from.ip.AsSlice(),
		DstHwAddress: target[:], DstProtAddress: to.ip.AsSlice(),
	})
}

// finish hands out the frames in order of time, on distinct microseconds.
func (w *wire) finish() ([]Frame, error) {
	if w.err != nil {
		return nil, w.err
	}
	slices.SortStableFunc(w.frames, func(a, b Frame) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	var last time.Time
	for i := range w.frames {
		t := w.frames[i].Time.Truncate(time.Microsecond)
		if i > 0 && !t.After(last) {
			t = last.Add(time.Microsecond)
		}
		w.frames[i].Time, last = t, t
	}
	return w.frames, nil
}

// hardware is m as the standard library has it.
func hardware(m flows.MAC) net.HardwareAddr { return net.HardwareAddr(m[:]) }
