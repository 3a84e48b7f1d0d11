package v1

// This file says for people what answers mean, wherever they are shown.

import (
	"fmt"
	"strconv"
)

// WhyNoDevice is what the counters of a sensor without a device tell.
func WhyNoDevice(p PacketStats) string {
	switch {
	case p.Seen == 0:
		return "no packet passed: is this the interface that the devices' traffic takes?"
	case p.Counted == 0:
		return fmt.Sprintf("none of %d packets is a flow's (%d not IP, %d malformed)", p.Seen, p.NotIP, p.Malformed)
	}
	return fmt.Sprintf("neither end of %d packets is local: is this the WAN side? Watch the interface of the LAN, or name its range with --local CIDR", p.Counted)
}

// ProtocolName is an IP protocol as people call it (IANA's registry), else its number.
func ProtocolName(n uint8) string {
	name, ok := map[uint8]string{1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmpv6", 132: "sctp"}[n]
	if !ok {
		return strconv.Itoa(int(n))
	}
	return name
}
