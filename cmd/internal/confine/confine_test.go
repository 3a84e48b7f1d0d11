package confine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/replay"
)

// sensorEnv makes the test binary a sensor that tries what it must not when a line is
// written to it: among others to read the file that it names, beside the token.
const sensorEnv = "IOTSENSE_TEST_CONFINED_SENSOR"

func TestMain(m *testing.M) {
	if os.Getenv(sensorEnv) == "" {
		os.Exit(m.Run())
	}
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			if err := json.NewEncoder(os.Stdout).Encode(attempts()); err != nil {
				panic(err)
			}
		}
	}()
	(&terminal.Program{Name: "iotsense", Commands: box.Commands(), Guard: box.GuardInputs}).Start()
}

// attempts are what a sensor must not do, and whether it could.
func attempts() map[string]bool {
	_, shadow := os.ReadFile("/etc/shadow")
	_, beside := os.ReadFile(os.Getenv(sensorEnv))
	program := func() error {
		if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, 0, 0); errno == unix.EPERM {
			return errno
		}
		return nil // it got there, whatever it then was told
	}()
	raw, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, unix.ETH_P_ALL<<8)
	if err == nil {
		unix.Close(raw)
	}
	return map[string]bool{
		"read /etc/shadow": shadow == nil, "read what lies beside the token": beside == nil, "load a program": program == nil, "open a raw socket": err == nil,
		"exec": unix.Exec("/bin/true", []string{"true"}, nil) == nil,
	}
}

// A sensor that is attached can do nothing but its work; that it can: it follows its
// interface, writes what it is told, and leaves nothing behind.
func TestSensorIsConfined(t *testing.T) {
	testenv.Root(t)
	n, err := replay.NewNetwork("confined")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, hook := range []string{"auto", "tc", "xdp"} {
		t.Run(hook, func(t *testing.T) { followConfined(t, n, hook) })
	}
}

func followConfined(t *testing.T, n *replay.Network, hook string) {
	dir, pins := t.TempDir(), testenv.PinDirectory(t)
	state, socket := filepath.Join(dir, "state", "registry.db"), filepath.Join(dir, "run", "s")
	secrets := filepath.Join(dir, "secrets")
	token, beside := filepath.Join(secrets, "token"), filepath.Join(secrets, "beside")
	err := errors.Join(os.Mkdir(filepath.Dir(state), 0o700), os.Mkdir(secrets, 0o700),
		os.WriteFile(token, []byte("0123456789abcdef"), 0o600), os.WriteFile(beside, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	hookURL, told := listen(t, n)
	s := startSensor(t, n, beside, "run", "--listen", "127.0.0.1:0", "--token-file", token, "-i", replay.Interface, "--hook", hook, "--state", state, "--socket", socket, "--pin", pins, "--sinks.webhook.url", hookURL)
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	asked := client.New(socket)
	attached := func(want bool) {
		t.Helper()
		for {
			stats, err := asked.Stats(ctx)
			if err == nil && stats.Interfaces[0].Attached == want {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("attached never was %v: %+v, %v\n%s", want, stats.Interfaces, err, s.stderr)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	attached(true)
	for what, could := range s.attempts(t) {
		if could {
			t.Errorf("it could %s", what)
		}
	}
	flap(t, n, func() { attached(false) })
	attached(true)
	const device = "00:17:88:0a:0b:0c"
	if said, err := asked.Correct(ctx, device, "label", v1.Correction{Label: "lamp"}); err != nil || !said.Kept {
		t.Errorf("%+v, %v", said, err)
	}
	if what := <-told; !strings.Contains(what, device) {
		t.Errorf("the webhook is told %s", what)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("%v\n%s", err, s.stderr)
	}
	if !strings.Contains(s.stderr.String(), "msg=sandboxed") {
		t.Errorf("it says nothing of a sandbox:\n%s", s.stderr)
	}
	for _, path := range []string{socket, pins} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	for _, path := range []string{state, state + ".snapshot"} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "lamp") {
			t.Errorf("%s does not know the device: %v", path, err)
		}
	}
}

// listen answers as a webhook in the sensor's network.
func listen(t *testing.T, n *replay.Network) (url string, told <-chan string) {
	t.Helper()
	var l net.Listener
	err := n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err == nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String(), got
}

// flap takes the sensor's interface away and makes another of that name.
func flap(t *testing.T, n *replay.Network, gone func()) {
	t.Helper()
	link := func(f func() error) {
		t.Helper()
		if err := n.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	link(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	gone()
	link(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: replay.Interface}, PeerName: replay.Interface + "p"})
	})
}

// sensor is one that a test has started.
type sensor struct {
	cmd    *exec.Cmd
	in     io.Writer
	out    *bufio.Reader
	stderr *strings.Builder
	ended  <-chan error
}

func startSensor(t *testing.T, n *replay.Network, beside string, args ...string) *sensor {
	t.Helper()
	s := &sensor{cmd: exec.Command(os.Args[0], args...), stderr: &strings.Builder{}}
	s.cmd.Env = append(os.Environ(), sensorEnv+"="+beside)
	s.cmd.Stderr = s.stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	if s.ended, err = n.Start(s.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // where the test has failed
	return s
}

// attempts has the sensor try what it must not.
func (s *sensor) attempts(t *testing.T) (could map[string]bool) {
	t.Helper()
	fmt.Fprintln(s.in)
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, s.stderr)
	}
	if err := json.Unmarshal(line, &could); err != nil {
		t.Fatal(err)
	}
	return could
}
