package sensor

// This file reads what the host itself is on the watched interfaces.

import (
	"net"
	"net/netip"

	"github.com/iotsense/iotsense/pkg/flows"
)

// addresses are an interface's own, each with its prefix length; none when the
// interface is not there yet.
func addresses(name string) (flows.MAC, []netip.Prefix) {
	var mac flows.MAC
	i, err := net.InterfaceByName(name)
	if err != nil {
		return mac, nil
	}
	copy(mac[:], i.HardwareAddr)
	list, err := i.Addrs()
	if err != nil {
		return mac, nil
	}
	var prefixes []netip.Prefix
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			prefixes = append(prefixes, p)
		}
	}
	return mac, prefixes
}

// interfacePrefixes are the networks the interfaces are in: local by default.
func interfacePrefixes(names []string) []netip.Prefix {
	var list []netip.Prefix
	for _, name := range names {
		_, prefixes := addresses(name)
		for _, p := range prefixes {
			list = append(list, p.Masked())
		}
	}
	return list
}

// ownAddresses are the addresses behind each of the interfaces' MACs.
func ownAddresses(names []string) map[flows.MAC][]netip.Addr {
	own := map[flows.MAC][]netip.Addr{}
	for _, name := range names {
		mac, prefixes := addresses(name)
		if mac.IsZero() {
			continue
		}
		addrs := own[mac]
		for _, p := range prefixes {
			addrs = append(addrs, p.Addr())
		}
		own[mac] = addrs
	}
	return own
}
