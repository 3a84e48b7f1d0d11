package doctor

// This file holds what is said about the kernel as a whole.

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"github.com/iotsense/iotsense/pkg/loader/probe"
)

func kernelChecks(root fs.FS, features []probe.Feature) []Check {
	return []Check{
		release(root), preemption(root), btf(root), jit(root, features), pageSize(os.Getpagesize()), kernelStatistics(root),
	}
}

// release is for bug reports: what the kernel can do is probed, not derived from it.
func release(root fs.FS) Check {
	version, ok := read(root, "proc/sys/kernel/osrelease")
	if !ok {
		return Check{"kernel", Warn, "/proc/sys/kernel/osrelease cannot be read", "mount /proc"}
	}
	return Check{Name: "kernel", Status: OK, Found: fmt.Sprintf("Linux %s, %s", version, runtime.GOARCH)}
}

// preemption names the one kind of kernel on which a packet can interrupt another
// on the same CPU in the middle of a program.
func preemption(root fs.FS) Check {
	if value, ok := read(root, "sys/kernel/realtime"); ok && value == "1" {
		return Check{"preemption", Warn, "PREEMPT_RT: not tested; since Linux 6.18, without CONFIG_PREEMPT_RT_NEEDS_BH_LOCK, two packets on one CPU can mix",
			"use the distribution's standard kernel where counts must be exact"}
	}
	return Check{Name: "preemption", Status: OK, Found: "not PREEMPT_RT"}
}

func btf(root fs.FS) Check {
	if _, err := fs.Stat(root, "sys/kernel/btf/vmlinux"); err != nil {
		return Check{Name: "kernel BTF", Status: OK, Found: "absent, and not needed"}
	}
	return Check{Name: "kernel BTF", Status: OK, Found: "present, but not needed"}
}

// jit reads the switch. It shows in the first network namespace only; elsewhere
// (a container) what a probe was compiled to must do.
func jit(root fs.FS, features []probe.Feature) Check {
	const sysctl = "sysctl -w net.core.bpf_jit_enable=1"
	switch value, ok := read(root, "proc/sys/net/core/bpf_jit_enable"); {
	case ok && value == "0":
		return Check{"JIT", Warn, "off: programs are interpreted, several times slower", sysctl}
	case ok && value == "2":
		return Check{"JIT", Warn, "on, and prints every program into the kernel log", sysctl}
	case ok:
		return Check{Name: "JIT", Status: OK, Found: "on"}
	}
	i := slices.IndexFunc(features, func(f probe.Feature) bool { return f.Name == probe.FeatureJIT })
	if i >= 0 && features[i].Err == nil {
		return Check{Name: "JIT", Status: OK, Found: "on (a probe was compiled; the switch does not show in this network namespace)"}
	}
	return Check{"JIT", Warn, "unknown: net.core.bpf_jit_enable does not show in this network namespace",
		"look on the host: sysctl net.core.bpf_jit_enable"}
}

func pageSize(size int) Check {
	return Check{Name: "page size", Status: OK, Found: fmt.Sprintf("%d bytes; --ring-size is rounded up to fit", size)}
}

// kernelStatistics says whether the kernel measures every program's run time.
func kernelStatistics(root fs.FS) Check {
	const name = "kernel statistics"
	switch value, ok := read(root, "proc/sys/kernel/bpf_stats_enabled"); {
	case !ok:
		return Check{name, Warn, "no kernel.bpf_stats_enabled", "--kernel-stats will not work on this kernel; leave it out"}
	case value != "0":
		return Check{name, Warn, "on for the whole system: about 40 ns more per packet", "sysctl -w kernel.bpf_stats_enabled=0"}
	}
	if has(effective(), sysAdmin) {
		return Check{Name: name, Status: OK, Found: "off; --kernel-stats can switch them on"}
	}
	return Check{Name: name, Status: OK, Found: "off; --kernel-stats needs CAP_SYS_ADMIN, which is missing",
		Advice: "nothing, unless kernel_ns_total is wanted in stats: then run as root"}
}
