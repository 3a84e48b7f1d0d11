package doctor

import (
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
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
