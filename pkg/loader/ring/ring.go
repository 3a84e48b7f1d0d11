// Package ring reads the events that the programs write, and waits for them.
package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Reader reads a ring (kernel/bpf/ringbuf.c). Wake is for any goroutine, Wait for one; of
// the other methods one is called at a time.
//
// It waits for the programs to wake it (bpf/wake.h) in Go's poller, not in a system call of its
// own: for ten milliseconds after each of these Go's scheduler looks every few microseconds
// whether the thread has come back, and that was a quarter of what a sensor cost that had
// nothing to do. It maps a part of the ring at a time: all of it, as libraries do, is twice its
// size in the process's memory.
type Reader struct {
	size     uint64
	fd       int      // the ring's map
	file     *os.File // the same
	conn     syscall.RawConn
	consumer []byte // pages, each with a position, which counts bytes without end
	producer []byte
	window   []byte // of the ring's bytes
	from     uint64 // the window's position
	woken    atomic.Bool
	closed   bool
}

// window is how much of a ring is mapped at most: a multiple of every page size. Of a small
// ring it is a page more than there is, as an event may begin at the end of the first page.
const window = 256 << 10

// Open reads the ring of m. The caller must Close it.
func Open(m *ebpf.Map) (*Reader, error) {
	r := &Reader{size: uint64(m.MaxEntries())}
	var err error
	if r.fd, err = unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		err = unix.SetNonblock(r.fd, true) // else Go does not poll it
		r.file = os.NewFile(uintptr(r.fd), "ring buffer")
	}
	if err == nil {
		r.conn, err = r.file.SyscallConn()
	}
	page := os.Getpagesize()
	if err == nil {
		r.consumer, err = unix.Mmap(r.fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		r.producer, err = unix.Mmap(r.fd, int64(page), page, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err == nil {
		err = r.moveWindow()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), r.Close())
	}
	return r, nil
}

// position is the number in one of the first two pages.
func position(page []byte) *uint64 { return (*uint64)(unsafe.Pointer(&page[0])) }

// moveWindow maps the ring from where it is read on. The kernel has the ring's pages twice in
// a row, so that nothing in them breaks off at the end.
func (r *Reader) moveWindow() error {
	if err := unmap(&r.window); err != nil {
		return err
	}
	from, at, length := place(atomic.LoadUint64(position(r.consumer)), r.size, uint64(os.Getpagesize()))
	mapped, err := unix.Mmap(r.fd, int64(at), length, unix.PROT_READ, unix.MAP_SHARED)
	r.from, r.window = from, mapped
	return err
}

// place is where the window on a ring of so many bytes begins for who reads on at a position,
// where that is in the ring's file, and how long it is.
func place(position, size, page uint64) (from, at uint64, length int) {
	from = position &^ (page - 1)
	return from, 2*page + from&(size-1), int(min(window, size+page))
}

// unmap unmaps memory, once.
func unmap(memory *[]byte) error {
	if *memory == nil {
		return nil
	}
	err := unix.Munmap(*memory)
	*memory = nil
	return err
}

// Wait returns when the programs have woken the reader, or Wake has, and at until at the
// latest, or after poll if there are events already: the programs may have woken it for them
// before it waited.
func (r *Reader) Wait(until time.Time, poll time.Duration) error {
	most := 1 // byte waiting
	if r.Waiting() > 0 {
		most = r.Size() / 4
		if soon := time.Now().Add(poll); soon.Before(until) {
			until = soon
		}
	}
	if err := r.file.SetReadDeadline(until); err != nil {
		return fmt.Errorf("wait for the ring buffer: %w", err)
	}
	looks := 0
	err := r.conn.Read(func(uintptr) bool { // called at first, and when the programs have woken it
		looks++
		return r.woken.Swap(false) || looks > 1 || r.Waiting() >= most
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for the ring buffer: %w", err)
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
	at := atomic.LoadUint64(position(r.consumer))
	for end := at + uint64(waiting); at < end; {
		event, discarded, err := r.event(at)
		if err != nil {
			return waiting, fmt.Errorf("read the ring buffer: %w", err)
		}
		if !discarded {
			err = take(event)
		}
		at += uint64(unix.BPF_RINGBUF_HDR_SZ+len(event)+7) &^ 7
		atomic.StoreUint64(position(r.consumer), at) // the kernel may overwrite it now
		if err != nil {
			return waiting, err
		}
	}
	return waiting, nil
}

// event is what is at a position, as soon as its program has finished it.
func (r *Reader) event(at uint64) (event []byte, discarded bool, err error) {
	head, err := r.bytes(at, unix.BPF_RINGBUF_HDR_SZ)
	if err != nil {
		return nil, false, err
	}
	word := (*uint32)(unsafe.Pointer(&head[0]))
	size := atomic.LoadUint32(word)
	for size&unix.BPF_RINGBUF_BUSY_BIT != 0 {
		runtime.Gosched()
		size = atomic.LoadUint32(word)
	}
	discarded = size&unix.BPF_RINGBUF_DISCARD_BIT != 0
	event, err = r.bytes(at+unix.BPF_RINGBUF_HDR_SZ, int(size&^unix.BPF_RINGBUF_DISCARD_BIT))
	return event, discarded, err
}

// bytes are n of those from a position on that is being read, valid until the next call.
func (r *Reader) bytes(at uint64, n int) ([]byte, error) {
	if at+uint64(n) > r.from+uint64(len(r.window)) {
		if err := r.moveWindow(); err != nil {
			return nil, err
		}
	}
	from := at - r.from
	if from+uint64(n) > uint64(len(r.window)) {
		return nil, fmt.Errorf("an event of %d bytes", n)
	}
	return r.window[from : from+uint64(n)], nil
}

// Waiting is how many bytes are in the ring.
func (r *Reader) Waiting() int {
	return int(atomic.LoadUint64(position(r.producer)) - atomic.LoadUint64(position(r.consumer)))
}

// Size is the ring's, in bytes.
func (r *Reader) Size() int { return int(r.size) }

// Close ends waiting and frees the reader.
func (r *Reader) Close() error {
	r.closed = true
	var err error
	if r.file != nil {
		err = r.file.Close() // returns when nobody looks at the ring to wait any more
	}
	return errors.Join(err, unmap(&r.window), unmap(&r.producer), unmap(&r.consumer))
}
