package object

import (
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/iotsense/iotsense/internal/testenv"
)

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
