package attach

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/iotsense/iotsense/internal/testenv"
)

func TestAttachedTCX(t *testing.T) {
	testenv.Root(t)
	runtime.LockOSThread() // never unlocked: the thread and its namespace end with the test
	own, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "someone", Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if list, err := AttachedTCX(lo.Attrs().Index); err != nil || len(list) != 0 {
		t.Fatalf("nothing attached: %v, %v", list, err)
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: lo.Attrs().Index, Program: p, Attach: ebpf.AttachTCXEgress})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return // before Linux 6.6 the answer is an empty list
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	list, err := AttachedTCX(lo.Attrs().Index)
	if want := []AttachedProgram{{ID: uint32(id), Egress: true}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("got %v, %v, want %v", list, err, want)
	}
	if name, err := ProgramName(uint32(id)); err != nil || name != "someone" {
		t.Errorf("name %q, %v, want someone", name, err)
	}
}

func TestProgramNameOfNone(t *testing.T) {
	testenv.Root(t)
	if name, err := ProgramName(1<<31 - 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %q, %v, want no such program", name, err)
	}
}
