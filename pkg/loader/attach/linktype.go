package attach

// This file says which interfaces' frames the programs can read.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// rawIP are the types of interfaces whose frames begin with the IP header, as netlink
// names them: tun and wireguard, ppp, rawip (519: modems) and the IP tunnels (823: GRE
// over IPv6).
var rawIP = []string{"none", "ppp", "slip", "cslip", "slip6", "cslip6", "unknown519",
	"ipip", "tunnel6", "sit", "gre", "unknown823"}

// checkLinkType refuses an interface whose frames begin with neither an Ethernet nor
// an IP header: what the programs would take for one could be anything.
func checkLinkType(link netlink.Link) error {
	kind := link.Attrs().EncapType
	if HasEthernetHeader(link) || slices.Contains(rawIP, kind) {
		return nil
	}
	advice := "name an Ethernet or IP interface"
	if strings.HasPrefix(kind, "ieee802.11") {
		advice = "name the access point's own interface or its bridge, where the frames are Ethernet's"
	}
	return fmt.Errorf("its link type %s cannot be read, only Ethernet and raw IP can: %s", kind, advice)
}

// HasEthernetHeader reports whether frames begin with one; those of tun, ppp
// and wireguard begin with the IP header.
func HasEthernetHeader(link netlink.Link) bool {
	kind := link.Attrs().EncapType
	return kind == "ether" || kind == "loopback"
}
