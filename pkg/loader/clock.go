package loader

// This file keeps the clocks of a running kernel half: the wall clock's distance
// from its stamps, and the time that its count of ticks misses.

import (
	"fmt"
	"time"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/loader/clock"
)

// Epoch turns a stamp of the events, us of CLOCK_BOOTTIME, into us since the
// Unix epoch. It follows steps of the clock within a second.
func (k *Kernel) Epoch(stamp int64) int64 { return stamp + k.bootTime.Load() }

// readClock notes how far apart the two clocks are now.
func (k *Kernel) readClock() { k.bootTime.Store(clock.BootTime()) }

// followSuspend tells the programs of a suspend that has ended, whose ticks nobody has
// counted: each run of the sweep program looks up the time.
func (k *Kernel) followSuspend() error {
	total := clock.Suspended()
	if time.Duration(total-k.suspended) < clock.CoarseLate/2 {
		return nil
	}
	k.suspended = total
	if _, err := k.runSweep(gen.IotsenseSweepArgs{}); err != nil {
		return fmt.Errorf("set the programs' clock after a suspend: %w", err)
	}
	return nil
}
