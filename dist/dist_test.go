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
	"slices"
	"strconv"
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
	unit := read(t, "iotsense.service")
	for _, want := range []string{
		`(?m)^ExecStart=.* run --config /etc/iotsense/config\.yaml$`, `(?m)^Group=iotsense$`, `(?m)^Type=notify$`, `(?m)^WatchdogSec=`,
		`(?m)^RestartSec=`, `(?m)^StartLimitIntervalSec=0$`, `(?m)^RestrictAddressFamilies=AF_UNIX AF_NETLINK$`,
		`(?m)^Environment=GOTRACEBACK=crash$`, // else a crash ends with 2, which is not started anew
	} {
		if !regexp.MustCompile(want).MatchString(unit) {
			t.Errorf("iotsense.service has no line %s", want)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// directives are the lines of a unit that say something, without those of names.
func directives(unit string, names ...string) (lines []string) {
	for line := range strings.Lines(unit) {
		name, _, is := strings.Cut(strings.TrimSpace(line), "=")
		if is && !strings.HasPrefix(line, "#") && !slices.Contains(names, name) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// The unit for each interface is the other one but for what must differ.
func TestTemplateUnit(t *testing.T) {
	differ := []string{"Description", "ExecStart", "RuntimeDirectory", "StateDirectory"}
	one, template := directives(read(t, "iotsense.service"), differ...), directives(read(t, "iotsense@.service"), differ...)
	if !slices.Equal(one, template) {
		t.Errorf("iotsense.service has\n%q\niotsense@.service\n%q", one, template)
	}
}

// docs/SYSTEMD.md has the reason of what adds to the units' exposure, and nothing else does.
func TestServiceIsHardlyExposed(t *testing.T) {
	const most = 2.0
	page := read(t, "../docs/SYSTEMD.md")
	for _, unit := range []string{"iotsense.service", "iotsense@.service"} {
		cmd := exec.Command(testenv.Tool(t, "systemd-analyze"), "security", "--offline=yes", "--no-pager", unit)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", unit, err, out)
		}
		found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if found == nil {
			t.Fatalf("%s: no figure in\n%s", unit, out)
		}
		if level, err := strconv.ParseFloat(string(found[1]), 64); err != nil || level > most {
			t.Errorf("%s: exposure %s, %v; want at most %v:\n%s", unit, found[1], err, most, out)
		}
		for _, line := range regexp.MustCompile(`(?m)^✗ (\S+)`).FindAllSubmatch(out, -1) {
			if !strings.Contains(page, "`"+string(line[1])+"`") {
				t.Errorf("%s: docs/SYSTEMD.md has no reason for %s", unit, line[1])
			}
		}
	}
}

// capabilities are those that the service may have, without CAP_.
func capabilities(t *testing.T) []string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindStringSubmatch(read(t, "iotsense.service"))
	if line == nil {
		t.Fatal("iotsense.service bounds no capabilities")
	}
	return strings.Fields(strings.ReplaceAll(line[1], "CAP_", ""))
}

// The add-on asks Home Assistant for what the service has, and no more.
func TestHomeAssistantAddOn(t *testing.T) {
	line := regexp.MustCompile(`(?m)^privileged: \[(.*)\]$`).FindStringSubmatch(read(t, "home-assistant/config.yaml"))
	if line == nil {
		t.Fatal("no line of privileges")
	}
	if got := strings.Split(line[1], ", "); !slices.Equal(got, capabilities(t)) {
		t.Errorf("%v, want %v", got, capabilities(t))
	}
}

// procd is told to run what the service runs, and to reload it as systemd does.
func TestOpenWrtScript(t *testing.T) {
	const script = `mkdir() { :; }
mount() { :; }
procd_open_instance() { :; }
procd_close_instance() { :; }
procd_set_param() { echo "$@"; }
procd_send_signal() { echo "$@"; }
. ./openwrt/iotsense.init
start_service
reload_service
`
	out, err := exec.Command("sh", "-eufc", script).CombinedOutput()
	want := regexp.MustCompile(`(?s)^command /usr/bin/iotsense run --config /etc/iotsense/config\.yaml\nrespawn .*\niotsense \* HUP\n$`)
	if err != nil || !want.Match(out) {
		t.Errorf("%v: %s", err, out)
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
