package wholefile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/internal/wholefile"
)

func TestWrite(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", "/nonexistent") // a file of no named directory is made here
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, s)
			return err
		}
	}
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
		info, err := os.Stat(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(tt.path); err != nil || string(got) != tt.content || info.Mode() != 0o644 {
			t.Errorf("%s: %q, %v, %v; want %q for all to read", tt.name, got, info.Mode(), err, tt.content)
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
	if left, err := filepath.Glob(".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
