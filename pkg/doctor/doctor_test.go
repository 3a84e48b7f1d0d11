package doctor

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/iotsense/iotsense/pkg/loader/probe"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// files is a system that has these files and no others.
func files(contents map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range contents {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// expect compares a finding with its status and with words that must be in it.
func expect(t *testing.T, name string, got Check, status Status, words ...string) {
	t.Helper()
	if got.Status != status {
		t.Errorf("%s: status %s, want %s: %+v", name, got.Status, status, got)
	}
	if got.Status != OK && got.Advice == "" {
		t.Errorf("%s: no advice: %+v", name, got)
	}
	for _, word := range words {
		if !strings.Contains(got.Found+"\n"+got.Advice, word) {
			t.Errorf("%s: no %q in %+v", name, word, got)
		}
	}
}

func TestKernelFiles(t *testing.T) {
	compiled := []probe.Feature{{Kind: probe.Instructions, Name: probe.FeatureJIT}}
	for _, tt := range []struct {
		name   string
		check  func(fs.FS) Check
		file   string
		text   string
		status Status
		words  string
	}{
		{"release", release, "proc/sys/kernel/osrelease", "6.1.0-28-arm64\n", OK, "Linux 6.1.0-28-arm64"},
		{"no /proc", release, "x", "", Warn, "mount /proc"},
		{"BTF", btf, "sys/kernel/btf/vmlinux", "", OK, "present"},
		{"no BTF, as on a Pi", btf, "x", "", OK, "absent, and not needed"},
		{"standard kernel", preemption, "x", "", OK, "not PREEMPT_RT"},
		{"real-time kernel", preemption, "sys/kernel/realtime", "1\n", Warn, "can mix"},
		{"JIT on", func(r fs.FS) Check { return jit(r, nil) }, "proc/sys/net/core/bpf_jit_enable", "1\n", OK, "on"},
		{"JIT off", func(r fs.FS) Check { return jit(r, nil) }, "proc/sys/net/core/bpf_jit_enable", "0\n", Warn, "sysctl -w net.core.bpf_jit_enable=1"},
		{"JIT debug", func(r fs.FS) Check { return jit(r, nil) }, "proc/sys/net/core/bpf_jit_enable", "2\n", Warn, "kernel log"},
		{"JIT in a container", func(r fs.FS) Check { return jit(r, compiled) }, "x", "", OK, "a probe was compiled"},
		{"JIT unknown", func(r fs.FS) Check { return jit(r, nil) }, "x", "", Warn, "unknown"},
		{"statistics on", kernelStatistics, "proc/sys/kernel/bpf_stats_enabled", "1\n", Warn, "bpf_stats_enabled=0"},
		{"statistics unknown", kernelStatistics, "x", "", Warn, "no kernel.bpf_stats_enabled"},
		{"unprivileged BPF", unprivilegedBPF, "proc/sys/kernel/unprivileged_bpf_disabled", "0", Warn, "unprivileged_bpf_disabled=2"},
		{"privileged BPF", unprivilegedBPF, "proc/sys/kernel/unprivileged_bpf_disabled", "2", OK, "disabled"},
		{"root's namespace", userNamespace, "proc/self/uid_map", "         0          0 4294967295\n", OK, "first"},
		{"rootless container", userNamespace, "proc/self/uid_map", "         0       1000          1\n", Fail, "rootless"},
		{"locked memory", memlock, "proc/self/limits", "Max locked memory         8388608              8388608              bytes\n", OK, "limit 8388608 bytes; not used"},
	} {
		expect(t, tt.name, tt.check(files(map[string]string{tt.file: tt.text})), tt.status, tt.words)
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name   string
		held   string
		barred []cap.Value
		status Status
		words  []string
	}{
		{"all three", "cap_bpf,cap_net_admin,cap_perfmon=ep", nil, OK, []string{
			"CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON present; missing: CAP_NET_RAW (--promisc, the default with --hook xdp); missing: CAP_SYS_ADMIN (",
			"for --promisc, the default with --hook xdp: setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep /opt/iotsense, or AmbientCapabilities= with CAP_NET_RAW too",
		}},
		{"SYS_ADMIN stands for two", "cap_sys_admin,cap_net_admin=ep", nil, OK, nil},
		{"SYS_ADMIN attaches nothing", "cap_sys_admin=ep", nil, Fail, []string{"missing: CAP_NET_ADMIN"}},
		{"permitted is not effective", "cap_bpf,cap_net_admin,cap_perfmon=p", nil, Fail, []string{"missing: CAP_BPF"}},
		{"none", "=", nil, Fail, []string{
			"missing: CAP_BPF (loads", "CAP_NET_ADMIN (attaches", "CAP_PERFMON (lets",
			"setcap cap_bpf,cap_net_admin,cap_perfmon+ep /opt/iotsense", "AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON",
		}},
		{"without PERFMON", "cap_bpf,cap_net_admin=ep", nil, Fail, []string{"missing: CAP_PERFMON", "present: CAP_BPF, CAP_NET_ADMIN"}},
		{"barred", "=", []cap.Value{cap.BPF}, Fail, []string{"bars CAP_BPF", "CapabilityBoundingSet=", "--cap-add"}},
	} {
		set, err := cap.FromText(tt.held)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, tt.name, capabilityCheck(set, tt.barred, "/opt/iotsense"), tt.status, tt.words...)
	}
}

func TestPins(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  pinState
		status Status
		words  string
	}{
		{"good", pinState{mounted: true, writable: true}, OK, "writable"},
		{"not mounted", pinState{writable: true}, Warn, "mount -t bpf bpf /sys/fs/bpf"},
		{"systemd", pinState{mounted: true, readOnly: true}, Warn, "ProtectKernelTunables="},
		{"another user's", pinState{mounted: true}, Warn, "chown"},
	} {
		expect(t, tt.name, judgePins("/sys/fs/bpf", tt.state), tt.status, tt.words)
	}
}

func TestPinCheckSeesOtherFileSystems(t *testing.T) {
	expect(t, "a plain directory", pinCheck(t.TempDir()+"/iotsense"), Warn, "no BPF file system")
	expect(t, "no directory", pinCheck("/nowhere/at/all"), Warn, "no BPF file system")
}

func TestMemory(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		name   string
		free   int64
		status Status
		words  string
	}{
		{"plenty", 900 * mb, OK, "900.0 MB"},
		{"tight", 30 * mb, Warn, "run with --max-flows 16384 --ring-size 1MiB"},
		{"none", 1 * mb, Fail, "raise the limit"},
	} {
		expect(t, tt.name, judgeMemory(20*mb, 4*mb, tt.free*1000000/mb, "available"), tt.status, tt.words)
	}
}

func TestAvailableMemory(t *testing.T) {
	machine := map[string]string{"proc/meminfo": "MemTotal:  4000000 kB\nMemAvailable:   1000 kB\n", "proc/self/cgroup": "0::/system.slice/iotsense.service\n"}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{machine, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		free  int64
		where string
		ok    bool
	}{
		{"no limit", machine, 1000 << 10, "available", true},
		{"max is no limit", with(map[string]string{"sys/fs/cgroup/system.slice/memory.max": "max", "sys/fs/cgroup/system.slice/memory.current": "1"}), 1000 << 10, "available", true},
		{"own group", with(map[string]string{
			"sys/fs/cgroup/system.slice/iotsense.service/memory.max": "500000\n", "sys/fs/cgroup/system.slice/iotsense.service/memory.current": "100000\n",
		}), 400000, "left by control group /system.slice/iotsense.service", true},
		{"group above", with(map[string]string{
			"sys/fs/cgroup/system.slice/memory.max": "1000", "sys/fs/cgroup/system.slice/memory.current": "2000",
		}), 0, "left by control group /system.slice", true},
		{"no /proc", nil, 0, "", false},
	} {
		free, where, ok := available(files(tt.files))
		if free != tt.free || where != tt.where || ok != tt.ok {
			t.Errorf("%s: got %d %q %v, want %d %q %v", tt.name, free, where, ok, tt.free, tt.where, tt.ok)
		}
	}
}

func TestGrouped(t *testing.T) {
	got := strings.Join(grouped([]string{"a in x", "a in y", "b", "c in x"}), "; ")
	if want := "a (x, y); b; c (x)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFailed(t *testing.T) {
	got := Failed([]Check{{Name: "a", Status: OK}, {Name: "b", Status: Fail}, {Name: "c", Status: Warn}, {Name: "d", Status: Fail}})
	if strings.Join(got, " ") != "b d" {
		t.Errorf("got %v, want b and d", got)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	if _, ok := read(os.DirFS("/"), "proc/self/no-such-file"); ok {
		t.Error("a file that is not there was read")
	}
}
