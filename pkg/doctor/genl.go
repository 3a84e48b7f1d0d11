package doctor

// This file asks two generic netlink families about a network device: netdev for
// the driver's XDP support, ethtool for its offloads.

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/netdev.h.
const (
	netdevFamily      = "netdev"
	netdevGet         = 1 // NETDEV_CMD_DEV_GET
	netdevIfindex     = 1 // NETDEV_A_DEV_IFINDEX
	netdevXDPFeatures = 3 // NETDEV_A_DEV_XDP_FEATURES

	xdpBasic       = 1 << 0 // NETDEV_XDP_ACT_BASIC: ABORTED, DROP, PASS and TX
	xdpScatterRecv = 1 << 5 // NETDEV_XDP_ACT_RX_SG: frames in several buffers
)

// xdpFeatures asks which NETDEV_XDP_ACT_* the driver has; nil when the kernel
// does not say (before Linux 6.3).
func xdpFeatures(ifindex int) (*uint64, error) {
	var features *uint64
	err := ask(netdevFamily, netdevGet, func(e *netlink.AttributeEncoder) {
		e.Uint32(netdevIfindex, uint32(ifindex))
	}, func(d *netlink.AttributeDecoder) {
		if d.Type() == netdevXDPFeatures {
			value := d.Uint64()
			features = &value
		}
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("XDP features: %w", err)
	}
	return features, nil
}

// watchedOffloads are those that change what a hook sees, by the kernel's names.
var watchedOffloads = []string{
	"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-lro", "tx-generic-segmentation",
	"tx-tcp-segmentation", "tx-udp-segmentation", "rx-vlan-hw-parse",
}

// offloads lists those of watchedOffloads that are on.
func offloads(ifindex int) ([]string, error) {
	var on []string
	err := ask(unix.ETHTOOL_GENL_NAME, unix.ETHTOOL_MSG_FEATURES_GET, func(e *netlink.AttributeEncoder) {
		e.Nested(unix.ETHTOOL_A_FEATURES_HEADER, func(e *netlink.AttributeEncoder) error {
			e.Uint32(unix.ETHTOOL_A_HEADER_DEV_INDEX, uint32(ifindex))
			return nil
		})
	}, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.ETHTOOL_A_FEATURES_ACTIVE {
			d.Nested(func(d *netlink.AttributeDecoder) error { on = bitNames(d); return nil })
		}
	})
	if err != nil {
		return nil, fmt.Errorf("offloads: %w", err)
	}
	return slices.DeleteFunc(on, func(name string) bool { return !slices.Contains(watchedOffloads, name) }), nil
}

// bitNames are the names in a bit set of verbose form: the bits that are set.
func bitNames(d *netlink.AttributeDecoder) (names []string) {
	for d.Next() {
		if d.Type() != unix.ETHTOOL_A_BITSET_BITS {
			continue
		}
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				d.Nested(func(d *netlink.AttributeDecoder) error {
					for d.Next() {
						if d.Type() == unix.ETHTOOL_A_BITSET_BIT_NAME {
							names = append(names, d.String())
						}
					}
					return nil
				})
			}
			return nil
		})
	}
	return names
}

// ask sends one request to a family and passes every attribute of the replies on.
func ask(family string, command uint8, fill func(*netlink.AttributeEncoder), take func(*netlink.AttributeDecoder)) error {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	id, err := conn.GetFamily(family)
	if err != nil {
		return fmt.Errorf("generic netlink family %s: %w", family, err)
	}
	e := netlink.NewAttributeEncoder()
	fill(e)
	data, err := e.Encode()
	if err != nil {
		return err
	}
	replies, err := conn.Execute(genetlink.Message{Header: genetlink.Header{Command: command, Version: id.Version}, Data: data}, id.ID, netlink.Request)
	if err != nil {
		return err
	}
	for _, reply := range replies {
		d, err := netlink.NewAttributeDecoder(reply.Data)
		if err != nil {
			return err
		}
		for d.Next() {
			take(d)
		}
		if err := d.Err(); err != nil {
			return err
		}
	}
	return nil
}
