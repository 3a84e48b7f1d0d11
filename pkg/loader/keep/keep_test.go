package keep

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
)

// What is put is what the next one gets, however long; and nothing where it is not whole.
func TestHandover(t *testing.T) {
	testenv.Root(t)
	dir := testenv.PinDirectory(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(Clear(dir), os.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	meta, err := NewMeta("auto", []string{"eth0"})
	if err != nil {
		t.Fatal(err)
	}
	if k, err := Load(dir, meta); k != nil || err != nil {
		t.Errorf("of an empty directory %v, %v", k, err)
	}
	ledger, err := NewLedger(meta)
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	ledger.Set(3, 5, 7)
	ledger.Set(Words-1, 9)
	for _, size := range []int{-1, 0, 1, handoverPart, handoverPart + 1, 300_000, handoverPart * handoverParts} {
		h, err := NewHandover()
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("ab"), max(0, size)/2+1)[:max(0, size)]
		if size >= 0 {
			err = h.Put(data)
		}
		if err := errors.Join(err, Stage(dir, ledger, h, nil, nil), Commit(dir), h.Close()); err != nil {
			t.Fatal(err)
		}
		k, err := Load(dir, meta)
		if err != nil || (k.Handover == nil) != (size < 0) || !bytes.Equal(k.Handover, data) {
			t.Fatalf("%d bytes: got %d, %v", size, len(k.Handover), err)
		}
		if n := k.Ledger.All(); !slices.Equal(n[2:6], []uint64{0, 5, 7, 0}) || n[Words-1] != 9 {
			t.Errorf("numbers %v", n)
		}
		k.Close()
		if err := k.Ledger.Close(); err != nil {
			t.Error(err)
		}
	}
	h, err := NewHandover()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Put(make([]byte, handoverPart*handoverParts+1)); err == nil {
		t.Error("more than there is room for was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, newPrefix+ledgerPin)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("staged: %v", err)
	}
}
