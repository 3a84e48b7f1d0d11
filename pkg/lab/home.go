package lab

// This file holds the home around a device: its network, its people's phone and
// the servers of the world as they are seen from there.

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Places in the home's /24 network.
const (
	routerHost = 1
	peerHosts  = 3 // phone, recorder, lamp: from here on
	leaseHosts = 16
	leases     = 224
	unitLeases = 14 // leases set aside for each kind; units beyond share them
	unitSpares = 4  // the same, for other addresses
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

	term    time.Duration // of a lease
	restart time.Duration // of the router, nightly: since midnight
	late    time.Duration // how much later than usual its people do what they do
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
	h.term = []time.Duration{time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}[r.IntN(4)]
	h.restart = 2*time.Hour + time.Duration(r.Int64N(int64(3*time.Hour)))
	h.late = time.Duration(r.Int64N(int64(3*time.Hour))) - time.Hour
	return h
}

// peers are the home's own machines by their MACs.
func (h *home) peers() map[flows.MAC]string {
	return map[flows.MAC]string{h.router.mac: "router", h.phone.mac: "phone", h.recorder.mac: "recorder", h.lamp.mac: "lamp"}
}

// address is one of the two addresses that the router may give a unit.
func (h *home) address(kind, unit int, spare bool) netip.Addr {
	n := (kind*unitLeases + unit%unitLeases) % leases
	if spare {
		n = leases - 1 - (kind*unitSpares+unit%unitSpares)%leases
	}
	return h.at(leaseHosts + h.lease[n])
}

// next is when it is next so long after midnight.
func (h *home) next(hour time.Duration) time.Duration {
	return (hour - h.start.Sub(h.start.Truncate(day)) + day) % day
}

// outage is when a public server cannot be reached.
func (h *home) outage(name string) span {
	r := newRand("outage", name, h.seed)
	if r.Float64() >= outages {
		return span{}
	}
	from := time.Duration(r.Int64N(int64(day)))
	return span{from, from + 2*time.Minute + time.Duration(r.Int64N(int64(20*time.Minute)))}
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
	return host{fqdn: name, mac: h.router.mac, ip: netip.AddrFrom4(b), ttl: uint8(64 - 8 - r.IntN(14)),
		rtt: time.Duration(9+r.IntN(90)) * time.Millisecond}
}

// newMAC draws a locally administered unicast address.
func newMAC(r *rand.Rand) flows.MAC {
	m := flows.MAC(randomBytes(r, len(flows.MAC{})))
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
	host // as it is once it has its lease
	kind
	number, unit int // of the kind, of the unit
	home         *home
	course       course
	since        time.Duration // when this life began
	earlier      netip.Addr    // its address in the life before; invalid in its first
	talks        []*conn       // that are open
	rng          *rand.Rand    // the course of events
	own          *rand.Rand    // the unit's identity: drawn in the same order in every life

	serial   string
	uuid     string
	hostname string // set by the kind's script before it boots
	firmware string
	nextEph  uint16
	names    map[string]time.Duration // answers of the resolver, by when they expire
	certs    *authority
	events   []event // in order of time
}

func newDevice(k kind, number, unit int, h *home, c course) *device {
	d := &device{kind: k, number: number, unit: unit, home: h, course: c, rng: newRand("events", k.name, unit, h.seed),
		certs: newAuthority(h.start)}
	d.wire.start = h.start
	d.nextEph = k.stack.portBase + uint16(d.rng.IntN(int(k.stack.portCount)))
	return d
}

// begin starts a life: what the unit is by nature stays, what it knew of the network
// is gone.
func (d *device) begin(l life) {
	own := newRand("unit", d.kind.name, d.unit)
	d.own, d.earlier = own, d.ip
	d.host = host{mac: newMAC(own), ip: d.home.address(d.number, d.unit, l.spare), ttl: d.stack.ttl}
	if d.stack.ipv6 {
		d.ip6 = linkLocal(d.mac)
	}
	d.serial = fmt.Sprintf("%08X", own.Uint32())
	d.uuid = fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", own.Uint32(), own.IntN(1<<16), own.IntN(1<<12), own.IntN(1<<12), own.Int64N(1<<48))
	d.firmware = fmt.Sprintf("%d.%d.%d", 1+own.IntN(3), own.IntN(10), own.IntN(200)+l.updates)
	d.device, d.since, d.until = d.mac, l.from, l.until
	d.names, d.events, d.talks = map[string]time.Duration{}, nil, nil
}

// play lives one life after the other.
func (d *device) play() {
	for _, l := range d.course.lives {
		d.begin(l)
		d.live(d)
		d.run()
	}
	d.hand(d.until)
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
	i, _ := slices.BinarySearchFunc(d.events, at+1, func(e event, at time.Duration) int { return cmp.Compare(e.at, at) })
	d.events = slices.Insert(d.events, i, event{at, do})
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
	for len(d.events) > 0 && d.err == nil && d.events[0].at < d.until {
		if d.course.day { // what is still to be acknowledged is sent before it rests
			for _, c := range d.talks {
				c.flush()
			}
			if len(d.frames) > d.enough {
				d.hand(d.events[0].at)
			}
		}
		e := d.events[0]
		d.events = d.events[1:]
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
