// Package queue stands between who must not wait and who may take its time: a
// producer that reads the kernel's ring and a listener that writes to a pipe. In
// go values, out they come in their order, each to one call of the listener. When
// the listener is behind by more than the queue holds, the oldest make room.
package queue

import (
	"sync"
	"sync/atomic"
	"time"
)

// Queue is safe for concurrent use. It takes the memory of what waits, not of what could.
type Queue[T any] struct {
	limit   int
	dropped atomic.Uint64
	some    chan struct{} // there is a value, or the end
	ended   chan struct{} // closed when the listener has got its last value

	mu     sync.Mutex // guards the rest
	values []T
	closed bool
}

// New starts a queue of at most limit values in front of take, which is called
// from one goroutine of the queue's own; a value that it fails on is dropped. The
// caller must Close the queue.
func New[T any](limit int, take func(T) error) *Queue[T] {
	q := &Queue[T]{limit: max(1, limit), some: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(q.ended)
		for v, ok := q.next(); ok; v, ok = q.next() {
			if take(v) != nil {
				q.dropped.Add(1)
			}
		}
	}()
	return q
}

// next waits for a value; false: there will be none any more.
func (q *Queue[T]) next() (v T, ok bool) {
	for {
		q.mu.Lock()
		closed := q.closed
		if ok = len(q.values) > 0; ok {
			v = q.values[0]
			q.cut(1)
		}
		q.mu.Unlock()
		if ok || closed {
			return v, ok
		}
		<-q.some
	}
}

// cut removes the n oldest values.
func (q *Queue[T]) cut(n int) {
	clear(q.values[:n]) // what they refer to is free, though their place is not yet
	if q.values = q.values[n:]; len(q.values) == 0 {
		q.values = nil
	}
}

// Put adds a value. It never waits: a full queue drops its oldest value, a closed
// one this value.
func (q *Queue[T]) Put(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.dropped.Add(1)
		return
	}
	if len(q.values) == q.limit {
		q.cut(1)
		q.dropped.Add(1)
	}
	q.values = append(q.values, v)
	q.wake()
}

func (q *Queue[T]) wake() {
	select {
	case q.some <- struct{}{}:
	default: // the listener has not seen the last one yet
	}
}

// Dropped is how many values the listener has not got and never will.
func (q *Queue[T]) Dropped() uint64 { return q.dropped.Load() }

// Close takes no more values and waits until the listener has got those that are
// there, but no longer than within: then it drops the rest. The listener may still
// be at work on one value when it returns. It may be called more than once.
func (q *Queue[T]) Close(within time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
	select {
	case <-q.ended:
		return
	case <-time.After(within):
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped.Add(uint64(len(q.values)))
	q.cut(len(q.values))
}
