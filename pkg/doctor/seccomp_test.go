package doctor

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/iotsense/iotsense/internal/sandbox"
)

func TestSystemCallFilter(t *testing.T) {
	const three = "cap_bpf,cap_net_admin,cap_perfmon=ep"
	for _, tt := range []struct {
		name   string
		held   string
		mode   string
		answer error
		status Status
		words  string
	}{
		{"no filter", three, "0", unix.EINVAL, OK, "reaches the kernel"},
		{"a filter that lets it through", three, "2", unix.EINVAL, OK, "reaches the kernel"},
		{"podman 4's default filter", three, "2", unix.EPERM, Fail, "seccomp=unconfined"},
		{"a filter that denies the call exists", three, "2", unix.ENOSYS, Fail, "MEMLOCK may be too low"},
		{"no capability", "=", "2", unix.EPERM, OK, "without CAP_BPF"},
		{"a security module", three, "0", unix.EPERM, Fail, "dmesg"},
		{"no /proc", three, "", unix.EPERM, Fail, "dmesg"},
	} {
		set, err := cap.FromText(tt.held)
		if err != nil {
			t.Fatal(err)
		}
		root := files(map[string]string{"proc/self/status": "Name:\tiotsense\nSeccomp:\t" + tt.mode + "\nSeccomp_filters:\t1\n"})
		expect(t, tt.name, systemCallFilter(root, set, tt.answer), tt.status, tt.words)
	}
}

func TestSandboxCheck(t *testing.T) {
	for _, tt := range []struct {
		state  sandbox.State
		status Status
		found  string
	}{
		{sandbox.State{Landlock: 7, Seccomp: true}, OK, "Landlock 7 and seccomp"},
		{sandbox.State{Seccomp: true}, Warn, "access to files"},
		{sandbox.State{Landlock: 2}, Warn, "every system call"},
		{sandbox.State{}, Warn, "neither"},
	} {
		c := sandboxCheck(tt.state)
		if c.Status != tt.status || !strings.Contains(c.Found, tt.found) || (c.Advice == "") != (c.Status == OK) {
			t.Errorf("%+v: %+v", tt.state, c)
		}
	}
}
