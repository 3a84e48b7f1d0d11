package loader

// This file says which capability is missing, because the kernel does not.

import (
	"fmt"
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

// checkPrivileges names what is missing. Without it a program that lacks
// CAP_PERFMON is told that it is too complex, and one that lacks CAP_BPF that a
// memory limit is too low.
func checkPrivileges() error {
	var missing []string
	for _, c := range needed {
		if !hasCapability(c.bit) && !(c.root && hasCapability(unix.CAP_SYS_ADMIN)) {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("missing %s: run as root, or grant them with `setcap cap_bpf,cap_perfmon,cap_net_admin+ep iotsense`: %w",
		strings.Join(missing, ", "), os.ErrPermission)
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

// CheckPrivileges is Open's error where a capability that cfg needs is missing, for
// whoever has something to make before.
func CheckPrivileges(Config) error { return checkPrivileges() }
