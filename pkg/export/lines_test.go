package export

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file goes on behind its last whole line, whatever a process left that was killed.
func TestLinesHealed(t *testing.T) {
	whole := `{"device":"a"}` + "\n"
	long := `{"device":"` + strings.Repeat("x", 100_000)
	for name, left := range map[string]string{
		"nothing": "", "whole": whole + whole, "half a line": whole + `{"dev`, "but half a line": `{"dev`, "a long half": whole + long, "but a long half": long,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "flows.ndjson")
			if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
				t.Fatal(err)
			}
			e := open(t, Config{Lines: Lines{Path: path}})
			e.Add(records()[0])
			e.Close(time.Minute)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			kept := left[:strings.LastIndexByte(left, '\n')+1]
			rest, ok := bytes.CutPrefix(text, []byte(kept))
			if !ok || bytes.Count(rest, []byte("\n")) != 1 || !bytes.HasPrefix(rest, []byte(`{"device":"50:c7:bf:00:00:01"`)) {
				t.Errorf("%.200s", text)
			}
		})
	}
}

func TestLinesRefuse(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("root:x:0:0\nhalf"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(dir, "taken")
	open(t, Config{Lines: Lines{Path: taken}})
	for path, want := range map[string]string{
		other:       other + ": it holds something else",
		taken:       taken + ": another process writes it",
		dir:         "is a directory",
		"/dev/null": "/dev/null: it is no regular file",
		filepath.Join(dir, "none", "flows.ndjson"): "no such file",
	} {
		if _, err := Open(Config{Lines: Lines{Path: path}}, silent); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "root:x:0:0\nhalf" {
		t.Errorf("the other file holds %q, %v", text, err)
	}
}

// The two files together never have more than they may, in whole lines, the newest.
func TestLinesBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.ndjson")
	const size, n = 16 << 10, 200
	e := open(t, Config{Lines: Lines{Path: path, Size: size}})
	for _, r := range numbered(n) {
		e.Add(r)
	}
	e.Close(time.Minute)
	var all []byte
	for _, file := range []string{path + olderSuffix, path} {
		text, err := os.ReadFile(file)
		if err != nil || len(text) > size/2 || len(text) < size/4 || text[len(text)-1] != '\n' {
			t.Fatalf("%s: %d bytes, %v", file, len(text), err)
		}
		all = append(all, text...)
	}
	lines := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	for i, line := range lines {
		if port := fmt.Sprintf(`"dev_port":%d,`, 1000+n-len(lines)+i); !bytes.Contains(line, []byte(port)) {
			t.Fatalf("line %d of %d is without %s: %s", i, len(lines), port, line)
		}
	}
	accounted(t, e, n)
}

// What a full disk does not take is lost and counted, leaves no half line, and is over when
// there is room again.
func TestLinesDiskFull(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	path := filepath.Join(t.TempDir(), "flows.ndjson")
	e := open(t, Config{Lines: Lines{Path: path}})
	list := records()
	add := func(r *Record, done func() uint64) {
		before := done()
		e.Add(r)
		for until := time.Now().Add(time.Minute); done() == before && time.Now().Before(until); time.Sleep(time.Millisecond) {
		}
	}
	written, lost := func() uint64 { return e.Stats().FlowsJSON.Written }, func() uint64 { return e.Stats().FlowsJSON.Lost }
	add(list[0], written)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	full := syscall.Rlimit{Cur: uint64(info.Size()) + 10, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	add(list[1], lost)
	add(list[2], lost)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	add(list[3], written)
	e.Close(time.Minute)
	text, err := os.ReadFile(path)
	if err != nil || bytes.Count(text, []byte("\n")) != 2 || !bytes.Contains(text, []byte("}\n{")) || !bytes.HasSuffix(text, []byte("}\n")) {
		t.Errorf("%v:\n%s", err, text)
	}
	if s := e.Stats().FlowsJSON; s.Written != 2 || s.Lost != 2 {
		t.Errorf("%+v", s)
	}
}

// A file that others remove, rename or cut while it is written is made anew, or goes on where it
// ends: what comes then is found under its name.
func TestLinesTakenAway(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"cut":     func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "flows.ndjson")
			var c counts
			l, err := openLines(Lines{Path: path, Size: LeastSize}, &c, silent)
			if err != nil {
				t.Fatal(err)
			}
			defer l.end(0)
			l.take(records()[0])
			if err := take(path); err != nil {
				t.Fatal(err)
			}
			l.take(records()[1])
			if text, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(text, []byte("{")) || bytes.Count(text, []byte("\n")) != 1 || c.sent.Load() != 2 {
				t.Errorf("%v, %d sent: %q", err, c.sent.Load(), text)
			}
		})
	}
}
