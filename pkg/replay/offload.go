package replay

// This file turns offloads on and off through ethtool's netlink interface.

import (
	"errors"
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

// SetOffloads has one frame on the pair be several wire packets, as on an interface that nobody
// has told otherwise, or not.
func (n *Network) SetOffloads(on bool) error {
	return errors.Join(setOffloads(n.sensor, Interface, on), setOffloads(n.device, DeviceInterface, on))
}

// setOffloads sends ETHTOOL_MSG_FEATURES_SET: a bit set of names, with a flag for those to be on.
func setOffloads(ns netns.NsHandle, name string, on bool) error {
	if err := setFeatures(ns, name, offloads, on); err != nil {
		return fmt.Errorf("offloads of %s: %w", name, err)
	}
	return nil
}

func setFeatures(ns netns.NsHandle, name string, features []string, on bool) error {
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
			for _, feature := range features {
				e.Nested(unix.ETHTOOL_A_BITSET_BITS_BIT, func(e *netlink.AttributeEncoder) error {
					e.String(unix.ETHTOOL_A_BITSET_BIT_NAME, feature)
					e.Flag(unix.ETHTOOL_A_BITSET_BIT_VALUE, on)
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
