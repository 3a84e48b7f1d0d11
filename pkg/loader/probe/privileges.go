package probe

// This file says which capability is missing, because the kernel does not.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities to load and attach; CAP_SYS_ADMIN stands for the
// first two.
var needed = []struct {
	name string
	bit  uint
	root bool // CAP_SYS_ADMIN will do
}{
	{"CAP_BPF", unix.CAP_BPF, true},
	{"CAP_PERFMON", unix.CAP_PERFMON, true},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, false},
}

// CheckPrivileges names the capabilities that are missing to load and attach, and with
// promisc for promiscuous mode; its error is fs.ErrPermission too. Without it a program
// that lacks CAP_PERFMON is told that it is too complex, and one that lacks CAP_BPF, or
// holds it in a user namespace, that a memory limit is too low.
func CheckPrivileges(promisc bool) error {
	if err := checkLoading(); err != nil {
		return err
	}
	if promisc && !hasCapability(unix.CAP_NET_RAW) {
		return fmt.Errorf("missing CAP_NET_RAW, which promiscuous mode needs (the default with --hook xdp; --promisc=false does without): run as root, or grant it with `setcap cap_bpf,cap_perfmon,cap_net_admin,cap_net_raw+ep iotsense`: %w", os.ErrPermission)
	}
	return nil
}

func checkLoading() error {
	if !FirstUserNamespace(os.DirFS("/")) {
		return fmt.Errorf("this is not the first user namespace: capabilities held here do not reach bpf(2): run outside of the rootless container (podman, docker: as root, without userns-remap): %w", os.ErrPermission)
	}
	var missing []string
	for _, c := range needed {
		if !hasCapability(c.bit) && !(c.root && hasCapability(unix.CAP_SYS_ADMIN)) {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return refused(AskBPF())
	}
	return fmt.Errorf("missing %s: run as root, or grant them with `setcap cap_bpf,cap_perfmon,cap_net_admin+ep iotsense`: %w",
		strings.Join(missing, ", "), os.ErrPermission)
}

// AskBPF is the kernel's answer to a bpf(2) that asks for nothing: EINVAL when the
// call gets there from one who may make it.
func AskBPF() error {
	const noCommand = 1 << 16
	_, _, errno := unix.Syscall(unix.SYS_BPF, noCommand, 0, 0)
	return errno
}

// refused turns answer, of AskBPF, into an error when the capabilities are there and
// the call is refused all the same. A map's own error would blame a memory limit.
func refused(answer error) error {
	if !errors.Is(answer, unix.EPERM) && !errors.Is(answer, unix.ENOSYS) {
		return nil
	}
	return fmt.Errorf("bpf(2) is refused though the capabilities are there, by a container's seccomp filter or a security module (podman 4: --security-opt seccomp=unconfined, or --cap-add SYS_ADMIN; `iotsense doctor` says which it is): %w", os.ErrPermission)
}

// FirstUserNamespace reports whether the process is in the one that bpf(2) asks for
// capabilities; so it is taken to be where /proc below root does not say.
func FirstUserNamespace(root fs.FS) bool {
	text, err := fs.ReadFile(root, "proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(text)), " ") == "0 0 4294967295"
}

// hasCapability reports whether the calling thread may use a capability.
func hasCapability(bit uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true // the kernel's own answer will do
	}
	return data[bit/32].Effective&(1<<(bit%32)) != 0
}
