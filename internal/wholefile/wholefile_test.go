package wholefile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/internal/wholefile"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestWrite(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", "/nonexistent") // a file of no named directory is made here
	failed := errors.New("failed")
	for _, tt := range []struct {
		name, path string
		write      func(io.Writer) error
		want       error
		content    string // of the file afterwards
	}{
		{"new", "a", text("one"), nil, "one"},
		{"another in its place", "a", text("two"), nil, "two"},
		{"a write that fails", "a", func(w io.Writer) error { return errors.Join(text("three")(w), failed) }, failed, "two"},
		{"by its whole path", filepath.Join(t.TempDir(), "b"), text("four"), nil, "four"},
	} {
		if err := wholefile.Write(tt.path, tt.write); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if got, err := os.ReadFile(tt.path); err != nil || string(got) != tt.content {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.content)
		}
	}
	if err := wholefile.Write(filepath.Join("none", "c"), text("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
	if err := os.Mkdir("d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := wholefile.Write("d", text("")); err == nil {
		t.Error("in place of a directory: no error")
	}
	if err := wholefile.Check("d"); err == nil {
		t.Error("check of a directory: no error")
	}
	if left, err := filepath.Glob(".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A new file has what the umask leaves, one that is replaced keeps its mode.
func TestWriteMode(t *testing.T) {
	t.Chdir(t.TempDir())
	defer syscall.Umask(syscall.Umask(0o027))
	for _, tt := range []struct {
		name string
		old  fs.FileMode // 0: no file yet
		want fs.FileMode
	}{
		{"new", 0, 0o640}, {"private", 0o600, 0o600}, {"for all", 0o666, 0o666}, {"a group's", 0o660, 0o660},
	} {
		if tt.old != 0 {
			if err := errors.Join(os.WriteFile(tt.name, []byte("old"), 0o600), os.Chmod(tt.name, tt.old)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(wholefile.Check(tt.name), wholefile.Write(tt.name, text("new"))); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		info, err := os.Stat(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != tt.want {
			t.Errorf("%s: mode %v, want %v", tt.name, info.Mode(), tt.want)
		}
	}
}

// A file that belongs to another still does so; only root can see to that.
func TestWriteOwner(t *testing.T) {
	testenv.Root(t)
	path := filepath.Join(t.TempDir(), "a")
	if err := errors.Join(os.WriteFile(path, nil, 0o640), os.Chown(path, 1234, 4321)); err != nil {
		t.Fatal(err)
	}
	if err := wholefile.Write(path, text("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 1234 || s.Gid != 4321 || info.Mode() != 0o640 {
		t.Errorf("user %d, group %d, mode %v", s.Uid, s.Gid, info.Mode())
	}
}

// Links stay, and lead to the new file, whether or not there was one.
func TestWriteLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(
		os.Mkdir("there", 0o755), os.WriteFile("there/file", []byte("old"), 0o600),
		os.Symlink("there/file", "link"), os.Symlink("link", "second"), os.Symlink("there/none", "dangling"),
		os.Symlink("round", "round"),
	); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, file string }{{"link", "there/file"}, {"second", "there/file"}, {"dangling", "there/none"}} {
		if err := wholefile.Write(tt.path, text(tt.path)); err != nil {
			t.Errorf("%s: %v", tt.path, err)
		}
		info, err := os.Lstat(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(tt.file); err != nil || string(got) != tt.path || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("%s: %q in %s, %v; itself %v", tt.path, got, tt.file, err, info.Mode())
		}
	}
	if err := wholefile.Write("round", text("x")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link to itself: %v", err)
	}
}

// What is no regular file stays what it is, and gets the content.
func TestWriteThrough(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := syscall.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		content, err := os.ReadFile("fifo")
		if err != nil {
			content = []byte(err.Error())
		}
		read <- string(content)
	}()
	if err := wholefile.Write("fifo", text("through")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "through" {
		t.Errorf("at the FIFO's other end: %q", got)
	}
	if err := os.Symlink("/dev/null", "null"); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]fs.FileMode{"fifo": fs.ModeNamedPipe, "null": fs.ModeDevice | fs.ModeCharDevice} {
		if err := wholefile.Check(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if path != "fifo" {
			if err := wholefile.Write(path, text("gone")); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Type() != kind {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	unnamed, err := os.CreateTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer unnamed.Close()
	if err := os.Remove(unnamed.Name()); err != nil {
		t.Fatal(err)
	}
	if err := wholefile.Write("/proc/self/fd/"+strconv.Itoa(int(unnamed.Fd())), text("kept")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(unnamed); err != nil || string(got) != "kept" {
		t.Errorf("a file without a name: %q, %v", got, err)
	}
}

// A file that may not be written is not replaced either: here the program of a running
// process, which not even root may write.
func TestWriteProtected(t *testing.T) {
	program, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "busy")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	busy := exec.Command(path, "60")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := busy.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = busy.Wait() // says that it was killed
	}()
	for name, err := range map[string]error{"check": wholefile.Check(path), "write": wholefile.Write(path, text("new"))} {
		if !errors.Is(err, syscall.ETXTBSY) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A process that ends in the middle of a write leaves nothing of it, and nothing else
// is touched.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	whole, part := filepath.Join(dir, "whole"), filepath.Join(dir, "part")
	if err := wholefile.Write(whole, func(w io.Writer) error { _, err := io.WriteString(w, "kept"); return err }); err != nil {
		t.Fatal(err)
	}
	_ = wholefile.Write(part, func(io.Writer) error { // its file is gone when it would have its name
		wholefile.Abandon()
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 {
			t.Errorf("left: %v, %v", left, err)
		}
		return nil
	})
	if text, err := os.ReadFile(whole); err != nil || string(text) != "kept" {
		t.Errorf("%q, %v", text, err)
	}
}
