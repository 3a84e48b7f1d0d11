package replay

// This file makes and removes the namespaces and the pair of interfaces.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// Interface is the sensor's end of the pair, in the sensor's namespace.
	Interface = "sensor0"
	// DeviceInterface is the devices' end, in a namespace of its own.
	DeviceInterface = "device0"
	// mtu takes every real jumbo frame.
	mtu = 9216
)

// Network is a pair of interfaces in two namespaces of its own: frames sent at
// one end arrive at the other, with nothing else on the link. IPv6, ARP and the
// offloads that would make one packet of several are off.
type Network struct {
	// Dir is a directory of the network's own, for sockets of what runs on it.
	Dir string

	device, sensor netns.NsHandle
}

// NewNetwork makes a network. Its directory carries purpose and this process's id
// in its name; two networks of one process need different purposes. It needs
// root. The caller must Close it.
//
// The namespaces have no name: nothing but this process and those it starts there
// holds them, so the kernel removes them and all that is in them when these
// processes end, however they end.
func NewNetwork(purpose string) (*Network, error) {
	n := &Network{device: netns.None(), sensor: netns.None()}
	if err := n.build(purpose); err != nil {
		return nil, errors.Join(fmt.Errorf("private network: %w", err), n.Close())
	}
	return n, nil
}

func (n *Network) build(purpose string) error {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return err
	}
	dir := filepath.Join(runDir, dirName(purpose, os.Getpid()))
	switch err := os.Mkdir(dir, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: remove it, or choose another purpose", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run this as root", err)
	case err != nil:
		return err
	}
	n.Dir = dir
	for _, ns := range []*netns.NsHandle{&n.device, &n.sensor} {
		err := onThread(func() (err error) { *ns, err = netns.New(); return err })
		if err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
	}
	h, err := netlink.NewHandleAt(n.sensor, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: Interface, MTU: mtu},
		PeerName:  DeviceInterface, PeerMTU: mtu, PeerNamespace: netlink.NsFd(n.device),
	}
	if err := h.LinkAdd(pair); err != nil {
		return fmt.Errorf("make veth pair %s, %s: %w", Interface, DeviceInterface, err)
	}
	if err := prepare(n.device, DeviceInterface); err != nil {
		return err
	}
	return prepare(n.sensor, Interface)
}

// prepare makes an interface silent, its offloads off, and sets it up.
func prepare(ns netns.NsHandle, name string) error {
	if err := inNamespace(ns, noIPv6); err != nil {
		return err
	}
	if err := setOffloads(ns, name, false); err != nil {
		return err
	}
	return withLink(ns, name, func(h *netlink.Handle, link netlink.Link) error {
		if err := h.LinkSetARPOff(link); err != nil {
			return fmt.Errorf("turn off ARP of %s: %w", name, err)
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
		return nil
	})
}

// withLink calls f with an interface of the namespace.
func withLink(ns netns.NsHandle, name string, f func(*netlink.Handle, netlink.Link) error) error {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	return f(h, link)
}

// noIPv6 turns IPv6 off in the calling thread's namespace: an interface would
// send neighbour solicitations and multicast reports by itself.
func noIPv6() error {
	for _, scope := range []string{"all", "default"} {
		path := filepath.Join("/proc/sys/net/ipv6/conf", scope, "disable_ipv6")
		if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("turn off IPv6: %w", err)
		}
	}
	return nil
}

// Counters are the interface's own counters: how many packets it received, sent
// and failed to send.
func (n *Network) Counters() (received, sent, dropped uint64, err error) {
	err = withLink(n.sensor, Interface, func(_ *netlink.Handle, link netlink.Link) error {
		s := link.Attrs().Statistics
		received, sent, dropped = s.RxPackets, s.TxPackets, s.TxDropped
		return nil
	})
	return received, sent, dropped, err
}

// Do calls f on a thread in the sensor's namespace: what f opens stays there.
func (n *Network) Do(f func() error) error { return inNamespace(n.sensor, f) }

// DoDevice calls f on a thread in the devices' namespace.
func (n *Network) DoDevice(f func() error) error { return inNamespace(n.device, f) }

// Close removes the interfaces, both namespaces and the directory. It may be
// called more than once; processes started by Start must have ended.
func (n *Network) Close() error {
	var errs []error
	for _, ns := range []*netns.NsHandle{&n.device, &n.sensor} {
		if !ns.IsOpen() {
			continue
		}
		errs = append(errs, removeLinks(*ns), ns.Close())
	}
	if n.Dir != "" {
		errs = append(errs, os.RemoveAll(n.Dir))
	}
	return errors.Join(errs...)
}

// removeLinks removes the pair, where it is: one end takes the other with it.
func removeLinks(ns netns.NsHandle) error {
	for _, name := range []string{Interface, DeviceInterface} {
		err := withLink(ns, name, (*netlink.Handle).LinkDel)
		if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// inNamespace calls f on a thread in the namespace.
func inNamespace(ns netns.NsHandle, f func() error) error {
	return onThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onThread calls f on a thread that ends with it, so that no other goroutine can
// ever run in a namespace that f has entered.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}
