// Command vminit is the first process of the virtual machines of `make vmtest`.
// It mounts what tests expect, loads the kernel modules in /modules, runs every
// test binary in /repo, prints one verdict line and powers the machine off.
//
// "nobtf" on the kernel command line hides the kernel's BTF, as on kernels that
// were built without it.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	verdict := "PASS"
	if err := run(); err != nil {
		verdict = "FAIL " + err.Error()
	}
	fmt.Printf("\nvmtest: %s\n", verdict)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	fmt.Printf("vmtest: Linux %s %s, %d-byte pages\n", unix.ByteSliceToString(kernel.Release[:]),
		unix.ByteSliceToString(kernel.Machine[:]), os.Getpagesize())

	tests, err := filepath.Glob("/repo/*/*/*.test")
	if err != nil || len(tests) == 0 {
		return fmt.Errorf("no test binaries in /repo (%v)", err)
	}
	var failed []error
	for _, test := range tests {
		start := time.Now()
		err := runTest(test)
		fmt.Printf("vmtest: %s: %.1f s\n", test, time.Since(start).Seconds())
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", test, err))
		}
	}
	return errors.Join(failed...)
}

// mountAll mounts the file systems that tests, iproute2 and cilium/ebpf look for.
func mountAll() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"bpf", "/sys/fs/bpf"},
		{"cgroup2", "/sys/fs/cgroup"},
		{"tracefs", "/sys/kernel/tracing"},
		{"tmpfs", "/run"},
		{"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("mount point: %w", err)
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	options, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("kernel command line: %w", err)
	}
	if slices.Contains(strings.Fields(string(options)), "nobtf") {
		if err := unix.Mount("tmpfs", "/sys/kernel/btf", "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("hide BTF: %w", err)
		}
	}
	return nil
}

// loadModules loads every module of dir in the order of the file names.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("modules: %w", err)
	}
	for _, e := range entries {
		image, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("modules: %w", err)
		}
		if err := unix.InitModule(image, ""); err != nil {
			return fmt.Errorf("load module %s: %w", e.Name(), err)
		}
	}
	return nil
}

// runTest runs one test binary in its own directory.
func runTest(path string) error {
	args, err := os.ReadFile("/repo/args")
	if err != nil {
		return fmt.Errorf("test flags: %w", err)
	}
	cmd := exec.Command(path, strings.Fields(string(args))...)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = []string{"PATH=/bin:/sbin", "HOME=/tmp", "TMPDIR=/tmp", "IOTSENSE_DATA=/data"}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
