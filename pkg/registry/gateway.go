package registry

// This file tells a gateway by its records: a MAC behind which are the addresses of many,
// or that serves the network's names and leases.

import (
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
)

const (
	// InTurn is how many IPv4 addresses a MAC uses in turn that forwards for others. A
	// device has two for a while: that of a network of its own, and its home's.
	InTurn = 3
	// Serves is in how many flows a gateway has answered as DHCP server or resolver.
	Serves = 3
	// gatewayFor is how long a gateway stays one without having done so again.
	gatewayFor = 24 * time.Hour
)

// forwarding is what a device's records tell of its forwarding for others.
type forwarding struct {
	served   int   // flows in which it answered as a server of the network
	servedAt int64 // when the newest of them began, us since the Unix epoch
	inTurnAt int64 // when addresses were last used in turn
}

// gateway reports whether the device was one when its newest record was seen.
func (d *device) gateway() bool {
	since := d.last - gatewayFor.Microseconds()
	return d.inTurnAt != 0 && d.inTurnAt > since || d.served >= Serves && d.servedAt > since
}

// serve notes a flow in which the device answers as the network's server. One that asks for
// a lease is none: a device serves a network of its own until it is told which one to join.
func (f *forwarding) serve(rec *flows.Record) {
	if rec.Proto != protoUDP || !sends(rec) {
		return
	}
	switch port := rec.DevPort; {
	case port == 68:
		f.served = 0
	case port == 53 && rec.IsLocal(), port == 67, port == 547:
		if rec.FirstSeen-f.servedAt > gatewayFor.Microseconds() {
			f.served = 0
		}
		f.served++
		f.servedAt = max(f.servedAt, rec.FirstSeen)
	}
}

const protoUDP = 17

// sends reports whether the device sent any of the packets that are described one by one:
// what others send to a MAC says nothing about it.
func sends(rec *flows.Record) bool {
	return slices.ContainsFunc(rec.Packets, func(p flows.RowPacket) bool { return p.Sent })
}

// beside notes what the use of an IPv4 address, the one at that place of the device's list
// (-1: a new one), says beside others within a minute.
func (d *device) beside(now *address, at int, rec *flows.Record) {
	near := func(t int64) bool { return rec.FirstSeen-t < sharedWithin.Microseconds() }
	others, since, back := 0, false, 0
	for i := range d.addresses {
		a := &d.addresses[i]
		if i == at || !a.isIPv4() || !near(a.last) {
			continue
		}
		others++
		since = since || i < at
		if a.back != 0 && near(a.back) {
			back++
		}
	}
	d.shared = d.shared || others > 0
	if !sends(rec) {
		return
	}
	if since && near(d.addresses[at].last) {
		now.back = rec.FirstSeen
	}
	if now.back != 0 && near(now.back) {
		back++
	}
	if back >= InTurn || at < 0 && others == MaxAddresses {
		d.inTurnAt = rec.FirstSeen
	}
}
