package dataset_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

// readNames are the names of the captures that are read, and what is said of the others.
func readNames(t *testing.T, data ...string) (names []string, passed map[string]string, err error) {
	t.Helper()
	set, err := dataset.Open(dataset.Options{Data: data})
	if err != nil {
		return nil, nil, err
	}
	passed = map[string]string{}
	for _, p := range set.Passed() {
		passed[p.Path] = p.Why
	}
	err = set.Records(t.Context(), func(flows.LabelledRecord) error { return nil }, func(s dataset.CaptureSummary) error {
		names = append(names, s.Name)
		return nil
	})
	return names, passed, err
}

// A directory's files are read by what is in them or what they are called, its links
// are followed once, and what is not read is said with the reason.
func TestDirectory(t *testing.T) {
	content, err := os.ReadFile(captureAt(t, time.Date(2023, 5, 5, 12, 0, 0, 0, time.UTC)))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir, far := filepath.Join(root, "data"), filepath.Join(root, "far")
	for name, content := range map[string][]byte{
		"data/a.pcap": content, "data/b.pcap0": content, "data/b.pcap17": content, "data/c.PCAP": content, "data/d.dmp": content,
		"data/e.eth": content, "data/f": content, "data/g.old.gz": zipped.Bytes(), "data/sub/h.cap": content, "far/i.trace": content,
		"data/notes.txt": []byte("pcap or it did not happen"), "data/j.pcap.zst": []byte("\x28\xb5\x2f\xfd\x04\x00"),
		"data/k.bin.gz": []byte("\x1f\x8b"), "data/empty": nil,
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{
		"data/l-far": "../far", "data/m-up": "..", "data/n-file.pcap": "a.pcap", "data/o-nowhere": "none", "linked": "data", "data/p-self": "p-self",
	} {
		if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "q.pcap"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(root, "linked"), filepath.Join(root, "linked") + "/"} {
		names, passed, err := readNames(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		in := func(name string) string { return filepath.Join(dir, name) }
		var want []string
		for _, name := range []string{"a.pcap", "b.pcap0", "b.pcap17", "c.PCAP", "d.dmp", "e.eth", "f", "g.old.gz", "l-far/i.trace", "sub/h.cap"} {
			want = append(want, in(name))
		}
		if !slices.Equal(names, want) {
			t.Errorf("read %v\nwant %v", names, want)
		}
		for name, why := range map[string]string{
			"notes.txt": "no capture", "j.pcap.zst": "compressed with zstd: unpack it first", "k.bin.gz": "truncated", "empty": "no capture",
			"m-up/far": "already", "n-file.pcap": "already", "o-nowhere": "a link to nothing", "p-self": "a link to nothing", "q.pcap": "no regular file",
		} {
			if got := passed[in(name)]; !strings.Contains(got, why) {
				t.Errorf("%s is passed over because %q, want %q", name, got, why)
			}
		}
	}
	again := filepath.Join(dir, "l-far")
	if names, passed, err := readNames(t, far, again); err != nil || len(names) != 1 || passed[again] == "" {
		t.Errorf("a directory named twice: %v, %v passed over, %v", names, passed, err)
	}
	for _, paths := range [][]string{
		{far, filepath.Join(far, "i.trace")}, {filepath.Join(far, "i.trace"), far}, {filepath.Join(far, "i.trace"), filepath.Join(again, "i.trace")},
	} {
		if names, passed, err := readNames(t, paths...); err != nil || len(names) != 1 || len(passed) != 1 {
			t.Errorf("%v, which is one file: %v, %v passed over, %v", paths, names, passed, err)
		}
	}
}

// What is called a capture but is none is not passed over in silence; a directory of
// nothing says so, and why one file of it is not read.
func TestDirectoryDamage(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"cut.PCAPNG", "\x0a\x0d\x0d", "truncated"},
		{"empty.pcap", "", "file is empty"},
		{"squeezed.pcap", "BZh91AY", "compressed with bzip2: unpack it first"},
		{"records.parquet.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x0a\x70\x0c\x32\x04\x04\x00\x00\xff\xff\x4e\x9a\x5c\x4f\x04\x00\x00\x00", "gzipped parquet file, not a capture: unpack it first"},
		{"packed.pcap.xz", "\xfd7zXZ\x00\x00", "holds no .pcap"},
		{"packed.pcap.xz", "\xfd7zXZ\x00\x00", "compressed with xz: unpack it first"},
		{"export.dat", "PAR1 and no more", "export.dat"},
		{"letter", "to whom it may concern", "holds no .pcap"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, tt.name), []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readNames(t, dir); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, _, err := readNames(t, filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A manifest's captures lie below a directory by whatever name that is given.
func TestManifestBelowLink(t *testing.T) {
	content, err := os.ReadFile(captureAt(t, time.Date(2023, 5, 5, 12, 0, 0, 0, time.UTC)))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"day", "other"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string][]byte{"day/a.pcap": content, "m.csv": []byte("capture,mac,label\nday/a.pcap,02:00:00:00:00:0d,Plug\nlinked/a.pcap,02:00:00:00:00:0e,Bulb\n")} {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("day", filepath.Join(root, "linked")); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]int{"day": 2, "linked": 2, "linked/": 2, "day/a.pcap": 2, "": 2, "other": 0} {
		set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(root, "m.csv"), Data: []string{root + "/" + dir}})
		if want == 0 && err != nil {
			continue
		}
		if err != nil || set.Len() != want {
			t.Errorf("%q: %v, want %d captures", dir, err, want)
		}
	}
}
