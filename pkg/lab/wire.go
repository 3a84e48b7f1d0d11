package lab

// This file holds the wire beside the device: layers in, Ethernet frames out.

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/iotsense/iotsense/pkg/flows"
)

var broadcast = flows.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// host is anything that sends or receives on the wire. A host outside the home
// has the router's MAC.
type host struct {
	fqdn string // of a host outside the home
	mac  flows.MAC
	ip   netip.Addr // IPv4
	ip6  netip.Addr // link-local; invalid for a host that speaks no IPv6
	ttl  uint8      // as seen on the wire
	rtt  time.Duration
	out  span // when nothing is heard of it
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
	until  time.Duration // frames from then on are dropped
	frames []Frame       // not yet handed out
	enough int           // so many that it is worth handing them out
	last   time.Time     // of the frame handed out last
	emit   func(Frame) error
	err    error
}

// fail keeps the first error; nil is none.
func (w *wire) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// put serializes the layers above Ethernet, checksums and lengths filled in, and
// puts the frame on the wire at the given time since the capture's start.
func (w *wire) put(at time.Duration, from, to flows.MAC, typ layers.EthernetType, upper ...gopacket.SerializableLayer) {
	if w.err != nil || at >= w.until {
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
	if from.out.has(at) {
		return
	}
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

// hand hands out the frames before a time in order, on distinct microseconds. Between
// lives and events it may wait until there are many.
func (w *wire) hand(before time.Duration) {
	slices.SortStableFunc(w.frames, func(a, b Frame) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	n, _ := slices.BinarySearchFunc(w.frames, w.start.Add(before), func(f Frame, t time.Time) int { return f.Time.Compare(t) })
	for _, f := range w.frames[:n] {
		if w.err != nil {
			return
		}
		f.Time = f.Time.Truncate(time.Microsecond)
		if !w.last.IsZero() && !f.Time.After(w.last) {
			f.Time = w.last.Add(time.Microsecond)
		}
		w.last = f.Time
		w.fail(w.emit(f))
	}
	w.frames = slices.Delete(w.frames, 0, n)
	w.enough = 2*len(w.frames) + manyFrames
}

// manyFrames are a thousand conversations or so.
const manyFrames = 4096

// hardware is m as the standard library has it.
func hardware(m flows.MAC) net.HardwareAddr { return net.HardwareAddr(m[:]) }
