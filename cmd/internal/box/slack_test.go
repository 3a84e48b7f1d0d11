package box

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
)

// Every thread of the process may be woken late, and one that a service manager has made
// so stays as it is.
func TestSlacken(t *testing.T) {
	testenv.Root(t)
	if err := slacken(); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	want := strconv.FormatInt(slack.Nanoseconds(), 10)
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(text)); got != want {
			t.Errorf("thread %s: %s ns, want %s", thread.Name(), got, want)
		}
	}
	for had, want := range map[string]string{"50000\n": want, "2000000\n": "2000000\n"} {
		file := filepath.Join(t.TempDir(), "timerslack_ns")
		if err := os.WriteFile(file, []byte(had), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := slackenThread(file); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q became %q, %v", had, got, err)
		}
	}
}
