package loader

// This file keeps the clocks of a running kernel half: the wall clock's distance
// from its stamps, and the time that its count of ticks misses.

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/loader/clock"
)

// Epoch turns a stamp of the events, us of CLOCK_BOOTTIME, into us since the
// Unix epoch. It follows steps of the clock at once.
func (k *Kernel) Epoch(stamp int64) int64 { return stamp + k.bootTime.Load() }

// Now is what time it is, us since the Unix epoch, for who compares it with what Epoch gives.
func (k *Kernel) Now() int64 { return k.Epoch(clock.Now(unix.CLOCK_BOOTTIME) / 1000) }

// readClock notes how far apart the two clocks are now, and tells of a clock that has been set.
func (k *Kernel) readClock() {
	now := clock.BootTime()
	k.bootTime.Store(now)
	by := time.Duration(now-k.toldTime) * time.Microsecond
	if by.Abs() < time.Second {
		return
	}
	if k.toldTime != 0 {
		k.log.Warn("the clock has been set", "by_s", by.Seconds())
		if k.cfg.ClockSet != nil {
			k.cfg.ClockSet(by)
		}
	}
	k.toldTime = now
}

// followTicks tells the programs what time it is after a suspend, whose ticks nobody has
// counted, and now and then all the same.
func (k *Kernel) followTicks(now time.Time) error {
	total := clock.Suspended()
	if time.Duration(total-k.suspended) < clock.CoarseLate/2 && now.Sub(k.told) < tellEvery {
		return nil
	}
	k.suspended, k.told = total, now
	if _, err := k.runSweep(gen.IotsenseSweepArgs{ClockOnly: 1}); err != nil {
		return fmt.Errorf("set the programs' clock: %w", err)
	}
	return nil
}
