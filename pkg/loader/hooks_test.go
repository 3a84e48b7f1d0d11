package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cilium/ebpf/asm"
	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/probe"
	"github.com/iotsense/iotsense/pkg/replay"
)

var liveHooks = []attach.Hook{attach.HookAuto, attach.HookTCX, attach.HookTC, attach.HookXDP, attach.HookXDPGeneric}

// newNetwork makes a private pair of interfaces for one test.
func newNetwork(t *testing.T, purpose string) *replay.Network {
	t.Helper()
	testenv.Root(t)
	n, err := replay.NewNetwork("loader-" + purpose)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// open attaches a sensor to the network.
func open(t *testing.T, n *replay.Network, cfg Config) (*Kernel, error) {
	t.Helper()
	if cfg.Interfaces == nil {
		cfg.Interfaces = []string{replay.Interface}
	}
	cfg.MaxFlows = 4096
	cfg.RingSize = 1 << 20
	var s *Kernel
	err := n.Do(func() (err error) { s, err = Open(cfg); return err })
	return s, err
}

func mustOpen(t *testing.T, n *replay.Network, cfg Config) *Kernel {
	t.Helper()
	s, err := open(t, n, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// start runs a sensor; the function returned stops it and gives what it has sent.
func start(t *testing.T, s *Kernel) (stop func() *events) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sink, done := &events{}, make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	return func() *events {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return sink
	}
}

// conversation is n datagrams each way, and one frame that is not IP.
func conversation(n int) []lab.Frame {
	frames := []lab.Frame{{Data: packet.Ethernet(packet.ARPType, make([]byte, 46)), FromDevice: true}}
	for i := range n {
		frames = append(frames,
			lab.Frame{Data: udpFrame(i%7, 100), FromDevice: true}, lab.Frame{Data: reply(i%7, 300)})
	}
	return frames
}

// left says what is on the sensor's interface.
func left(t *testing.T, n *replay.Network) string {
	t.Helper()
	var found []string
	err := n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		if l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached {
			found = append(found, "xdp")
		}
		if l.Attrs().Promisc > 0 {
			found = append(found, "promisc")
		}
		tcx, err := attach.AttachedTCX(l.Attrs().Index)
		if err != nil {
			return err
		}
		for _, p := range tcx {
			found = append(found, fmt.Sprintf("tcx %+v", p))
		}
		qdiscs, err := netlink.QdiscList(l)
		if err != nil {
			return err
		}
		for _, q := range qdiscs {
			if q.Type() == "clsact" {
				found = append(found, "clsact")
			}
		}
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			filters, _ := netlink.FilterList(l, parent) // fails without a clsact qdisc
			for range filters {
				found = append(found, "filter")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, ", ")
}

// withoutTCX is what left says, without TCX programs.
func withoutTCX(list string) string {
	found := slices.DeleteFunc(strings.Split(list, ", "), func(s string) bool { return strings.HasPrefix(s, "tcx ") })
	return strings.Join(found, ", ")
}

// What a filter of ours is found by, after a kill too, so that no version may change it.
const (
	filterPriority = 1
	filterHandle   = 0x1075
	guestHandle    = 0x1076 // on a qdisc of another's
)

func clsact(l netlink.Link) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// loadOther makes a program of somebody else's, which returns 0.
func loadOther(kind ebpf.ProgramType, flags uint32) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "other", Type: kind, Flags: flags, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
}

// hasTCX reports whether this kernel has TCX, as every one since Linux 6.6 must.
func hasTCX(t *testing.T) bool {
	t.Helper()
	err := probe.TCX()
	if err == nil {
		return true
	}
	if code, versionErr := features.LinuxVersionCode(); versionErr != nil || code >= 6<<16|6<<8 {
		t.Fatalf("TCX on kernel %#x (%v): %v", code, versionErr, err)
	}
	return false
}

// needHook skips what a kernel before TCX cannot do.
func needHook(t *testing.T, hook attach.Hook) {
	t.Helper()
	if hook == attach.HookTCX && !hasTCX(t) {
		t.Skip("this kernel has no TCX (Linux 6.6)")
	}
}

// What the sensor has seen is what the interface itself has counted, whatever
// the hook; afterwards nothing is left of it.
func TestHooksCountWhatTheInterfaceCounts(t *testing.T) {
	const each = 500
	for _, hook := range liveHooks {
		t.Run(string(hook), func(t *testing.T) {
			needHook(t, hook)
			n := newNetwork(t, "hook-"+string(hook))
			s := mustOpen(t, n, Config{Hook: hook, Packets: 10, Prefix: 64, Promisc: nil})
			stop := start(t, s)
			played, err := n.Play(context.Background(), conversation(each), replay.PlayOptions{FarEnd: hook.IsXDP()})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
			stats, err := s.Stats(nil)
			if err != nil {
				t.Fatal(err)
			}
			received, sent, dropped, err := n.Counters()
			if err != nil {
				t.Fatal(err)
			}
			want := received
			if !hook.IsXDP() {
				want += sent + dropped
			}
			p := stats.Packets
			if p.Seen != want || p.Seen != played.Frames || p.NotIP != 1 || p.Counted != 2*each || p.Duplicate != 0 || !identities(p) {
				t.Errorf("%+v, the interface counted %d, played %d", p, want, played.Frames)
			}
			if stats.Flows.Open != 7 || !stats.Interfaces[0].Attached || (hook != attach.HookAuto && stats.Interfaces[0].Hook != string(hook)) {
				t.Errorf("%+v", stats)
			}
			open, _, err := s.OpenFlows(1 << 20)
			if err != nil || len(open) != 7 || open[0].Interface.Name != replay.Interface {
				t.Errorf("open flows %+v, %v", open, err)
			}
			got := stop()
			packets, bytes := got.total()
			if wire := uint64(each * (128 + 328)); packets != 2*each || bytes != wire || len(got.closes) != 7 || len(got.samples) != 70 {
				t.Errorf("%d packets of %d bytes in %d lives with %d samples, want %d of %d in 7 with 70",
					packets, bytes, len(got.closes), len(got.samples), 2*each, wire)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if rest := left(t, n); rest != "" {
				t.Errorf("left on the interface: %s", rest)
			}
		})
	}
}

// A clsact qdisc that somebody else uses stays, with their filter.
func TestSharedClsactStays(t *testing.T) {
	n := newNetwork(t, "shared")
	other, err := loadOther(ebpf.SchedCLS, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		return errors.Join(netlink.QdiscAdd(clsact(l)), netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 7,
			},
			Fd: other.FD(), Name: "other", DirectAction: true,
		}))
	})
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, n, Config{Hook: attach.HookTC})
	if got, want := left(t, n), "clsact, filter, filter, filter"; got != want {
		t.Errorf("attached: %s, want %s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got, want := left(t, n), "clsact, filter"; got != want {
		t.Errorf("after detaching: %s, want %s", got, want)
	}
}

func TestOpenErrors(t *testing.T) {
	n := newNetwork(t, "errors")
	mustOpen(t, n, Config{})
	for _, tt := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"no interface", Config{Interfaces: []string{}}, []string{"no interface"}},
		{"two sensors", Config{}, []string{replay.Interface, "another sensor", fmt.Sprint("pid ", os.Getpid())}},
		{"hook", Config{Hook: "magic"}, []string{`"magic"`, "xdp-generic"}},
		{"packets", Config{Packets: 33}, []string{"packets 33", "32"}},
		{"prefix", Config{Prefix: 1001}, []string{"prefix 1001", "1000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := open(t, n, tt.cfg)
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range tt.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not say %q", err, word)
				}
			}
		})
	}
}

// A user who may not run a sensor cannot keep one away, whatever they do with the name;
// two sensors still do not meet.
func TestNameIsSquatted(t *testing.T) {
	type squatter func(name string) (files []int, err error)
	socket := func() (int, error) { return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0) }
	bind := func(name string) ([]int, error) {
		fd, err := socket()
		if err != nil {
			return nil, err
		}
		return []int{fd}, unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	}
	listen := func(connections int) squatter {
		return func(name string) ([]int, error) {
			files, err := bind(name)
			if err != nil {
				return files, err
			}
			if err := unix.Listen(files[0], 1); err != nil {
				return files, err
			}
			for range connections {
				fd, err := socket()
				if err != nil {
					return files, err
				}
				files = append(files, fd)
				_ = unix.Connect(fd, &unix.SockaddrUnix{Name: name}) // fails once the queue is full
			}
			return files, nil
		}
	}
	for name, squat := range map[string]squatter{
		"bound": bind, "listened on": listen(0), "listened on, connected to": listen(1), "full": listen(5),
		"below the name": func(name string) ([]int, error) { return listen(1)(name + "/x") },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, "squat")
			err := n.Do(func() error {
				link, err := netlink.LinkByName(replay.Interface)
				if err != nil {
					return err
				}
				asNobody(t)
				defer asRoot(t)
				files, err := squat("@iotsense/if" + strconv.Itoa(link.Attrs().Index))
				t.Cleanup(func() {
					for _, fd := range files {
						unix.Close(fd)
					}
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			mustOpen(t, n, Config{})
			if _, err := open(t, n, Config{}); err == nil || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
				t.Errorf("second sensor: %v, want the pid of the first", err)
			}
		})
	}
}

// asNobody gives the calling thread's rights up, asRoot takes them back.
func asNobody(t *testing.T) { setEUID(t, 65534) }
func asRoot(t *testing.T)   { setEUID(t, 0) }

func setEUID(t *testing.T, uid uintptr) {
	t.Helper()
	const keep = ^uintptr(0)
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, keep, uid, keep); err != 0 { // of this thread only
		t.Fatal(err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

// childEnv makes the test binary attach a sensor and wait to be killed.
const childEnv = "IOTSENSE_TEST_LOADER_CHILD"

func TestMain(m *testing.M) {
	if hook := os.Getenv(childEnv); hook != "" {
		s, err := Open(Config{Interfaces: []string{replay.Interface}, Hook: attach.Hook(hook), Pin: os.Getenv(childEnv + "_PIN"), MaxFlows: 16})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("attached")
		s.Run(context.Background(), &events{})
	}
	os.Exit(m.Run())
}

// A sensor that was killed leaves filters and pins; the next one removes them.
func TestLeftoversOfAKilledSensor(t *testing.T) {
	for _, hook := range []attach.Hook{attach.HookTC, attach.HookTCX, attach.HookXDP} {
		t.Run(string(hook), func(t *testing.T) {
			needHook(t, hook)
			n := newNetwork(t, "killed-"+string(hook))
			pin := testenv.PinDirectory(t)
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childEnv+"="+string(hook), childEnv+"_PIN="+pin)
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Do(child.Start); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { child.Process.Kill(); child.Wait() })
			line := make([]byte, 200)
			size, _ := out.Read(line)
			if got := strings.TrimSpace(string(line[:size])); got != "attached" {
				t.Fatalf("the sensor says %q", got)
			}
			if _, err := open(t, n, Config{Hook: hook}); err == nil || !strings.Contains(err.Error(), fmt.Sprint("pid ", child.Process.Pid)) {
				t.Errorf("second sensor: %v, want the pid of the first", err)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			child.Wait()
			if rest := left(t, n); hook == attach.HookTC && rest != "clsact, filter, filter" {
				t.Errorf("killed: %s", rest)
			}
			if _, err := os.Stat(filepath.Join(pin, gen.IotsenseMapFlows)); err != nil {
				t.Errorf("killed: %v", err)
			}
			s := mustOpen(t, n, Config{Hook: attach.HookAuto, Pin: pin})
			want := "" // of the killed one; the new one's TCX programs apart
			if !hasTCX(t) {
				want = "clsact, filter, filter" // the new one's
			}
			if rest := left(t, n); withoutTCX(rest) != want {
				t.Errorf("after the next start: %s", rest)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if rest := left(t, n); rest != "" {
				t.Errorf("at the end: %s", rest)
			}
			if _, err := os.Stat(pin); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("pins are left: %v", err)
			}
		})
	}
}

// What is missing is named, whatever the kernel says.
func TestMissingPrivileges(t *testing.T) {
	testenv.Root(t)
	capsh := testenv.Tool(t, "capsh")
	for _, tt := range []struct{ drop, hook, want string }{
		{"cap_net_admin", "auto", "missing CAP_NET_ADMIN:"},
		{"cap_bpf,cap_sys_admin", "auto", "missing CAP_BPF:"},
		{"cap_perfmon,cap_sys_admin", "auto", "missing CAP_PERFMON:"},
		{"cap_net_raw", "xdp", "missing CAP_NET_RAW, which promiscuous mode needs"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			out, err := exec.Command(capsh, "--drop="+tt.drop, "--", "-c", childEnv+"="+tt.hook+" exec "+os.Args[0]).CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte(tt.want)) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// In a user namespace capabilities are there and worth nothing: the kernel itself
// says that a memory limit is too low.
func TestUserNamespace(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=auto")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSPC) {
		t.Skipf("no user namespaces here: %v", err)
	}
	if err == nil || !bytes.Contains(out, []byte("not the first user namespace")) || bytes.Contains(out, []byte("MEMLOCK")) {
		t.Errorf("%v: %s", err, out)
	}
}

// Epoch follows the wall clock.
func TestEpoch(t *testing.T) {
	k := newKernel(t, Config{})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1))
	k.settle()
	at := time.UnixMicro(k.Epoch(k.samples[0].Stamp))
	if d := time.Since(at); d < 0 || d > time.Second {
		t.Errorf("the packet came %v ago", d)
	}
	var _ flows.Sink = k.events
}
