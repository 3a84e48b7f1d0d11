package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/client"
)

func TestListen(t *testing.T) {
	path := stale(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second sensor: %v, want ErrInUse", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Only a socket is ever removed.
func TestListenSparesWhatIsNoSocket(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"file":           func(path string) error { return os.WriteFile(path, []byte("weights"), 0o600) },
		"empty file":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"directory":      func(path string) error { return os.Mkdir(path, 0o700) },
		"FIFO":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link to a file": func(path string) error { return os.Symlink("/etc/hostname", path) },
		"broken link":    func(path string) error { return os.Symlink("nowhere", path) },
		"link to socket": func(path string) error { return os.Symlink(stale(t), path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "it")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if l, err := Listen(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "no socket") {
				t.Errorf("%v, %v: want an error that names it and says it is no socket", l, err)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Errorf("it was touched: %v, %v", after, err)
			}
			if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
				t.Errorf("beside it: %v, %v", left, err)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(file, "s.sock")); err == nil {
		t.Error("a socket below a file is made")
	}
}

func TestListenPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for path, want := range map[string]string{
		strings.Repeat("s", 107):   "",
		strings.Repeat("s", 108):   "107",
		strings.Repeat("ü", 54):    "108 bytes",
		"@not-abstract":            "",
		"dir/" + "of/its/own/sock": "",
	} {
		l, err := Listen(path)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--socket") {
				t.Errorf("%s: %v, want %q", path, err, want)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		l.Close()
	}
}

// A sensor that stops takes its own socket away, not that of one which has come to
// the same path since.
func TestCloseSparesAnothersSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { Serve(ctx, second, answers{}, slog.New(slog.DiscardHandler)) })
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.New(path).Stats(ctx); err != nil {
		t.Error(err)
	}
	stop()
	serving.Wait()
	second.Close()
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Of many that find a stale socket at the same time one gets it, and is reached.
func TestListenAtOnce(t *testing.T) {
	path := stale(t)
	var mu sync.Mutex
	var got []net.Listener
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l, err := Listen(path)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got = append(got, l)
			} else if !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(got) != 1 {
		t.Fatalf("%d of them listen", len(got))
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	got[0].Close()
}

// A file that only looks like the lock is not removed.
func TestLockSparesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path+".lock", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), path+".lock") {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(path + ".lock"); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}
