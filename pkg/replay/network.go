// Package replay plays recorded frames through the real network code of this
// machine, on a private pair of interfaces that nothing else can reach.
//
// In go frames with their times, from a capture ([ReadCapture]) or from package
// lab; they come out on [Interface], in a network namespace of its own, as if
// the devices that sent them were on its link:
//
//	the devices' namespace          the sensor's namespace
//	  device0 ======================= sensor0  <- the sensor attaches here
//	  sends what the devices sent     sends what others sent to them
//
// So ingress of [Interface] carries one direction of each flow and egress the
// other, as on a gateway. The package knows no flow, record or model, and never
// touches an interface that it has not made.
package replay

// This file makes and removes the namespaces and the pair of interfaces, those of killed
// processes among them.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"

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
	if err := offloadsOff(ns, name); err != nil {
		return fmt.Errorf("turn off offloads of %s: %w", name, err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := h.LinkSetARPOff(link); err != nil {
		return fmt.Errorf("turn off ARP of %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
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
	h, err := netlink.NewHandleAt(n.sensor, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(Interface)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("find %s: %w", Interface, err)
	}
	s := link.Attrs().Statistics
	return s.RxPackets, s.TxPackets, s.TxDropped, nil
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
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	for _, name := range []string{Interface, DeviceInterface} {
		link, err := h.LinkByName(name)
		if err != nil {
			continue
		}
		if err := h.LinkDel(link); err != nil {
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

// Start starts cmd in the sensor's namespace and returns a channel that gets
// what cmd.Wait returns. Only the network is another: files, sockets by path and
// the bpf file system are this process's own, unlike under `ip netns exec`. The
// kernel kills the command when this process dies.
func (n *Network) Start(cmd *exec.Cmd) (<-chan error, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The thread must outlive the command: Pdeathsig is about the thread.
		err := n.Do(func() error {
			if err := cmd.Start(); err != nil {
				return err
			}
			started <- nil
			ended <- cmd.Wait()
			return nil
		})
		if err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s on the private network: %w", cmd.Path, err)
	}
	return ended, nil
}

const runDir = "/run"

var dirPattern = regexp.MustCompile(`^iotsense-replay-.+-([0-9]+)$`)

func dirName(purpose string, pid int) string {
	return fmt.Sprintf("iotsense-replay-%s-%d", purpose, pid)
}

// RemoveStale removes the directories of networks whose process no longer runs;
// they are all that a killed process leaves of a network.
func RemoveStale() error {
	entries, err := os.ReadDir(runDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for what killed processes have left: %w", err)
	}
	var errs []error
	for _, e := range entries {
		m := dirPattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			errs = append(errs, os.RemoveAll(filepath.Join(runDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
