package loader

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/loader/clock"
)

// virtual skips what would disturb a machine that has other things to do: it runs
// in the machines of `make vmtest`.
func virtual(t *testing.T) {
	t.Helper()
	if os.Getenv("IOTSENSE_TEST_VM") == "" {
		t.Skip("sets the clock or sleeps: only in a machine of `make vmtest`")
	}
}

// Epoch follows a step of the wall clock (NTP, settimeofday) when it is set, not when the next
// sweep or look is due, and who knows times by it is told.
func TestEpochFollowsAStep(t *testing.T) {
	virtual(t)
	var told []time.Duration
	k := newKernel(t, Config{ClockSet: func(by time.Duration) { told = append(told, by.Round(time.Minute)) }})
	stamp := clock.Now(unix.CLOCK_BOOTTIME) / 1000
	before := k.Epoch(stamp)
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour, time.Hour} {
		setClock(t, step)
		deadline := time.Now().Add(10 * time.Second)
		k.looked = deadline
		later, got := deadline, time.Duration(0)
		for (got - step).Abs() > time.Second { // setting a clock takes time on a busy machine
			k.must(k.step(&later))
			if got = time.Duration(k.Epoch(stamp)-before) * time.Microsecond; !time.Now().Before(deadline) {
				t.Fatalf("after a step of %v Epoch has moved by %v", step, got)
			}
		}
		before = k.Epoch(stamp)
	}
	if fmt.Sprint(told) != "[1h0m0s -2h0m0s 1h0m0s]" {
		t.Errorf("told of %v", told)
	}
}

func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	at := unix.NsecToTimespec(clock.Now(unix.CLOCK_REALTIME) + by.Nanoseconds())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &at); err != nil {
		t.Fatal(err)
	}
}

// A machine that was asleep has got older: lives end by the time that has passed,
// and their times are those of the wall clock.
func TestSuspend(t *testing.T) {
	virtual(t)
	k := newKernel(t, Config{Lifetime: 2 * time.Second})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 40))
	sleep(t)
	for deadline := time.Now().Add(10 * time.Second); !k.clockSet.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a resume is not noticed")
		}
	}
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 40))
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
	boot, monotonic := clock.Now(unix.CLOCK_BOOTTIME), clock.Now(unix.CLOCK_MONOTONIC)
	if err := os.WriteFile("/sys/power/state", []byte("mem"), 0); err != nil {
		t.Skipf("this machine cannot sleep: %v", err)
	}
	slept := time.Duration(clock.Now(unix.CLOCK_BOOTTIME) - boot)
	stood := slept - time.Duration(clock.Now(unix.CLOCK_MONOTONIC)-monotonic)
	t.Logf("suspended for %v, for which CLOCK_MONOTONIC stood still for %v", slept, stood)
	if stood < 3*time.Second {
		t.Fatal("the clocks do not say that the machine slept")
	}
}
