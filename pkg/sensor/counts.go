package sensor

// This file counts what ended lives carried, where no record is made of them too.

import (
	"syscall"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// counts are wire packets of ended lives.
type counts struct {
	protocols            v1.ProtocolStats
	withDevice, noDevice uint64 // of lives of which nobody makes a record
}

// protocol adds the packets of a life to its protocol's.
func (c *counts) protocol(e *flows.Close) {
	packets := e.Packets[0] + e.Packets[1]
	switch e.Life.Key.Proto {
	case syscall.IPPROTO_TCP:
		c.protocols.TCP += packets
	case syscall.IPPROTO_UDP:
		c.protocols.UDP += packets
	case syscall.IPPROTO_ICMP, syscall.IPPROTO_ICMPV6:
		c.protocols.ICMP += packets
	default:
		c.protocols.Other += packets
	}
}

// device says whether the packets of a life are of a device, as the assembler would.
func (c *counts) device(e *flows.Close, ends []flows.DeviceEnd) {
	if packets := e.Packets[0] + e.Packets[1]; ends != nil {
		c.withDevice += packets
	} else {
		c.noDevice += packets
	}
}
