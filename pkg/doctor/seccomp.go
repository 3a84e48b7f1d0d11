package doctor

// This file looks at what the kernel has to confine a sensor with, and tells a container's filter on system calls from a missing capability:
// both are "operation not permitted", and for maps the error then blames the limit
// of locked memory.

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/iotsense/iotsense/internal/sandbox"
)

// systemCallFilter judges answer, of probe.AskBPF, for a process that holds set.
func systemCallFilter(root fs.FS, set *cap.Set, answer error) Check {
	const name = "system calls"
	mode, _ := field(root, "proc/self/status", "Seccomp:")
	switch {
	case !errors.Is(answer, unix.EPERM) && !errors.Is(answer, unix.ENOSYS):
		return Check{Name: name, Status: OK, Found: "bpf(2) reaches the kernel"}
	case !holds(set, cap.BPF):
		return Check{Name: name, Status: OK, Found: "bpf(2) is refused, as it must be without CAP_BPF"}
	case mode == "2": // a filter is on
		return Check{name, Fail, "a seccomp filter refuses bpf(2), whatever the capabilities; maps then fail with \"MEMLOCK may be too low\", which it is not",
			"podman 4, docker: --security-opt seccomp=unconfined (or a profile that allows bpf), or --cap-add SYS_ADMIN in place of BPF and PERFMON; systemd: SystemCallFilter= with bpf"}
	}
	return Check{name, Fail, "bpf(2) is refused though CAP_BPF is held and no seccomp filter is on",
		"a security module forbids it, or the kernel is without CONFIG_BPF_SYSCALL: look for the reason in dmesg"}
}

// sandboxCheck judges what the sensor is confined with once it is attached.
func sandboxCheck(s sandbox.State) Check {
	const name = "sandbox"
	switch {
	case s.Landlock == 0 && !s.Seccomp:
		return Check{name, Warn, "neither Landlock nor seccomp: the sensor keeps access to files and system calls",
			"boot with lsm=landlock,... (CONFIG_SECURITY_LANDLOCK), on a kernel with CONFIG_SECCOMP_FILTER"}
	case s.Landlock == 0:
		return Check{name, Warn, "seccomp, no Landlock: the sensor keeps access to files",
			"add landlock to lsm= on the kernel's command line (CONFIG_SECURITY_LANDLOCK); a container's seccomp filter may hide it"}
	case !s.Seccomp:
		return Check{name, Warn, fmt.Sprintf("Landlock %d, no seccomp: the sensor keeps every system call", s.Landlock),
			"a kernel with CONFIG_SECCOMP_FILTER"}
	}
	return Check{Name: name, Status: OK, Found: fmt.Sprintf("Landlock %d and seccomp confine the sensor once it is attached", s.Landlock)}
}
