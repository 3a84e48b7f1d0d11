package loader

// This file is the sensor at work: read the ring, end lives, follow interfaces.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/clock"
)

// Run hands the events of lives to sink until ctx ends; then it detaches and
// closes every open life, so that sink has got everything. Events come from one
// goroutine; sink must not call back into the Kernel but for Epoch.
func (k *Kernel) Run(ctx context.Context, sink flows.Sink) error {
	k.setSink(sink)
	defer k.setSink(nil)
	stop := context.AfterFunc(ctx, func() { k.ring.Flush() }) // ends the wait for events
	defer stop()
	next := time.Now()
	for ctx.Err() == nil {
		if err := k.step(&next); err != nil {
			return errors.Join(err, k.flush())
		}
	}
	return k.flush()
}

func (k *Kernel) setSink(sink flows.Sink) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sink = sink
}

// maxStuck is how many rounds of a sweep may delete nothing; the next one tries again.
const maxStuck = 3

// closeBatch is how many lives are closed between two looks at the ring, which
// fills up meanwhile.
const closeBatch = 256

// step waits for events, then does what is due; next is when to sweep. It does a
// part of a sweep at most, so that the ring is read and others get the lock in between.
func (k *Kernel) step(next *time.Time) error {
	k.gate.Lock() // whoever waits for mu has it first
	k.mu.Lock()
	k.gate.Unlock()
	defer k.mu.Unlock()
	before := len(k.pending)
	if err := k.read(k.deadline(*next)); err != nil {
		return err
	}
	if err := k.followSuspend(); err != nil {
		return err
	}
	if err := k.follow(time.Now()); err != nil {
		return err
	}
	if !time.Now().Before(*next) {
		*next = time.Now().Add(k.cfg.sweepEvery())
		k.sweeping = true
		k.readClock()
		if err := k.watchRefusals(time.Now()); err != nil {
			return err
		}
	}
	// As many lives are closed as packets have ended meanwhile, or they would pile up.
	return k.sweepPart(k.oldest(), max(closeBatch, len(k.pending)-before))
}

// deadline is until when to wait for events if the next sweep is due then.
func (k *Kernel) deadline(next time.Time) time.Time {
	if k.sweeping || len(k.ended) > 0 {
		return time.Unix(1, 0)
	}
	if poll := time.Now().Add(pollEvery); poll.Before(next) {
		return poll
	}
	return next
}

// follow looks at the interfaces as soon as one of them or its addresses change, and
// each second all the same: of what others do to programs there is no word.
func (k *Kernel) follow(now time.Time) error {
	changed, gone := k.network.Changed()
	if !changed && now.Sub(k.looked) < lookEvery {
		return nil
	}
	k.looked = now
	k.watcher.Look(gone)
	return k.followHost()
}

// oldest is the first stamp of a life that just reaches its end now.
func (k *Kernel) oldest() uint64 {
	return uint64(max(0, clock.Now(unix.CLOCK_BOOTTIME)-k.cfg.Lifetime.Nanoseconds()) / 1000)
}

// read delivers the events in the ring. It waits until deadline for the first
// one, and ends with what was there then: new events may come faster than it reads.
func (k *Kernel) read(deadline time.Time) error {
	k.ring.SetDeadline(deadline)
	budget := -1
	for budget != 0 {
		err := k.ring.ReadInto(&k.record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the ring buffer: %w", err)
		}
		if budget < 0 {
			budget = k.ring.AvailableBytes()
			k.mostWaiting = max(k.mostWaiting, budget)
			k.ring.SetDeadline(time.Unix(1, 0)) // no more waiting
		} else {
			const head = 8 // of a ring record, which is padded to 8 bytes
			budget = max(0, budget-(len(k.record.RawSample)+head+7)&^7)
		}
		if err := k.deliver(k.record.RawSample); err != nil {
			return err
		}
	}
	return nil
}

// closeSome tells the sink of ended lives, n at most.
func (k *Kernel) closeSome(n int) {
	n = min(n, len(k.ended))
	for i := range k.ended[:n] {
		e := &k.ended[i]
		k.closed++
		k.inClosed += e.Packets[0] + e.Packets[1]
		k.sink.Close(e)
	}
	k.ended = k.ended[n:]
	if len(k.ended) == 0 {
		k.ended = nil
	}
}

// sweepPart does a part of a sweep that is due: it closes lives that have ended, n
// at most, or ends more of them.
func (k *Kernel) sweepPart(firstBefore uint64, n int) (err error) {
	switch {
	case len(k.ended) > 0:
		k.closeSome(n)
	case k.sweeping:
		k.sweeping, err = k.sweepSome(firstBefore)
	}
	return err
}

// sweepSome ends every life whose first packet came before firstBefore (us), as many
// as the list of marked lives holds, and those that packets have ended; more says
// that it did not get to all of them. A walk through the table takes time, so the
// list holds a part of the table that does not shrink as the table grows.
func (k *Kernel) sweepSome(firstBefore uint64) (more bool, err error) {
	limit := k.maps[gen.IotsenseMapMarked].MaxEntries()
	found, err := k.mark(firstBefore, limit)
	if err != nil {
		return false, err
	}
	ended := len(k.pending)
	if found.Marked == 0 && found.Gone == 0 && ended == 0 {
		return false, nil
	}
	if err := k.closing(1); err != nil {
		return false, err
	}
	// No program adds to a marked life from here on, and all samples of it,
	// and of those that had ended before, are in the ring.
	if err := k.grace.wait(); err != nil {
		return false, err
	}
	if err := k.read(time.Unix(1, 0)); err != nil {
		return false, err
	}
	k.ended = append(k.ended, k.pending[:ended]...)
	k.pending = append(k.pending[:0], k.pending[ended:]...)
	err = k.collect(found.Marked)
	if err := errors.Join(err, k.closing(0)); err != nil {
		return false, err
	}
	return k.stuck < maxStuck && (found.Marked == limit || found.Left > 0 || k.undeleted > 0), nil
}

// closing tells packets whether entries may be deleted under them (1) or not (0). It is
// set before the wait, so that whoever misses it is waited for.
func (k *Kernel) closing(on uint32) error {
	if err := k.variables["closing"].Set(on); err != nil {
		return fmt.Errorf("announce deletions to the programs: %w", err)
	}
	return nil
}

// mark runs the sweep program on lives whose first packet came before firstBefore
// (us); limit is how many it may mark, 0 makes it only look.
func (k *Kernel) mark(firstBefore uint64, limit uint32) (gen.IotsenseSweepArgs, error) {
	return k.runSweep(gen.IotsenseSweepArgs{FirstBeforeUs: firstBefore, FreedBeforeUs: k.forgetBefore(), Limit: limit})
}

// freeDirections lets other interfaces count what one that is gone has carried.
func (k *Kernel) freeDirections(ifindex int) error {
	_, err := k.runSweep(gen.IotsenseSweepArgs{GoneIfindex: uint32(ifindex)})
	return err
}

func (k *Kernel) runSweep(args gen.IotsenseSweepArgs) (gen.IotsenseSweepArgs, error) {
	if _, err := k.programs[gen.IotsenseProgIotsenseSweep].Run(&ebpf.RunOptions{Context: &args, ContextOut: &args}); err != nil {
		return args, fmt.Errorf("run the sweep program: %w", err)
	}
	return args, nil
}

// collect runs the collect program on the n lives that the sweep program has
// listed: they have ended.
func (k *Kernel) collect(n uint32) error {
	args := gen.IotsenseCollectArgs{Marked: n}
	if _, err := k.programs[gen.IotsenseProgIotsenseCollect].Run(&ebpf.RunOptions{Context: &args, ContextOut: &args}); err != nil {
		return fmt.Errorf("run the collect program: %w", err)
	}
	if n == 0 {
		return nil
	}
	if args.Collected < n && k.undeleted == 0 {
		k.log.Warn("the kernel could not delete every ended flow, they are tried again", "ended", n, "deleted", args.Collected)
	}
	k.undeleted = n - args.Collected
	k.stuck++
	if args.Collected > 0 {
		k.stuck = 0
	}
	var cursor ebpf.MapBatchCursor
	indices, lives := make([]uint32, n), make([]gen.IotsenseMarkedLife, n)
	got, err := k.maps[gen.IotsenseMapMarked].BatchLookup(&cursor, indices, lives, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read the marked lives: %w", err)
	}
	if got != int(n) {
		return fmt.Errorf("read the marked lives: %d of %d", got, n)
	}
	for _, l := range lives {
		if l.Flow.Life != 0 { // else the kernel could not delete it now: it stays marked
			k.ended = append(k.ended, k.closeOf(l.Flow))
		}
	}
	return nil
}

// flush detaches and ends every life.
func (k *Kernel) flush() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := errors.Join(k.watcher.Detach(), k.grace.wait(), k.read(time.Unix(1, 0)))
	for k.sweeping, k.stuck = true, 0; k.sweeping || len(k.ended) > 0; {
		if swept := k.sweepPart(math.MaxUint64, closeBatch); swept != nil {
			return errors.Join(err, swept)
		}
		k.mu.Unlock() // whoever asks meanwhile is answered
		k.mu.Lock()
	}
	if k.undeleted > 0 {
		err = errors.Join(err, fmt.Errorf("the kernel does not delete ended flows: %d or more have no record", k.undeleted))
	}
	return err
}
