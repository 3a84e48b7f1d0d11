package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The distance of the clocks is read where the process was disturbed least, and
// is what the wall clock says now: after a step it is another.
func TestBootTime(t *testing.T) {
	const epoch = 1_700_000_000 * int64(time.Second) // of boot, by the wall clock
	for _, tt := range []struct {
		name  string
		pause []time.Duration // after each reading
		step  time.Duration   // of the wall clock
		want  int64           // us beside epoch
	}{
		{"undisturbed", []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0},
		{"disturbed in the first and last", []time.Duration{time.Second, 0, 0, 0, 0, 0, 0, time.Second, 0}, 0, 0},
		{"always disturbed, least in the second", []time.Duration{9e9, 0, 0, 2000, 4000, 0, 0, 9e9, 0}, 0, -1},
		{"stepped forward", make([]time.Duration, 9), time.Hour, time.Hour.Microseconds()},
		{"stepped back", make([]time.Duration, 9), -time.Hour, -time.Hour.Microseconds()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			boot, reading := 5*int64(time.Second), 0
			got := bootTime(func(clock int32) int64 {
				value := boot
				if clock == unix.CLOCK_REALTIME {
					value += epoch + int64(tt.step)
				}
				boot += int64(tt.pause[reading])
				reading++
				return value
			})
			if want := epoch/1000 + tt.want; got != want {
				t.Errorf("got %d, want %d: %d us off", got, want, got-want)
			}
		})
	}
}

func TestCheckNamespace(t *testing.T) {
	for _, tt := range []struct {
		offsets string
		ok      bool
	}{
		{"monotonic           0         0\nboottime            0         0\n", true},
		{"monotonic           0         0\nboottime        86400         0\n", false},
		{"monotonic           0         5\nboottime            0         0\n", false},
	} {
		path := filepath.Join(t.TempDir(), "offsets")
		if err := os.WriteFile(path, []byte(tt.offsets), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := CheckNamespace(path); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.offsets, err)
		}
	}
}
