package attach

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/testenv"
)

// loopback is that of a network namespace of the test's own.
func loopback(t *testing.T) (netns.NsHandle, netlink.Link) {
	t.Helper()
	testenv.Root(t)
	runtime.LockOSThread() // never unlocked: the thread and its namespace end with the test
	own, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	return own, lo
}

func TestAttachedTCX(t *testing.T) {
	_, lo := loopback(t)
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

// A qdisc that somebody puts in the place of ours while we attach has no filter of
// ours: it would show what is received as what is sent.
func TestQdiscIsSwappedMeanwhile(t *testing.T) {
	own, lo := loopback(t)
	handle, err := netlink.NewHandleAt(own)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	at := &Attacher{Handle: handle, Hook: HookTC, Log: slog.New(slog.DiscardHandler), Programs: map[string]*ebpf.Program{
		gen.IotsenseProgIotsenseIn: p, gen.IotsenseProgIotsenseOut: p, gen.IotsenseProgIotsenseInIp: p, gen.IotsenseProgIotsenseOutIp: p,
	}}
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}
	swap := make(chan struct{})
	swapped := make(chan struct{})
	other, err := netlink.NewHandleAt(own)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() { // what fails comes too early or too late
		for range swap {
			for range 8 {
				_ = other.QdiscDel(clsact(lo))
				_ = other.QdiscAdd(ingress)
			}
			swapped <- struct{}{}
		}
	}()
	attached, refused := 0, 0
	for range 300 {
		_ = handle.QdiscDel(ingress)
		swap <- struct{}{}
		a, err := at.Attach(lo)
		<-swapped
		list, listErr := handle.QdiscList(lo)
		filters, filterErr := handle.FilterList(lo, netlink.HANDLE_MIN_INGRESS)
		if err := errors.Join(listErr, filterErr); err != nil {
			t.Fatal(err)
		}
		if FilterQdisc(list) == QdiscIngress && len(filters) > 0 {
			t.Fatalf("%d filters on an ingress qdisc, attached: %v", len(filters), err)
		}
		if err != nil {
			refused++
			continue
		}
		attached++
		if err := a.Detach(); err != nil {
			t.Fatal(err)
		}
	}
	close(swap)
	t.Logf("%d times attached, %d times refused", attached, refused)
	if refused == 0 {
		t.Error("never refused")
	}
}
