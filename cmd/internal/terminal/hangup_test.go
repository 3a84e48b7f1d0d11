package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// Hang-ups are word to who asks for them; every other signal ends it all the same.
func TestHangupsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals, gone := make(chan os.Signal), make(chan struct{})
		ctx, stop := context.WithCancelCause(t.Context())
		e := &ending{Hurry: t.Context(), hangups: make(chan struct{}, 1)}
		e.inOrder.Store(true)
		e.hears.Store(true)
		go e.watch(signals, stop, func() {}, gone)
		for range 3 {
			signals <- syscall.SIGHUP
		}
		synctest.Wait()
		if ctx.Err() != nil || len(e.hangups) != 1 {
			t.Errorf("ended: %v, %d hang-ups wait", ctx.Err(), len(e.hangups))
		}
		signals <- syscall.SIGTERM
		synctest.Wait()
		if cause := context.Cause(ctx); cause == nil || cause.Error() != "terminated signal received" {
			t.Error(cause)
		}
		close(gone)
	})
}

// waits says that the test binary is to be a command that asks for hang-ups.
const waits = "IOTSENSE_TEST_WAITS"

// A terminal that is closed ends its command, which without one hears of SIGHUP.
func TestClosedTerminal(t *testing.T) {
	if os.Getenv(waits) != "" {
		ctx := withEnding(context.Background())
		heard := Hangups(ctx)
		fmt.Print("ready")
		select {
		case <-heard:
			os.Exit(3)
		case <-ctx.Done():
			os.Exit(4)
		}
	}
	for _, tt := range []struct {
		name   string
		on     bool // a terminal
		status int
	}{{"terminal", true, 4}, {"none", false, 3}} {
		t.Run(tt.name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestClosedTerminal$")
			c.Env = append(os.Environ(), waits+"=1")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			hangUp := func() error { return c.Process.Signal(syscall.SIGHUP) }
			if tt.on {
				master, slave := pty(t)
				c.Stdin, c.SysProcAttr.Setctty = slave, true
				hangUp = master.Close
			}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
				t.Fatal(err)
			}
			if err := hangUp(); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != tt.status {
				t.Errorf("%v, want status %d", err, tt.status)
			}
		})
	}
}

func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// A log can get another form between two lines.
func TestLogForm(t *testing.T) {
	var text strings.Builder
	l := NewPatientLog(&text, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }, func(error) {})
	l.Info("one")
	l.SetForm(func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) })
	l.Info("two")
	l.Close()
	if got := text.String(); !strings.Contains(got, "msg=one\n{") || !strings.Contains(got, `"msg":"two"`) {
		t.Error(got)
	}
}
