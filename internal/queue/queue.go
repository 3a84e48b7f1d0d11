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

// Queue is safe for concurrent use.
type Queue[T any] struct {
	values  chan T
	dropped atomic.Uint64
	ended   chan struct{} // closed when the listener has got its last value

	mu     sync.Mutex // guards closed, and keeps the order of several producers
	closed bool
}

// New starts a queue of at most limit values in front of take, which is called
// from one goroutine of the queue's own; a value that it fails on is dropped. The
// caller must Close the queue.
func New[T any](limit int, take func(T) error) *Queue[T] {
	q := &Queue[T]{values: make(chan T, max(1, limit)), ended: make(chan struct{})}
	go func() {
		defer close(q.ended)
		for v := range q.values {
			if take(v) != nil {
				q.dropped.Add(1)
			}
		}
	}()
	return q
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
	for {
		select {
		case q.values <- v:
			return
		default:
		}
		select {
		case <-q.values:
			q.dropped.Add(1)
		default: // the listener has just taken one
		}
	}
}

// Dropped is how many values the listener has not got and never will.
func (q *Queue[T]) Dropped() uint64 { return q.dropped.Load() }

// Close takes no more values and waits until the listener has got those that are
// there, but no longer than within: then it drops the rest. The listener may still
// be at work on one value when it returns. It may be called more than once.
func (q *Queue[T]) Close(within time.Duration) {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.values)
	}
	q.mu.Unlock()
	select {
	case <-q.ended:
		return
	case <-time.After(within):
	}
	for range q.values {
		q.dropped.Add(1)
	}
}
