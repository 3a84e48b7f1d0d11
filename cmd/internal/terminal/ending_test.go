package terminal

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What signals do, at which time.
func TestWatch(t *testing.T) {
	type at struct {
		after  time.Duration
		signal syscall.Signal
	}
	const never = time.Hour
	for _, tt := range []struct {
		name    string
		inOrder bool
		signals []at
		diesAt  time.Duration // after the first; never: it may take its time
		hurried bool
	}{
		{"one that does not stop", false, []at{{0, syscall.SIGINT}}, endPatience, false},
		{"second one", false, []at{{0, syscall.SIGINT}, {time.Second, syscall.SIGINT}}, time.Second, false},
		{"one that undoes", true, []at{{0, syscall.SIGTERM}}, never, false},
		{"one that undoes, second one", true, []at{{0, syscall.SIGTERM}, {time.Minute, syscall.SIGTERM}}, time.Minute + hurriedPatience, true},
		{"the same twice", true, []at{{0, syscall.SIGTERM}, {time.Millisecond, syscall.SIGTERM}}, never, false},
		{"hang-ups", true, []at{{0, syscall.SIGHUP}, {time.Second, syscall.SIGHUP}}, never, false},
		{"terminated and hung up, as systemd does", true, []at{{0, syscall.SIGTERM}, {time.Second, syscall.SIGHUP}}, never, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal)
				ctx, stop := context.WithCancelCause(context.Background())
				hurry, atOnce := context.WithCancel(context.Background())
				died := make(chan time.Time)
				e := &ending{Hurry: hurry, die: func(error) { died <- time.Now(); runtime.Goexit() }}
				e.inOrder.Store(tt.inOrder)
				gone := make(chan struct{})
				go func() { e.watch(signals, stop, atOnce, gone) }()
				begin := time.Now()
				go func() {
					for _, s := range tt.signals {
						time.Sleep(time.Until(begin.Add(s.after)))
						select {
						case signals <- s.signal:
						case <-gone:
						}
					}
				}()
				select {
				case when := <-died:
					if when.Sub(begin) != tt.diesAt {
						t.Errorf("died after %v, want %v", when.Sub(begin), tt.diesAt)
					}
				case <-time.After(never):
					if tt.diesAt != never {
						t.Error("never died")
					}
				}
				close(gone)
				if ctx.Err() == nil || (hurry.Err() != nil) != tt.hurried {
					t.Errorf("stopped %v, hurried %v", ctx.Err(), hurry.Err())
				}
			})
		})
	}
}

// A stream whose reader does not read is given up once the command is to end.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		ctx, stop := context.WithCancel(context.Background())
		s := &stream{ctx: ctx, file: w}
		begin := time.Now()
		time.AfterFunc(time.Minute, stop)
		if _, err := s.Write([]byte("never read")); !errors.Is(err, errUnread) {
			t.Error(err)
		}
		if _, err := s.Write([]byte("never read")); !errors.Is(err, errUnread) {
			t.Error(err)
		}
		if took := time.Since(begin); took != time.Minute+writePatience {
			t.Errorf("given up after %v", took)
		}
		r.Close()
	})
}

// Lines that nobody reads are dropped, and the log says how many.
func TestPatientLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := NewPatientLog(w, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }, func(error) {})
		for n := range logQueue + 11 {
			l.Info("line", "n", n)
			synctest.Wait() // the first is being written
		}
		read := make(chan string)
		go func() { b, _ := io.ReadAll(r); read <- string(b) }()
		l.Close()
		w.Close()
		text := <-read
		if !strings.Contains(text, "10 lines of the log are missing here") || strings.Count(text, "msg=line") != logQueue+1 {
			t.Errorf("%d lines, ...%s", strings.Count(text, "\n"), text[len(text)-200:])
		}
	})
}
