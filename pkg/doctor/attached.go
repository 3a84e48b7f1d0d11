package doctor

// This file finds the programs on an interface and the processes that hold them.

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/iotsense/iotsense/pkg/loader/attach"
)

// program is one program at one hook of an interface.
type program struct {
	hook    string // xdp, xdp-generic, tcx ingress, tc egress, ...
	id      uint32
	name    string   // empty: may not be asked; of a filter that is no program, its kind
	blocks  bool     // a filter in the place of ours
	holders []string // processes that hold it open, as "name (pid)"; empty: none that can be seen
}

func (p program) String() string {
	name := cmp.Or(p.name, "unnamed")
	text := fmt.Sprintf("%s: %s (id %d)", p.hook, name, p.id)
	if p.id == 0 {
		text = fmt.Sprintf("%s: a filter of kind %s", p.hook, name)
	}
	if len(p.holders) > 0 {
		text += ", held by " + strings.Join(p.holders, ", ")
	}
	return text
}

func (p program) ours() bool { return strings.HasPrefix(p.name, "iotsense") }

// Attach modes of XDP (XDP_ATTACHED_* of include/uapi/linux/if_link.h).
var xdpModes = map[uint32]string{1: "xdp", 2: "xdp-generic", 3: "xdp-offload", 4: "xdp (several)"}

// programs lists what is attached to l: XDP, the TCX chains, filters on its clsact or
// ingress qdisc.
func programs(root fs.FS, l netlink.Link, qdisc string) ([]program, error) {
	var list []program
	if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
		list = append(list, program{hook: xdpModes[xdp.AttachMode], id: xdp.ProgId})
	}
	chain, err := attach.AttachedTCX(l.Attrs().Index)
	if !holds(effective(), cap.NET_ADMIN) {
		err = errors.New("TCX chains show only with CAP_NET_ADMIN")
	}
	for _, p := range chain {
		hook := "tcx ingress"
		if p.Egress {
			hook = "tcx egress"
		}
		list = append(list, program{hook: hook, id: p.ID})
	}
	list = append(list, filters(l, qdisc)...)
	if len(list) == 0 {
		return nil, err
	}
	byID := holders(root)
	for i := range list {
		p := &list[i]
		p.holders = byID[p.id]
		if name, err := attach.ProgramName(p.id); p.id != 0 && err == nil {
			p.name = name
		}
	}
	return list, err
}

// filters lists the BPF filters on the two sides of clsact, or the one of an ingress
// qdisc, and others that are in the place of ours.
func filters(l netlink.Link, qdisc string) (list []program) {
	sides := map[uint32]string{netlink.HANDLE_MIN_INGRESS: "tc ingress"}
	if qdisc != attach.QdiscIngress { // which takes either name for its one side
		sides[netlink.HANDLE_MIN_EGRESS] = "tc egress"
	}
	for parent, hook := range sides {
		found, err := netlink.FilterList(l, parent)
		if err != nil {
			continue // no such qdisc there
		}
		for _, f := range found {
			if b, ok := f.(*netlink.BpfFilter); ok {
				list = append(list, program{hook: hook, id: uint32(b.Id), name: b.Name, blocks: attach.HoldsPlace(f)})
			} else if attach.HoldsPlace(f) {
				list = append(list, program{hook: hook, name: f.Type(), blocks: true})
			}
		}
	}
	slices.SortFunc(list, func(a, b program) int { return strings.Compare(b.hook, a.hook) })
	return list
}

// holders maps program ids to the processes that hold a program or a link to it
// open. Processes of other users show to root alone; a program without any is
// held by its interface or a pin.
func holders(root fs.FS) map[uint32][]string {
	byID := map[uint32][]string{}
	dirs, err := fs.Glob(root, "proc/[0-9]*/fdinfo")
	if err != nil {
		return byID
	}
	for _, dir := range dirs {
		process := path.Dir(dir)
		comm, _ := read(root, process+"/comm")
		holder := fmt.Sprintf("%s (pid %s)", comm, path.Base(process))
		files, err := fs.ReadDir(root, dir)
		if err != nil {
			continue
		}
		for _, file := range files {
			text, _ := field(root, path.Join(dir, file.Name()), "prog_id:") // of the program, or of a link's
			id, err := strconv.ParseUint(text, 10, 32)
			if err == nil && !slices.Contains(byID[uint32(id)], holder) {
				byID[uint32(id)] = append(byID[uint32(id)], holder)
			}
		}
	}
	return byID
}
