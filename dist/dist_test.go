// Package dist tests what installs and runs iotsense elsewhere: the Makefile's
// order, the scripts that ask for root, the service, the image.
package dist

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
)

// tools makes a directory for the head of PATH, where each name is a shell script.
func tools(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// terminal opens a pseudo-terminal and returns the end that programs run on.
func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { slave.Close() })
	return slave
}

// A user whose sudo asks for a password, on a terminal or without one, with the
// command's standard input taken by a pipe.
func TestRootIsAskedForOnTheTerminal(t *testing.T) {
	const asks = `[ "$1" != -n ] || exit 1 # a password is required
[ "$1" = -v ] && exit 0
echo "$@" >&2
while [ "$1" != env ]; do shift; done
exec "$@"
`
	const refuses = "exit 1\n"
	for _, tt := range []struct {
		name     string
		sudo     string
		terminal bool
		stdout   string
		stderr   string
	}{
		{"a terminal", asks, true, "through the pipe", "-E -H env"},
		{"no terminal", asks, false, "", "no terminal to ask on: run this as root"},
		{"not allowed", refuses, true, "", "sudo refuses, so run this as root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tools(t, map[string]string{"sudo": tt.sudo, "id": "echo 1000\n"})
			cmd := exec.Command("../scripts/root.sh", "cat")
			cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
			cmd.Stdin = strings.NewReader("through the pipe")
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if tt.terminal {
				cmd.ExtraFiles = []*os.File{terminal(t)}
				cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 3
			}
			err := cmd.Run()
			if (err == nil) != (tt.stdout != "") || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("%v, stdout %q, want %q; stderr %q, want %q in it", err, stdout.String(), tt.stdout, stderr.String(), tt.stderr)
			}
		})
	}
}

func TestRootIsAskedForBeforeAnythingIsCompiled(t *testing.T) {
	out, err := exec.Command(testenv.Tool(t, "make"), "-n", "-C", "..", "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ready, compiled := bytes.Index(out, []byte("scripts/ready.sh demo")), bytes.Index(out, []byte("go build"))
	if ready < 0 || compiled < ready {
		t.Errorf("scripts/ready.sh at %d, go build at %d of:\n%s", ready, compiled, out)
	}
}

func TestLongWorkIsNotSilent(t *testing.T) {
	path := tools(t, map[string]string{"sleep": "exit 0\n", "id": "echo 0\n"})
	cmd := exec.Command("../scripts/patiently.sh", "compiling", "sh", "-c", "exec cat >/dev/null")
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	work, err := cmd.StdinPipe() // the work ends when this does
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := said.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "... compiling, for 0 min 20 s\n") {
		t.Errorf("said %q, %v", line[:n], err)
	}
	said.Close()
	work.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestServiceFile(t *testing.T) {
	unit, err := os.ReadFile("iotsense.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ExecStart=.* run --config /etc/iotsense/config\.yaml$`, `(?m)^Group=iotsense$`,
		`(?m)^RestartSec=`, `(?m)^StartLimitIntervalSec=0$`, `(?m)^RestrictAddressFamilies=AF_UNIX AF_NETLINK$`,
	} {
		if !regexp.MustCompile(want).Match(unit) {
			t.Errorf("iotsense.service has no line %s", want)
		}
	}
}

// Docker 20.10 without BuildKit sets none of the platform arguments: a FROM with one
// cannot be parsed.
func TestImageNeedsNoPlatformArgument(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if line := regexp.MustCompile(`(?m)^FROM .*\$.*$`).Find(text); line != nil {
		t.Errorf("%s: empty without BuildKit", line)
	}
}
