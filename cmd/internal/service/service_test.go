package service

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// fake is a sensor that gets on when a test says so.
type fake struct {
	progress atomic.Uint64
	stats    v1.Stats
}

func (f *fake) Progress() uint64         { return f.progress.Load() }
func (f *fake) Stats() (v1.Stats, error) { return f.stats, nil }

// A sensor that does not get on is neither ready nor fed for.
func TestWatchdogIsFedByProgress(t *testing.T) {
	var told []string
	sensor := &fake{}
	sensor.stats.Interfaces = []v1.Interface{{Name: "eth0"}}
	f := &follower{sensor: sensor, watchdog: true, send: func(words string) bool { told = append(told, words); return true }}
	for _, tt := range []struct {
		name     string
		progress uint64
		attached bool
		want     []string
	}{
		{"before it begins", 0, false, nil},
		{"it begins", 1, false, []string{"READY=1\nWATCHDOG=1\nSTATUS=waiting for eth0; 0 packets, 0 flows open, 0 samples lost"}},
		{"it stands still", 1, true, nil},
		{"it goes on", 2, true, []string{"WATCHDOG=1\nSTATUS=on eth0 (); 0 packets, 0 flows open, 0 samples lost"}},
		{"and on", 9, true, []string{"WATCHDOG=1"}},
		{"it stands still again", 9, true, nil},
	} {
		told = nil
		sensor.progress.Store(tt.progress)
		sensor.stats.Interfaces[0].Attached = tt.attached
		f.look()
		if !slices.Equal(told, tt.want) {
			t.Errorf("%s: told %q, want %q", tt.name, told, tt.want)
		}
	}
}

// systemd stands in as the socket that it listens on.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	sensor := &fake{}
	end := Follow(t.Context(), sensor)
	heard := func() string {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := l.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := heard(); got != "STATUS=starting" {
		t.Errorf("first %q", got)
	}
	sensor.progress.Store(1)
	if got := heard(); !strings.HasPrefix(got, "READY=1\nSTATUS=") {
		t.Errorf("then %q", got)
	}
	end()
	if got := heard(); !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("last %q", got)
	}
}

func TestFollowWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	Follow(context.Background(), nil)()
}

// socketEnv makes the test binary print the socket at the path that it holds, as passed on.
const socketEnv = "IOTSENSE_TEST_SOCKET"

func TestMain(m *testing.M) {
	path := os.Getenv(socketEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	l, err := Socket(path)
	switch {
	case err != nil:
		fmt.Print(err)
	case l != nil:
		fmt.Print("takes ", l.Addr())
		l.Close()
	}
}

// systemd's socket is taken when it is where clients look, and is left to systemd.
func TestSocket(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "made")
	l, err := net.Listen("unix", made)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	null, err := os.Open(os.DevNull) // as the descriptor store may hold one
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		name, path string
		files      []*os.File
		want       string
	}{
		{"none passed", made, nil, ""},
		{"the socket", dir + "/./made", []*os.File{socket}, "takes " + made},
		{"and another descriptor", made, []*os.File{null, socket}, "takes " + made},
		{"another socket", filepath.Join(dir, "other"), []*os.File{socket}, "systemd passes the socket " + made + ", want --socket " + filepath.Join(dir, "other")},
	} {
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), socketEnv+"="+tt.path, fmt.Sprint("LISTEN_FDS=", len(tt.files)))
		cmd.ExtraFiles = tt.files
		got, err := cmd.Output()
		if err != nil || !strings.HasPrefix(string(got), tt.want) || tt.want == "" && len(got) > 0 {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if _, err := os.Stat(made); err != nil {
			t.Errorf("%s: systemd's socket is gone: %v", tt.name, err)
		}
	}
}
