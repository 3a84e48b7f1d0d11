package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/pkg/registry"
)

// answers is a Source of fixed answers.
type answers struct{ err error }

func (a answers) Stats() (Stats, error) { return Stats{Records: 7}, a.err }

func (a answers) Devices() ([]registry.DeviceVerdict, error) {
	return []registry.DeviceVerdict{{Verdict: registry.Verdict{Device: "02:00:00:00:00:01"}, Addresses: []string{}}}, a.err
}

func (a answers) Flows(int) ([]Flow, int, error) {
	return []Flow{{Remote: "192.0.2.1", DevPort: -1}}, 3, a.err
}

// serve answers on a new socket until the test ends.
func serve(t *testing.T, src Source) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", "s.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { Serve(ctx, l, src, slog.New(slog.DiscardHandler)); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return path
}

func TestRoundTrip(t *testing.T) {
	path := serve(t, answers{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v, want mode 0660", info, err)
	}
	c, ctx := NewClient(path), context.Background()
	stats, err := c.Stats(ctx)
	if want, _ := (answers{}).Stats(); err != nil || !cmp.Equal(stats, want) {
		t.Errorf("stats: %v, %v", err, cmp.Diff(want, stats))
	}
	devices, err := c.Devices(ctx)
	if want, _ := (answers{}).Devices(); err != nil || !cmp.Equal(devices, want) {
		t.Errorf("devices: %v, %v", err, cmp.Diff(want, devices))
	}
	list, left, err := c.Flows(ctx)
	if want, more, _ := (answers{}).Flows(0); err != nil || !cmp.Equal(list, want) || left != more {
		t.Errorf("flows: %v, %v, %d left out", err, cmp.Diff(want, list), left)
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	failing := serve(t, answers{errors.New("the table is gone")})
	garbage := filepath.Join(t.TempDir(), "garbage.sock")
	l, err := net.Listen("unix", garbage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[x"))
			conn.Close()
		}
	}()
	for _, tt := range []struct{ name, path, want string }{
		{"nobody there", filepath.Join(t.TempDir(), "none.sock"), "start `iotsense run`"},
		{"nobody answers", stale(t), "start `iotsense run`"},
		{"the sensor fails", failing, "the table is gone"},
		{"not a sensor", garbage, garbage},
	} {
		if _, err := NewClient(tt.path).Stats(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// stale is a socket as a killed sensor leaves it.
func stale(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return path
}
