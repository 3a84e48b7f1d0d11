package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestLocate(t *testing.T) {
	Tool(t, "xz")
	const archive, dir = "set.tar.xz", "set"

	// layout is a directory with the repository "repo" and, beside it, the archive.
	layout := func(t *testing.T, withArchive bool) (root string) {
		t.Helper()
		top := t.TempDir()
		shared := filepath.Join(top, "shared", "data")
		for _, d := range []string{filepath.Join(top, "repo"), shared, filepath.Join(top, dir)} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(top, dir, "manifest.csv"), []byte("capture\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if withArchive {
			out, err := exec.Command("tar", "-cJf", filepath.Join(shared, archive), "-C", top, dir).CombinedOutput()
			if err != nil {
				t.Fatalf("tar: %v: %s", err, out)
			}
		}
		return filepath.Join(top, "repo")
	}

	t.Run("unpacks once for parallel callers", func(t *testing.T) {
		root := layout(t, true)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				path, err := locate("", root, archive, dir)
				if err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(filepath.Join(path, "manifest.csv")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		left, err := os.ReadDir(filepath.Join(root, "build", "data"))
		if err != nil || len(left) != 1 {
			t.Errorf("cache holds %v (%v), want only %q", left, err, dir)
		}
	})
	t.Run("the variable comes first", func(t *testing.T) {
		root, own := layout(t, true), t.TempDir()
		if path, err := locate(own, root, archive, dir); err != nil || path != own {
			t.Errorf("locate = %q, %v; want %q", path, err, own)
		}
	})
	t.Run("neither", func(t *testing.T) {
		if _, err := locate("", layout(t, false), archive, dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("err = %v, want os.ErrNotExist", err)
		}
	})
	t.Run("damaged archive", func(t *testing.T) {
		root := layout(t, false)
		damaged := filepath.Join(filepath.Dir(root), "shared", "data", archive)
		if err := os.WriteFile(damaged, []byte("no xz"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := locate("", root, archive, dir); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("err = %v, want a failure of tar", err)
		}
	})
}
