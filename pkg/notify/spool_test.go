package notify

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

func spoolIn(t *testing.T, dir string) (*spool, *atomic.Uint64) {
	t.Helper()
	var lost atomic.Uint64
	s, err := openSpool(dir, &lost, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s, &lost
}

// told are the messages of a spool, which is empty then: the text of each one's first.
func told(s *spool) (texts []string) {
	for {
		b, number, ok := s.first()
		if !ok {
			return texts
		}
		texts = append(texts, b.Notices[0].Text)
		s.done(number)
	}
}

func message(text string, devices ...string) (b batch) {
	for _, d := range devices {
		b.Notices = append(b.Notices, v1.Notice{Event: event(d, "gone"), Text: text})
	}
	return b
}

// A spool is the same after a restart: in its order, bounded, the oldest gone.
func TestSpool(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "a", "b")} {
		s, lost := spoolIn(t, dir)
		for i := range mostWaiting + 20 {
			if dir == "" || i >= mostWaiting {
				s.put(message(fmt.Sprint(i), plug), false)
				continue
			}
			text, err := json.Marshal(message(fmt.Sprint(i), plug))
			if err == nil {
				err = os.WriteFile(s.path(uint64(i+1)), text, 0o600) // without waiting for the disk
			}
			if err != nil {
				t.Fatal(err)
			}
			if i == mostWaiting-1 {
				s, lost = spoolIn(t, dir)
			}
		}
		if s.len() != mostWaiting || lost.Load() != 20 {
			t.Errorf("%q: %d wait, %d lost", dir, s.len(), lost.Load())
		}
		if dir != "" {
			if files, err := os.ReadDir(dir); err != nil || len(files) != mostWaiting {
				t.Errorf("%d files, %v", len(files), err)
			}
			s, _ = spoolIn(t, dir)
			s.put(message("new", plug), false)
		}
		texts := told(s)
		if first, last := texts[0], texts[len(texts)-1]; len(texts) != mostWaiting || dir == "" && first+last != "201019" || dir != "" && first+last != "21new" {
			t.Errorf("%q: %d of %s to %s", dir, len(texts), first, last)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%q: left %v", dir, files)
		}
	}
	s, lost := spoolIn(t, "")
	for i := range 9 {
		s.put(message(fmt.Sprint(i)+strings.Repeat(" ", mostBytes/4), plug), false)
	}
	if texts := told(s); len(texts) != 3 || texts[0][0] != '6' || lost.Load() != 6 {
		t.Errorf("%d large messages, %d lost", len(texts), lost.Load())
	}
}

// What lies in the directory and is no message costs nothing but itself.
func TestSpoolDamaged(t *testing.T) {
	dir := t.TempDir()
	s, _ := spoolIn(t, dir)
	for i := range 3 {
		s.put(message(fmt.Sprint(i), plug), false)
	}
	for name, text := range map[string]string{
		filepath.Base(s.path(2)): "{", ".0000000000000009.json.x": "{", "readme": "", "7.json": "{}", filepath.Base(s.path(4)): "{}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, lost := spoolIn(t, dir)
	if texts := told(s); fmt.Sprint(texts) != "[0 2]" || lost.Load() != 1 {
		t.Errorf("%q, %d lost", texts, lost.Load())
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("left %v, %v", files, err)
	}
}

// Without a disk messages wait in memory.
func TestSpoolUnwritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s, lost := spoolIn(t, dir)
	s.put(message("0", plug), false)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	s.put(message("1", plug), false)
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if texts := told(s); fmt.Sprint(texts) != "[0 1]" || lost.Load() != 0 {
		t.Errorf("%q, %d lost", texts, lost.Load())
	}
	if _, err := openSpool(filepath.Join(os.DevNull, "x"), lost, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a spool below a file")
	}
}

// Nothing of a forgotten device stays, in files neither.
func TestSpoolForget(t *testing.T) {
	dir := t.TempDir()
	for _, dir := range []string{"", dir} {
		s, _ := spoolIn(t, dir)
		s.put(message("both", phone, plug), false)
		s.put(message("one", phone), false)
		s.put(message("other", plug), false)
		s.forget([]string{phone})
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, f := range files {
			if text, err := os.ReadFile(f); err != nil || strings.Contains(string(text), phone) {
				t.Errorf("%s, %v", text, err)
			}
		}
		if texts := told(s); fmt.Sprint(texts) != "[both other]" || s.bytes != 0 {
			t.Errorf("%q, %d bytes", texts, s.bytes)
		}
	}
}
