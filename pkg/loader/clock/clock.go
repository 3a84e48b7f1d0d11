// Package clock reads the kernel's clocks: how far apart they are, and how long their
// tick is. Stamps of the kernel half are of CLOCK_BOOTTIME.
package clock

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CheckNamespace refuses clocks other than those of the programs' stamps
// (time_namespaces(7)). offsets, a file such as /proc/self/timens_offsets, has a line
// for each: name, seconds, nanoseconds.
func CheckNamespace(offsets string) error {
	text, err := os.ReadFile(offsets)
	if err != nil {
		return nil // a kernel without them, or no /proc
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && (f[1] != "0" || f[2] != "0") {
			return fmt.Errorf("this is a time namespace whose %s clock is %s s off the kernel's: run outside of it", f[0], f[1])
		}
	}
	return nil
}

// BootTime is the distance from CLOCK_BOOTTIME to the Unix epoch in us.
func BootTime() int64 { return bootTime(Now) }

func bootTime(read func(clock int32) int64) (us int64) {
	return ahead(read, unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME) / 1000
}

// ahead is how far one clock is ahead of another in ns, by the reading that was
// least disturbed.
func ahead(read func(clock int32) int64, clock, of int32) (ns int64) {
	best := int64(math.MaxInt64)
	for range 3 {
		before, at, after := read(of), read(clock), read(of)
		if after-before < best {
			best, ns = after-before, at-(before+after)/2
		}
	}
	return ns
}

// CoarseLate is more than the time that the programs tell by ticks is ever late: two
// ticks, and five more when the CPU that counts them does not get to it
// (kernel/time/tick-sched.c).
var CoarseLate = 10 * Tick()

// Tick is how long a tick of the kernel is: its coarse clocks move with them.
func Tick() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t); err != nil {
		return 10 * time.Millisecond // the clock exists since Linux 2.6.32, and no tick is longer
	}
	return time.Duration(t.Nano())
}

// Suspended is how long the machine has been suspended since it booted, in ns.
func Suspended() int64 { return max(0, ahead(Now, unix.CLOCK_BOOTTIME, unix.CLOCK_MONOTONIC)) }

// Now reads a clock (unix.CLOCK_BOOTTIME and the like) in ns.
func Now(clock int32) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0 // both clocks exist since Linux 2.6.39
	}
	return t.Nano()
}

// Setting waits for the wall clock to be set.
type Setting struct{ timer *os.File }

// NewSetting begins to notice whenever the wall clock is set, a resume of the machine included
// (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). The caller must Close it.
func NewSetting() (*Setting, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch the clock: %w", err)
	}
	s := &Setting{os.NewFile(uintptr(fd), "timerfd")}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: 1 << 33}} // in 2242
	err = unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
	if err != nil && !errors.Is(err, unix.ECANCELED) { // armed, and the clock was set in that moment
		return nil, errors.Join(fmt.Errorf("watch the clock: %w", err), s.Close())
	}
	return s, nil
}

// Wait returns when the clock has been set, since NewSetting or the last Wait; false: Close has
// been called.
func (s *Setting) Wait() bool {
	var expired [8]byte
	_, err := s.timer.Read(expired[:])
	return err == nil || errors.Is(err, unix.ECANCELED)
}

// Close ends the Wait that is going on.
func (s *Setting) Close() error { return s.timer.Close() }
