package doctor

// This file says what the facts about an interface mean for the sensor.

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

// judge is everything that is said about one interface.
func judge(f facts, features []probe.Feature) []Check {
	list := []Check{linkCheck(f), autoHook(f, features), nativeXDP(f), offloadCheck(f), programCheck(f)}
	if f.master != "" || f.kind == "bridge" || f.kind == "bond" || f.kind == "team" {
		list = append(list, portCheck(f))
	}
	list = append(list, promiscuous(f))
	if err := errors.Join(f.unknown...); err != nil {
		list = append(list, Check{f.name + " unknowns", Warn, strings.ReplaceAll(err.Error(), "\n", "; "), "run doctor as root"})
	}
	return list
}

// ethernet reports whether frames begin with an Ethernet header.
func (f facts) ethernet() bool { return f.link == "ether" || f.link == "loopback" }

func (f facts) monitor() bool { return strings.HasPrefix(f.link, "ieee802.11") }

func linkCheck(f facts) Check {
	c := Check{Name: f.name, Status: OK}
	what := "raw IP: no MAC addresses, devices are named ip:ADDR"
	switch {
	case f.monitor():
		return Check{f.name, Fail, "a wireless monitor (" + f.link + ")", "attach to the access point's own interface instead; monitors are not supported"}
	case f.ethernet() && f.wireless:
		what = "Wi-Fi, Ethernet frames"
	case f.ethernet():
		what = "Ethernet"
	}
	c.Found = fmt.Sprintf("%s, driver %s, MTU %d, up", what, cmp.Or(f.driver, "unknown"), f.mtu)
	if !f.up {
		c.Status, c.Found = Warn, strings.TrimSuffix(c.Found, "up")+"down"
		c.Advice = "ip link set dev " + f.name + " up"
	}
	return c
}

func autoHook(f facts, features []probe.Feature) Check {
	c := Check{Name: f.name + " hook", Status: OK}
	const ingress = "an ingress qdisc (SQM, wondershaper) has the place of clsact"
	switch hook := chooseHook(features, true); {
	case hook == attach.HookTCX:
		c.Found = "--hook auto takes tcx, ingress and egress"
		if f.qdisc == attach.QdiscIngress {
			c.Found += "; " + ingress + ", so --hook tc is refused"
		}
	case hook == attach.HookTC && f.qdisc == attach.QdiscIngress:
		return Check{c.Name, Fail, "--hook auto would take tc (clsact), but " + ingress,
			"--hook tc-ingress knowing that it sees what is received only, or make that qdisc clsact (tc qdisc show dev " + f.name + "), or use Linux 6.6 or newer"}
	case hook == attach.HookTC:
		c.Found = "--hook auto takes tc (clsact), ingress and egress"
	default:
		return Check{c.Name, Fail, "neither TCX nor clsact works", "modprobe sch_ingress cls_bpf, or use Linux 6.6 or newer"}
	}
	if chooseHook(features, false) == "" {
		c.Found += "; not tried for want of privilege"
		c.Status, c.Advice = Warn, "run doctor as root to try it"
	}
	return c
}

// Drivers on kernels that do not say themselves (before 6.3) what they do.
var (
	nativeDrivers  = strings.Fields("atlantic bnxt_en ena gve hv_netvsc i40e ice igb igc ixgbe ixgbevf mana mlx4_en mlx5_core mvneta mvpp2 nfp qede sfc st_gmac thunder_nicvf tun veth virtio_net")
	genericDrivers = strings.Fields("ax88179_178a bcmgenet bonding bridge brcmfmac e1000e lan78xx macb r8152 r8169 smsc95xx")
)

// oneBuffer is the largest MTU that surely fits a single page with the headroom
// and tail that XDP wants.
func oneBuffer() int { return os.Getpagesize() - 600 }

func nativeXDP(f facts) Check {
	c := Check{Name: f.name + " XDP", Status: OK}
	const tcx = "nothing: --hook auto does without"
	native, scatter := false, true
	switch {
	case !f.ethernet():
		c.Found, c.Advice = "no Ethernet header here: XDP is not for this interface", tcx
		return c
	case f.xdp != nil:
		native, scatter = *f.xdp&xdpBasic != 0, *f.xdp&xdpScatterRecv != 0
	case slices.Contains(nativeDrivers, f.driver):
		native = true
	case !slices.Contains(genericDrivers, f.driver):
		c.Found = "unknown for this driver; --hook tcx is the default"
		c.Advice = "try --hook xdp, which refuses where the driver has no XDP and never falls back to generic"
		return c
	}
	switch {
	case !native:
		c.Found = "the driver has none; generic mode only, which counts a merged packet as one"
		c.Advice = "nothing: --hook auto does without; do not use --hook xdp-generic where counts matter"
	case f.under == "bond" || f.under == "team":
		c.Found = "native, but not on a port of " + f.master
		c.Advice = "for --hook xdp attach to " + f.master
	case f.mtu > oneBuffer() && !scatter:
		c.Status = Warn
		c.Found = fmt.Sprintf("native, but MTU %d needs several buffers a frame, which the driver does not give to XDP", f.mtu)
		c.Advice = fmt.Sprintf("for --hook xdp: ip link set dev %s mtu %d; --hook auto does without", f.name, min(oneBuffer(), 1500))
	default:
		c.Found = "native; sees what is received, not what is sent"
	}
	return c
}

// What each offload does to counts. On TC a merged packet is counted as what it
// was on the wire (gso_size); native XDP runs before anything is merged.
func offloadCheck(f facts) Check {
	c := Check{Name: f.name + " offloads", Status: OK}
	on := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(f.offloads, n) })
	}
	var notes, advice []string
	if on("rx-gro", "rx-gro-hw", "rx-gro-list") {
		notes = append(notes, "GRO merges received packets: tc counts them by gso_size, native XDP sees them before; generic XDP undercounts")
		advice = append(advice, fmt.Sprintf("only for --hook xdp-generic: ethtool -K %s gro off", f.name))
	}
	if on("tx-tcp-segmentation", "tx-generic-segmentation", "tx-udp-segmentation") {
		notes = append(notes, "TSO/GSO cut sent packets after the hook: tc counts them by gso_size")
	}
	if on("rx-vlan-hw-parse") {
		notes = append(notes, "the VLAN tag is taken off before the hook: tc reads it from the packet's metadata, XDP does not see it")
	}
	if on("rx-lro") {
		c.Status = Warn
		notes = append(notes, "LRO merges received packets in hardware: tc counts depend on the driver's gso_size; native XDP switches LRO off")
		advice = append([]string{fmt.Sprintf("ethtool -K %s lro off", f.name)}, advice...)
	}
	if len(notes) == 0 {
		notes = []string{"none that change what is counted"}
	}
	c.Found, c.Advice = strings.Join(notes, "; "), strings.Join(advice, "; ")
	return c
}

// programCheck looks for whom the sensor would meet at its hooks.
func programCheck(f facts) Check {
	c := Check{Name: f.name + " programs", Status: OK, Found: "no other program attached"}
	if len(f.programs) == 0 {
		if len(f.unknown) > 0 {
			c.Found = "no other program seen, but not everything shows"
		}
		return c
	}
	var all, advice []string
	status := OK
	add := func(text string) {
		if !slices.Contains(advice, text) {
			advice = append(advice, text)
		}
	}
	for _, p := range f.programs {
		all = append(all, p.String())
		switch {
		case p.ours():
			status = Warn
			add("a sensor is (or was) at work here: ask it with `iotsense stats`, stop it before starting another; what a killed one left is cleared by the next start")
		case p.blocks:
			status = Warn
			add("a filter holds priority 1 for its own kind or protocol: --hook tc is refused; use --hook tcx, or give that filter a higher number: tc filter show dev " + f.name + " " + strings.TrimPrefix(p.hook, "tc "))
		case strings.HasPrefix(p.hook, "xdp"):
			status = Warn
			add("an interface carries one XDP program: use --hook tcx or tc here (packets that it drops or redirects are not seen), or: ip link set dev " + f.name + " xdp off")
		default:
			add("nothing: the sensor goes first in the chain and passes every packet on; one that goes before it later can hide packets: bpftool net show dev " + f.name)
		}
	}
	c.Status, c.Found, c.Advice = status, strings.Join(all, "; "), strings.Join(advice, "; ")
	return c
}

// portCheck says which side of a bridge or bond shows what.
func portCheck(f facts) Check {
	c := Check{Name: f.name + " membership", Status: OK}
	switch {
	case f.under == "bridge":
		c.Found = "a port of bridge " + f.master
		c.Advice = fmt.Sprintf("good for traffic that crosses this port; %s itself shows only what this host sends, receives or routes. Attaching to several is fine: each packet is counted once", f.master)
	case f.master != "":
		c.Found = fmt.Sprintf("a port of %s (%s)", f.master, f.under)
		c.Advice = fmt.Sprintf("attach to %s: it shows the traffic of all its ports", f.master)
	case f.kind == "bridge":
		c.Found = "a bridge over " + joined(f.ports)
		c.Advice = "shows what this host sends, receives or routes; for traffic between ports attach to the ports: -i " + strings.Join(f.ports, " -i ")
		if len(f.ports) == 0 {
			c.Status, c.Advice = Warn, "add a port: ip link set dev PORT master "+f.name
		}
	default:
		c.Found = fmt.Sprintf("a %s over %s: shows the traffic of all its ports", f.kind, joined(f.ports))
	}
	return c
}

func promiscuous(f facts) Check {
	c := Check{Name: f.name + " promiscuous", Status: OK, Found: "on: sees frames for other hosts too"}
	if !f.promisc {
		c.Found = "off: sees frames to and from this host, which is right on a gateway or access point"
		c.Advice = "on a mirror port: --promisc (the default with --hook xdp), which needs CAP_NET_RAW"
	}
	return c
}

// joined names things in a sentence.
func joined(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
