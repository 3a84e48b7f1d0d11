// Package testenv gives tests what lies outside the repository: the capture
// data sets, root, command-line tools, Python packages. A test that misses one is
// skipped with the reason, or fails when CI=true, where nothing may be missing.
package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Data returns the directory of the labelled device captures, the one with
// manifest.csv: $IOTSENSE_DATA, or ../shared/data/iot-sentinel.tar.xz beside
// the repository, unpacked once into build/data.
func Data(t testing.TB) string {
	t.Helper()
	return need(t, "IOTSENSE_DATA", "iot-sentinel.tar.xz", "iot-sentinel")
}

// Strangers returns the directory of captures of other labs, the one with manifest.csv:
// $IOTSENSE_STRANGERS, or ../shared/data/strangers.tar.xz beside the repository,
// unpacked once into build/data.
func Strangers(t testing.TB) string {
	t.Helper()
	return need(t, "IOTSENSE_STRANGERS", "strangers.tar.xz", "strangers")
}

// ParserCorpus returns the directory of tcpdump's own test captures:
// $IOTSENSE_PARSER_CORPUS, or ../shared/data/parser-corpus-tcpdump.tar.xz
// beside the repository, unpacked once into build/data.
func ParserCorpus(t testing.TB) string {
	t.Helper()
	return need(t, "IOTSENSE_PARSER_CORPUS", "parser-corpus-tcpdump.tar.xz", "tcpdump")
}

// Root skips the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root: run `make test` as root or with sudo")
	}
}

// Tool returns the path of a command-line tool, or skips the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, fmt.Sprintf("needs %s: `make test` installs it", name))
	}
	return path
}

// Python returns the interpreter that has the packages of
// bench/peers/requirements.txt, or skips the test.
func Python(t testing.TB) string {
	t.Helper()
	root, err := repoRoot()
	if err != nil {
		t.Fatal(err)
	}
	venv := filepath.Join(root, "build", "peers")
	if _, err := os.Stat(filepath.Join(venv, "installed.txt")); err != nil { // written last
		missing(t, "needs Python packages: `make test` or scripts/peers.sh installs them")
	}
	return filepath.Join(venv, "bin", "python")
}

// Axe returns the text of axe-core, a script that finds what keeps people from using a page, or
// skips the test.
func Axe(t testing.TB) string {
	t.Helper()
	root, err := repoRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "build", "axe")
	if _, err := os.Stat(filepath.Join(dir, "installed.txt")); err != nil { // written last
		missing(t, "needs axe-core: `make test` or scripts/axe.sh installs it")
	}
	text, err := os.ReadFile(filepath.Join(dir, "axe_playwright_python", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// PinDirectory is a directory for pins that does not exist yet, on the BPF file
// system, which it mounts where there is none. Its name is none that a package removes. The test
// needs root.
func PinDirectory(t testing.TB) string {
	t.Helper()
	const bpffs = "/sys/fs/bpf"
	var where unix.Statfs_t
	if err := unix.Statfs(bpffs, &where); err != nil {
		t.Fatalf("%s: %v", bpffs, err)
	}
	if where.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
			t.Fatalf("mount %s: %v", bpffs, err)
		}
	}
	return filepath.Join(bpffs, fmt.Sprintf("test-of-iotsense-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")))
}

// UDPQueue returns how many bytes, in hexadecimal, wait in the socket of a port in a process's
// network namespace; ok: there is one.
func UDPQueue(t testing.TB, pid, port int) (waiting string, ok bool) {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			_, waiting, _ = strings.Cut(f[4], ":")
			return waiting, true
		}
	}
	return "", false
}

// missing skips the test, or fails it when CI=true.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func need(t testing.TB, env, archive, dir string) string {
	t.Helper()
	root, err := repoRoot()
	if err != nil {
		t.Fatal(err)
	}
	path, err := locate(os.Getenv(env), root, archive, dir)
	if errors.Is(err, os.ErrNotExist) {
		missing(t, fmt.Sprintf("%v: set %s to the unpacked directory", err, env))
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

// locate returns override if it is set, else root/build/data/dir, unpacking it
// first from the archive in the shared folder beside root. The error is
// os.ErrNotExist when there is neither.
func locate(override, root, archive, dir string) (string, error) {
	if override != "" {
		_, err := os.Stat(override)
		return override, err
	}
	cache := filepath.Join(root, "build", "data")
	unpacked := filepath.Join(cache, dir)
	if _, err := os.Stat(unpacked); err == nil {
		return unpacked, nil
	}
	source := filepath.Join(filepath.Dir(root), "shared", "data", archive)
	if _, err := os.Stat(source); err != nil {
		return "", err
	}
	return unpacked, unpack(source, cache, dir)
}

// unpack extracts dir from the archive into cache. Packages are tested in
// parallel, so it extracts aside and renames: the first to finish wins.
func unpack(archive, cache, dir string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("cache for test data: %w", err)
	}
	aside, err := os.MkdirTemp(cache, ".unpack-")
	if err != nil {
		return fmt.Errorf("cache for test data: %w", err)
	}
	defer os.RemoveAll(aside)

	out, err := exec.Command("tar", "-xJf", archive, "-C", aside, "--no-same-owner").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpack %s: %w: %s", archive, err, out)
	}
	unpacked := filepath.Join(cache, dir)
	err = os.Rename(filepath.Join(aside, dir), unpacked)
	if _, lost := os.Stat(unpacked); err != nil && lost != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	return nil
}

// repoRoot walks up from the test's directory to the one that holds go.mod.
func repoRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no go.mod above the working directory")
		}
		dir = parent
	}
}
