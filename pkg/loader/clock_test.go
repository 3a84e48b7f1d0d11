package loader

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

// virtual skips what would disturb a machine that has other things to do: it runs
// in the machines of `make vmtest`.
func virtual(t *testing.T) {
	t.Helper()
	if os.Getenv("IOTSENSE_TEST_VM") == "" {
		t.Skip("sets the clock or sleeps: only in a machine of `make vmtest`")
	}
}

// Epoch follows a step of the wall clock (NTP, settimeofday) within a second.
func TestEpochFollowsAStep(t *testing.T) {
	virtual(t)
	k := newKernel(t, Config{})
	stamp := now(unix.CLOCK_BOOTTIME) / 1000
	before := k.Epoch(stamp)
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour, time.Hour} {
		setClock(t, step)
		next := time.Now()
		for deadline := time.Now().Add(sweepEvery); time.Now().Before(deadline); {
			k.must(k.step(&next))
		}
		got := time.Duration(k.Epoch(stamp)-before) * time.Microsecond
		if (got - step).Abs() > time.Second { // setting a clock takes time on a busy machine
			t.Errorf("after a step of %v Epoch has moved by %v", step, got)
		}
		before = k.Epoch(stamp)
	}
}

func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	at := unix.NsecToTimespec(now(unix.CLOCK_REALTIME) + by.Nanoseconds())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &at); err != nil {
		t.Fatal(err)
	}
}

// A machine that was asleep has got older: lives end by the time that has passed,
// and their times are those of the wall clock.
func TestSuspend(t *testing.T) {
	virtual(t)
	k := newKernel(t, Config{Lifetime: 2 * time.Second})
	k.run(inProgram, udpFrame(1, 40))
	sleep(t)
	k.run(inProgram, udpFrame(1, 40))
	next := time.Now()
	k.must(k.step(&next))
	k.settle()
	if len(k.closes) != 1 || k.closes[0].Packets[0]+k.closes[0].Packets[1] != 1 {
		t.Errorf("closed %+v, want the life of the packet before the sleep", k.closes)
	}
	last := k.samples[len(k.samples)-1]
	if d := time.Since(time.UnixMicro(k.Epoch(last.Stamp))); d < -time.Second || d > 2*time.Second {
		t.Errorf("the packet after the sleep came %v ago", d)
	}
}

// sleep suspends the machine for five seconds. pm_test lets it wake by itself
// (Documentation/power/basic-pm-debugging.rst): all is stopped, clocks too, short
// of the processor.
func sleep(t *testing.T) {
	t.Helper()
	for _, set := range [][2]string{{"mem_sleep", "deep"}, {"pm_test", "core"}} {
		if err := os.WriteFile("/sys/power/"+set[0], []byte(set[1]), 0); err != nil {
			t.Skipf("this machine cannot sleep, or would not wake: %v", err)
		}
	}
	boot, monotonic := now(unix.CLOCK_BOOTTIME), now(unix.CLOCK_MONOTONIC)
	if err := os.WriteFile("/sys/power/state", []byte("mem"), 0); err != nil {
		t.Skipf("this machine cannot sleep: %v", err)
	}
	slept := time.Duration(now(unix.CLOCK_BOOTTIME) - boot)
	stood := slept - time.Duration(now(unix.CLOCK_MONOTONIC)-monotonic)
	t.Logf("suspended for %v, for which CLOCK_MONOTONIC stood still for %v", slept, stood)
	if stood < 3*time.Second {
		t.Fatal("the clocks do not say that the machine slept")
	}
}

func TestCheckTimeNamespace(t *testing.T) {
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
		if err := checkTimeNamespace(path); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.offsets, err)
		}
	}
}
