// Package ring reads the events that the programs write, and waits for them.
package ring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Reader reads a ring. Wake is for any goroutine, Wait for one; of the other methods one is
// called at a time.
//
// It waits in Go's poller, not in a system call of its own: for ten milliseconds after each
// of these Go's scheduler looks every few microseconds whether the thread has come back, and
// that was a quarter of what a sensor cost that had nothing to do.
type Reader struct {
	ring   *ringbuf.Reader
	asleep *ebpf.Variable // bpf/maps.h
	file   *os.File       // the ring's map
	conn   syscall.RawConn
	sleeps bool // asleep is set
	woken  atomic.Bool
	closed bool
	record ringbuf.Record
}

// Open reads the ring of m, whose programs wake the reader for any event while asleep is
// set. The caller must Close it.
func Open(m *ebpf.Map, asleep *ebpf.Variable) (*Reader, error) {
	r := &Reader{asleep: asleep}
	var err error
	if r.ring, err = ringbuf.NewReader(m); err != nil {
		return nil, fmt.Errorf("open the ring buffer: %w", err)
	}
	r.ring.SetDeadline(time.Unix(1, 0)) // reading never waits
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // else Go does not poll it
		r.file = os.NewFile(uintptr(fd), "ring buffer")
	}
	if err == nil {
		r.conn, err = r.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("poll the ring buffer: %w", err), r.Close())
	}
	return r, nil
}

// Wait returns when the programs have woken the reader, or Wake has, and at until at the
// latest. With sleep the programs do for any event, else when a part of the ring is filled.
func (r *Reader) Wait(until time.Time, sleep bool) error {
	if err := r.setAsleep(sleep); err != nil {
		return err
	}
	if err := r.file.SetReadDeadline(until); err != nil {
		return fmt.Errorf("wait for the ring buffer: %w", err)
	}
	most := 1 // byte waiting: who sets asleep is woken for what comes from then on
	if !sleep {
		most = r.ring.BufferSize() / 4
	}
	looks, waiting := 0, 0
	err := r.conn.Read(func(uintptr) bool { // called at first, and when the programs have woken it
		looks++
		waiting = r.ring.AvailableBytes()
		return r.woken.Swap(false) || looks > 1 || waiting >= most
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for the ring buffer: %w", err)
	}
	if waiting > 0 {
		return r.setAsleep(false) // one wakeup is enough
	}
	return nil
}

func (r *Reader) setAsleep(sleep bool) error {
	if sleep == r.sleeps {
		return nil
	}
	r.sleeps = sleep
	word := uint32(0)
	if sleep {
		word = 1
	}
	if err := r.asleep.Set(word); err != nil {
		return fmt.Errorf("tell the programs when to wake the reader: %w", err)
	}
	return nil
}

// Wake ends the Wait that is going on, or the next one.
func (r *Reader) Wake() {
	r.woken.Store(true)
	_ = r.file.SetReadDeadline(time.Unix(1, 0)) // fails when it is closed, and nobody waits
}

// Each gives take the events that are in the ring now; one is valid during the call. New
// ones may come faster than they are taken, and are left. It returns how many bytes waited.
func (r *Reader) Each(take func(event []byte) error) (waiting int, err error) {
	if r.closed {
		return 0, fmt.Errorf("read the ring buffer: %w", os.ErrClosed)
	}
	waiting = r.Waiting()
	for budget := waiting; budget > 0; {
		err := r.ring.ReadInto(&r.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // what waited was discarded
		}
		if err != nil {
			return waiting, fmt.Errorf("read the ring buffer: %w", err)
		}
		const head = 8 // of a ring record, which is padded to 8 bytes
		budget -= (len(r.record.RawSample) + head + 7) &^ 7
		if err := take(r.record.RawSample); err != nil {
			return waiting, err
		}
	}
	return waiting, nil
}

// Waiting is how many bytes are in the ring.
func (r *Reader) Waiting() int { return r.ring.AvailableBytes() }

// Size is the ring's, in bytes.
func (r *Reader) Size() int { return r.ring.BufferSize() }

// Close ends waiting and frees the reader.
func (r *Reader) Close() error {
	r.closed = true
	var err error
	if r.file != nil {
		err = r.file.Close() // returns when nobody looks at the ring to wait any more
	}
	return errors.Join(err, r.ring.Close())
}
