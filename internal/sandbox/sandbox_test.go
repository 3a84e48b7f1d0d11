package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
)

// confinedEnv makes the test binary a confined process with the Config that it holds.
const confinedEnv = "IOTSENSE_TEST_SANDBOX"

func TestMain(m *testing.M) {
	if text := os.Getenv(confinedEnv); text != "" {
		if err := beConfined(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if file := os.Getenv(resolvEnv); file != "" {
		if err := askConfined(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beConfined tries, on a thread that was there before and on new ones, what a sensor must
// not, and writes what came of it.
func beConfined(text string) error {
	var cfg Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	entered, old := make(chan bool), make(chan map[string]string)
	go func() {
		runtime.LockOSThread()
		<-entered
		old <- attempts(cfg)
	}()
	state, err := Enter(cfg)
	if err != nil {
		return err
	}
	close(entered)
	return json.NewEncoder(os.Stdout).Encode(outcome{state, <-old, attempts(cfg)})
}

type outcome struct {
	State    State
	Old, New map[string]string // what was tried, with its error
}

func attempts(cfg Config) map[string]string {
	tried := map[string]string{}
	note := func(name string, err error) {
		var errno unix.Errno
		switch {
		case err == nil:
			tried[name] = "done"
		case errors.As(err, &errno):
			tried[name] = unix.ErrnoName(errno)
		default:
			tried[name] = err.Error()
		}
	}
	call := func(number uintptr, a, b, c uintptr) error {
		if _, _, errno := unix.Syscall(number, a, b, c); errno != 0 {
			return errno
		}
		return nil
	}
	socket := func(domain, kind, protocol int) error {
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	_, err := os.Open("/etc/shadow")
	note("shadow", err)
	note("write", os.WriteFile(filepath.Join(cfg.Write[0], fmt.Sprint(unix.Gettid())), []byte("x"), 0o600))
	note("write elsewhere", os.WriteFile(filepath.Join(cfg.Read[len(cfg.Read)-1], "new"), []byte("x"), 0o600))
	_, err = os.ReadFile(filepath.Join(cfg.Read[len(cfg.Read)-1], "model"))
	note("read", err)
	note("mode", os.Chmod(cfg.Read[len(cfg.Read)-1], 0o777))
	note("exec", unix.Exec("/bin/true", []string{"true"}, nil))
	note("program", call(unix.SYS_BPF, unix.BPF_PROG_LOAD, 0, 0))
	note("map", call(unix.SYS_BPF, unix.BPF_MAP_CREATE, 0, 0))
	note("tracepoint", call(unix.SYS_BPF, unix.BPF_RAW_TRACEPOINT_OPEN, 0, 0))
	note("link", call(unix.SYS_BPF, unix.BPF_LINK_CREATE, 0, 0))
	note("packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0))
	note("packet socket that receives", socket(unix.AF_PACKET, unix.SOCK_RAW, unix.ETH_P_ALL<<8))
	note("raw socket", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP))
	note("UDP socket", socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0))
	note("TCP socket", socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	note("unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	note("route socket", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE))
	note("firewall socket", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER))
	note("ptrace", call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(os.Getppid()), 0))
	note("signal", call(unix.SYS_TGKILL, uintptr(os.Getppid()), uintptr(os.Getppid()), 0))
	note("mount", unix.Mount("none", cfg.Write[0], "tmpfs", 0, ""))
	note("module", call(unix.SYS_FINIT_MODULE, 0, 0, 0))
	note("namespace", unix.Unshare(unix.CLONE_NEWUSER))
	note("io_uring", call(unix.SYS_IO_URING_SETUP, 1, 0, 0))
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
	note("code", err)
	return tried
}

// confined runs a process in the sandbox.
func confined(t *testing.T, cfg Config) outcome {
	t.Helper()
	testenv.Root(t)
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), confinedEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return o
}

// What a process gives up it has given up in every thread, and what it needs is there.
func TestEnter(t *testing.T) {
	read, write := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(read, "model"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		cfg          Config
		capabilities string
		done         string // beside what always is
	}{
		{"a sensor", Config{}, "cap_net_admin=ep", ""},
		{"promiscuous", Config{Promisc: true}, "cap_net_admin,cap_net_raw=ep", "packet socket"},
		{"with sinks", Config{Connect: true}, "cap_net_admin=ep", "UDP socket, TCP socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Read, tt.cfg.Write = []string{filepath.Join(read, "gone"), "/etc/hostname", read}, []string{write}
			o := confined(t, tt.cfg)
			if o.State.Capabilities != tt.capabilities || o.State.Landlock == 0 || !o.State.Seccomp {
				t.Errorf("confined by %+v", o.State)
			}
			want := map[string]string{
				"shadow": "EACCES", "write elsewhere": "EACCES", "write": "done", "read": "done",
				"unix socket": "done", "route socket": "done", "link": "EINVAL", // of a call that gets there
			}
			for _, name := range strings.Split(tt.done, ", ") {
				want[name] = "done"
			}
			for what, tried := range map[string]map[string]string{"a thread of before": o.Old, "a new thread": o.New} {
				for name, got := range tried {
					if wanted, listed := want[name]; got != wanted && (listed || got != "EPERM") {
						t.Errorf("%s: %s: %s", what, name, got)
					}
				}
			}
		})
	}
}

// The owner of a directory that the sensor was not given keeps it from root without
// DAC_OVERRIDE: that is kept, and only then.
func TestAnothersDirectory(t *testing.T) {
	testenv.Root(t)
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	o := confined(t, Config{Read: []string{dir}, Write: []string{dir}})
	if o.State.Capabilities != "cap_dac_override,cap_net_admin=ep" || o.New["write"] != "done" || o.New["shadow"] != "EACCES" {
		t.Errorf("%+v", o)
	}
}

// verdict is what the filter says of a call.
func verdict(t *testing.T, cfg Config, arch, call uint32, arguments ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(filter(cfg))
	if err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(nil, call) // as the virtual machine reads
	data = binary.BigEndian.AppendUint32(data, arch)
	data = append(data, make([]byte, 8)...)
	for _, a := range append(arguments, make([]uint64, 6-len(arguments))...) {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

// Calls of another architecture have other numbers: what is munmap here is execve there. And
// an argument is compared as a whole, and with nothing that is of another call.
func TestFilter(t *testing.T) {
	const ok = unix.SECCOMP_RET_ALLOW
	here := uint32(auditArch)
	for _, tt := range []struct {
		name      string
		arch      uint32
		call      uint32
		arguments []uint64
		want      uint32
	}{
		{"a call", here, unix.SYS_MUNMAP, nil, ok},
		{"of 32 bits", unix.AUDIT_ARCH_I386, unix.SYS_MUNMAP, nil, refuse},
		{"of another machine", unix.AUDIT_ARCH_ARM, unix.SYS_MUNMAP, nil, refuse},
		{"of the x32 interface", here, unix.SYS_MUNMAP | 0x40000000, nil, refuse},
		{"the last rule's", here, unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, ok},
		{"typing for others", here, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, refuse},
		{"the upper half too", here, unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ | 1<<32}, refuse},
		{"a thread", here, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, ok},
		{"a process", here, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, refuse},
		{"glibc's threads", here, unix.SYS_CLONE3, nil, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	} {
		if got := verdict(t, Config{}, tt.arch, tt.call, tt.arguments...); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
	for domain := range uint64(unix.AF_MAX) {
		want := refuse
		if domain == unix.AF_UNIX || domain == unix.AF_NETLINK {
			want = ok
		}
		if got := verdict(t, Config{}, here, unix.SYS_SOCKET, domain, unix.SOCK_DGRAM); got != want {
			t.Errorf("a socket of domain %d: %#x, want %#x", domain, got, want)
		}
	}
}
