// Command vminit is the first process of the virtual machines of `make vmtest`.
// It mounts what tests expect, loads the kernel modules in /modules, runs the test
// binaries that /repo/tests lists, prints one verdict line and powers the machine
// off. Called as tcpdump it records packets, for tests that need a recording.
//
// "nobtf" on the kernel command line hides the kernel's BTF, as on kernels that
// were built without it. NAME=VALUE there is a variable of the tests.
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
	if filepath.Base(os.Args[0]) == "tcpdump" {
		if err := record(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "tcpdump:", err)
			os.Exit(1)
		}
		return
	}
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

	// A socket is to hold what a slow machine leaves waiting.
	if err := os.WriteFile("/proc/sys/net/core/rmem_default", []byte("33554432"), 0); err != nil {
		return fmt.Errorf("socket buffers: %w", err)
	}
	list, err := os.ReadFile("/repo/tests")
	if err != nil {
		return fmt.Errorf("list of tests: %w", err)
	}
	var failed []error
	for line := range strings.Lines(string(list)) {
		start := time.Now()
		err := runTest(strings.Fields(line))
		fmt.Printf("vmtest: %s: %.1f s\n", strings.TrimSpace(line), time.Since(start).Seconds())
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", strings.TrimSpace(line), err))
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

// runTest runs one package's test binary in the package's directory.
func runTest(line []string) error {
	if len(line) == 0 {
		return errors.New("list of tests: want a package and flags in each line")
	}
	dir := filepath.Join("/repo", line[0])
	cmd := exec.Command(filepath.Join(dir, filepath.Base(dir)+".test"), line[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH=/bin:/sbin", "HOME=/tmp", "TMPDIR=/tmp", "IOTSENSE_DATA=/data", "IOTSENSE_TEST_VM=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
