package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

// screen is a terminal in which a command runs.
type screen struct {
	t        *testing.T
	master   *os.File
	command  *exec.Cmd
	emulator *vt.SafeEmulator
	mu       sync.Mutex // guards written
	written  bytes.Buffer
	modes    unix.Termios // of the terminal, before
	done     chan struct{}
}

// startScreen runs iotsense in a terminal of that size.
func startScreen(t *testing.T, columns, rows int, env string, args ...string) *screen {
	t.Helper()
	s := &screen{t: t, emulator: vt.NewSafeEmulator(columns, rows), done: make(chan struct{})}
	s.command = exec.Command(os.Args[0], args...)
	s.command.Env = append(os.Environ(), asCommand+"=1", "TERM=xterm-256color", env)
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s.master = master
	s.resize(columns, rows)
	modes, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s.modes = *modes
	s.command.Stdin, s.command.Stdout, s.command.Stderr = slave, slave, slave
	s.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(master, s.emulator) }() // what the terminal answers
	go func() { _, _ = io.Copy(s, master) }()
	go func() { _ = s.command.Wait(); close(s.done) }() // its status is looked at
	t.Cleanup(func() {
		_ = s.command.Process.Kill() // where the test has failed
		<-s.done
		slave.Close()
		master.Close()
		s.emulator.Close()
	})
	return s
}

// Write implements io.Writer for what the command writes.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written.Write(b)
	return s.emulator.Write(b)
}

func (s *screen) resize(columns, rows int) {
	s.emulator.Resize(columns, rows)
	if err := pty.Setsize(s.master, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) press(keys string) {
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// until waits until the screen has all these texts.
func (s *screen) until(what string, texts ...string) {
	s.t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		missing := ""
		shown := s.emulator.String()
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Since(begin) > deadlock {
			s.t.Fatalf("%s: no %q on the screen:\n%s", what, missing, shown)
		}
	}
}

// line is the one of the screen that has the text.
func (s *screen) line(text string) string {
	for line := range strings.Lines(s.emulator.String()) {
		if strings.Contains(line, text) {
			return strings.TrimRight(line, "\n")
		}
	}
	return ""
}

// end waits for the command's end: the terminal is as it was before.
func (s *screen) end() (status int) {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(deadlock):
		s.t.Fatal("it does not end")
	}
	modes, err := unix.IoctlGetTermios(int(s.master.Fd()), unix.TCGETS)
	if err != nil || *modes != s.modes {
		s.t.Errorf("the terminal's modes are %+v, were %+v (%v)", modes, s.modes, err)
	}
	for begin := time.Now(); s.emulator.IsAltScreen() || strings.Contains(s.emulator.String(), "iotsense"); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > deadlock {
			s.t.Fatalf("the screen is left as\n%s", s.emulator)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if shown, hidden := bytes.LastIndex(s.written.Bytes(), []byte("\x1b[?25h")), bytes.LastIndex(s.written.Bytes(), []byte("\x1b[?25l")); shown < hidden {
		s.t.Error("the cursor stays hidden")
	}
	return s.command.ProcessState.ExitCode()
}

// living is a house in which things change.
type living struct {
	*house
	mu sync.Mutex // guards house
}

func (l *living) change(f func(*house)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.house)
}

func (l *living) Stats() (v1.Stats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.house.stats.UptimeS++
	return l.house.stats, nil
}

func (l *living) Devices() ([]v1.DeviceVerdict, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]v1.DeviceVerdict(nil), l.house.devices...), nil
}

func (l *living) Correct(_ context.Context, device, do string, c v1.Correction) (v1.Corrected, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.house.devices {
		if d := &l.house.devices[i]; d.Device == device && do == v1.DoLabel {
			from := "user"
			d.UserLabel, d.Name, d.NameFrom = &c.Label, &c.Label, &from
			return v1.Corrected{Device: device, Kept: true}, nil
		}
	}
	return v1.Corrected{}, &api.RefusedError{Err: errors.New("there is no such device")}
}

// top is looked at in a terminal: the list, a device, a name that is given, drops; it ends by a
// key, and the terminal is as it was.
func TestTop(t *testing.T) {
	l := &living{house: newHouse(30)}
	hostile, from := "tv\x1b]0;owned\a\x1b[2J", "fact"
	l.devices[29].Name, l.devices[29].NameFrom, l.devices[29].State = &hostile, &from, v1.Unknown
	s := startScreen(t, 80, 24, "COLORTERM=", "top", "--socket", answer(t, l))
	s.until("list", "iotsense  eth0 (tcx)", "30 devices  29 likely  1 unknown", "no drops", "What it is", "Enter open")
	if got := s.line("> "); !strings.HasPrefix(got, `> unknown   tv\u001b]0;owned~ TP-Link `) {
		t.Errorf("the stranger's line is %q", got)
	}
	if got := s.line("50:c7:bf:00:fc:1c"); !strings.HasPrefix(got, "  likely    50:c7:bf:00:fc:1c TP-Link    TP-Link/plug: TP-Lin~ 0.970") {
		t.Errorf("a device's line is %q", got)
	}
	s.press("/fc:0")
	s.until("narrowed", "16 of 30 devices with fc:0", "> likely    50:c7:bf:00:fc:0")
	s.press("\r")
	s.press("j\r")
	s.until("device", "verdict     TP-Link/plug: TP-LinkPlugHS110?", "What it says of itself", `plug\u001b[2J of the hall`, "Esc back")
	s.press("G")
	s.until("its end", "Open flows", "1234 packets  5.7 MB  49152 -> 2001:db8:", "Why TP-LinkPlugHS110", "+2.10  facts    says it is HS110 by DHCP")
	s.press("l")
	s.until("question", "name of 50:c7:bf:00:fc:")
	s.press("heater\r")
	s.until("answer", ": labelled heater")
	s.press("\x1b")
	s.until("list again", "heater", "Enter open")
	l.change(func(h *house) { h.stats.Samples.RingFull = 7 })
	s.until("drops", "DROPS since the start: 7 samples lost, and it goes on")
	if style := s.emulator.CellAt(0, 2).Style; style.Fg == nil {
		t.Error("drops are not in colour")
	}
	s.press("q")
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
	if bytes.Contains(s.written.Bytes(), []byte("owned\a")) {
		t.Error("a device's name reached the terminal as it is")
	}
}

// It fits terminals of all widths, also when that changes; without colours it says the same; a
// signal ends it in order.
func TestTopInOtherTerminals(t *testing.T) {
	socket := answer(t, newHouse(3))
	s := startScreen(t, 40, 12, "NO_COLOR=1", "top", "--socket", socket)
	s.until("40 columns", "  State     Device        What it is\n", "> likely    50:c7:bf:00:~ TP-Link/plug:~", "no drops")
	s.resize(200, 30)
	s.until("200 columns", "MAC", "Address", "Vendor", "Traffic", "192.168.178.21 +1", "346 kB", "TP-Link/plug: TP-LinkPlugHS110?")
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
	for _, colour := range []string{"\x1b[3", "\x1b[9", ";3", ";9"} {
		for part := range strings.SplitSeq(s.written.String(), "m") {
			if i := strings.LastIndex(part, "\x1b["); i >= 0 && strings.HasPrefix(part[i:], colour) && strings.Trim(part[i+2:], "0123456789;") == "" && part[i+2:] != "39" {
				t.Fatalf("there is colour: %q", part[i:])
			}
		}
	}
	if _, stderr, status := command(t, "top", "--socket", socket); status != terminal.ExitFailed || !strings.Contains(stderr, "there is no terminal") {
		t.Errorf("without a terminal: status %d, %s", status, stderr)
	}
}

// A sensor that goes away is missed, and found again when it is back.
func TestTopWithoutSensor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	serve := func() func() {
		l, err := api.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { api.Serve(ctx, l, newHouse(2), slog.New(slog.DiscardHandler)); close(done) }()
		return func() { stop(); <-done }
	}
	s := startScreen(t, 80, 24, "", "top", "--socket", path)
	s.until("nobody", "no sensor answers on "+path[:20])
	stop := serve()
	s.until("there", "2 devices", "no drops")
	stop()
	s.until("lost", "LOST for ", "2 devices", "50:c7:bf:00:fc:01")
	stop = serve()
	defer stop()
	s.until("back", "no drops")
	s.press("\x03")
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// Devices of a real sensor appear as their traffic plays.
func TestTopOfARealSensor(t *testing.T) {
	testenv.Root(t)
	recorded, err := lab.Generate("smart-plug", 0, 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var frames []lab.Frame
	for _, f := range recorded.Frames {
		frames = append(frames, lab.Frame(f))
	}
	sensor := runLive(t, nil, nil, "--model", box.LabModel, "--speed", "20")
	s := startScreen(t, 80, 24, "", "top", "--socket", sensor.socket)
	s.until("no device yet", "0 devices")
	if _, err := sensor.n.Play(t.Context(), frames, replay.PlayOptions{Speed: 20}); err != nil {
		t.Fatal(err)
	}
	s.until("the plug", "smart-plug", "no drops")
	s.press("/" + recorded.Device.String() + "\r")
	s.until("narrowed", "1 of ")
	s.press("\r")
	s.until("its page", recorded.Device.String(), "What it says of itself", "dhcp_host")
	s.press("q")
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
	if err := syscall.Kill(sensor.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := sensor.end(); status != 0 {
		t.Errorf("the sensor's status is %d", status)
	}
}
