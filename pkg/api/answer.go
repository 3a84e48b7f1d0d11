package api

// This file bounds how often answers are computed, and how many are given at once.

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// turn has who computes.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try takes it if nobody has it.
func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t }

// end returns when nobody has it from here on.
func (t turn) end() { t <- struct{}{} }

// shared is a value that all who ask meanwhile get from one computation: from one that
// has begun after their request came, or at most maxAge before.
type shared[T any] struct {
	compute func(context.Context) (T, error)
	maxAge  time.Duration

	turn  turn      // guards what follows
	begun time.Time // of the last computation
	took  time.Duration
	made  time.Time // when that of value began; zero: there is none
	value T
	err   error
}

func newShared[T any](maxAge time.Duration, compute func(context.Context) (T, error)) *shared[T] {
	return &shared[T]{compute: compute, maxAge: maxAge, turn: make(turn, 1)}
}

func (s *shared[T]) get(ctx context.Context) (none T, err error) {
	asked := time.Now()
	if err := s.turn.take(ctx); err != nil {
		return none, err
	}
	defer s.turn.give()
	if s.made.After(asked.Add(-s.maxAge)) {
		return s.value, s.err
	}
	wait(ctx, time.Until(s.begun.Add(min(max(apart, duty*s.took), apartMax))))
	if err := ctx.Err(); err != nil {
		return none, err
	}
	s.begun, s.made = time.Now(), time.Time{}
	value, err := s.compute(ctx)
	s.took = time.Since(s.begun)
	if err != nil && ctx.Err() != nil { // who asked has gone: nobody else's answer
		return none, ctx.Err()
	}
	s.made, s.value, s.err = s.begun, value, err
	time.AfterFunc(keepCopy, s.drop)
	return value, err
}

// renew has the next who asks get a new one.
func (s *shared[T]) renew(ctx context.Context) {
	if s.turn.take(ctx) != nil {
		return
	}
	defer s.turn.give()
	var none T
	s.value, s.made = none, time.Time{}
}

// drop frees an old copy.
func (s *shared[T]) drop() {
	if !s.turn.try() {
		return // a new one is being made, or there will be none
	}
	defer s.turn.give()
	if time.Since(s.made) >= keepCopy {
		var none T
		s.value, s.made = none, time.Time{}
	}
}

// text is an encoded answer.
type text struct {
	bytes  []byte
	left   int // flows that it is without
	status int // of HTTP; 0: 200
}

// encoded is ask's answer as JSON.
func encoded[T any](ask func(context.Context) (T, error)) func(context.Context) (text, error) {
	return func(ctx context.Context) (text, error) {
		v, err := ask(ctx)
		if err != nil {
			return text{}, err
		}
		b, err := json.Marshal(v)
		return text{bytes: b}, err
	}
}

// answer gives texts, of one kind, so many at once.
type answer struct {
	text func(context.Context, *http.Request) (text, error)
	kind string // of its content
	free *fair  // places of those given at once; nil: any number
	log  *quietLog
}

// ServeHTTP implements http.Handler: it gives one of the answers that may be given at once.
func (a *answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.enter(r.Context()) {
		busy(w)
		return
	}
	defer a.leave(r.Context(), time.Now())
	t, err := a.text(r.Context(), r)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.Header().Set("Content-Type", a.kind)
	if t.left > 0 {
		w.Header().Set(v1.LeftOutHeader, strconv.Itoa(t.left))
	}
	if t.status != 0 {
		w.WriteHeader(t.status)
	}
	if _, err := w.Write(t.bytes); err != nil {
		a.log.warn("answer not sent", "path", r.URL.Path, "error", err)
	}
}

// enter waits for a place among those who are answered.
func (a *answer) enter(ctx context.Context) bool {
	return a.free == nil || a.free.enter(ctx, nameOf(ctx), slotWait)
}

// leave gives the place to another, but not before its time.
func (a *answer) leave(ctx context.Context, since time.Time) {
	if a.free != nil {
		time.AfterFunc(slotHeld-time.Since(since), func() { a.free.leave(nameOf(ctx)) })
	}
}

// busy says that too many ask.
func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Connection", "close")
	http.Error(w, "too many ask at once: ask again", http.StatusServiceUnavailable)
}
