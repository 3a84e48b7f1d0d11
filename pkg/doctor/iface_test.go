package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

// plain is an ordinary interface; tests change one fact each.
func plain() facts {
	bits := uint64(xdpBasic)
	return facts{name: "eth0", up: true, mtu: 1500, link: "ether", kind: "device", driver: "igb", xdp: &bits}
}

func TestWhatFactsMean(t *testing.T) {
	bits := func(n uint64) func(*facts) { return func(f *facts) { f.xdp = &n } }
	silent := func(driver string) func(*facts) { return func(f *facts) { f.xdp, f.driver = nil, driver } }
	for _, tt := range []struct {
		name   string
		check  func(facts) Check
		change func(*facts)
		status Status
		words  string
	}{
		{"ordinary", linkCheck, func(*facts) {}, OK, "Ethernet, driver igb, MTU 1500, up"},
		{"down", linkCheck, func(f *facts) { f.up = false }, Warn, "ip link set dev eth0 up"},
		{"tun", linkCheck, func(f *facts) { f.link = "none" }, OK, "raw IP"},
		{"ppp", linkCheck, func(f *facts) { f.link = "ppp" }, OK, "ip:ADDR"},
		{"access point", linkCheck, func(f *facts) { f.wireless = true }, OK, "Wi-Fi"},
		{"monitor", linkCheck, func(f *facts) { f.link = "ieee802.11/radiotap" }, Fail, "access point"},
		{"silent driver", linkCheck, func(f *facts) { f.driver = "" }, OK, "driver unknown"},

		{"native", nativeXDP, bits(xdpBasic), OK, "native;"},
		{"none", nativeXDP, bits(0), OK, "generic mode only"},
		{"old kernel, known driver", nativeXDP, silent("ixgbe"), OK, "native;"},
		{"old kernel, Pi 4", nativeXDP, silent("bcmgenet"), OK, "generic mode only"},
		{"old kernel, new driver", nativeXDP, silent("fantasy"), OK, "--hook tcx is the default"},
		{"no Ethernet", nativeXDP, func(f *facts) { f.link = "none" }, OK, "not for this interface"},
		{"jumbo", nativeXDP, func(f *facts) { f.mtu = 1 << 20 }, Warn, "ip link set dev eth0 mtu 1500"},
		{"jumbo with scatter", nativeXDP, func(f *facts) { bits(xdpBasic | xdpScatterRecv)(f); f.mtu = 1 << 20 }, OK, "native;"},
		{"bond port", nativeXDP, func(f *facts) { f.master, f.under = "bond0", "bond" }, OK, "attach to bond0"},

		{"no offloads", offloadCheck, func(*facts) {}, OK, "none that change"},
		{"GRO", offloadCheck, func(f *facts) { f.offloads = []string{"rx-gro"} }, OK, "ethtool -K eth0 gro off"},
		{"TSO", offloadCheck, func(f *facts) { f.offloads = []string{"tx-tcp-segmentation"} }, OK, "gso_size"},
		{"VLAN", offloadCheck, func(f *facts) { f.offloads = []string{"rx-vlan-hw-parse"} }, OK, "XDP does not see it"},
		{"LRO", offloadCheck, func(f *facts) { f.offloads = []string{"rx-gro", "rx-lro"} }, Warn, "ethtool -K eth0 lro off"},

		{"alone", programCheck, func(*facts) {}, OK, "no other program attached"},
		{"not everything seen", programCheck, func(f *facts) { f.unknown = []error{os.ErrPermission} }, OK, "not everything shows"},
		{"another XDP", programCheck, func(f *facts) {
			f.programs = []program{{hook: "xdp", id: 7, name: "lb", holders: []string{"katran (pid 12)"}}}
		}, Warn, "xdp: lb (id 7), held by katran (pid 12)"},
		{"way out", programCheck, func(f *facts) { f.programs = []program{{hook: "xdp-generic", id: 7}} }, Warn, "ip link set dev eth0 xdp off"},
		{"a chain", programCheck, func(f *facts) { f.programs = []program{{hook: "tcx ingress", id: 9}} }, OK, "tcx ingress: unnamed (id 9)"},
		{"order", programCheck, func(f *facts) { f.programs = []program{{hook: "tc egress", id: 9}} }, OK, "bpftool net show dev eth0"},
		{"in our place", programCheck, func(f *facts) { f.programs = []program{{hook: "tc egress", name: "matchall", blocks: true}} }, Warn, "tc filter show dev eth0 egress"},
		{"our own", programCheck, func(f *facts) { f.programs = []program{{hook: "tcx ingress", id: 9, name: "iotsense_in"}} }, Warn, "iotsense stats"},

		{"bridge port", portCheck, func(f *facts) { f.master, f.under = "br0", "bridge" }, OK, "counted once"},
		{"bond port", portCheck, func(f *facts) { f.master, f.under = "bond0", "bond" }, OK, "attach to bond0"},
		{"bridge", portCheck, func(f *facts) { f.kind, f.ports = "bridge", []string{"a", "b"} }, OK, "-i a -i b"},
		{"empty bridge", portCheck, func(f *facts) { f.kind = "bridge" }, Warn, "add a port"},
		{"bond", portCheck, func(f *facts) { f.kind, f.ports = "bond", []string{"a"} }, OK, "all its ports"},

		{"gateway", promiscuous, func(*facts) {}, OK, "--promisc"},
		{"mirror", promiscuous, func(f *facts) { f.promisc = true }, OK, "on:"},
	} {
		f := plain()
		tt.change(&f)
		expect(t, tt.name, tt.check(f), tt.status, tt.words)
	}
}

func TestHooks(t *testing.T) {
	no := fmt.Errorf("probe: %w", os.ErrNotExist)
	denied := fmt.Errorf("probe: %w", os.ErrPermission)
	for _, tt := range []struct {
		name        string
		tcx, clsact error
		status      Status
		words       string
	}{
		{"6.6", nil, nil, OK, "takes tcx"},
		{"6.1", no, nil, OK, "takes tc (clsact)"},
		{"no module", no, no, Fail, "modprobe sch_ingress cls_bpf"},
		{"no module but TCX", nil, no, OK, "takes tcx"},
		{"no privilege", denied, denied, Warn, "run doctor as root"},
		{"6.1 without CAP_SYS_ADMIN", no, denied, Warn, "takes tc (clsact)"},
	} {
		features := []probe.Feature{{Kind: probe.Hooks, Name: probe.FeatureTCX, Err: tt.tcx}, {Kind: probe.Hooks, Name: probe.FeatureClsact, Err: tt.clsact}}
		expect(t, tt.name, autoHook(plain(), features), tt.status, tt.words)
		if tt.status != OK {
			continue
		}
		f := plain() // with what SQM puts on an uplink
		f.qdisc = attach.QdiscIngress
		want, words := OK, "so --hook tc is refused"
		if tt.tcx != nil {
			want, words = Fail, "--hook tc-ingress"
		}
		expect(t, tt.name+", ingress qdisc", autoHook(f, features), want, words)
	}
}

func TestIngressQdisc(t *testing.T) {
	network(t)
	l := veth(t, "v0")
	attrs := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}
	if err := netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 9},
		Fd:          loadProgram(t, unix.BPF_PROG_TYPE_SCHED_CLS, "shaper"), Name: "shaper", DirectAction: true,
	}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkAddAltName(l, "uplink"); err != nil {
		t.Fatal(err)
	}
	list := interfaceChecks(os.DirFS("/"), "uplink", []probe.Feature{{Kind: probe.Hooks, Name: probe.FeatureTCX}})
	if c := find(t, list, "v0 hook"); !strings.Contains(c.Found+c.Advice, "ingress qdisc") {
		t.Errorf("%+v does not name the ingress qdisc", c)
	}
	if c := find(t, list, "v0 programs"); strings.Count(c.Found, "shaper") != 1 {
		t.Errorf("%+v, want the one filter once", c)
	}
}

func TestClsactFromFiles(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		status           Status
		words            string
	}{
		{"loaded", "sys/module/sch_ingress/refcnt", "1", OK, "loaded"},
		{"built in", "lib/modules/6.1/modules.builtin", "kernel/net/sched/sch_ingress.ko\n", OK, "built in"},
		{"a module", "lib/modules/6.1/modules.dep", "kernel/net/sched/sch_ingress.ko.xz:\n", OK, "can be loaded"},
		{"not there", "lib/modules/6.1/modules.dep", "kernel/net/sched/sch_fq.ko:\n", Warn, "CAP_SYS_ADMIN"},
	} {
		root := files(map[string]string{tt.file: tt.text, "proc/sys/kernel/osrelease": "6.1\n"})
		expect(t, tt.name, clsactFromFiles(root), tt.status, tt.words)
	}
}

func TestHolders(t *testing.T) {
	root := files(map[string]string{
		"proc/12/comm": "katran\n", "proc/12/fdinfo/3": "pos:\t0\nprog_id:\t77\n", "proc/12/fdinfo/4": "link_type:\ttcx\nprog_id:\t77\nifindex:\t2\n",
		"proc/13/comm": "cat\n", "proc/13/fdinfo/0": "pos:\t0\nflags:\t02\n", "proc/14/fdinfo/0": "prog_id:\tnonsense\n",
	})
	got := holders(root)
	if len(got) != 1 || !slices.Equal(got[77], []string{"katran (pid 12)"}) {
		t.Errorf("got %v, want program 77 held by katran alone", got)
	}
}

// network moves the test into a network namespace of its own, where nothing but
// the loopback is, and back at the end.
func network(t *testing.T) {
	t.Helper()
	testenv.Root(t)
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	own, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		own.Close()
		if err := netns.Set(before); err != nil {
			t.Errorf("back to the first namespace: %v", err)
			return // the thread stays locked and ends with the test
		}
		before.Close()
		runtime.UnlockOSThread()
	})
}

// add makes an interface and sets it up.
func add(t *testing.T, l netlink.Link) netlink.Link {
	t.Helper()
	if err := netlink.LinkAdd(l); err != nil {
		t.Fatalf("add %s: %v", l.Attrs().Name, err)
	}
	made, err := netlink.LinkByName(l.Attrs().Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(made); err != nil {
		t.Fatal(err)
	}
	return made
}

func veth(t *testing.T, name string) netlink.Link {
	return add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"})
}

// find returns the finding of that name.
func find(t *testing.T, list []Check, name string) Check {
	t.Helper()
	for _, c := range list {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no finding %q in %+v", name, list)
	return Check{}
}

// look is what is said about interfaces when no hook works.
func look(name string) []Check { return interfaceChecks(os.DirFS("/"), name, nil) }

func TestVeth(t *testing.T) {
	network(t)
	veth(t, "v0")
	list := look("v0")
	expect(t, "link", find(t, list, "v0"), OK, "Ethernet, driver veth, MTU 1500, up")
	expect(t, "XDP", find(t, list, "v0 XDP"), OK, "native;")
	expect(t, "offloads", find(t, list, "v0 offloads"), OK, "TSO/GSO cut sent packets")
	expect(t, "programs", find(t, list, "v0 programs"), OK, "no other program attached")
	expect(t, "promiscuous", find(t, list, "v0 promiscuous"), OK, "off")
	expect(t, "peer that is down", find(t, look("v0p"), "v0p"), Warn, "ip link set dev v0p up")
}

func TestOffloadsAreThoseThatAreOn(t *testing.T) {
	network(t)
	veth(t, "v0")
	ethtool := testenv.Tool(t, "ethtool")
	for _, tt := range []struct {
		state string
		on    bool
	}{{"on", true}, {"off", false}} {
		if out, err := exec.Command(ethtool, "-K", "v0", "gro", tt.state, "tso", tt.state, "gso", tt.state).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		l, err := netlink.LinkByName("v0")
		if err != nil {
			t.Fatal(err)
		}
		list, err := offloads(l.Attrs().Index)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"rx-gro", "tx-tcp-segmentation", "tx-generic-segmentation"} {
			if slices.Contains(list, name) != tt.on {
				t.Errorf("after %s: %s in %v", tt.state, name, list)
			}
		}
	}
}

func TestBridgeAndPort(t *testing.T) {
	network(t)
	port := veth(t, "v0")
	bridge := add(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br7"}})
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		t.Fatal(err)
	}
	expect(t, "port", find(t, look("v0"), "v0 membership"), OK, "a port of bridge br7")
	expect(t, "bridge", find(t, look("br7"), "br7 membership"), OK, "-i v0")
	if found := find(t, look("br7"), "br7 XDP").Found; strings.HasPrefix(found, "native") {
		t.Errorf("a bridge has no native XDP: %s", found)
	}
}

func TestRawIP(t *testing.T) {
	network(t)
	add(t, &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "t0"}, Mode: netlink.TUNTAP_MODE_TUN})
	list := look("t0")
	expect(t, "link", find(t, list, "t0"), OK, "raw IP", "driver tun")
	expect(t, "XDP", find(t, list, "t0 XDP"), OK, "not for this interface")
}

func TestWhichInterfaces(t *testing.T) {
	network(t)
	expect(t, "none", look("")[0], Warn, "none is up")
	expect(t, "unknown", look("nope")[0], Fail, "no such interface", "name one of: lo")
	veth(t, "v0")
	for _, c := range look("") {
		if !strings.HasPrefix(c.Name, "v0") || strings.HasPrefix(c.Name, "v0p") {
			t.Errorf("%s: not an interface that is up and no loopback", c.Name)
		}
	}
	find(t, look("lo"), "lo") // by name the loopback is looked at too
}

func TestOtherPrograms(t *testing.T) {
	network(t)
	l := veth(t, "v0")
	xdp, filter := loadProgram(t, unix.BPF_PROG_TYPE_XDP, "lb"), loadProgram(t, unix.BPF_PROG_TYPE_SCHED_CLS, "iotsense_in")
	if err := netlink.LinkSetXdpFdWithFlags(l, xdp, 1<<1); err != nil { // XDP_FLAGS_SKB_MODE
		t.Fatal(err)
	}
	attrs := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd:          filter, Name: "iotsense_in", DirectAction: true,
	}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_IP, Priority: 1},
		Fd:          loadProgram(t, unix.BPF_PROG_TYPE_SCHED_CLS, "shaper"), Name: "shaper", DirectAction: true,
	}); err != nil {
		t.Fatal(err)
	}
	holder := fmt.Sprintf("held by doctor.test (pid %d)", os.Getpid())
	expect(t, "both", find(t, look("v0"), "v0 programs"), Warn,
		"xdp-generic: lb (id", "tc egress: iotsense_in (id", holder, "ip link set dev v0 xdp off", "iotsense stats",
		"tc ingress: shaper (id", "tc filter show dev v0 ingress")
}

// loadProgram loads "return 0" by the bare system call: only package loader
// imports a BPF library.
func loadProgram(t *testing.T, kind uint32, name string) (fd int) {
	t.Helper()
	code := []uint64{0xb7, 0x95} // r0 = 0; exit
	license := []byte("GPL\x00")
	var attr struct {
		kind, count   uint32
		code, license uint64
		logLevel      uint32
		logSize       uint32
		log           uint64
		version       uint32
		flags         uint32
		name          [16]byte
	}
	attr.kind, attr.count = kind, uint32(len(code))
	attr.code, attr.license = uint64(uintptr(unsafe.Pointer(&code[0]))), uint64(uintptr(unsafe.Pointer(&license[0])))
	copy(attr.name[:15], name)
	r, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		t.Fatalf("load %s: %v", name, errno)
	}
	t.Cleanup(func() { unix.Close(int(r)) })
	return int(r)
}

// TestWithoutCapabilities runs itself as another user who holds some or none of
// the capabilities.
func TestWithoutCapabilities(t *testing.T) {
	const variable = "IOTSENSE_TEST_DOCTOR"
	if os.Getenv(variable) != "" {
		for _, c := range Run("lo") {
			fmt.Printf("%s|%s|%s|%s\n", c.Name, c.Status, c.Found, c.Advice)
		}
		return
	}
	testenv.Root(t)
	self, err := os.Open("/proc/self/exe") // the binary's directory may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, tt := range []struct {
		name string
		held []uintptr
		want []string
	}{
		{"none", nil, []string{
			"capabilities|fail|missing: CAP_BPF (loads programs and maps), CAP_NET_ADMIN (attaches them), CAP_PERFMON (lets",
			"setcap cap_bpf,cap_net_admin,cap_perfmon+ep /", "program types|fail|3 could not be tried: not permitted",
			"lo hook|warn|", "kernel statistics|ok|off; --kernel-stats needs CAP_SYS_ADMIN",
		}},
		{"two of three", []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN}, []string{
			"capabilities|fail|missing: CAP_PERFMON (lets the verifier accept them); present: CAP_BPF, CAP_NET_ADMIN|", "program types|ok|",
		}},
		{"all three", []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON}, []string{
			"capabilities|ok|", "program types|ok|sched_cls, syscall, xdp", "programs|ok|loaded for tcx, for xdp", "helpers|ok|", "--hook auto takes tc", "hook clsact|",
		}},
	} {
		cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestWithoutCapabilities$")
		cmd.ExtraFiles = []*os.File{self}
		cmd.Env, cmd.Dir = append(os.Environ(), variable+"=1"), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: tt.held}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.name, err, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, out)
			}
		}
		if fails := strings.Contains(string(out), "|fail|"); fails == (len(tt.held) == 3) {
			t.Errorf("%s: fails: %v\n%s", tt.name, fails, out)
		}
	}
}

func TestUnknownsAreSaid(t *testing.T) {
	f := plain()
	f.unknown = []error{errors.New("offloads: no answer"), errors.New("XDP features: no answer")}
	expect(t, "unknowns", find(t, judge(f, nil), "eth0 unknowns"), Warn, "offloads: no answer; XDP features: no answer")
}
