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
// goroutine; sink must not call back into the Sensor but for Epoch.
func (s *Sensor) Run(ctx context.Context, sink flows.Sink) error {
	s.setSink(sink)
	defer s.setSink(nil)
	stop := context.AfterFunc(ctx, func() { s.ring.Flush() }) // ends the wait for events
	defer stop()
	next := time.Now()
	for ctx.Err() == nil {
		if err := s.step(&next); err != nil {
			return err
		}
	}
	return s.flush()
}

func (s *Sensor) setSink(sink flows.Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink = sink
}

// step waits for events, then does what is due; next is when to sweep.
func (s *Sensor) step(next *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline := time.Now().Add(pollEvery)
	if next.Before(deadline) {
		deadline = *next
	}
	if err := s.poll(deadline); err != nil {
		return err
	}
	if time.Now().Before(*next) {
		return nil
	}
	*next = time.Now().Add(s.cfg.sweepEvery())
	s.readClock()
	s.followInterfaces()
	return s.sweep(s.oldest())
}

// oldest is the first stamp of a life that just reaches its end now.
func (s *Sensor) oldest() uint64 {
	return uint64(max(0, now(unix.CLOCK_BOOTTIME)-s.cfg.Lifetime.Nanoseconds()) / 1000)
}

// poll waits until deadline for events and delivers what is there. Lives that
// ended by rollover are closed one poll later: a sample that another CPU had
// taken before the rollover can come after it in the ring.
func (s *Sensor) poll(deadline time.Time) error {
	earlier := len(s.pending)
	if err := s.read(deadline); err != nil {
		return err
	}
	s.close(s.pending[:earlier])
	s.pending = append(s.pending[:0], s.pending[earlier:]...)
	return nil
}

// read delivers the events in the ring. It waits until deadline for the first
// one, and ends with what was there then: new events may come faster than it reads.
func (s *Sensor) read(deadline time.Time) error {
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

// close tells the sink of ended lives.
func (s *Sensor) close(lives []flows.Close) {
	for i := range lives {
		s.closed++
		s.inClosed += lives[i].Packets[0] + lives[i].Packets[1]
		s.sink.Close(&lives[i])
	}
}

// sweep ends every life whose first packet came before firstBefore (us).
func (s *Sensor) sweep(firstBefore uint64) error {
	limit := s.maps[markedMap].MaxEntries()
	for {
		marked, err := s.mark(firstBefore, limit)
		if err != nil || marked.Marked == 0 {
			return err
		}
		// No program adds to a marked life from here on, and all samples
		// of it are in the ring.
		if err := s.grace.wait(); err != nil {
			return err
		}
		if err := s.read(time.Unix(1, 0)); err != nil {
			return err
		}
		s.close(s.pending)
		s.pending = s.pending[:0]
		if err := s.collect(marked.Marked); err != nil {
			return err
		}
		if marked.Marked < limit {
			return nil
		}
	}
}

// mark runs the sweep program.
func (s *Sensor) mark(firstBefore uint64, limit uint32) (gen.IotsenseSweepArgs, error) {
	args := gen.IotsenseSweepArgs{FirstBeforeUs: firstBefore, Limit: limit, AltDeleted: s.altGone}
	if _, err := s.programs[sweepProgram].Run(&ebpf.RunOptions{Context: &args, ContextOut: &args}); err != nil {
		return args, fmt.Errorf("run the sweep program: %w", err)
	}
	s.altGone = 0
	return args, nil
}

// collect reads and deletes the n entries that the sweep program has listed.
func (s *Sensor) collect(n uint32) error {
	keys := make([]gen.IotsenseFlowKey, n)
	var cursor ebpf.MapBatchCursor
	indices := make([]uint32, n)
	got, err := s.maps[markedMap].BatchLookup(&cursor, indices, keys, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read the marked lives: %w", err)
	}
	if got != int(n) {
		return fmt.Errorf("read the marked lives: %d of %d", got, n)
	}
	for _, key := range keys {
		var f gen.IotsenseFlow
		if err := s.maps[flowsMap].LookupAndDelete(key, &f); err != nil {
			return fmt.Errorf("delete a marked life: %w", err)
		}
		s.altGone += uint64(key.Alt)
		s.close([]flows.Close{s.closeOf(key, f)})
	}
	return nil
}

// flush detaches and ends every life.
func (s *Sensor) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.detachAll(); err != nil {
		return err
	}
	if err := s.grace.wait(); err != nil {
		return err
	}
	if err := s.read(time.Unix(1, 0)); err != nil {
		return err
	}
	s.close(s.pending)
	s.pending = nil
	return s.sweep(math.MaxUint64)
}
