package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
)

func TestHelperName(t *testing.T) {
	for helper, want := range map[asm.BuiltinFunc]string{
		asm.FnMapLookupElem:  "bpf_map_lookup_elem",
		asm.FnKtimeGetBootNs: "bpf_ktime_get_boot_ns",
		asm.FnXdpGetBuffLen:  "bpf_xdp_get_buff_len",
	} {
		if got := helperName(helper); got != want {
			t.Errorf("helperName(%v) = %q, want %q", helper, got, want)
		}
	}
}

// The minimum kernel (6.1) has all but TCX.
func TestProbeFindsEverythingHere(t *testing.T) {
	testenv.Root(t)
	if code, err := features.LinuxVersionCode(); err != nil || code < 6<<16|1<<8 {
		t.Skipf("kernel %#x (%v) is older than 6.1, the minimum", code, err)
	}
	list, err := Features()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Err != nil && f.Name != FeatureTCX {
			t.Errorf("%s: %s: %v", f.Kind, f.Name, f.Err)
		}
	}
	for _, want := range []struct{ kind, name string }{
		{ProgramTypes, "sched_cls"}, {ProgramTypes, "xdp"}, {ProgramTypes, "syscall"},
		{MapTypes, "ringbuf"}, {MapTypes, "lpm_trie"}, {MapTypes, "hash"},
		{Helpers, "bpf_ktime_get_boot_ns in sched_cls"}, {Helpers, "bpf_ringbuf_output in xdp"},
		{Helpers, "bpf_skb_load_bytes in sched_cls"}, {Helpers, "bpf_xdp_load_bytes in xdp"},
		{Programs, "for tcx"}, {Programs, "for xdp"}, {Hooks, FeatureTCX}, {Hooks, FeatureClsact}, {Hooks, FeatureXDP},
	} {
		if !slices.ContainsFunc(list, func(f Feature) bool { return f.Kind == want.kind && f.Name == want.name }) {
			t.Errorf("%s: %s was not probed", want.kind, want.name)
		}
	}
}

func TestLacks(t *testing.T) {
	no := fmt.Errorf("probe: %w", ebpf.ErrNotSupported)
	got := lacks([]Feature{
		{Helpers, "bpf_loop in syscall", no}, {Helpers, "bpf_loop in xdp", no}, {Helpers, "bpf_map_lookup_elem in xdp", nil},
		{ProgramTypes, "syscall", no}, {ProgramTypes, "xdp", nil}, {MapTypes, "ringbuf", no}, {MapTypes, "hash", os.ErrPermission},
	})
	if want := []string{"helper bpf_loop in xdp", "syscall (program types)", "ringbuf (map types)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProbeTellsWhatTheKernelLacks(t *testing.T) {
	testenv.Root(t)
	const unknown = 9999 // no kernel has that many helpers
	for name, f := range map[string]Feature{
		"program type": {Err: probeProgram(ebpf.ProgramType(unknown), 0, nothing)},
		"helper": probeSpec(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"p": {
			Type: ebpf.XDP, Instructions: asm.Instructions{asm.BuiltinFunc(unknown).Call(), asm.Return()},
		}}})[0],
		"helper of another program type": probeSpec(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"p": {
			Type: ebpf.XDP, Instructions: asm.Instructions{asm.FnSkbLoadBytes.Call(), asm.Return()},
		}}})[0],
	} {
		if !f.NotSupported() || f.NotPermitted() {
			t.Errorf("%s: want not supported, got %v", name, f.Err)
		}
	}
}

// TestProbeWithoutPrivilege runs itself as another user.
func TestProbeWithoutPrivilege(t *testing.T) {
	if os.Getenv("IOTSENSE_TEST_UNPRIVILEGED") == "1" {
		list, err := Features()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if f.Kind == Hooks && (!f.NotPermitted() || f.NotSupported()) {
				t.Errorf("%s: want not permitted, got %v", f.Name, f.Err)
			}
		}
		return
	}
	testenv.Root(t)
	self, err := os.Open("/proc/self/exe") // the binary's directory may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestProbeWithoutPrivilege$", "-test.v")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), "IOTSENSE_TEST_UNPRIVILEGED=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Where too few files may be open, the kernel is not said to lack what it has.
func TestExplainLoadOfFewFiles(t *testing.T) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	few := files
	few.Cur = leastFiles - 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err := ExplainLoad(&ebpf.CollectionSpec{}, errors.New("map create: requires >= v5.2"))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("%v, want the limit of open files", err)
	}
}
