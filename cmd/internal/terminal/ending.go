package terminal

// This file ends a command before it is done: signals, readers that have gone away,
// readers that do not read.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/internal/wholefile"
)

const (
	// endPatience is how long a command may take to end after the first signal,
	// unless it is undoing or saving something.
	endPatience = 1500 * time.Millisecond
	// hurriedPatience is how long that may take after the second signal.
	hurriedPatience = 1500 * time.Millisecond
	// sameSignal is how close two signals are that one act sends twice, as
	// timeout(1) and a terminal do.
	sameSignal = 100 * time.Millisecond
	// writePatience is how long a reader may keep a command waiting at its end.
	writePatience = time.Second
	// logQueue is how many lines of the log wait for standard error.
	logQueue = 1024
)

// ending is how a command is told to end: in order, then at once.
type ending struct {
	Hurry   context.Context // ends with the second signal
	inOrder atomic.Bool     // the command has something to undo or to save, see undoes
	hears   atomic.Bool     // the command takes hang-ups as word to it, see Hangups
	hangups chan struct{}   // holds one of them
	die     func(error)     // ends the process; does not return
}

type endingKey struct{}

// EndingOf is the ending of the command that ctx is of.
func EndingOf(ctx context.Context) *ending {
	if e, ok := ctx.Value(endingKey{}).(*ending); ok {
		return e
	}
	return &ending{Hurry: context.Background()}
}

// Undoes says that from here on the command needs its time to end: it makes state in
// the kernel, or saves what it has learned. The error is that it is to end already.
func Undoes(ctx context.Context) error {
	EndingOf(ctx).inOrder.Store(true)
	return ctx.Err()
}

// Hangups has SIGHUP be word to the command, which does not end by it, and returns where it
// comes. Where a terminal can hang up (one controls the process), it goes on to end it.
func Hangups(ctx context.Context) <-chan struct{} {
	e := EndingOf(ctx)
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
	} else {
		e.hears.Store(true)
	}
	return e.hangups
}

// heard reports whether s is word to the command, and passes it on.
func (e *ending) heard(s os.Signal) bool {
	if s != syscall.SIGHUP || !e.hears.Load() {
		return false
	}
	select {
	case e.hangups <- struct{}{}:
	default: // one waits already
	}
	return true
}

// withEnding returns a context that the first signal ends, with an ending.
func withEnding(parent context.Context) context.Context {
	// A second Ctrl-\ or the abort of a watchdog has its stack dump, by the runtime.
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, ends...)
	// Caught, so that a write to a pipe without a reader fails, and does not kill;
	// not ignored, which children would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	hurry, atOnce := context.WithCancel(context.WithoutCancel(parent))
	e := &ending{Hurry: hurry, hangups: make(chan struct{}, 1), die: die}
	ctx, stop := context.WithCancelCause(context.WithValue(parent, endingKey{}, e))
	go e.watch(signals, stop, atOnce, nil)
	return ctx
}

// watch ends the command, and the process where the command does not end. It returns
// when gone is closed, which never happens outside tests.
func (e *ending) watch(signals <-chan os.Signal, stop context.CancelCauseFunc, atOnce context.CancelFunc, gone <-chan struct{}) {
	s := <-signals
	for e.heard(s) {
		s = <-signals
	}
	cause := signalled{s}
	stop(cause)
	first, patience := time.Now(), time.After(endPatience)
	for {
		select {
		case <-gone:
			return
		case s = <-signals:
			// A closed terminal hangs up once for the shell and once for the kernel.
			if s == syscall.SIGHUP || time.Since(first) < sameSignal || e.Hurry.Err() != nil {
				continue
			}
			if !e.inOrder.Load() {
				e.die(cause)
			}
			atOnce()
			patience = time.After(hurriedPatience)
		case <-patience:
			if !e.inOrder.Load() || e.Hurry.Err() != nil {
				e.die(cause)
			}
		}
	}
}

// signalled is why a command ends.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return fmt.Sprintf("%v signal received", s.Signal) }

// Terminated reports whether ctx, of a command, has ended by SIGTERM, as a service manager
// ends it.
func Terminated(ctx context.Context) bool {
	var s signalled
	return errors.As(context.Cause(ctx), &s) && s.Signal == syscall.SIGTERM
}

// die ends the process as a failed command does.
func die(cause error) {
	wholefile.Abandon()
	Say("%s", cause)
	os.Exit(ExitFailed)
}

var (
	errUnread   = errors.New("nobody reads it")
	ErrLeftover = errors.New("its reader is gone")
)

// stream is standard output or standard error. Once ctx has ended, a write that does
// not get on is given up, and so is all that comes later.
type stream struct {
	ctx     context.Context
	file    io.Writer
	journal bool // a reader that goes away is no reason to end

	mu    sync.Mutex
	stuck bool
}

// NewStream is standard output or standard error, for as long as ctx.
func NewStream(ctx context.Context, f *os.File) *stream {
	info, err := f.Stat()
	return &stream{ctx: ctx, file: f, journal: err == nil && info.Mode().Type() == fs.ModeSocket}
}

// Write implements io.Writer. It is ErrLeftover when the reader has gone away.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck {
		return 0, errUnread
	}
	var n int
	var err error
	done := make(chan struct{})
	b = slices.Clone(b) // the write may go on when this one has returned
	go func() {
		n, err = s.file.Write(b)
		close(done)
	}()
	select {
	case <-done:
	case <-s.ctx.Done():
		select {
		case <-done:
		case <-time.After(writePatience):
			s.stuck = true
			return 0, errUnread
		}
	}
	if errors.Is(err, syscall.EPIPE) && !s.journal {
		err = fmt.Errorf("%w: %w", ErrLeftover, err)
	}
	return n, err
}

// patientLog is a log that never keeps waiting whoever writes to it.
type patientLog struct {
	*slog.Logger
	w     io.Writer
	lines *queue.Queue[func() error]
	form  form
}

// form is a handler that can be another one later, but for loggers that were made of it.
type form struct{ atomic.Pointer[slog.Handler] }

func (f *form) Enabled(ctx context.Context, l slog.Level) bool  { return (*f.Load()).Enabled(ctx, l) }
func (f *form) Handle(ctx context.Context, r slog.Record) error { return (*f.Load()).Handle(ctx, r) }
func (f *form) WithAttrs(attrs []slog.Attr) slog.Handler        { return (*f.Load()).WithAttrs(attrs) }
func (f *form) WithGroup(name string) slog.Handler              { return (*f.Load()).WithGroup(name) }

// NewPatientLog logs to w, in the form that handler gives lines; gone is called when its
// reader has gone away.
func NewPatientLog(w io.Writer, handler func(io.Writer) slog.Handler, gone func(error)) *patientLog {
	l := &patientLog{}
	l.w = w
	var told uint64
	l.lines = queue.New(logQueue, func(put func() error) error {
		err := put()
		if n := l.lines.Dropped(); n > told && err == nil {
			_, err = fmt.Fprintf(w, "iotsense: %d lines of the log are missing here, nobody read them\n", n-told)
			told = n
		}
		if errors.Is(err, ErrLeftover) {
			gone(err)
		}
		return err
	})
	l.Logger = slog.New(&l.form)
	l.SetForm(handler)
	return l
}

// SetForm gives lines the form that handler gives them, from the next one on.
func (l *patientLog) SetForm(handler func(io.Writer) slog.Handler) {
	h := handler(l)
	l.form.Store(&h)
}

// Write implements io.Writer for the handler: a line at a time.
func (l *patientLog) Write(line []byte) (int, error) {
	line = slices.Clone(line)
	l.Later(func() error {
		_, err := l.w.Write(line)
		return err
	})
	return len(line), nil
}

// Later puts a line that goes elsewhere, by a call that may wait.
func (l *patientLog) Later(put func() error) { l.lines.Put(put) }

// Close gives standard error the time to take the last lines.
func (l *patientLog) Close() { l.lines.Close(writePatience) }
