package attach

// This file puts the programs on an interface as links, of TCX or XDP.

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachTCX puts the programs first in both chains, where they see every packet
// and stop none.
func (at *Attacher) attachTCX(a *Attachment, in, out *ebpf.Program) error {
	a.Hook = HookTCX
	for _, side := range []struct {
		program *ebpf.Program
		hook    ebpf.AttachType
	}{{in, ebpf.AttachTCXIngress}, {out, ebpf.AttachTCXEgress}} {
		place := func(_ link.Link, id ebpf.ProgramID) (int, error) {
			chain, err := link.QueryPrograms(link.QueryOptions{Target: a.index, Attach: side.hook})
			if err != nil {
				return -1, err
			}
			return slices.IndexFunc(chain.Programs, func(p link.AttachedProgram) bool { return p.ID == id }), nil
		}
		err := at.putLink(a, "program in the "+side.hook.String()+" chain", side.hook.String(), side.program, place, func() (link.Link, error) {
			return link.AttachTCX(link.TCXOptions{Interface: a.index, Program: side.program, Attach: side.hook, Anchor: link.Head()})
		})
		if err != nil {
			return fmt.Errorf("attach to TCX: %w", err)
		}
	}
	return nil
}

// putLink makes a link, or turns one that another sensor has left to the program. place is that
// of a program which a link has on the interface, of those of this network namespace; -1:
// it is not there.
func (at *Attacher) putLink(a *Attachment, what, kind string, program *ebpf.Program, place func(link.Link, ebpf.ProgramID) (int, error), attach func() (link.Link, error)) error {
	id, err := programID(program)
	if err != nil {
		return err
	}
	var l link.Link
	path := ""
	if at.Pin != nil {
		path = at.Pin(fmt.Sprintf("%d_%s", a.index, kind))
		l = takeLink(path, program, place)
	}
	if l == nil {
		if l, err = attach(); err != nil {
			return err
		}
		if at.Pin != nil {
			if err := l.Pin(path); err != nil {
				return errors.Join(fmt.Errorf("pin the link: %w", err), l.Close())
			}
		}
	}
	off := l.Close
	if at.Pin != nil {
		off = func() error { return errors.Join(ignoreGone(os.Remove(path)), l.Close()) }
	}
	a.add(what, func() (int, error) { return place(l, id) }, off)
	a.parts[len(a.parts)-1].leave = l.Close
	return nil
}

// takeLink turns a link that another sensor has left on the interface to the program; nil:
// there is none to be had, and no pin any more.
func takeLink(path string, program *ebpf.Program, place func(link.Link, ebpf.ProgramID) (int, error)) link.Link {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		_ = os.Remove(path) // if it is there, to pin says so
		return nil
	}
	if info, err := l.Info(); err == nil {
		if n, err := place(l, info.Program); err == nil && n >= 0 && l.Update(program) == nil {
			return l
		}
	}
	_ = errors.Join(os.Remove(path), l.Close())
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

func (at *Attacher) attachXDP(a *Attachment, program *ebpf.Program) error {
	a.Hook = at.Hook
	flags := link.XDPDriverMode
	if a.Hook == HookXDPGeneric {
		flags = link.XDPGenericMode
	}
	place := func(l link.Link, id ebpf.ProgramID) (int, error) {
		info, err := l.Info() // others can detach the link, or turn it to another program
		if err == nil && info.XDP() != nil && int(info.XDP().Ifindex) == a.index && info.Program == id {
			return 0, nil
		}
		return -1, err
	}
	err := at.putLink(a, "XDP program", "xdp", program, place, func() (link.Link, error) {
		return link.AttachXDP(link.XDPOptions{Program: program, Interface: a.index, Flags: flags})
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST):
		return fmt.Errorf("another XDP program is on it (%s): remove that one, or use --hook tcx: %w", xdpHolder(a.index), err)
	case a.Hook == HookXDP && errors.Is(err, unix.EOPNOTSUPP):
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
