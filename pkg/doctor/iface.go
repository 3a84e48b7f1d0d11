package doctor

// This file gathers what the kernel says about an interface. What follows from
// it is said in iface_checks.go, from these facts alone.

import (
	"fmt"
	"io/fs"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

// facts is what there is to know about one interface.
type facts struct {
	name     string
	up       bool
	promisc  bool
	wireless bool
	mtu      int
	link     string   // link type: ether, none (raw IP), ppp, ieee802.11/radiotap, ...
	kind     string   // of virtual interfaces: veth, bridge, bond, ...; device for hardware
	driver   string   // empty: unknown
	xdp      *uint64  // NETDEV_XDP_ACT_* bits of the driver; nil: the kernel does not say
	offloads []string // of watchedOffloads, those that are on
	master   string   // the interface it is a port of; empty: none
	under    string   // kind of master
	ports    []string // interfaces that are ports of this one
	programs []program
	qdisc    string  // what --hook tc would be on: attach.QdiscClsact, attach.QdiscIngress or none
	unknown  []error // questions that found no answer
}

// interfaceChecks looks at one interface, or at every one that is up and no loopback.
func interfaceChecks(root fs.FS, name string, features []probe.Feature) []Check {
	links, err := netlink.LinkList()
	if err != nil {
		return []Check{{"interfaces", Fail, fmt.Sprintf("cannot be listed: %v", err), "allow AF_NETLINK sockets (systemd: RestrictAddressFamilies=)"}}
	}
	var list []Check
	for _, l := range links {
		a := l.Attrs()
		if name == "" && a.Flags&net.FlagUp != 0 && a.Flags&net.FlagLoopback == 0 || name == a.Name || name != "" && slices.Contains(a.AltNames, name) {
			list = append(list, judge(gather(root, l, links), features)...)
		}
	}
	if len(list) == 0 && name != "" {
		var names []string
		for _, l := range links {
			names = append(names, l.Attrs().Name)
		}
		return []Check{{name, Fail, "no such interface", "name one of: " + joined(names)}}
	}
	if len(list) == 0 {
		return []Check{{"interfaces", Warn, "none is up but the loopback", "ip link set dev IFACE up, or in a container: share the host's network"}}
	}
	return list
}

// gather asks about l, one of links.
func gather(root fs.FS, l netlink.Link, links []netlink.Link) facts {
	a := l.Attrs()
	f := facts{
		name: a.Name, up: a.Flags&net.FlagUp != 0, promisc: a.Promisc > 0, mtu: a.MTU, link: a.EncapType, kind: l.Type(),
	}
	_, err := fs.Stat(root, "sys/class/net/"+a.Name+"/phy80211")
	f.wireless = err == nil
	for _, other := range links {
		o := other.Attrs()
		if o.Index == a.MasterIndex {
			f.master, f.under = o.Name, other.Type()
		}
		if o.MasterIndex == a.Index {
			f.ports = append(f.ports, o.Name)
		}
	}
	slices.Sort(f.ports)
	f.driver = driver(a.Name)
	f.xdp, err = xdpFeatures(a.Index)
	f.doubt(err)
	f.offloads, err = offloads(a.Index)
	f.doubt(err)
	qdiscs, err := netlink.QdiscList(l)
	f.doubt(err)
	f.qdisc = attach.FilterQdisc(qdiscs)
	f.programs, err = programs(root, l, f.qdisc)
	f.doubt(err)
	return f
}

func (f *facts) doubt(err error) {
	if err != nil {
		f.unknown = append(f.unknown, err)
	}
}

// driver asks the ethtool ioctl, which virtual drivers answer too.
func driver(name string) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Driver[:])
}
