package replay

// This file gives the pair IP addresses, for programs that make their traffic themselves.

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Addresses of the ends, once they have some.
const (
	SensorAddr = "10.77.0.1"
	DeviceAddr = "10.77.0.2"
)

// Address gives both ends an address and each other's MAC, and sets the sensor's
// loopback up, its offloads off as those of the pair. mtu is of the pair; 0: as it is.
// Nothing but what programs send is on either.
func (n *Network) Address(mtu int) error {
	ends := []struct {
		ns          netns.NsHandle
		name        string
		addr, other string
		mac         net.HardwareAddr // of the other
	}{
		{ns: n.sensor, name: Interface, addr: SensorAddr, other: DeviceAddr},
		{ns: n.device, name: DeviceInterface, addr: DeviceAddr, other: SensorAddr},
	}
	for i, e := range ends {
		err := withLink(e.ns, e.name, func(h *netlink.Handle, link netlink.Link) error {
			ends[1-i].mac = link.Attrs().HardwareAddr
			if mtu > 0 {
				if err := h.LinkSetMTU(link, mtu); err != nil {
					return fmt.Errorf("MTU %d: %w", mtu, err)
				}
			}
			return h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(e.addr), Mask: net.CIDRMask(24, 32)}})
		})
		if err != nil {
			return fmt.Errorf("address of %s: %w", e.name, err)
		}
	}
	for _, e := range ends {
		err := withLink(e.ns, e.name, func(h *netlink.Handle, link netlink.Link) error {
			return h.NeighSet(&netlink.Neigh{
				LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(e.other), HardwareAddr: e.mac,
			})
		})
		if err != nil {
			return fmt.Errorf("neighbour of %s: %w", e.name, err)
		}
	}
	return n.loopback()
}

func (n *Network) loopback() error {
	const name = "lo"
	if err := setOffloads(n.sensor, name, false); err != nil {
		return err
	}
	if err := withLink(n.sensor, name, (*netlink.Handle).LinkSetUp); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
