package loader

// This file puts the programs on interfaces and takes them off again.

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachment is one interface with our programs on it.
type attachment struct {
	configured string // the name that was asked for
	name       string // the interface's name now
	index      int
	hook       Hook // as taken, never HookAuto
	holder     net.Listener
	undo       []func() error // in reverse order
}

// add attaches to an interface and notes it.
func (s *Sensor) add(name string) error {
	a, err := s.attach(name)
	if err != nil {
		return err
	}
	s.attached = append(s.attached, a)
	s.log.Info("attached", "interface", name, "hook", a.hook)
	return nil
}

// attach puts the programs on an interface.
func (s *Sensor) attach(name string) (*attachment, error) {
	l, err := s.network.find(name)
	if err != nil {
		return nil, err
	}
	a := &attachment{configured: name, name: name, index: l.Attrs().Index}
	if a.holder, err = s.hold(name, a.index); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	if a.holder != nil {
		a.undo = append(a.undo, a.holder.Close)
	}
	if err := s.attachTo(a, l); err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", name, err), a.detach())
	}
	return a, nil
}

func (s *Sensor) attachTo(a *attachment, l netlink.Link) error {
	if err := checkLinkType(l); err != nil {
		return err
	}
	if err := s.removeStale(l); err != nil {
		return err
	}
	if *s.cfg.Promisc {
		if err := s.setPromisc(a); err != nil {
			return err
		}
	}
	ethernet := hasEthernetHeader(l)
	in, out := s.programs[inProgram], s.programs[outProgram]
	if !ethernet {
		in, out = s.programs[inIPProgram], s.programs[outIPProgram]
	}
	switch s.cfg.Hook {
	case HookXDP, HookXDPGeneric:
		if !ethernet {
			return fmt.Errorf("no Ethernet interface (%s), XDP cannot read it: use --hook tcx or tc", l.Attrs().EncapType)
		}
		return a.attachXDP(s.programs[xdpProgram], s.cfg.Hook)
	case HookTC:
		return s.attachClsact(a, l, in, out)
	}
	if in == nil {
		return fmt.Errorf("it has no Ethernet header, unlike when the sensor started: restart the sensor")
	}
	err := a.attachTCX(in, out)
	if s.cfg.Hook == HookAuto && errors.Is(err, ebpf.ErrNotSupported) {
		return s.attachClsact(a, l, in, out)
	}
	return err
}

func (s *Sensor) setPromisc(a *attachment) error {
	fd, err := promiscuous(a.index)
	if err != nil {
		return err
	}
	a.undo = append(a.undo, func() error { return unix.Close(fd) })
	return nil
}

// attachTCX puts the programs first in both chains, where they see every packet
// and stop none.
func (a *attachment) attachTCX(in, out *ebpf.Program) error {
	a.hook = HookTCX
	for _, at := range []struct {
		program *ebpf.Program
		hook    ebpf.AttachType
	}{{in, ebpf.AttachTCXIngress}, {out, ebpf.AttachTCXEgress}} {
		l, err := link.AttachTCX(link.TCXOptions{
			Interface: a.index, Program: at.program, Attach: at.hook, Anchor: link.Head(),
		})
		if err != nil {
			return fmt.Errorf("attach to TCX: %w", err)
		}
		a.undo = append(a.undo, l.Close)
	}
	return nil
}

func (a *attachment) attachXDP(program *ebpf.Program, hook Hook) error {
	a.hook = hook
	flags := link.XDPDriverMode
	if hook == HookXDPGeneric {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: a.index, Flags: flags})
	switch {
	case err == nil:
		a.undo = append(a.undo, l.Close)
		return nil
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST):
		return fmt.Errorf("another XDP program is on it (%s): remove that one, or use --hook tcx: %w", xdpHolder(a.index), err)
	case hook == HookXDP && errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("its driver has no native XDP: use --hook tcx, or --hook xdp-generic knowing that it is slow and undercounts under GRO: %w", err)
	}
	return fmt.Errorf("attach to XDP: %w", err)
}

// xdpHolder describes the XDP program on an interface.
func xdpHolder(ifindex int) string {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil || l.Attrs().Xdp == nil {
		return "unknown"
	}
	id := l.Attrs().Xdp.ProgId
	name, err := ProgramName(id)
	if err != nil {
		return fmt.Sprintf("id %d", id)
	}
	return fmt.Sprintf("id %d, %s", id, name)
}

// Our filters on a clsact qdisc, found again by name after a kill.
const (
	filterPrefix   = "iotsense"
	filterPriority = 1 // first in the chain
	filterHandle   = 0x1075
)

// clsactParents are the two ends of a clsact qdisc.
var clsactParents = []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}

func clsact(l netlink.Link) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// attachClsact adds a filter for each direction, and the qdisc if there is none.
func (s *Sensor) attachClsact(a *attachment, l netlink.Link, in, out *ebpf.Program) error {
	a.hook = HookTC
	if in == nil {
		return fmt.Errorf("it has no Ethernet header, unlike when the sensor started: restart the sensor")
	}
	err := s.network.QdiscAdd(clsact(l))
	switch {
	case err == nil:
		a.undo = append(a.undo, func() error { return s.removeUnusedClsact(l) })
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel has no clsact qdisc (module sch_ingress): %w", err)
	case !errors.Is(err, unix.EEXIST):
		return fmt.Errorf("add a clsact qdisc: %w", err)
	}
	for i, program := range []*ebpf.Program{in, out} {
		filter := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: a.index, Parent: clsactParents[i], Handle: filterHandle,
				Protocol: unix.ETH_P_ALL, Priority: filterPriority,
			},
			Fd: program.FD(), Name: []string{inProgram, outProgram}[i], DirectAction: true,
		}
		if err := s.network.FilterAdd(filter); err != nil {
			return s.network.explainFilter(l, filter, err)
		}
		a.undo = append(a.undo, func() error { return ignoreGone(s.network.FilterDel(filter)) })
	}
	return nil
}

// HoldsPlace reports whether a filter of a clsact qdisc is where ours would go, so
// that the kernel refuses ours: filters of one priority are of one kind and protocol.
func HoldsPlace(f netlink.Filter) bool {
	a := f.Attrs()
	_, bpf := f.(*netlink.BpfFilter)
	return a.Priority == filterPriority && !(bpf && a.Protocol == unix.ETH_P_ALL)
}

// explainFilter says who is in a filter's place. Ours goes nowhere else: behind
// another one, packets that it accepts or drops would not be seen.
func (n *network) explainFilter(l netlink.Link, ours *netlink.BpfFilter, err error) error {
	err = fmt.Errorf("add a filter to the clsact qdisc: %w", err)
	list, listErr := n.FilterList(l, ours.Parent)
	if listErr != nil {
		return err
	}
	for _, f := range list {
		if !HoldsPlace(f) {
			continue
		}
		side := "ingress"
		if ours.Parent == netlink.HANDLE_MIN_EGRESS {
			side = "egress"
		}
		return fmt.Errorf("a filter of kind %s for protocol %#04x holds priority %d (`tc filter show dev %s %s`): give that one a higher number, or use --hook tcx, which comes before: %w",
			f.Type(), f.Attrs().Protocol, filterPriority, l.Attrs().Name, side, err)
	}
	return err
}

// removeStale removes what a killed sensor has left on the interface: a filter
// outlives its process. A clsact qdisc that then serves nobody goes as well.
func (s *Sensor) removeStale(l netlink.Link) error {
	found := false
	for _, parent := range clsactParents {
		filters, err := s.network.FilterList(l, parent)
		if err != nil {
			return nil // no clsact qdisc
		}
		for _, f := range filters {
			bpf, ok := f.(*netlink.BpfFilter)
			if !ok || !strings.HasPrefix(bpf.Name, filterPrefix) {
				continue
			}
			if err := ignoreGone(s.network.FilterDel(bpf)); err != nil {
				return fmt.Errorf("remove the filter of a sensor that was killed: %w", err)
			}
			s.log.Info("removed the filter of a sensor that was killed", "interface", l.Attrs().Name, "filter", bpf.Name)
			found = true
		}
	}
	if !found {
		return nil
	}
	return s.removeUnusedClsact(l)
}

// removeUnusedClsact removes a clsact qdisc unless somebody has a filter there.
func (s *Sensor) removeUnusedClsact(l netlink.Link) error {
	for _, parent := range clsactParents {
		filters, err := s.network.FilterList(l, parent)
		if err != nil || len(filters) > 0 {
			return nil
		}
	}
	return ignoreGone(s.network.QdiscDel(clsact(l)))
}

// ignoreGone is err unless it says that the thing to remove is not there.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// detach takes the programs off.
func (a *attachment) detach() error {
	var err error
	for _, undo := range slices.Backward(a.undo) {
		err = errors.Join(err, undo())
	}
	a.undo = nil
	if err != nil {
		return fmt.Errorf("detach from interface %s: %w", a.name, err)
	}
	return nil
}

func (s *Sensor) detachAll() error {
	var err error
	for _, a := range s.attached {
		err = errors.Join(err, a.detach())
	}
	s.attached = nil
	return err
}

// follow makes the best of what has changed in the network since the last call:
// it detaches from interfaces that are gone, attaches to configured ones that are
// (back) there, stays with those that have another name now, and takes over new
// addresses.
func (s *Sensor) follow() error {
	changed, gone := s.network.changed()
	if !changed {
		return nil
	}
	s.attached = slices.DeleteFunc(s.attached, func(a *attachment) bool {
		l, err := s.network.LinkByIndex(a.index)
		if err == nil && !gone[a.index] {
			s.rename(a, l.Attrs().Name)
			return false
		}
		s.log.Warn("interface is gone, waiting for it", "interface", a.name)
		if err := errors.Join(a.detach(), s.freeDirections(a.index)); err != nil {
			s.log.Warn("left something behind", "error", err)
		}
		return true
	})
	for _, name := range s.cfg.Interfaces {
		if s.attachmentOf(name) != nil {
			continue
		}
		if _, err := s.network.LinkByName(name); err != nil {
			continue
		}
		if err := s.network.inside(func() error { return s.add(name) }); err != nil {
			s.log.Error("interface is back, but cannot be watched", "error", err)
		}
	}
	return s.followHost()
}

// rename notes an interface's new name. The programs stay on it: whoever renames
// an interface does not mean to hide it.
func (s *Sensor) rename(a *attachment, name string) {
	if name == a.name {
		return
	}
	s.log.Warn("interface has a new name, still watched", "interface", name, "before", a.name)
	a.name = name
}

// attachmentOf is that of the configured interface; nil while it is not there.
func (s *Sensor) attachmentOf(configured string) *attachment {
	for _, a := range s.attached {
		if a.configured == configured {
			return a
		}
	}
	return nil
}
