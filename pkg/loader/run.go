package loader

// This file is the sensor at work: read the ring, end lives, follow interfaces.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/clock"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// Run hands the events of lives to sink until ctx ends; then it detaches and
// closes every open life, so that sink has got everything, or leaves them to the next
// sensor (Config.Keep). Events come from one
// goroutine; sink must not call back into the Kernel but for Epoch. A sink that is a [Keeper]
// goes on where that of the sensor before was.
func (k *Kernel) Run(ctx context.Context, sink flows.Sink) error {
	if err := k.Begin(sink); err != nil {
		return err
	}
	defer k.setSink(nil)
	stop := context.AfterFunc(ctx, k.ring.Wake)
	defer stop()
	next := time.Now()
	for ctx.Err() == nil {
		if err := k.step(&next); err != nil {
			return errors.Join(err, k.flush())
		}
		k.steps.Add(1)
	}
	if k.ledger != nil && k.cfg.Keep() {
		err := k.leave()
		if err == nil {
			return nil
		}
		k.log.Error("nothing is kept for the next sensor", "error", err)
	}
	return k.flush()
}

// Begin has a sink go on where that of the sensor before was, which Run does first. Who answers
// for what both have counted, the kernel and the sink, begins before he answers.
func (k *Kernel) Begin(sink flows.Sink) error {
	if err := k.setSink(sink); err != nil {
		return errors.Join(err, k.flush())
	}
	return nil
}

// Progress is how often Run has read the ring and done what was due. It has Run do so, which
// has nothing to do for seconds otherwise: the next call returns more, unless Run is stuck.
func (k *Kernel) Progress() uint64 {
	defer k.ring.Wake()
	return k.steps.Load()
}

func (k *Kernel) setSink(sink flows.Sink) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sink = sink
	return k.resume()
}

// maxStuck is how many rounds of a sweep may delete nothing; the next one tries again.
const maxStuck = 3

// closeBatch is how many lives are closed between two looks at the ring, which
// fills up meanwhile.
const closeBatch = 256

// step waits for events, then does what is due; before next nothing is swept. It
// does a part of a sweep at most, so that the ring is read and others get the lock in between.
func (k *Kernel) step(next *time.Time) error {
	if err := k.wait(k.due(*next)); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	sweep := !time.Now().Before(*next)
	if k.clockSet.Swap(false) || sweep { // before what comes is given a time
		k.readClock()
	}
	before := len(k.pending)
	if err := k.read(); err != nil {
		return err
	}
	now := time.Now()
	if err := errors.Join(k.followTicks(now), k.follow(now)); err != nil {
		return err
	}
	oldest := k.oldest()
	if sweep {
		*next = now.Add(k.cfg.sweepEvery())
		k.sweeping = k.sweeping || len(k.pending) > 0 || oldest > k.unswept
		if err := k.watchRefusals(now); err != nil {
			return err
		}
	}
	// As many lives are closed as packets have ended meanwhile, or they would pile up.
	return k.sweepPart(oldest, max(closeBatch, len(k.pending)-before))
}

// due is when something else than events is: the next look, or a life that can be at its end,
// which is swept out no sooner than at next.
func (k *Kernel) due(next time.Time) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending) == 0 {
		left := time.Duration(k.unswept)*time.Microsecond + k.cfg.Lifetime - time.Duration(clock.Now(unix.CLOCK_BOOTTIME))
		if end := time.Now().Add(left); end.After(next) {
			next = end
		}
	}
	if look := k.looked.Add(k.lookEvery()); look.Before(next) {
		return look
	}
	return next
}

// wait returns when there are events, or something else is due, at next the latest.
func (k *Kernel) wait(next time.Time) error {
	if k.sweeping || len(k.ended) > 0 {
		return nil
	}
	return k.ring.Wait(next, object.WakeAfter)
}

// follow looks at the interfaces as soon as one of them or its addresses change or a
// program is no longer on one, and now and then all the same.
func (k *Kernel) follow(now time.Time) error {
	changed, gone := k.network.Changed()
	if !changed && now.Sub(k.looked) < k.lookEvery() {
		return nil
	}
	k.looked = now
	if !changed && now.Sub(k.lookedAll) < lookAll && k.watcher.Unmoved() {
		return nil
	}
	k.lookedAll = now
	k.watcher.Look(gone)
	return k.followHost()
}

// lookEvery is how often it is seen whether the programs are on the interfaces.
func (k *Kernel) lookEvery() time.Duration {
	if k.watcher.Linked() {
		return lookLinks
	}
	return lookEvery
}

// oldest is the first stamp of a life that just reaches its end now.
func (k *Kernel) oldest() uint64 {
	return uint64(max(0, clock.Now(unix.CLOCK_BOOTTIME)-k.cfg.Lifetime.Nanoseconds()) / 1000)
}

// read delivers the events that are in the ring.
func (k *Kernel) read() error {
	waited, err := k.ring.Each(k.deliver)
	k.mostWaiting = max(k.mostWaiting, waited)
	return err
}

// readAside is read for others than Run, which is woken where that has found lives that
// packets have ended: they are to be swept out.
func (k *Kernel) readAside() error {
	before := len(k.pending)
	err := k.read()
	if len(k.pending) > before {
		k.ring.Wake()
	}
	return err
}

// closeSome tells the sink of ended lives, n at most.
func (k *Kernel) closeSome(n int) {
	n = min(n, len(k.ended))
	names := k.watcher.ByIndex()
	for i := range k.ended[:n] {
		e := &k.ended[i]
		e.Interface.Name = names[e.Interface.Index]
		k.closed++
		k.inClosed += e.Packets[0] + e.Packets[1]
		k.sink.Close(e)
		k.noteSink()
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
	begun := uint64(clock.Now(unix.CLOCK_BOOTTIME) / 1000)
	found, err := k.mark(firstBefore, limit)
	if err != nil {
		return false, err
	}
	ended := len(k.pending)
	k.unswept = 0
	if found.Marked == 0 && found.Gone == 0 && ended == 0 {
		k.unswept = min(found.OldestUs, begun)
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
	if err := k.read(); err != nil {
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
	k.ledger.Set(atCollecting, uint64(n))
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
	return k.readCollected(n)
}

// readCollected takes the lives that the collect program has deleted, of the n first in the list.
func (k *Kernel) readCollected(n uint32) error {
	var cursor ebpf.MapBatchCursor
	indices, lives := make([]uint32, n), make([]gen.IotsenseMarkedLife, n)
	got, err := k.maps[gen.IotsenseMapMarked].BatchLookup(&cursor, indices, lives, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read the marked lives: %w", err)
	}
	if got != int(n) {
		return fmt.Errorf("read the marked lives: %d of %d", got, n)
	}
	before := len(k.ended)
	for _, l := range lives {
		if l.Flow.Life != 0 { // else the kernel could not delete it now: it stays marked
			k.ended = append(k.ended, k.closeOf(l.Flow))
		}
	}
	k.note(k.ended[before:])
	return nil
}

// flush detaches and ends every life.
func (k *Kernel) flush() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := errors.Join(k.watcher.Detach(), k.grace.wait(), k.read())
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
