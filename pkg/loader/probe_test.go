package loader

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"

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
	list, err := Probe()
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
		list, err := Probe()
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

func TestMapMemoryIsWhatTheKernelAccounts(t *testing.T) {
	testenv.Root(t)
	if code, err := features.LinuxVersionCode(); err != nil || code < 6<<16|4<<8 {
		t.Skipf("kernel %#x (%v) reports keys and values only; 6.4 and newer what maps really take", code, err)
	}
	for name, spec := range map[string]*ebpf.MapSpec{
		"hash":          {Type: ebpf.Hash, KeySize: 52, ValueSize: 56, MaxEntries: 60000},
		"ring":          {Type: ebpf.RingBuf, MaxEntries: 1 << 20},
		"array":         {Type: ebpf.Array, KeySize: 4, ValueSize: 52, MaxEntries: 8192},
		"per-CPU array": {Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 1100, MaxEntries: 4},
	} {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		info, err := m.Info()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		accounted, ok := info.Memlock()
		m.Close()
		if !ok {
			t.Skipf("%s: this kernel does not say", name)
		}
		got, want := mapMemory(spec, int64(ebpf.MustPossibleCPU()), int64(os.Getpagesize())), int64(accounted)
		if slack := max(want/20, 16<<10); got < want-slack || got > want+slack {
			t.Errorf("%s: computed %d bytes, the kernel accounts for %d", name, got, want)
		}
	}
}

func TestTableMemoryOfTheDefaults(t *testing.T) {
	got, err := TableMemory(65536, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got < 16<<20 || got > 32<<20 {
		t.Errorf("default tables take %d bytes, want 16 to 32 MB", got)
	}
	small, err := TableMemory(16384, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if small > 8<<20 {
		t.Errorf("small tables take %d bytes, want at most 8 MB", small)
	}
}

func TestProgramNameOfNone(t *testing.T) {
	testenv.Root(t)
	if name, err := ProgramName(1<<31 - 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %q, %v, want no such program", name, err)
	}
}
