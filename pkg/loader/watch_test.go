package loader

// This file takes the sensor off its interfaces, and interfaces away from it.

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

// logged keeps what a sensor logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) lines(word string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}

// loggedSensor is like sensor, and gives the log.
func (b *box) loggedSensor(cfg Config) (s *Kernel, stop func() *events, log *logged) {
	b.t.Helper()
	log = &logged{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	s = mustOpen(b.t, b.Network, cfg)
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("the sensor said:\n%s", log.text.String())
		}
	})
	return s, start(b.t, s), log
}

// detachLinks takes every link of a type off, as `bpftool link detach` does. Links name an
// interface by its number, which those of other tests' namespaces have too; so it goes by
// the programs on this one.
func detachLinks(kind link.Type) func(*testing.T, netlink.Link) error {
	return func(t *testing.T, l netlink.Link) error {
		programs, err := programsOn(l, kind)
		if err != nil {
			return err
		}
		found := 0
		it := new(link.Iterator)
		defer it.Close()
		for it.Next() {
			info, err := it.Link.Info()
			if err != nil || info.Type != kind || !slices.Contains(programs, info.Program) {
				continue
			}
			found++
			if err := it.Link.(interface{ Detach() error }).Detach(); err != nil {
				return err
			}
		}
		if found == 0 {
			return errors.New("no link on the interface")
		}
		return it.Err()
	}
}

// programsOn are the programs that links of a type hold on an interface of the calling
// thread's namespace.
func programsOn(l netlink.Link, kind link.Type) (programs []ebpf.ProgramID, err error) {
	if kind == link.XDPType {
		return []ebpf.ProgramID{ebpf.ProgramID(l.Attrs().Xdp.ProgId)}, nil
	}
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		chain, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: at})
		if err != nil {
			return nil, err
		}
		for _, p := range chain.Programs {
			programs = append(programs, p.ID)
		}
	}
	return programs, nil
}

func otherFilter(t *testing.T, l netlink.Link, parent uint32, handle uint32) *netlink.BpfFilter {
	other, err := loadOther(ebpf.SchedCLS, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: l.Attrs().Index, Parent: parent, Handle: handle, Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: other.FD(), Name: "other", DirectAction: true,
	}
}

// Whoever takes the programs off an interface is noticed, and undone.
func TestTakenOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook attach.Hook
		take func(*testing.T, netlink.Link) error
	}{
		{"qdisc deleted", attach.HookTC, func(_ *testing.T, l netlink.Link) error { return netlink.QdiscDel(clsact(l)) }},
		{"qdisc made anew", attach.HookTC, func(_ *testing.T, l netlink.Link) error {
			return errors.Join(netlink.QdiscDel(clsact(l)), netlink.QdiscAdd(clsact(l)))
		}},
		{"one filter deleted", attach.HookTC, func(_ *testing.T, l netlink.Link) error {
			return netlink.FilterDel(&netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{
				LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: filterHandle, Protocol: unix.ETH_P_ALL, Priority: filterPriority,
			}})
		}},
		{"one filter replaced", attach.HookTC, func(t *testing.T, l netlink.Link) error {
			return netlink.FilterReplace(otherFilter(t, l, netlink.HANDLE_MIN_EGRESS, filterHandle))
		}},
		{"TCX links detached", attach.HookTCX, detachLinks(link.TCXType)},
		{"XDP link detached", attach.HookXDP, detachLinks(link.XDPType)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needHook(t, tt.hook)
			b := newBox(t, "takenoff")
			s, stop, log := b.loggedSensor(Config{Hook: tt.hook})
			b.send(replay.DeviceInterface, udpFrame(1, 10), 3)
			b.until(s, "packets at first", counted(3))
			b.do(replay.Interface, func(l netlink.Link) error { return tt.take(t, l) })
			i := b.until(s, "gap", func(stats Stats) bool {
				if tt.hook.IsLink() { // else in ten seconds
					lookAgain(s)
				}
				i := stats.Interfaces[0]
				return i.Gaps > 0 && i.Attached
			}).Interfaces[0]
			if i.Gaps != 1 || i.GapS <= 0 || i.GapS > 10 {
				t.Errorf("%+v, want one gap of some time", i)
			}
			b.send(replay.DeviceInterface, udpFrame(1, 10), 4)
			b.until(s, "packets afterwards", counted(7))
			if n := log.lines("level=WARN"); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
			stop()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			want := map[string]string{ // what is another's stays
				"qdisc made anew": "clsact", "one filter replaced": "clsact, filter",
			}[tt.name]
			if rest := left(t, b.Network); rest != want {
				t.Errorf("left on the interface: %q, want %q", rest, want)
			}
		})
	}
}

// lookAgain has a sensor look at its programs, and reports whether it has since the last call.
func lookAgain(k *Kernel) (done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	done = !k.looked.IsZero()
	k.looked = time.Time{}
	k.ring.Wake()
	return done
}

// A program that goes before ours can hide packets: that is said once.
func TestAnotherGoesFirst(t *testing.T) {
	for hook, put := range map[attach.Hook]func(*testing.T, netlink.Link) (undo func() error, err error){
		attach.HookTC: func(t *testing.T, l netlink.Link) (func() error, error) {
			f := otherFilter(t, l, netlink.HANDLE_MIN_INGRESS, 5)
			return func() error { return netlink.FilterDel(f) }, netlink.FilterAdd(f)
		},
		attach.HookTCX: func(t *testing.T, l netlink.Link) (func() error, error) {
			other, err := loadOther(ebpf.SchedCLS, 0)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { other.Close() })
			at, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: other, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
			if err != nil {
				return nil, err
			}
			return at.Close, nil
		},
	} {
		t.Run(string(hook), func(t *testing.T) {
			needHook(t, hook)
			b := newBox(t, "first")
			s, stop, log := b.loggedSensor(Config{Hook: hook})
			var undo func() error
			b.do(replay.Interface, func(l netlink.Link) (err error) { undo, err = put(t, l); return err })
			b.until(s, "warning", func(Stats) bool { lookAgain(s); return log.lines("goes before") > 0 })
			looks := 0
			stats := b.until(s, "two looks more", func(Stats) bool {
				if lookAgain(s) {
					looks++
				}
				return looks > 2
			})
			if n := log.lines("level=WARN"); n != 1 || stats.Interfaces[0].Gaps != 0 {
				t.Errorf("%d warnings, %+v, want one and no gap", n, stats.Interfaces)
			}
			b.do(replay.Interface, func(netlink.Link) error { return undo() })
			stop()
		})
	}
}

// What keeps the sensor off an interface is said once, and tried again until it is gone.
func TestFailedAttachIsTriedAgain(t *testing.T) {
	b := newBox(t, "again")
	s, stop, log := b.loggedSensor(Config{Hook: attach.HookTC})
	other := &netlink.Ingress{}
	b.do(replay.Interface, func(l netlink.Link) error {
		other.QdiscAttrs = netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}
		var err error
		for range 1000 { // between the two the sensor may have put its own back
			if err = errors.Join(netlink.QdiscDel(clsact(l)), netlink.QdiscAdd(other)); err == nil {
				break
			}
		}
		return err
	})
	before := b.until(s, "gap", func(s Stats) bool { // a first try may have met the other qdisc half made
		return !s.Interfaces[0].Attached && log.lines("ingress qdisc") == 1
	}).Interfaces[0]
	if before.Gaps == 0 {
		t.Errorf("%+v, want a gap", before)
	}
	b.until(s, "second try", func(s Stats) bool { return s.Interfaces[0].GapS > before.GapS+2*lookEvery.Seconds() })
	b.do(replay.Interface, func(netlink.Link) error { return netlink.QdiscDel(other) })
	b.until(s, "attachment", func(s Stats) bool { i := s.Interfaces[0]; return i.Attached && i.Gaps == before.Gaps })
	if n := log.lines("ingress qdisc"); n != 1 {
		t.Errorf("%d errors, want one", n)
	}
	stop()
}

// An interface is attached to when the kernel tells of it, not when the next sweep or
// the next look is due.
func TestEventsAreFollowedAtOnce(t *testing.T) {
	b := newBox(t, "events")
	s := mustOpen(t, b.Network, Config{Interfaces: []string{"iots-lt0"}})
	s.setSink(&events{})
	later := time.Now().Add(time.Hour)
	s.looked = later
	b.addPair("iots-lt0", "iots-lt1")
	for deadline := time.Now().Add(10 * time.Second); !s.watcher.Interfaces()[0].Attached; {
		if time.Now().After(deadline) {
			t.Fatal("not attached")
		}
		if err := s.step(&later); err != nil {
			t.Fatal(err)
		}
	}
	if i := s.watcher.Interfaces()[0]; i.Gaps != 0 {
		t.Errorf("%+v, want no gap", i)
	}
}

// A configured interface that is missing is waited for, and found however it comes
// to its name; one that has lost its name is watched as well.
func TestNamesCome(t *testing.T) {
	const name = "iots-lt0"
	b := newBox(t, "names")
	s, stop, log := b.loggedSensor(Config{Interfaces: []string{name}})
	b.until(s, "interface that is waited for", func(s Stats) bool { return len(s.Interfaces) == 1 && !s.Interfaces[0].Attached })
	if log.lines("waiting") != 1 {
		t.Error("no word of it")
	}
	b.addPair("iots-new0", "iots-lt1")
	b.do("iots-new0", renamed(name))
	attached := func(names ...string) func(Stats) bool {
		return func(s Stats) bool {
			var list []string
			for _, i := range s.Interfaces {
				if i.Attached && i.Gaps == 0 {
					list = append(list, i.Name)
				}
			}
			return slices.Equal(list, names) && len(s.Interfaces) == len(names)
		}
	}
	b.until(s, "interface after it was renamed", attached(name))
	b.do(name, renamed("iots-old0"))
	b.until(s, "interface that has lost the name", attached("iots-old0"))
	b.addPair(name, "iots-lt2")
	b.until(s, "two interfaces", attached("iots-old0", name))
	b.send("iots-lt1", udpFrame(1, 10), 2)
	b.send("iots-lt2", udpFrame(2, 10), 3)
	b.until(s, "packets of both", counted(5))
	b.do("iots-old0", netlink.LinkDel)
	b.until(s, "the second alone", attached(name))
	b.do(name, netlink.LinkDel)
	b.until(s, "none", func(s Stats) bool {
		return len(s.Interfaces) == 1 && !s.Interfaces[0].Attached && s.Interfaces[0].Name == name
	})
	stop()
}

// An interface that was not there at the start may have no Ethernet header.
func TestWaitingForAnyLinkType(t *testing.T) {
	n := newNetwork(t, "linktype")
	s := mustOpen(t, n, Config{Interfaces: []string{"tun0"}})
	if s.programs[gen.IotsenseProgIotsenseIn] == nil || s.programs[gen.IotsenseProgIotsenseInIp] == nil {
		t.Error("only the programs of one link type are loaded")
	}
}

// An alternative name is no new name, and no other interface.
func TestAlternativeNames(t *testing.T) {
	b := newBox(t, "altname")
	const other = "uplink-of-the-test"
	b.do(replay.Interface, func(l netlink.Link) error {
		return errors.Join(netlink.LinkAddAltName(l, other), netlink.LinkAddAltName(l, "up0"))
	})
	for _, tt := range [][]string{{replay.Interface, other}, {"up0", other}, {other, other}, {"nosuch0", "nosuch0"}} {
		if _, err := open(t, b.Network, Config{Interfaces: tt}); err == nil || !strings.Contains(err.Error(), "named twice") {
			t.Errorf("%v: %v, want an error that says so", tt, err)
		}
	}
	for _, name := range []string{other, "up0"} {
		s, stop, log := b.loggedSensor(Config{Interfaces: []string{name}})
		b.do(replay.Interface, func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1400+len(name)) })
		b.send(replay.DeviceInterface, udpFrame(1, 10), 2)
		stats := b.until(s, "packets", counted(2))
		if i := stats.Interfaces; len(i) != 1 || i[0].Name != replay.Interface || log.lines("WARN") != 0 {
			t.Errorf("%+v", i)
		}
		stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An ingress qdisc has the place of clsact, and no side for what is sent.
func TestIngressQdisc(t *testing.T) {
	b := newBox(t, "ingress")
	b.do(replay.Interface, func(l netlink.Link) error {
		ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
		}}
		shaper := otherFilter(t, l, netlink.HANDLE_MIN_INGRESS, 1)
		shaper.Priority = 50
		return errors.Join(netlink.QdiscAdd(ingress), netlink.FilterAdd(shaper))
	})
	_, err := open(t, b.Network, Config{Hook: attach.HookTC})
	for _, word := range []string{replay.Interface, "ingress qdisc", "--hook tc-ingress", "--hook tcx"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not say %q", err, word)
		}
	}
	qdiscs := func() (kinds string) {
		b.do(replay.Interface, func(l netlink.Link) error {
			list, err := netlink.QdiscList(l)
			filters, filterErr := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
			kinds = fmt.Sprintf("%s, %d filters", attach.FilterQdisc(list), len(filters))
			return errors.Join(err, filterErr)
		})
		return kinds
	}
	s, stop, log := b.loggedSensor(Config{Hook: attach.HookTCIngress})
	b.send(replay.DeviceInterface, udpFrame(1, 10), 5)
	b.send(replay.Interface, reply(1, 10), 3)
	b.until(s, "packets", counted(5))
	if got := qdiscs(); got != "ingress, 2 filters" || log.lines("not what is sent") != 1 {
		t.Errorf("attached: %s", got)
	}
	stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := qdiscs(); got != "ingress, 1 filters" {
		t.Errorf("afterwards: %s", got)
	}
	if !hasTCX(t) {
		return
	}
	s, stop = b.sensor(Config{Hook: attach.HookAuto})
	b.send(replay.DeviceInterface, udpFrame(1, 10), 5)
	b.send(replay.Interface, reply(1, 10), 3)
	b.until(s, "packets both ways", counted(8))
	stop()
}

// A clsact qdisc that was there stays, even if a sensor that was killed was its last
// user.
func TestKilledSensorLeavesAnothersQdisc(t *testing.T) {
	b := newBox(t, "killedother")
	for name, handle := range map[string]uint32{"another's": guestHandle, "ours": filterHandle} {
		b.do(replay.Interface, func(l netlink.Link) error {
			f := otherFilter(t, l, netlink.HANDLE_MIN_EGRESS, handle)
			f.Name = gen.IotsenseProgIotsenseOut
			return errors.Join(netlink.QdiscAdd(clsact(l)), netlink.FilterAdd(f))
		})
		s := mustOpen(t, b.Network, Config{Hook: attach.HookXDP})
		want := map[string]string{"another's": "xdp, promisc, clsact", "ours": "xdp, promisc"}[name]
		if rest := left(t, b.Network); rest != want {
			t.Errorf("%s: %s, want %s", name, rest, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		b.do(replay.Interface, func(l netlink.Link) error { _ = netlink.QdiscDel(clsact(l)); return nil })
	}
}

// What is logged of new addresses shows what is new.
func TestAddressesWithoutNewRanges(t *testing.T) {
	b := newBox(t, "ownaddr")
	s, stop, log := b.loggedSensor(Config{})
	ip := packet.DeviceIP.Next()
	b.do(replay.Interface, func(l netlink.Link) error {
		a, err := netlink.ParseAddr(ip.String() + "/32")
		return errors.Join(err, netlink.AddrAdd(l, a))
	})
	b.until(s, "the address", func(Stats) bool { return log.lines(ip.String()) == 1 })
	if log.lines("local=") != 0 {
		t.Error("the local ranges are logged, which are as they were")
	}
	stop()
}
