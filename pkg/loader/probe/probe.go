// Package probe asks the kernel what it can do, feature by feature, and what this
// process may do. It compares no version numbers: distributions backport, and vendors
// leave things out.
package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// Kinds of Feature.
const (
	ProgramTypes = "program types"
	MapTypes     = "map types"
	Helpers      = "helpers"
	Instructions = "instructions"
	Hooks        = "hooks"
	Programs     = "programs" // our own, as the verifier sees them
)

// Names of features that callers tell apart.
const (
	FeatureJIT    = "jit"
	FeatureTCX    = "tcx"
	FeatureClsact = "clsact"
	FeatureXDP    = "xdp.frags"
)

// Feature is one thing that the sensor may need of the kernel.
type Feature struct {
	Kind string // ProgramTypes, MapTypes, Helpers, Instructions, Hooks or Programs
	Name string // as the kernel's documentation has it
	Err  error  // nil: it is there; else see NotSupported and NotPermitted
}

// NotSupported reports that the kernel lacks the feature.
func (f Feature) NotSupported() bool { return errors.Is(f.Err, ebpf.ErrNotSupported) }

// NotPermitted reports that this process may not find out, let alone use it.
func (f Feature) NotPermitted() bool { return errors.Is(f.Err, fs.ErrPermission) }

// Features tries everything that the compiled programs use: program and map types,
// helpers and instructions are read from the programs themselves, so that the
// list cannot fall behind them. Then it loads the programs, with small tables.
// It attaches to no interface of the system.
//
// The answers do not change while a process lives, whatever happens to its
// capabilities.
func Features() ([]Feature, error) {
	spec, err := gen.LoadIotsense()
	if err != nil {
		return nil, fmt.Errorf("read the compiled programs: %w", err)
	}
	list := append(probeNeeded(spec),
		Feature{Instructions, FeatureJIT, probeJIT()},
		Feature{Hooks, FeatureTCX, TCX()},
		Feature{Hooks, FeatureClsact, probeClsact()},
		Feature{Hooks, FeatureXDP, probeProgram(ebpf.XDP, unix.BPF_F_XDP_HAS_FRAGS, nothing)},
	)
	return append(list,
		Feature{Programs, "for tcx", probeLoad(gen.IotsenseProgIotsenseIn, gen.IotsenseProgIotsenseOut)},
		Feature{Programs, "for xdp", probeLoad(gen.IotsenseProgIotsenseXdp)},
	), nil
}

// probeNeeded tries what no configuration can do without.
func probeNeeded(spec *ebpf.CollectionSpec) []Feature {
	return append(probeSpec(spec),
		Feature{MapTypes, "array_of_maps", features.HaveMapType(ebpf.ArrayOfMaps)}, // gracePeriod
		Feature{Instructions, "v3 (32-bit jumps)", features.HaveV3ISA()},
		Feature{Instructions, "compare-and-swap", probeProgram(ebpf.SchedCLS, 0, compareAndSwap)},
	)
}

// leastFiles are enough for the programs, their maps and what stands beside them.
const leastFiles = 128

// ExplainLoad says of an error in loading spec what the kernel lacks, if that is
// why: its own answer may be "invalid argument", or hint at a memory limit. Where few
// files may be open, that is why: each program and map is one, and each probe.
func ExplainLoad(spec *ebpf.CollectionSpec, err error) error {
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur < leastFiles {
		return fmt.Errorf("load the programs: only %d files may be open: raise that to %d or more (`ulimit -n`, LimitNOFILE= of a unit): %w", files.Cur, leastFiles, unix.EMFILE)
	}
	lacking := Lacking(spec)
	if len(lacking) == 0 {
		return fmt.Errorf("load the programs: %w", err)
	}
	return fmt.Errorf("load the programs: this kernel lacks %s: use Linux 6.1 or newer: %w", strings.Join(lacking, ", "), ebpf.ErrNotSupported)
}

// Lacking names what spec needs and the kernel lacks.
func Lacking(spec *ebpf.CollectionSpec) []string { return lacks(probeNeeded(spec)) }

// lacks names what is not supported, program types without all that they would do.
func lacks(list []Feature) (names []string) {
	var types []string
	for _, f := range list {
		if f.Kind == ProgramTypes && f.NotSupported() {
			types = append(types, f.Name)
		}
	}
	for _, f := range list {
		_, of, _ := strings.Cut(f.Name, " in ")
		switch {
		case !f.NotSupported() || slices.Contains(types, of):
		case f.Kind == Helpers:
			names = append(names, "helper "+f.Name)
		default:
			names = append(names, fmt.Sprintf("%s (%s)", f.Name, f.Kind))
		}
	}
	return names
}

// probeLoad passes programs, and those that are always needed, through the verifier.
func probeLoad(programs ...string) error {
	if err := CheckPrivileges(false); err != nil {
		return err
	}
	spec, err := gen.LoadIotsense()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	small := object.Config{
		Packets: flows.RowPackets, Prefix: object.MaxPrefix, Lifetime: flows.Lifetime,
		MaxFlows: 1, RingSize: max(object.MinRingSize, os.Getpagesize()), Local: flows.DefaultLocal(),
	}
	c, err := small.Load(spec, append(programs, gen.IotsenseProgIotsenseSweep, gen.IotsenseProgIotsenseCollect)...)
	if err != nil {
		return ExplainLoad(spec, err)
	}
	c.Close()
	return nil
}

// probeSpec tries the program types, map types and helpers of spec.
func probeSpec(spec *ebpf.CollectionSpec) []Feature {
	var list []Feature
	add := func(kind, name string, err error) {
		same := func(f Feature) bool { return f.Kind == kind && f.Name == name }
		if !slices.ContainsFunc(list, same) {
			list = append(list, Feature{kind, name, err})
		}
	}
	for _, p := range spec.Programs {
		kind := typeName(p.Type)
		add(ProgramTypes, kind, features.HaveProgramType(p.Type))
		for _, i := range p.Instructions {
			if i.IsBuiltinCall() {
				helper := asm.BuiltinFunc(i.Constant)
				add(Helpers, helperName(helper)+" in "+kind, features.HaveProgramHelper(p.Type, helper))
			}
		}
	}
	for _, m := range spec.Maps {
		add(MapTypes, typeName(m.Type), features.HaveMapType(m.Type))
	}
	slices.SortFunc(list, func(a, b Feature) int {
		return strings.Compare(a.Kind+a.Name, b.Kind+b.Name)
	})
	return list
}

// typeName is the kernel's name of a program or map type.
func typeName(kind fmt.Stringer) string {
	name := strings.ToLower(kind.String())
	return strings.NewReplacer("schedcls", "sched_cls", "lpmtrie", "lpm_trie", "percpuarray", "percpu_array").Replace(name)
}

// helperName turns FnKtimeGetBootNs into bpf_ktime_get_boot_ns.
func helperName(helper asm.BuiltinFunc) string {
	return "bpf" + strings.ToLower(capital.ReplaceAllString(strings.TrimPrefix(helper.String(), "Fn"), "_$0"))
}

var capital = regexp.MustCompile("[A-Z]")

// nothing is the smallest program.
var nothing = asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}

// compareAndSwap is what a flow's life depends on (Linux 5.12).
var compareAndSwap = asm.Instructions{
	asm.Mov.Imm(asm.R0, 0),
	asm.Mov.Imm(asm.R1, 1),
	asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord),
	asm.CmpXchg.Mem(asm.RFP, asm.R1, asm.DWord, -8),
	asm.Mov.Imm(asm.R0, 0),
	asm.Return(),
}

func loadProbe(kind ebpf.ProgramType, flags uint32, code asm.Instructions) (*ebpf.Program, error) {
	return ebpf.NewProgramWithOptions(&ebpf.ProgramSpec{
		Name: "iotsense_probe", Type: kind, Flags: flags, License: "GPL", Instructions: slices.Clone(code),
	}, ebpf.ProgramOptions{LogDisabled: true})
}

// probeProgram loads a program that is valid on every kernel that has what it uses.
func probeProgram(kind ebpf.ProgramType, flags uint32, code asm.Instructions) error {
	p, err := loadProbe(kind, flags, code)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("%w: %w", ebpf.ErrNotSupported, err)
	}
	if err != nil {
		return err
	}
	return p.Close()
}

// probeJIT loads a program and looks whether machine code came of it.
func probeJIT() error {
	p, err := loadProbe(ebpf.SchedCLS, 0, nothing)
	if err != nil {
		return err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return err
	}
	_, err = info.JitedSize()
	return err
}

// TCX attaches to an interface that cannot exist: a kernel that knows TCX
// misses the interface (ENODEV), one that does not misses the attach type
// (ebpf.ErrNotSupported).
func TCX() error {
	p, err := loadProbe(ebpf.SchedCLS, 0, nothing)
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.AttachTCX(link.TCXOptions{Interface: math.MaxInt32, Program: p, Attach: ebpf.AttachTCXIngress})
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// probeClsact attaches a filter to the loopback of a network namespace of its
// own, which ends with the thread. As `run` would, it lets the kernel load the
// modules sch_ingress and cls_bpf. Making a namespace needs CAP_SYS_ADMIN.
func probeClsact() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		result <- attachClsact()
	}()
	return <-result
}

func attachClsact() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback of the namespace: %w", err)
	}
	at := netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: at}); err != nil {
		return missingModule("sch_ingress", err)
	}
	p, err := loadProbe(ebpf.SchedCLS, 0, nothing)
	if err != nil {
		return err
	}
	defer p.Close()
	err = netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: lo.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
		},
		Fd: p.FD(), Name: "iotsense_probe", DirectAction: true,
	})
	if err != nil {
		return missingModule("cls_bpf", err)
	}
	return nil
}

// missingModule is err, as "not supported" where the kernel knows no such thing.
func missingModule(module string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("module %s: %w: %w", module, ebpf.ErrNotSupported, err)
	}
	return fmt.Errorf("module %s: %w", module, err)
}
