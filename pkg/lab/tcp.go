package lab

// This file holds TCP conversations: bytes in, segments with true numbers out.

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Ends of a conversation.
const (
	client = 0
	server = 1
)

const (
	delayedAck    = 40 * time.Millisecond // an ACK waits this long for data to ride on
	segmentGap    = 120 * time.Microsecond
	initialWindow = 10 // segments before the first ACK must be back (RFC 6928)
)

// stack is how a network stack shows itself in its packets.
type stack struct {
	ttl        uint8
	window     uint16
	scale      uint8 // window scale shift; 0 offers none
	mss        uint16
	timestamps bool // RFC 7323
	sack       bool
	dontFrag   bool
	portBase   uint16 // ephemeral ports
	portCount  uint16
	sequential bool    // ephemeral ports count up instead of being drawn
	ipv6       bool    // link-local IPv6: neighbour discovery, MLD, mDNS
	quadA      bool    // asks for AAAA beside A
	dhcpVendor string  // DHCP option 60
	dhcpParams []uint8 // DHCP option 55
	reboot     float64 // probability of a remembered lease (RFC 2131, INIT-REBOOT)
}

// The stacks that the lab's devices and servers are built on.
var (
	linux = stack{ttl: 64, window: 64240, scale: 7, mss: 1460, timestamps: true, sack: true, dontFrag: true,
		portBase: 32768, portCount: 28232, ipv6: true, quadA: true, reboot: 0.3}
	smallLinux = stack{ttl: 64, window: 14600, scale: 2, mss: 1460, timestamps: true, sack: true, dontFrag: true,
		portBase: 32768, portCount: 28232, reboot: 0.3}
	lwip = stack{ttl: 255, window: 5744, mss: 1436, portBase: 49152, portCount: 16384, sequential: true, reboot: 0.2}
	rtos = stack{ttl: 128, window: 5840, mss: 1460, portBase: 1024, portCount: 3976, sequential: true}
)

// end is one end of a conversation.
type end struct {
	host
	stack
	port   uint16
	id     uint16 // next IP identification
	seq    uint32 // next sequence number to send
	clock  uint32 // time stamp option at the capture's start, ms
	echo   uint32 // newest time stamp it has received
	window uint16 // offered, already scaled
}

// conn is one TCP conversation of the device, from SYN to FIN. Its clock, now,
// is when the last of its segments passed the tap beside the device.
type conn struct {
	d       *device
	now     time.Duration
	acked   time.Duration // when the last acknowledgement passes the tap; it may be later
	ends    [2]end
	dev     int // which end is the device
	mss     int // payload bytes of a full segment
	stamped bool
	owed    [2]bool       // received data not yet acknowledged
	dead    bool          // the other end was not there
	worn    time.Duration // when the other end tires of it
}

// dial opens a conversation from the device to a port of another host.
func (d *device) dial(at time.Duration, to host, port uint16) *conn {
	return d.open(at, client, end{host: d.host, stack: d.stack, port: d.nextPort()}, end{host: to, stack: linux, port: port})
}

// accept opens a conversation from another host to a port of the device.
func (d *device) accept(at time.Duration, from host, port uint16) *conn {
	peer := end{host: from, stack: linux, port: uint16(32768 + d.rng.IntN(28000))}
	return d.open(at, server, peer, end{host: d.host, stack: d.stack, port: port})
}

func (d *device) open(at time.Duration, dev int, c, s end) *conn {
	x := &conn{d: d, dev: dev, ends: [2]end{c, s}}
	d.talks = append(d.talks, x)
	x.shake(at)
	return x
}

// shake opens the conversation with new numbers.
func (x *conn) shake(at time.Duration) {
	d, c, s := x.d, &x.ends[client], &x.ends[server]
	x.now, x.worn = at, day
	if d.course.day {
		x.worn = at + d.between(time.Hour, 6*time.Hour)
	}
	x.stamped = c.timestamps && s.timestamps
	x.mss = int(min(c.mss, s.mss))
	if x.stamped {
		x.mss -= 12
	}
	scaled := c.scale > 0 && s.scale > 0
	for i := range x.ends {
		e := &x.ends[i]
		e.seq, e.id, e.clock, e.echo = d.rng.Uint32(), uint16(d.rng.Uint32()), d.rng.Uint32()>>1, 0
		e.window = e.stack.window
		if scaled {
			e.window = uint16(uint32(e.stack.window) >> e.scale)
		}
	}
	if x.dead = false; x.ends[1-x.dev].out.has(at) {
		for _, later := range []time.Duration{0, time.Second, 3 * time.Second} { // it asks thrice (RFC 6298)
			x.segment(at+later, client, layers.TCP{SYN: true}, nil)
			c.seq--
		}
		x.dead, x.owed = true, [2]bool{}
		return
	}
	x.segment(x.now, client, layers.TCP{SYN: true}, nil)
	x.turn(server, 0)
	x.segment(x.now, server, layers.TCP{SYN: true, ACK: true}, nil)
	x.turn(client, 0)
	x.segment(x.now, client, layers.TCP{ACK: true}, nil)
	x.owed = [2]bool{}
}

// turn moves the clock to when a segment that an end sends in answer, after
// thinking for a while, passes the tap.
func (c *conn) turn(from int, think time.Duration) {
	c.now = max(c.now+c.travel(from)+think, c.acked+time.Microsecond)
}

// travel is how long an answer of an end takes: a stack's delay for the device,
// a round trip for the other end.
func (c *conn) travel(from int) time.Duration {
	if from == c.dev {
		return c.d.between(150*time.Microsecond, 900*time.Microsecond)
	}
	rtt := c.ends[from].rtt
	return rtt + c.d.between(0, rtt/8+200*time.Microsecond)
}

// send carries bytes from one end to the other, which acknowledges every second
// segment; the sender thinks before it sends. No window is ever exceeded.
func (c *conn) send(from int, think time.Duration, data []byte) {
	to := 1 - from
	if think > delayedAck {
		c.flush()
	}
	c.turn(from, think)
	burst := max(2, min(initialWindow, int(c.ends[to].stack.window)/c.mss-1)&^1)
	lastAck := c.now
	for i, n := 0, 0; i < len(data); n++ {
		if n > 0 && n%burst == 0 && lastAck > c.now {
			c.now = lastAck + segmentGap
		}
		part := data[i:min(i+c.mss, len(data))]
		i += len(part)
		c.segment(c.now, from, layers.TCP{ACK: true, PSH: i == len(data)}, part)
		if n%2 == 1 {
			at := max(lastAck, c.now+c.travel(to))
			c.segment(at, to, layers.TCP{ACK: true}, nil)
			lastAck = at + time.Microsecond
		}
		if i < len(data) {
			c.now += segmentGap + c.d.between(0, segmentGap)
		}
	}
	c.acked = lastAck
}

// flush sends the acknowledgements that no data came along for in time.
func (c *conn) flush() {
	for e := range c.owed {
		if c.owed[e] {
			c.turn(e, delayedAck/2)
			c.segment(c.now, e, layers.TCP{ACK: true}, nil)
		}
	}
}

// wait lets the conversation rest until a time since the capture's start. It reports
// whether the conversation had to be opened again by then: its other end was not
// there for a while, or has closed one so old.
func (c *conn) wait(until time.Duration) bool {
	c.flush()
	rested := c.now
	c.now = max(c.now, c.acked, until)
	away := c.ends[1-c.dev].out
	lost := rested < away.until && away.from < c.now
	if !lost && c.now < c.worn || c.dev == server {
		return false
	}
	if !lost {
		c.fin(server)
	}
	at := c.now
	if to := &c.ends[server].host; to.fqdn != "" {
		*to, at = c.d.lookup(at, to.fqdn)
	}
	c.ends[client].port = c.d.nextPort()
	c.shake(at)
	return true
}

// close ends the conversation; by sends the first FIN.
func (c *conn) close(by int) {
	c.fin(by)
	c.d.talks = slices.DeleteFunc(c.d.talks, func(x *conn) bool { return x == c })
}

func (c *conn) fin(by int) {
	c.turn(by, 0)
	c.segment(c.now, by, layers.TCP{FIN: true, ACK: true}, nil)
	c.turn(1-by, 0)
	c.segment(c.now, 1-by, layers.TCP{FIN: true, ACK: true}, nil)
	c.turn(by, 0)
	c.segment(c.now, by, layers.TCP{ACK: true}, nil)
}

// segment puts one segment on the wire and counts its sequence numbers.
func (c *conn) segment(at time.Duration, from int, t layers.TCP, data []byte) {
	if c.dead {
		return
	}
	e, o := &c.ends[from], &c.ends[1-from]
	t.SrcPort, t.DstPort, t.Seq, t.Window = layers.TCPPort(e.port), layers.TCPPort(o.port), e.seq, e.window
	if t.ACK {
		t.Ack, c.owed[from] = o.seq, false
	}
	if t.SYN {
		t.Window = e.stack.window
	}
	t.Options = c.options(at, e, o, t.SYN, t.ACK)
	e.seq += uint32(len(data))
	if t.SYN || t.FIN {
		e.seq++
	}
	if len(data) > 0 || t.SYN || t.FIN {
		c.owed[1-from] = true
	}
	ip := layers.IPv4{Protocol: layers.IPProtocolTCP, Id: e.id}
	if e.dontFrag {
		ip.Flags = layers.IPv4DontFragment
	}
	e.id++
	c.d.ipv4(at, e.host, o.host, ip, &t, gopacket.Payload(data))
}

// options are the segment's TCP options: on SYN what the end offers, an answer
// only what was offered to it.
func (c *conn) options(at time.Duration, e, o *end, syn, ack bool) []layers.TCPOption {
	var opts []layers.TCPOption
	both := func(mine, other bool) bool { return mine && (!ack || other) }
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
	if syn {
		opts = append(opts, layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4,
			OptionData: binary.BigEndian.AppendUint16(nil, e.mss)})
		if both(e.sack, o.sack) {
			opts = append(opts, nop, nop, layers.TCPOption{OptionType: layers.TCPOptionKindSACKPermitted, OptionLength: 2})
		}
	}
	if (syn && both(e.timestamps, o.timestamps)) || (!syn && c.stamped) {
		now := e.clock + uint32(at.Milliseconds())
		stamp := binary.BigEndian.AppendUint32(nil, now)
		stamp = binary.BigEndian.AppendUint32(stamp, e.echo)
		opts = append(opts, nop, nop, layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: stamp})
		if at <= c.now { // else it has not arrived when the next segment leaves
			o.echo = now
		}
	}
	if syn && both(e.scale > 0, o.scale > 0) {
		opts = append(opts, nop, layers.TCPOption{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{e.scale}})
	}
	return opts
}
