package flows

// This file reads link headers of each type that a capture can have.

import (
	"encoding/binary"
	"fmt"
)

// Link is how a frame begins, a LINKTYPE number (www.tcpdump.org/linktypes.html).
type Link uint32

// Link types that are read. Live there are Ethernet and raw IP only.
const (
	LinkNull     Link = 0   // an address family or EtherType, in either byte order
	LinkEthernet Link = 1   // an Ethernet II or 802.3 header
	LinkPPP      Link = 9   // a PPP protocol field, address and control bytes before it or not
	linkRaw12    Link = 12  // LinkIP on most systems
	linkRaw14    Link = 14  // LinkIP on OpenBSD
	LinkPPPHDLC  Link = 50  // LinkPPP, on a serial line
	LinkPPPoE    Link = 51  // a PPPoE session header
	LinkIP       Link = 101 // the IP header: raw IP, tun, ppp
	LinkLoop     Link = 108 // LinkNull in network byte order
	LinkCooked   Link = 113 // Linux cooked, version 1
	LinkIPv4     Link = 228 // the IPv4 header
	LinkIPv6     Link = 229 // the IPv6 header
	LinkCooked2  Link = 276 // Linux cooked, version 2
)

// Check says of a link type whose frames header cannot read what it is; nil of others.
func (l Link) Check() error {
	switch l {
	case LinkNull, LinkEthernet, LinkPPP, linkRaw12, linkRaw14, LinkPPPHDLC, LinkPPPoE, LinkIP,
		LinkLoop, LinkCooked, LinkIPv4, LinkIPv6, LinkCooked2:
		return nil
	}
	name := ""
	if known := linkNames[l]; known != "" {
		name = " (" + known + ")"
	}
	return fmt.Errorf("link type %d is not supported%s: want Ethernet, raw IP, PPP, PPPoE, loopback or Linux cooked", l, name)
}

// header reads a frame's link header: the EtherType of what follows, and where it
// begins. On an outcome other than Counted nothing that could be IP does.
func (l Link) header(b []byte) (etherType uint16, off int, v Outcome) {
	switch l {
	case LinkEthernet:
		if len(b) < 14 {
			return 0, 0, Malformed
		}
		return binary.BigEndian.Uint16(b[12:]), 14, Counted
	case linkRaw12, linkRaw14, LinkIP, LinkIPv4, LinkIPv6:
		if len(b) == 0 {
			return 0, 0, Malformed
		}
		if etherType, v = ipType(b[0]); v != Counted {
			v = Malformed
		}
		return etherType, 0, v
	case LinkNull, LinkLoop:
		return loopback(b)
	case LinkPPP, LinkPPPHDLC:
		if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 { // RFC 1662
			off = 2
		}
		etherType, size, v := ppp(b[off:])
		return etherType, off + size, v
	case LinkPPPoE:
		return etherPPPoE, 0, Counted
	case LinkCooked:
		if len(b) < 16 {
			return 0, 0, Malformed
		}
		return cooked(b[2:], b[14:], 16)
	case LinkCooked2:
		if len(b) < 20 {
			return 0, 0, Malformed
		}
		return cooked(b[8:], b, 20)
	}
	return 0, 0, NotIP
}

// loopback reads the four bytes that the BSDs put before a packet: an address
// family of theirs (or of Windows), or with some writers an EtherType.
func loopback(b []byte) (etherType uint16, off int, v Outcome) {
	if len(b) < 4 {
		return 0, 0, Malformed
	}
	family := binary.BigEndian.Uint32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch {
	case family == 2:
		return etherIPv4, 4, Counted
	case family == 23 || family == 24 || family == 28 || family == 30:
		return etherIPv6, 4, Counted
	case family >= etherMin && family <= 0xffff:
		return uint16(family), 4, Counted
	}
	return 0, 0, NotIP
}

// cooked reads the fields of a Linux cooked header of size bytes: the kind of the
// interface (ARPHRD in linux/if_arp.h), and the protocol, which is an EtherType but
// with some kinds. Of those below etherMin only 4, LLC, can carry IP.
func cooked(hardware, protocol []byte, size int) (etherType uint16, off int, v Outcome) {
	switch binary.BigEndian.Uint16(hardware) {
	case 770, 801, 802, 803, 824: // frame relay, 802.11, with a Prism or radiotap header, netlink
		return 0, 0, NotIP
	}
	return binary.BigEndian.Uint16(protocol), size, Counted
}

// linkNames are link types that users meet and the parser cannot read.
var linkNames = map[Link]string{
	104: "Cisco HDLC",
	105: "802.11",
	117: "OpenBSD pflog",
	119: "802.11 with a Prism header",
	127: "802.11 with a radiotap header",
	163: "802.11 with an AVS header",
	187: "Bluetooth HCI",
	189: "Linux USB",
	192: "802.11 with a PPI header",
	195: "802.15.4",
	201: "Bluetooth HCI",
	220: "Linux USB",
	227: "CAN",
	230: "802.15.4",
	239: "Linux netfilter log",
	249: "USBPcap",
	251: "Bluetooth LE",
	253: "Linux netlink",
	256: "Bluetooth LE",
	283: "802.15.4",
}
