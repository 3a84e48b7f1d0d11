package box

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
)

// Every thread of the process may be woken late, those too that start later.
func TestSlacken(t *testing.T) {
	testenv.Root(t)
	const fine = 50 * time.Microsecond
	each := func(do func(file string, had int64)) {
		t.Helper()
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			file := "/proc/" + thread.Name() + "/timerslack_ns"
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it has ended
			}
			ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			do(file, ns)
		}
	}
	set := func(file string, _ int64) {
		_ = os.WriteFile(file, []byte(strconv.FormatInt(fine.Nanoseconds(), 10)), 0)
	}
	each(set)
	t.Cleanup(func() { each(set) })
	if err := slacken(); err != nil {
		t.Fatal(err)
	}
	started, end := make(chan int), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and Go starts a thread for the others
		started <- unix.Gettid()
		<-end
	}()
	<-started
	each(func(file string, had int64) {
		if had < slack.Nanoseconds() {
			t.Errorf("%s: %d ns", file, had)
		}
	})
	close(end)
}

// A thread that a service manager has given more stays as it is, and one that has ended is no
// error.
func TestSlackenThread(t *testing.T) {
	for had, want := range map[string]string{"50000\n": "1000000", "1000000\n": "1000000\n", "2000000\n": "2000000\n"} {
		file := filepath.Join(t.TempDir(), "timerslack_ns")
		if err := os.WriteFile(file, []byte(had), 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := slackenThread(file)
		if err != nil || changed != (had != want) {
			t.Errorf("%q: changed %v, %v", had, changed, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q became %q, %v", had, got, err)
		}
	}
	if changed, err := slackenThread(filepath.Join(t.TempDir(), "ended")); changed || err != nil {
		t.Error(changed, err)
	}
}
