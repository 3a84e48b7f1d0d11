package loader

// This file keeps the clocks: the wall clock's distance from the kernel half's
// stamps, and what its coarse clock misses.

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Epoch turns a stamp of the events, us of CLOCK_BOOTTIME, into us since the
// Unix epoch. It follows steps of the clock within a second.
func (s *Kernel) Epoch(stamp int64) int64 { return stamp + s.bootTime.Load() }

// checkTimeNamespace refuses clocks other than those of the programs' stamps
// (time_namespaces(7)). offsets has a line for each: name, seconds, nanoseconds.
func checkTimeNamespace(offsets string) error {
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

// readClock notes how far apart the two clocks are now.
func (s *Kernel) readClock() { s.bootTime.Store(bootTime(now)) }

// bootTime is the distance from CLOCK_BOOTTIME to the Unix epoch in us.
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

// coarseLate is more than the programs' coarse clock is ever late: it moves with
// the tick, and after five ticks at the latest when the CPU that keeps the time
// does not get to it (kernel/time/tick-sched.c).
var coarseLate = 10 * coarseTick()

func coarseTick() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t); err != nil {
		return 10 * time.Millisecond // the clock exists since Linux 2.6.32, and no tick is longer
	}
	return time.Duration(t.Nano())
}

// suspended is how long the machine has been suspended since it booted, in ns.
func suspended() int64 { return max(0, ahead(now, unix.CLOCK_BOOTTIME, unix.CLOCK_MONOTONIC)) }

// followSuspend tells the programs of a suspend that has ended: their coarse clock
// has not counted it.
func (s *Kernel) followSuspend() error {
	total := suspended()
	if time.Duration(total-s.suspended) < coarseLate/2 {
		return nil
	}
	s.suspended = total
	if err := s.variables["suspended_ns"].Set(uint64(total)); err != nil {
		return fmt.Errorf("set the programs' clock after a suspend: %w", err)
	}
	return nil
}

// now reads a clock in ns.
func now(clock int32) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0 // both clocks exist since Linux 2.6.39
	}
	return t.Nano()
}
