package attach

// This file puts the programs on an interface as filters, where there is no TCX.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
)

// Our filters on a clsact or ingress qdisc, found again by name after a kill. The
// handle remembers whether the qdisc is ours too: it is odd then.
const (
	filterPrefix   = "iotsense"
	filterPriority = 1 // first in the chain
	filterHandle   = 0x1075
	guestHandle    = 0x1076 // on a qdisc of another's
)

// qdiscPart is the part of an attachment that is a qdisc.
const qdiscPart = "clsact qdisc"

// QdiscClsact and QdiscIngress are the kinds of qdisc that filters of --hook tc can
// meet on an interface: one of them at most, as they take the same place. The
// second has no side for what is sent.
const (
	QdiscClsact  = "clsact"
	QdiscIngress = "ingress"
)

// clsactParents are the two ends of a clsact qdisc.
var clsactParents = []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}

func clsact(l netlink.Link) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// FilterQdisc is the kind of qdisc in an interface's list that filters can be on:
// QdiscClsact, QdiscIngress or empty.
func FilterQdisc(list []netlink.Qdisc) string {
	for _, q := range list {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT {
			return q.Type()
		}
	}
	return ""
}

// attachTC adds a filter for each direction, and the qdisc if there is none.
func (at *Attacher) attachTC(a *Attachment, l netlink.Link, hook Hook, in, out *ebpf.Program) error {
	a.Hook = hook
	list, err := at.Handle.QdiscList(l)
	if err != nil {
		return fmt.Errorf("list its qdiscs: %w", err)
	}
	handle := uint32(guestHandle)
	switch FilterQdisc(list) {
	case "":
		if err := at.addClsact(a, l); err != nil {
			return err
		}
		handle = filterHandle
	case QdiscIngress:
		if hook != HookTCIngress {
			return oneWay(l)
		}
	case QdiscClsact:
		if f := at.keptFilter(l, clsactParents[0]); f != nil && f.Handle&1 == 1 {
			a.addQdisc(at, l)
			handle = filterHandle
		}
	}
	if hook == HookTCIngress {
		at.Log.Warn("only what is received is seen, not what is sent (--hook tc-ingress)", "interface", a.name)
		return at.addFilter(a, l, clsactParents[0], handle, gen.IotsenseProgIotsenseIn, in)
	}
	err = errors.Join(
		at.addFilter(a, l, clsactParents[0], handle, gen.IotsenseProgIotsenseIn, in),
		at.addFilter(a, l, clsactParents[1], handle, gen.IotsenseProgIotsenseOut, out))
	if err != nil {
		return err
	}
	// An ingress qdisc that took the clsact's place since has both filters now, each
	// seeing what is received: its kernel code takes any parent.
	if list, err = at.Handle.QdiscList(l); err == nil && FilterQdisc(list) == QdiscIngress {
		return oneWay(l)
	}
	return err
}

// oneWay is why the two directions cannot be had of an interface with an ingress qdisc.
func oneWay(l netlink.Link) error {
	return fmt.Errorf("an ingress qdisc is on it (`tc qdisc show dev %s`; SQM and wondershaper use one), which shows what is received only, and clsact has no room beside it: use --hook tcx (Linux 6.6), or --hook tc-ingress knowing that what is sent is not seen, or make that qdisc clsact",
		l.Attrs().Name)
}

func (at *Attacher) addClsact(a *Attachment, l netlink.Link) error {
	err := at.Handle.QdiscAdd(clsact(l))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("the kernel has no clsact qdisc (module sch_ingress): %w", err)
	}
	if err != nil {
		return fmt.Errorf("add a clsact qdisc: %w", err)
	}
	a.addQdisc(at, l)
	return nil
}

func (a *Attachment) addQdisc(at *Attacher, l netlink.Link) {
	a.add(qdiscPart, nil, func() error { return at.removeUnusedClsact(l) })
}

// keptFilter is the filter that another sensor has left for this one; nil: there is none.
func (at *Attacher) keptFilter(l netlink.Link, parent uint32) *netlink.BpfFilter {
	if !at.Kept {
		return nil
	}
	list, _ := at.Handle.FilterList(l, parent) // what is wrong with it shows when ours is added
	for _, f := range list {
		if bpf, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(bpf.Name, filterPrefix) {
			return bpf
		}
	}
	return nil
}

// addFilter puts a program on one side of the qdisc.
func (at *Attacher) addFilter(a *Attachment, l netlink.Link, parent, handle uint32, name string, program *ebpf.Program) error {
	id, err := programID(program)
	if err != nil {
		return err
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: a.index, Parent: parent, Handle: at.freeHandle(l, parent, handle),
			Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: program.FD(), Name: name, DirectAction: true,
	}
	put := at.Handle.FilterAdd
	if kept := at.keptFilter(l, parent); kept != nil {
		filter.Handle, filter.Priority, put = kept.Handle, kept.Priority, at.Handle.FilterReplace
	}
	if err := put(filter); err != nil {
		return at.explainFilter(l, filter, err)
	}
	place := func() (int, error) { return at.placeOf(l, filter, id) }
	a.add("filter "+name, place, func() error {
		if n, err := place(); err != nil || n < 0 { // another's can have taken its place
			return err
		}
		return ignoreGone(at.Handle.FilterDel(filter))
	})
	return nil
}

// freeHandle is handle, or the next one after it that no filter of our priority has,
// as another's can be in the place of ours. The kernel puts the newest one first.
func (at *Attacher) freeHandle(l netlink.Link, parent, handle uint32) uint32 {
	list, _ := at.Handle.FilterList(l, parent) // what is wrong with it shows when ours is added
	taken := map[uint32]bool{}
	for _, f := range list {
		taken[f.Attrs().Handle] = taken[f.Attrs().Handle] || f.Attrs().Priority == filterPriority
	}
	for taken[handle] {
		handle += 2 // it stays odd or even
	}
	return handle
}

// placeOf is how many filters come before ours, with our program; -1: it is not there.
func (at *Attacher) placeOf(l netlink.Link, ours *netlink.BpfFilter, id ebpf.ProgramID) (int, error) {
	list, err := at.Handle.FilterList(l, ours.Parent)
	if err != nil {
		return -1, ignoreGone(err)
	}
	return slices.IndexFunc(list, func(f netlink.Filter) bool {
		bpf, ok := f.(*netlink.BpfFilter)
		return ok && bpf.Handle == ours.Handle && bpf.Priority == ours.Priority && bpf.Id == int(id)
	}), nil
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
func (at *Attacher) explainFilter(l netlink.Link, ours *netlink.BpfFilter, err error) error {
	err = fmt.Errorf("add a filter to the clsact qdisc: %w", err)
	list, listErr := at.Handle.FilterList(l, ours.Parent)
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
// outlives its process. A clsact qdisc that it had made, and that then serves
// nobody, goes as well.
func (at *Attacher) removeStale(l netlink.Link) error {
	made := false
	for _, parent := range clsactParents {
		filters, err := at.Handle.FilterList(l, parent)
		if err != nil {
			return nil // no qdisc for filters
		}
		for _, f := range filters {
			bpf, ok := f.(*netlink.BpfFilter)
			if !ok || !strings.HasPrefix(bpf.Name, filterPrefix) {
				continue
			}
			if err := ignoreGone(at.Handle.FilterDel(bpf)); err != nil {
				return fmt.Errorf("remove the filter of a sensor that was killed: %w", err)
			}
			at.Log.Info("removed the filter of a sensor that was killed", "interface", l.Attrs().Name, "filter", bpf.Name)
			made = made || bpf.Handle&1 == 1
		}
	}
	if !made {
		return nil
	}
	return at.removeUnusedClsact(l)
}

// removeUnusedClsact removes a clsact qdisc unless somebody has a filter there.
func (at *Attacher) removeUnusedClsact(l netlink.Link) error {
	list, err := at.Handle.QdiscList(l)
	if err != nil || FilterQdisc(list) != QdiscClsact {
		return nil
	}
	for _, parent := range clsactParents {
		filters, err := at.Handle.FilterList(l, parent)
		if err != nil || len(filters) > 0 {
			return nil
		}
	}
	return ignoreGone(at.Handle.QdiscDel(clsact(l)))
}
