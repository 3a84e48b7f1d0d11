package doctor

// This file holds what is said about the kernel as a whole, about the BPF file system,
// where maps and programs are pinned, and about the memory that the maps will take.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/loader/object"
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

// pinDir is the default of --pin.
const pinDir = "/sys/fs/bpf/iotsense"

// pinState is what there is to know about the directory above the pins.
type pinState struct {
	mounted, readOnly, writable bool
}

func pinCheck(dir string) Check {
	parent := filepath.Dir(dir)
	var s pinState
	var stat unix.Statfs_t
	err := unix.Statfs(parent, &stat)
	if err == nil {
		s.mounted = stat.Type == unix.BPF_FS_MAGIC
		s.readOnly = stat.Flags&unix.ST_RDONLY != 0
		s.writable = unix.Access(parent, unix.W_OK|unix.X_OK) == nil
	} else if errors.Is(err, unix.EACCES) {
		s.mounted = true
	}
	return judgePins(parent, s)
}

func judgePins(parent string, s pinState) Check {
	const name = "bpffs"
	const without = "or run with --pin '' (no pins)"
	switch {
	case !s.mounted:
		return Check{name, Warn, "no BPF file system on " + parent,
			fmt.Sprintf("mount -t bpf bpf %s, %s", parent, without)}
	case s.readOnly:
		return Check{name, Warn, parent + " is read-only",
			"take ProtectKernelTunables= out of the systemd unit, or mount it read-write in the container, " + without}
	case !s.writable:
		return Check{name, Warn, parent + " is closed to this user",
			fmt.Sprintf("mkdir %s/iotsense and chown it to the sensor's user, %s", parent, without)}
	}
	return Check{Name: name, Status: OK, Found: "mounted on " + parent + ", writable"}
}

// The configuration for small boxes.
const (
	smallFlows = 16384
	smallRing  = 1 << 20
)

var smallFlags = fmt.Sprintf("--max-flows %d --ring-size %dMiB", smallFlows, smallRing>>20)

func memoryCheck(root fs.FS) Check {
	const name = "memory"
	normal, err := object.TableMemory(object.DefaultMaxFlows, object.DefaultRingSize)
	if err != nil {
		return Check{name, Fail, err.Error(), "report this line"}
	}
	small, err := object.TableMemory(smallFlows, smallRing)
	if err != nil {
		return Check{name, Fail, err.Error(), "report this line"}
	}
	free, where, ok := available(root)
	if !ok {
		return Check{name, Warn, fmt.Sprintf("tables take %s; what is free cannot be read", megabytes(normal)), "mount /proc"}
	}
	return judgeMemory(normal, small, free, where)
}

// judgeMemory wants as much again as the tables take: the process needs some too.
func judgeMemory(normal, small, free int64, where string) Check {
	const name = "memory"
	found := fmt.Sprintf("tables take %s (with %s: %s), %s %s", megabytes(normal), smallFlags, megabytes(small), megabytes(free), where)
	switch {
	case free >= 2*normal:
		return Check{Name: name, Status: OK, Found: found}
	case free >= small:
		return Check{name, Warn, found, "run with " + smallFlags}
	}
	return Check{name, Fail, found, "free memory or raise the limit, then run with " + smallFlags}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// available is the least of what the machine and the control groups above this
// process (version 2) leave, in bytes, and which of them it was.
func available(root fs.FS) (free int64, where string, ok bool) {
	text, _ := read(root, "proc/meminfo")
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "MemAvailable:"); found {
			if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
				free, where, ok = kb<<10, "available", true
			}
		}
	}
	groups, _ := read(root, "proc/self/cgroup")
	for line := range strings.Lines(groups) {
		own, found := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !found {
			continue
		}
		for group := path.Clean(own); ; group = path.Dir(group) {
			if left, limited := groupLeaves(root, path.Join("sys/fs/cgroup", group)); limited && (!ok || left < free) {
				free, where, ok = left, "left by control group /"+group, true
			}
			if group == "." || strings.HasPrefix(group, "..") {
				break
			}
		}
	}
	return free, where, ok
}

// groupLeaves is the difference between a control group's limit and its use.
func groupLeaves(root fs.FS, dir string) (left int64, limited bool) {
	limit, _ := read(root, dir+"/memory.max")
	used, _ := read(root, dir+"/memory.current")
	most, err := strconv.ParseInt(limit, 10, 64) // "max" is no number
	if err != nil {
		return 0, false
	}
	now, err := strconv.ParseInt(used, 10, 64)
	return max(most-now, 0), err == nil
}
