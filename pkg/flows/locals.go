package flows

// This file decides which end of a packet is local and which is a device.

import (
	"net/netip"
	"slices"
	"strings"
)

// alwaysLocal are the addresses a device has before it has one of its own.
var alwaysLocal = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/32"),
	netip.MustParsePrefix("169.254.0.0/16"), // RFC 3927
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("fe80::/10"), // RFC 4291
}

// privateIPv4 are the blocks that the paper replaces by 0.0.0.0 (III-A, RFC 1918).
var privateIPv4 = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
}

// uniqueLocal is the IPv6 counterpart of the private blocks (RFC 4193).
var uniqueLocal = netip.MustParsePrefix("fc00::/7")

// DefaultLocal is what counts as local when nothing is configured: the private
// IPv4 blocks and unique local IPv6 addresses. 0.0.0.0, ::, 169.254/16 and
// fe80::/10 are local always.
func DefaultLocal() []netip.Prefix { return append(slices.Clone(privateIPv4), uniqueLocal) }

// Locals knows the local address ranges and, of a labelled capture, its devices.
type Locals struct {
	prefixes  []netip.Prefix
	broadcast map[netip.Addr]bool
	listed    map[identity]bool // nil: not a labelled capture
	others    bool              // not only these are devices
	own       map[MAC][]netip.Addr
}

// identity is what names a device: its MAC, or its address on links without MACs.
type identity struct {
	mac  MAC
	addr netip.Addr
}

func identityOf(e End) identity {
	if e.MAC.IsZero() {
		return identity{addr: e.Addr}
	}
	return identity{mac: e.MAC}
}

func (i identity) String() string {
	if i.mac.IsZero() {
		return "ip:" + i.addr.String()
	}
	return i.mac.String()
}

// parseIdentity reads what String gives, a MAC in any form of ParseMAC.
func parseIdentity(name string) (identity, bool) {
	if mac, err := ParseMAC(name); err == nil {
		return identity{mac: mac}, true
	}
	text, ok := strings.CutPrefix(name, "ip:")
	addr, err := netip.ParseAddr(text)
	return identity{addr: addr}, ok && err == nil
}

// IsDeviceName reports whether a device can have the name, as Record.Device has them.
func IsDeviceName(name string) bool {
	_, ok := parseIdentity(name)
	return ok
}

// NewLocals treats prefixes as local, beside the addresses that always are; nil
// stands for DefaultLocal.
func NewLocals(prefixes []netip.Prefix) *Locals {
	if prefixes == nil {
		prefixes = DefaultLocal()
	}
	l := &Locals{broadcast: map[netip.Addr]bool{}}
	for _, p := range prefixes {
		l.prefixes = append(l.prefixes, p.Masked())
	}
	for _, p := range slices.Concat(alwaysLocal, l.prefixes) {
		if p.Addr().Is4() && p.Bits() < 31 {
			l.broadcast[lastAddr(p)] = true
		}
	}
	return l
}

// WithDevices returns a copy for a labelled capture: only these devices are
// devices, whatever their address. Names are as Record.Device has them; one that
// is neither a MAC nor "ip:ADDR" is no device's.
func (l *Locals) WithDevices(names ...string) *Locals {
	c := *l
	c.listed = map[identity]bool{}
	for _, n := range names {
		if id, ok := parseIdentity(n); ok {
			c.listed[id] = true
		}
	}
	return &c
}

// WithOthers returns a copy for which the local ends of a labelled capture are devices
// too, beside those that are listed.
func (l *Locals) WithOthers() *Locals {
	c := *l
	c.others = true
	return &c
}

// WithOwn returns a copy that knows the sensor's own interfaces: an end with one
// of these MACs but another address is a packet the sensor's host forwards, and
// no device.
func (l *Locals) WithOwn(own map[MAC][]netip.Addr) *Locals {
	c := *l
	c.own = own
	return &c
}

// IsLocal reports whether a lies in a local range. It looks at the range alone,
// as the kernel does: a subnet-directed broadcast address is in its range.
func (l *Locals) IsLocal(a netip.Addr) bool {
	return contains(alwaysLocal, a) || contains(l.prefixes, a)
}

// IsGroup reports whether a is a multicast, broadcast or subnet-directed
// broadcast address.
func (l *Locals) IsGroup(a netip.Addr) bool {
	return a.IsMulticast() || a == limitedBroadcast || l.broadcast[a]
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Obfuscate is the remote address as a record shows it: 0.0.0.0 or :: for local
// unicast and subnet-directed broadcast, everything else as it is (paper III-A).
func (l *Locals) Obfuscate(a netip.Addr) netip.Addr {
	switch {
	case a.IsMulticast() || a == limitedBroadcast:
		return a
	case !l.IsLocal(a) && !contains(privateIPv4, a) && !uniqueLocal.Contains(a):
		return a
	case a.Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Key is p's flow identity as seen from its sender. In a bidirectional flow the
// ends are then put in order; fromA tells whether the sender is Key.A.
func (l *Locals) Key(p *Packet, dir Direction) (k Key, fromA bool) {
	k = Key{
		A:        l.end(p.Src, p.SrcMAC, p.SrcPort),
		B:        l.end(p.Dst, p.DstMAC, p.DstPort),
		Proto:    p.Proto,
		HasPorts: p.HasPorts,
	}
	if dir == Uni || k.A.compare(k.B) <= 0 {
		return k, true
	}
	k.A, k.B = k.B, k.A
	return k, false
}

// end keeps the MAC of an end in a local range or of a listed device, group
// addresses too: whether a device is there is Device's to say.
func (l *Locals) end(a netip.Addr, mac MAC, port uint16) End {
	if !l.IsLocal(a) && !l.listed[identity{mac: mac}] {
		mac = MAC{}
	}
	return End{Addr: a, MAC: mac, Port: port}
}

// Device is the name of the device at e: its MAC, or "ip:ADDR" on links without
// MACs. ok is false when no device is there.
func (l *Locals) Device(e End) (name string, ok bool) {
	if e.MAC.IsGroup() || l.IsGroup(e.Addr) {
		return "", false
	}
	id := identityOf(e)
	if ok = l.listed[id]; !ok && (l.listed == nil || l.others) {
		addrs, ours := l.own[e.MAC]
		forwarded := ours && !e.Addr.IsUnspecified() && !slices.Contains(addrs, e.Addr)
		ok = l.IsLocal(e.Addr) && !forwarded
	}
	if !ok {
		return "", false
	}
	return id.String(), true
}

// DeviceEnd is an end of a flow at which a device is.
type DeviceEnd struct {
	Name        string // as Record.Device has it
	A           bool   // it is Key.A
	End, Remote End
}

// Devices are those of a flow that get a record of it: both ends may be one.
func (l *Locals) Devices(k Key, dir Direction) (ends []DeviceEnd) {
	if name, ok := l.Device(k.A); ok {
		ends = append(ends, DeviceEnd{name, true, k.A, k.B})
	}
	if dir == Uni { // B has sent nothing
		return ends
	}
	if name, ok := l.Device(k.B); ok {
		ends = append(ends, DeviceEnd{name, false, k.B, k.A})
	}
	return ends
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// lastAddr is the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
