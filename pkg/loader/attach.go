package loader

// This file puts the programs on interfaces and takes them off again.

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachment is our programs on one interface.
type attachment struct {
	name  string // of the interface when they were attached
	index int
	hook  Hook // as taken, never HookAuto
	parts []part
}

// part is one thing that an attachment has put on its interface.
type part struct {
	what  string
	on    func() (bool, error) // whether it is still there; nil: it goes with the process alone
	first func() (bool, error) // whether no other program goes before it; nil: none can
	off   func() error
}

// attach puts the programs on an interface. It is called in the network namespace.
func (s *Kernel) attach(l netlink.Link) (*attachment, error) {
	a := &attachment{name: l.Attrs().Name, index: l.Attrs().Index}
	held, err := s.hold(a.name, a.index)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", a.name, err)
	}
	a.add("name", nil, held.Close)
	if err := s.attachTo(a, l); err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", a.name, err), a.detach())
	}
	return a, nil
}

// add notes a part of the attachment.
func (a *attachment) add(what string, on func() (bool, error), off func() error) {
	a.parts = append(a.parts, part{what: what, on: on, off: off})
}

// behind names the programs that others now go before.
func (a *attachment) behind() (names []string) {
	for _, p := range a.parts {
		if p.first == nil {
			continue
		}
		if first, err := p.first(); err == nil && !first {
			names = append(names, p.what)
		}
	}
	return names
}

// missing names the programs that somebody else has taken off. What cannot be found
// out now is taken to be there.
func (a *attachment) missing() (names []string) {
	looked := 0
	for _, p := range a.parts {
		if p.on == nil {
			continue
		}
		looked++
		if on, err := p.on(); err == nil && !on {
			names = append(names, p.what)
		}
	}
	if len(names) == looked { // the qdisc below them may be another by now, and not ours
		a.parts = slices.DeleteFunc(a.parts, func(p part) bool { return p.what == qdiscPart })
	}
	return names
}

func (s *Kernel) attachTo(a *attachment, l netlink.Link) error {
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
	}
	if in == nil {
		return fmt.Errorf("it has no Ethernet header, unlike when the sensor started: restart the sensor")
	}
	if s.cfg.Hook.isTC() {
		return s.attachTC(a, l, s.cfg.Hook, in, out)
	}
	err := a.attachTCX(in, out)
	if s.cfg.Hook == HookAuto && errors.Is(err, ebpf.ErrNotSupported) {
		return s.attachTC(a, l, HookTC, in, out)
	}
	return err
}

func (s *Kernel) setPromisc(a *attachment) error {
	fd, err := promiscuous(a.index)
	if err != nil {
		return err
	}
	a.add("promiscuous mode", nil, func() error { return unix.Close(fd) })
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
		a.addLink("program in the "+at.hook.String()+" chain", l, at.program)
		a.parts[len(a.parts)-1].first = func() (bool, error) {
			id, err := programID(at.program)
			if err != nil {
				return false, err
			}
			chain, err := link.QueryPrograms(link.QueryOptions{Target: a.index, Attach: at.hook})
			return err == nil && len(chain.Programs) > 0 && chain.Programs[0].ID == id, err
		}
	}
	return nil
}

// addLink notes a link, which others can detach or turn to another program.
func (a *attachment) addLink(what string, l link.Link, program *ebpf.Program) {
	a.add(what, func() (bool, error) {
		info, err := l.Info()
		if err != nil {
			return false, err
		}
		id, err := programID(program)
		if err != nil {
			return false, err
		}
		at := uint32(0)
		if tcx := info.TCX(); tcx != nil {
			at = tcx.Ifindex
		}
		if xdp := info.XDP(); xdp != nil {
			at = xdp.Ifindex
		}
		return int(at) == a.index && info.Program == id, nil
	}, l.Close)
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return id, nil
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
		a.addLink("XDP program", l, program)
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
	for _, p := range slices.Backward(a.parts) {
		err = errors.Join(err, p.off())
	}
	a.parts = nil
	if err != nil {
		return fmt.Errorf("detach from interface %s: %w", a.name, err)
	}
	return nil
}
