package replay

// This file turns off offloads through ethtool's netlink interface.

import (
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// offloads are the features by which one frame on the pair could be several wire
// packets: `ethtool -K IF tso off gso off gro off tx-udp-segmentation off`.
var offloads = []string{
	"tx-tcp-segmentation",
	"tx-tcp-ecn-segmentation",
	"tx-tcp-mangleid-segmentation",
	"tx-tcp6-segmentation",
	"tx-generic-segmentation",
	"tx-udp-segmentation",
	"rx-gro",
}

// offloadsOff sends ETHTOOL_MSG_FEATURES_SET: a bit set of names without values.
func offloadsOff(ns netns.NsHandle, name string) error {
	c, err := genetlink.Dial(&netlink.Config{NetNS: int(ns)})
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer c.Close()
	family, err := c.GetFamily(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return fmt.Errorf("ethtool netlink: %w", err)
	}
	e := netlink.NewAttributeEncoder()
	e.Nested(unix.ETHTOOL_A_FEATURES_HEADER, func(e *netlink.AttributeEncoder) error {
		e.String(unix.ETHTOOL_A_HEADER_DEV_NAME, name)
		return nil
	})
	e.Nested(unix.ETHTOOL_A_FEATURES_WANTED, func(e *netlink.AttributeEncoder) error {
		e.Nested(unix.ETHTOOL_A_BITSET_BITS, func(e *netlink.AttributeEncoder) error {
			for _, feature := range offloads {
				e.Nested(unix.ETHTOOL_A_BITSET_BITS_BIT, func(e *netlink.AttributeEncoder) error {
					e.String(unix.ETHTOOL_A_BITSET_BIT_NAME, feature)
					return nil
				})
			}
			return nil
		})
		return nil
	})
	data, err := e.Encode()
	if err != nil {
		return err
	}
	_, err = c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: unix.ETHTOOL_MSG_FEATURES_SET, Version: unix.ETHTOOL_GENL_VERSION},
		Data:   data,
	}, family.ID, netlink.Request|netlink.Acknowledge)
	return err
}
