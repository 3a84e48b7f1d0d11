package attach

// This file puts the programs on an interface as links, of TCX or XDP.

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachTCX puts the programs first in both chains, where they see every packet
// and stop none.
func (a *Attachment) attachTCX(in, out *ebpf.Program) error {
	a.Hook = HookTCX
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
		id, err := programID(at.program)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		a.add("program in the "+at.hook.String()+" chain", func() (int, error) {
			chain, err := link.QueryPrograms(link.QueryOptions{Target: a.index, Attach: at.hook})
			if err != nil {
				return -1, err
			}
			return slices.IndexFunc(chain.Programs, func(p link.AttachedProgram) bool { return p.ID == id }), nil
		}, l.Close)
	}
	return nil
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return id, nil
}

func (a *Attachment) attachXDP(program *ebpf.Program, hook Hook) error {
	a.Hook = hook
	flags := link.XDPDriverMode
	if hook == HookXDPGeneric {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: a.index, Flags: flags})
	switch {
	case err == nil:
		id, err := programID(program)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		a.add("XDP program", func() (int, error) {
			info, err := l.Info() // others can detach the link, or turn it to another program
			if err == nil && info.XDP() != nil && int(info.XDP().Ifindex) == a.index && info.Program == id {
				return 0, nil
			}
			return -1, err
		}, l.Close)
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
