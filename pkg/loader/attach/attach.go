// Package attach puts the programs on one interface, as links of TCX or XDP or as
// filters, and takes them off again. It sees whose programs are there beside ours, and
// keeps two sensors off one interface.
package attach

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
)

// Attacher says what to attach and how.
type Attacher struct {
	Handle   *netlink.Handle // of the interfaces' network namespace
	Programs map[string]*ebpf.Program
	Hook     Hook
	Promisc  bool // turn promiscuous mode on as well
	// Pin is the path of a pin of a link of this name, where links outlast the process; nil: they
	// end with it. What is pinned there, or a filter where Kept is set, is another sensor's
	// that has ended: it gets the programs.
	Pin  func(name string) string
	Kept bool
	Log  *slog.Logger
}

// Attachment is our programs on one interface.
type Attachment struct {
	Hook  Hook   // as taken, never HookAuto
	name  string // of the interface when they were attached
	index int
	parts []part
}

// part is one thing that an attachment has put on its interface.
type part struct {
	what  string
	place func() (int, error) // how many programs go before it, -1: it is not there; nil: it goes with the process alone
	off   func() error
	leave func() error // frees what the process has of it; nil: nothing
}

// Attach puts the programs on an interface; whatever fails, nothing is left there. It
// is called in the interface's network namespace.
func (at *Attacher) Attach(l netlink.Link) (*Attachment, error) {
	a := &Attachment{name: l.Attrs().Name, index: l.Attrs().Index}
	held, err := hold(a.name, a.index, at.Log)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", a.name, err)
	}
	a.add("name", nil, held.Close)
	a.parts[0].leave = held.Close
	if err := at.attachTo(a, l); err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", a.name, err), a.Detach())
	}
	return a, nil
}

// add notes a part of the attachment.
func (a *Attachment) add(what string, place func() (int, error), off func() error) {
	a.parts = append(a.parts, part{what: what, place: place, off: off})
}

// Look names the programs that somebody else has taken off, and those that others now go
// before. What cannot be found out now is taken to be as it was. It is called in the
// interface's network namespace.
func (a *Attachment) Look() (missing, behind []string) {
	looked := 0
	for _, p := range a.parts {
		if p.place == nil {
			continue
		}
		looked++
		switch n, err := p.place(); {
		case err != nil:
		case n < 0:
			missing = append(missing, p.what)
		case n > 0:
			behind = append(behind, p.what)
		}
	}
	if len(missing) == looked { // the qdisc below them may be another by now, and not ours
		a.parts = slices.DeleteFunc(a.parts, func(p part) bool { return p.what == qdiscPart })
	}
	return missing, behind
}

func (at *Attacher) attachTo(a *Attachment, l netlink.Link) error {
	if err := checkLinkType(l); err != nil {
		return err
	}
	if !at.Kept {
		if err := at.removeStale(l); err != nil {
			return err
		}
	}
	if at.Promisc {
		if err := a.setPromisc(); err != nil {
			return err
		}
	}
	ethernet := HasEthernetHeader(l)
	in, out := at.Programs[gen.IotsenseProgIotsenseIn], at.Programs[gen.IotsenseProgIotsenseOut]
	if !ethernet {
		in, out = at.Programs[gen.IotsenseProgIotsenseInIp], at.Programs[gen.IotsenseProgIotsenseOutIp]
	}
	switch at.Hook {
	case HookXDP, HookXDPGeneric:
		if !ethernet {
			return fmt.Errorf("no Ethernet interface (%s), XDP cannot read it: use --hook tcx or tc", l.Attrs().EncapType)
		}
		return at.attachXDP(a, at.Programs[gen.IotsenseProgIotsenseXdp])
	}
	if in == nil {
		return fmt.Errorf("it has no Ethernet header, unlike when the sensor started: restart the sensor")
	}
	if at.Hook.isTC() {
		return at.attachTC(a, l, at.Hook, in, out)
	}
	err := at.attachTCX(a, in, out)
	if at.Hook == HookAuto && errors.Is(err, ebpf.ErrNotSupported) {
		return at.attachTC(a, l, HookTC, in, out)
	}
	return err
}

// ignoreGone is err unless it says that the thing to remove is not there.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// Leave has the programs stay on, for the next sensor.
func (a *Attachment) Leave() error {
	var err error
	for _, p := range a.parts {
		if p.leave != nil {
			err = errors.Join(err, p.leave())
		}
	}
	a.parts = nil
	return err
}

// Detach takes the programs off.
func (a *Attachment) Detach() error {
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
