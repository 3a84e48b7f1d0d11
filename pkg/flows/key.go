package flows

// This file holds a flow's identity: addresses, ends and the five-tuple.

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
)

// MAC is a 48-bit link-layer address. The zero value means "none": the link has
// no addresses, or the end's address is not part of the flow's identity.
type MAC [6]byte

// ParseMAC reads a 48-bit address in any form that [net.ParseMAC] takes.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("parse MAC: %w", err)
	}
	if len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("parse MAC %q: %d bytes, want 6", s, len(hw))
	}
	return MAC(hw), nil
}

// String is the address in lower case with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsZero reports whether m is the zero value, "none".
func (m MAC) IsZero() bool { return m == MAC{} }

// IsGroup reports whether m is a multicast or broadcast address (IEEE 802, I/G bit).
func (m MAC) IsGroup() bool { return m[0]&1 == 1 }

// IsLocal reports whether no manufacturer has assigned m (IEEE 802, U/L bit): as a
// rule it is random, and the device has another one on another network or day.
func (m MAC) IsLocal() bool { return m[0]&2 != 0 }

// End is one end of a flow. MAC is set only when the end is local: the MAC of a
// local end is part of the flow's identity, the MAC of a remote end is not (two
// directions may cross different routers).
type End struct {
	Addr netip.Addr
	MAC  MAC
	Port uint16 // 0 when the flow has no ports
}

// compare orders two ends by address, port and MAC.
func (e End) compare(o End) int {
	if c := e.Addr.Compare(o.Addr); c != 0 {
		return c
	}
	if e.Port != o.Port {
		return int(e.Port) - int(o.Port)
	}
	return bytes.Compare(e.MAC[:], o.MAC[:])
}

// Key is a flow's identity: the five-tuple of the paper's section III-A with
// the MAC of each local end. In a bidirectional flow the ends stand in an order
// that both directions share; in a unidirectional one A sent and B received.
type Key struct {
	A, B     End
	Proto    uint8 // IP protocol number; IPv6: the last header reached
	HasPorts bool  // TCP and UDP, first or only fragments; port 0 is a port
}

// Direction says which packets one record covers.
type Direction uint8

const (
	// Bi records cover both directions of a five-tuple (paper III-A).
	Bi Direction = iota
	// Uni records cover only packets the device sent (paper V).
	Uni
)

// String is the direction's name in flags, model files and parquet metadata.
func (d Direction) String() string {
	if d == Uni {
		return "uni"
	}
	return "bi"
}

// ParseDirection reads "bi" or "uni".
func ParseDirection(s string) (Direction, error) {
	switch s {
	case "bi":
		return Bi, nil
	case "uni":
		return Uni, nil
	}
	return Bi, fmt.Errorf("direction %q: want bi or uni", s)
}
