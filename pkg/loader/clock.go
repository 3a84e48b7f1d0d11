package loader

// This file keeps the clocks of a running kernel half: the wall clock's distance
// from its stamps, and what its coarse clock misses.

import (
	"fmt"
	"time"

	"github.com/iotsense/iotsense/pkg/loader/clock"
)

// Epoch turns a stamp of the events, us of CLOCK_BOOTTIME, into us since the
// Unix epoch. It follows steps of the clock within a second.
func (k *Kernel) Epoch(stamp int64) int64 { return stamp + k.bootTime.Load() }

// readClock notes how far apart the two clocks are now.
func (k *Kernel) readClock() { k.bootTime.Store(clock.BootTime()) }

// followSuspend tells the programs of a suspend that has ended: their coarse clock
// has not counted it.
func (k *Kernel) followSuspend() error {
	total := clock.Suspended()
	if time.Duration(total-k.suspended) < clock.CoarseLate/2 {
		return nil
	}
	k.suspended = total
	if err := k.variables["suspended_ns"].Set(uint64(total)); err != nil {
		return fmt.Errorf("set the programs' clock after a suspend: %w", err)
	}
	return nil
}
