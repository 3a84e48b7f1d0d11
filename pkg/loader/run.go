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
)

// Run hands the events of lives to sink until ctx ends; then it detaches and
// closes every open life, so that sink has got everything. Events come from one
// goroutine; sink must not call back into Kernel but for Epoch.
func (s *Kernel) Run(ctx context.Context, sink flows.Sink) error {
	s.setSink(sink)
	defer s.setSink(nil)
	stop := context.AfterFunc(ctx, func() { s.ring.Flush() }) // ends the wait for events
	defer stop()
	next := time.Now()
	for ctx.Err() == nil {
		if err := s.step(&next); err != nil {
			return errors.Join(err, s.flush())
		}
	}
	return s.flush()
}

func (s *Kernel) setSink(sink flows.Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink = sink
}

// closeBatch is how many lives are closed between two looks at the ring, which
// fills up meanwhile.
const closeBatch = 256

// step waits for events, then does what is due; next is when to sweep. It does a
// part of a sweep at most, so that the ring is read and others get the lock in between.
func (s *Kernel) step(next *time.Time) error {
	s.gate.Lock() // whoever waits for mu has it first
	s.mu.Lock()
	s.gate.Unlock()
	defer s.mu.Unlock()
	before := len(s.pending)
	if err := s.read(s.deadline(*next)); err != nil {
		return err
	}
	if err := s.followSuspend(); err != nil {
		return err
	}
	if err := s.follow(time.Now()); err != nil {
		return err
	}
	if !time.Now().Before(*next) {
		*next = time.Now().Add(s.cfg.sweepEvery())
		s.sweeping = true
		s.readClock()
		if err := s.watchRefusals(time.Now()); err != nil {
			return err
		}
	}
	// As many lives are closed as packets have ended meanwhile, or they would pile up.
	return s.sweepPart(s.oldest(), max(closeBatch, len(s.pending)-before))
}

// deadline is until when to wait for events if the next sweep is due then.
func (s *Kernel) deadline(next time.Time) time.Time {
	if s.sweeping || len(s.ended) > 0 {
		return time.Unix(1, 0)
	}
	if poll := time.Now().Add(pollEvery); poll.Before(next) {
		return poll
	}
	return next
}

// follow looks at the interfaces as soon as one of them or its addresses change, and
// each second all the same: of what others do to programs there is no word.
func (s *Kernel) follow(now time.Time) error {
	changed, gone := s.network.changed()
	if !changed && now.Sub(s.looked) < lookEvery {
		return nil
	}
	s.looked = now
	return s.look(gone)
}

// oldest is the first stamp of a life that just reaches its end now.
func (s *Kernel) oldest() uint64 {
	return uint64(max(0, now(unix.CLOCK_BOOTTIME)-s.cfg.Lifetime.Nanoseconds()) / 1000)
}

// read delivers the events in the ring. It waits until deadline for the first
// one, and ends with what was there then: new events may come faster than it reads.
func (s *Kernel) read(deadline time.Time) error {
	s.ring.SetDeadline(deadline)
	budget := -1
	for budget != 0 {
		err := s.ring.ReadInto(&s.record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the ring buffer: %w", err)
		}
		if budget < 0 {
			budget = s.ring.AvailableBytes()
			s.ring.SetDeadline(time.Unix(1, 0)) // no more waiting
		} else {
			const head = 8 // of a ring record, which is padded to 8 bytes
			budget = max(0, budget-(len(s.record.RawSample)+head+7)&^7)
		}
		if err := s.deliver(s.record.RawSample); err != nil {
			return err
		}
	}
	return nil
}

// closeSome tells the sink of ended lives, n at most.
func (s *Kernel) closeSome(n int) {
	n = min(n, len(s.ended))
	for i := range s.ended[:n] {
		e := &s.ended[i]
		s.closed++
		s.inClosed += e.Packets[0] + e.Packets[1]
		s.sink.Close(e)
	}
	s.ended = s.ended[n:]
	if len(s.ended) == 0 {
		s.ended = nil
	}
}

// sweepPart does a part of a sweep that is due: it closes lives that have ended, n
// at most, or ends more of them.
func (s *Kernel) sweepPart(firstBefore uint64, n int) (err error) {
	switch {
	case len(s.ended) > 0:
		s.closeSome(n)
	case s.sweeping:
		s.sweeping, err = s.sweepSome(firstBefore)
	}
	return err
}

// sweep does all of one.
func (s *Kernel) sweep(firstBefore uint64) error {
	for s.sweeping = true; s.sweeping || len(s.ended) > 0; {
		if err := s.sweepPart(firstBefore, closeBatch); err != nil {
			return err
		}
	}
	return nil
}

// sweepSome ends every life whose first packet came before firstBefore (us), as many
// as the list of marked lives holds, and those that packets have ended; more says
// that it did not get to all of them. A walk through the table takes time, so the
// list holds a part of the table that does not shrink as the table grows.
func (s *Kernel) sweepSome(firstBefore uint64) (more bool, err error) {
	limit := s.maps[markedMap].MaxEntries()
	found, err := s.mark(firstBefore, limit)
	if err != nil {
		return false, err
	}
	ended := len(s.pending)
	if found.Marked == 0 && found.Gone == 0 && ended == 0 {
		return false, nil
	}
	if err := s.closing(true); err != nil {
		return false, err
	}
	// No program adds to a marked life from here on, and all samples of it,
	// and of those that had ended before, are in the ring.
	if err := s.grace.wait(); err != nil {
		return false, err
	}
	if err := s.read(time.Unix(1, 0)); err != nil {
		return false, err
	}
	s.ended = append(s.ended, s.pending[:ended]...)
	s.pending = append(s.pending[:0], s.pending[ended:]...)
	err = s.collect(found.Marked)
	if err := errors.Join(err, s.closing(false)); err != nil {
		return false, err
	}
	return found.Marked == limit || found.Left > 0, nil
}

// closing tells packets whether entries may be deleted under them. It is set before
// the wait, so that whoever misses it is waited for.
func (s *Kernel) closing(on bool) error {
	value := uint32(0)
	if on {
		value = 1
	}
	if err := s.variables["closing"].Set(value); err != nil {
		return fmt.Errorf("announce deletions to the programs: %w", err)
	}
	return nil
}

// mark runs the sweep program on lives whose first packet came before firstBefore
// (us); limit is how many it may mark, 0 makes it only look.
func (s *Kernel) mark(firstBefore uint64, limit uint32) (gen.IotsenseSweepArgs, error) {
	return s.runSweep(gen.IotsenseSweepArgs{FirstBeforeUs: firstBefore, FreedBeforeUs: s.forgetBefore(), Limit: limit})
}

// freeDirections lets other interfaces count what one that is gone has carried.
func (s *Kernel) freeDirections(ifindex int) error {
	_, err := s.runSweep(gen.IotsenseSweepArgs{GoneIfindex: uint32(ifindex)})
	return err
}

func (s *Kernel) runSweep(args gen.IotsenseSweepArgs) (gen.IotsenseSweepArgs, error) {
	if _, err := s.programs[sweepProgram].Run(&ebpf.RunOptions{Context: &args, ContextOut: &args}); err != nil {
		return args, fmt.Errorf("run the sweep program: %w", err)
	}
	return args, nil
}

// collect runs the collect program on the n lives that the sweep program has
// listed: they have ended.
func (s *Kernel) collect(n uint32) error {
	args := gen.IotsenseCollectArgs{Marked: n}
	if _, err := s.programs[collectProgram].Run(&ebpf.RunOptions{Context: &args, ContextOut: &args}); err != nil {
		return fmt.Errorf("run the collect program: %w", err)
	}
	if n == 0 {
		return nil
	}
	if args.Collected < n {
		s.log.Warn("the kernel could not delete every ended flow, they are tried again", "ended", n, "deleted", args.Collected)
	}
	var cursor ebpf.MapBatchCursor
	indices, lives := make([]uint32, n), make([]gen.IotsenseMarkedLife, n)
	got, err := s.maps[markedMap].BatchLookup(&cursor, indices, lives, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read the marked lives: %w", err)
	}
	if got != int(n) {
		return fmt.Errorf("read the marked lives: %d of %d", got, n)
	}
	for _, l := range lives {
		if l.Flow.Life != 0 { // else the kernel could not delete it now: it stays marked
			s.ended = append(s.ended, s.closeOf(l.Key, l.Flow))
		}
	}
	return nil
}

// flush detaches and ends every life.
func (s *Kernel) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.Join(s.detachAll(), s.grace.wait(), s.read(time.Unix(1, 0)))
	for s.sweeping = true; s.sweeping || len(s.ended) > 0; {
		if swept := s.sweepPart(math.MaxUint64, closeBatch); swept != nil {
			return errors.Join(err, swept)
		}
		s.mu.Unlock() // whoever asks meanwhile is answered
		s.mu.Lock()
	}
	return err
}
