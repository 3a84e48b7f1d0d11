package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

// deadlock is how long a test waits for what would never come.
const deadlock = time.Minute

// liveSensor is `iotsense run` on a network of its own, as a test started it.
type liveSensor struct {
	t      *testing.T
	n      *replay.Network
	pid    int
	ended  <-chan error
	socket string
	pins   string
	client *client.Client
}

// runLive starts a sensor on a network of its own.
func runLive(t *testing.T, stdout, stderr *os.File, args ...string) *liveSensor {
	t.Helper()
	return runLiveOn(t, liveNetwork(t), stdout, stderr, args...)
}

func liveNetwork(t *testing.T) *replay.Network {
	t.Helper()
	n, err := replay.NewNetwork(strings.ReplaceAll(t.Name(), "/", "-"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// runLiveOn starts a sensor and returns once it is attached. stdout and stderr are the
// sensor's alone from then on.
func runLiveOn(t *testing.T, n *replay.Network, stdout, stderr *os.File, args ...string) *liveSensor {
	t.Helper()
	s := &liveSensor{t: t, n: n, socket: filepath.Join(n.Dir, "s"), pins: testenv.PinDirectory(t)}
	s.client = client.New(s.socket)
	cmd := exec.Command(os.Args[0], append([]string{"run", "-i", replay.Interface, "--hook", "tc", "--socket", s.socket, "--pin", s.pins}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, see TestRunReloads
	if stdout != nil {
		cmd.Stdout = stdout
	}
	if stderr != nil {
		cmd.Stderr = stderr
	}
	var err error
	if s.ended, err = n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // where the test has failed
	for _, f := range []*os.File{stdout, stderr} {
		if f != nil {
			f.Close()
		}
	}
	s.pid = cmd.Process.Pid
	s.until("it is attached", func(stats v1.Stats) bool { return stats.Interfaces[0].Attached })
	return s
}

// until waits for what the sensor's counters say.
func (s *liveSensor) until(what string, true func(v1.Stats) bool) v1.Stats {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), deadlock)
	defer cancel()
	for {
		stats, err := s.client.Stats(ctx)
		if err == nil && true(stats) {
			return stats
		}
		if ctx.Err() != nil {
			s.t.Fatalf("never came: %s (%+v, %v)", what, stats, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// end waits for the sensor's end and returns its status; nothing may be left.
func (s *liveSensor) end() int {
	s.t.Helper()
	var err error
	select {
	case err = <-s.ended:
	case <-time.After(deadlock):
		s.t.Fatal("it does not end")
	}
	if left, err := os.ReadDir(s.n.Dir); err != nil || len(left) > 0 {
		s.t.Errorf("left beside the socket: %v, %v", left, err)
	}
	if left, err := os.ReadDir(s.pins); err == nil {
		s.t.Errorf("left pins: %v", left)
	}
	err2 := s.n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		qdiscs, err := netlink.QdiscList(l)
		for _, q := range qdiscs {
			if q.Type() == "clsact" {
				err = errors.Join(err, errors.New("left a clsact qdisc"))
			}
		}
		return err
	})
	if err2 != nil {
		s.t.Error(err2)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// Every signal that can be caught ends the sensor in order.
func TestRunEndsInOrder(t *testing.T) {
	testenv.Root(t)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(s.String(), func(t *testing.T) {
			sensor := runLive(t, nil, nil, "--model", "none")
			for range 2 { // as a terminal and timeout(1) do
				if err := syscall.Kill(sensor.pid, s); err != nil {
					t.Fatal(err)
				}
			}
			if status := sensor.end(); status != 0 {
				t.Errorf("status %d", status)
			}
		})
	}
}

// What cannot be caught leaves filters, pins and the socket; the next sensor takes
// them away.
func TestRunAfterKill(t *testing.T) {
	testenv.Root(t)
	n := liveNetwork(t)
	killed := runLiveOn(t, n, nil, nil, "--model", "none")
	if err := syscall.Kill(killed.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-killed.ended
	if _, err := os.Stat(killed.socket); err != nil {
		t.Errorf("the socket is not there: %v", err)
	}
	next := runLiveOn(t, n, nil, nil, "--model", "none")
	if err := syscall.Kill(next.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := next.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// datagrams are n flows of one packet each, from 64 devices.
func datagrams(n, perSecond int) []lab.Frame {
	list := make([]lab.Frame, n)
	for i := range list {
		device, flow := i%64, i/64
		ip := packet.IP{Proto: packet.UDPProto, Src: netip.AddrFrom4([4]byte{10, 0, 0, byte(device)}), Dst: netip.AddrFrom4([4]byte{192, 0, 2, 1})}
		list[i] = lab.Frame{
			Time: time.Unix(0, int64(i)*int64(time.Second)/int64(perSecond)), FromDevice: true,
			Data: packet.EthernetFrom([6]byte{0x02, 0, 0, 0, 1, byte(device)}, packet.RouterMAC, packet.IPv4Type,
				packet.IPv4(ip, packet.UDP(uint16(1024+flow), 53, packet.Payload(40)))),
		}
	}
	return list
}

func (s *liveSensor) play(frames []lab.Frame) {
	s.t.Helper()
	played, err := s.n.Play(s.t.Context(), frames, replay.PlayOptions{})
	if err != nil || played.Frames != uint64(len(frames)) {
		s.t.Fatalf("%d of %d frames, %v", played.Frames, len(frames), err)
	}
}

// A reader that goes away ends the sensor in order, as head(1) does.
func TestRunReaderGone(t *testing.T) {
	testenv.Root(t)
	t.Run("stdout", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		sensor := runLive(t, w, nil, "--model", box.LabModel, "--json", "--speed", "60")
		sensor.play(datagrams(640, 6400))
		if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		sensor.play(datagrams(640, 6400))
		if status := sensor.end(); status != 0 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("stderr", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		sensor := runLive(t, nil, w, "--model", "none")
		r.Close()
		err = sensor.n.Do(func() error { // the sensor has something to say
			l, err := netlink.LinkByName(replay.Interface)
			if err != nil {
				return err
			}
			return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, "renamed"), netlink.LinkSetName(l, replay.Interface), netlink.LinkSetName(l, "renamed"))
		})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-sensor.ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(deadlock):
			t.Fatal("it does not end")
		}
		if left, err := os.ReadDir(sensor.n.Dir); err != nil || len(left) > 0 {
			t.Errorf("left beside the socket: %v, %v", left, err)
		}
	})
}

// fullPipe is a pipe that takes nothing more, whose reader does not read.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil { // blocking, as a shell's
		t.Fatal(err)
	}
	size, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fds[1], make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer")
}

// Readers that do not read cost verdicts, which are counted, and nothing else: not a
// sample, not an answer on the socket, not the end in order.
func TestRunBlockedReaders(t *testing.T) {
	testenv.Root(t)
	out, stdout := fullPipe(t)
	defer out.Close()
	errs, stderr := fullPipe(t)
	defer errs.Close()
	s := runLive(t, stdout, stderr, "--model", box.LabModel, "--json", "--speed", "30")
	const flows = 12800
	s.play(datagrams(flows, 6400))
	stats := s.until("all flows are judged", func(stats v1.Stats) bool { return stats.Records == flows && stats.Flows.Open == 0 })
	p := stats.Packets
	if stats.Samples.RingFull != 0 || stats.IncompleteRecords != 0 || p.Seen != flows ||
		p.Seen != p.Counted+p.NotIP+p.Malformed+p.TableFull+p.Duplicate || p.Counted != p.InClosed+p.InOpen || p.InClosed != p.WithDevice+p.NoDevice {
		t.Errorf("%+v", stats)
	}
	if stats.Inferences == 0 || stats.DroppedVerdicts == 0 || stats.DroppedVerdicts >= stats.Inferences {
		t.Errorf("%d inferences, %d dropped verdicts: want some dropped", stats.Inferences, stats.DroppedVerdicts)
	}
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != terminal.ExitFailed {
		t.Errorf("status %d, want %d: output was not written", status, terminal.ExitFailed)
	}
}

// interrupted starts a command and interrupts it when ready says so.
func interrupted(t *testing.T, stdin *os.File, ready func() bool, args ...string) (stderr string, status int) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asCommand+"=1")
	var errs bytes.Buffer
	c.Stderr = &errs
	if stdin != nil {
		c.Stdin = stdin
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	never := time.AfterFunc(deadlock, func() { _ = c.Process.Kill() })
	defer never.Stop()
	for !ready() {
		if errors.Is(c.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // its status says more
	return errs.String(), c.ProcessState.ExitCode()
}

// A command that waits for input or has much to do ends at a signal, with what it
// had begun to write taken back.
func TestCommandsInterrupted(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	head, _ := labCapture(t)
	head = head[:1000]
	if _, err := w.Write(head); err != nil {
		t.Fatal(err)
	}
	taken := func() bool { n, err := unix.IoctlGetInt(int(w.Fd()), unix.TIOCINQ); return err == nil && n == 0 }
	opened := func() bool { // it waits for who writes: who asks must not be that one
		fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return false
		}
		t.Cleanup(func() { unix.Close(fd) }) // a writer that says nothing
		return true
	}
	for _, tt := range []struct {
		name  string
		stdin *os.File
		ready func() bool
		args  []string
	}{
		{"standard input", r, taken, []string{"classify", "-"}},
		{"FIFO", nil, opened, []string{"extract", fifo, "-o", filepath.Join(dir, "out.parquet")}},
		{"model from a FIFO", nil, opened, []string{"model", "info", "--model", fifo}},
		{"lab", nil, func() bool {
			made, err := filepath.Glob(filepath.Join(dir, "lab", "*", "*.pcap"))
			return err == nil && len(made) > 0
		}, []string{"lab", filepath.Join(dir, "lab"), "--units", "10000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stderr, status := interrupted(t, tt.stdin, tt.ready, tt.args...)
			if status != terminal.ExitFailed || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "interrupt signal received") {
				t.Errorf("status %d, %q", status, stderr)
			}
		})
	}
	left, err := filepath.Glob(filepath.Join(dir, "*out.parquet*"))
	if hidden, _ := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left: %v %v", left, hidden)
	}
}

// A demo whose reader goes away, or does not read, ends in order.
func TestDemoReaders(t *testing.T) {
	testenv.Root(t)
	for _, tt := range []struct {
		name string
		pipe func(t *testing.T) (r, w *os.File)
		then func(t *testing.T, pid int, r *os.File)
	}{
		{"goes away", func(t *testing.T) (r, w *os.File) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return r, w
		}, func(t *testing.T, _ int, r *os.File) {
			if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			r.Close()
		}},
		{"does not read", fullPipe, func(t *testing.T, pid int, _ *os.File) {
			for {
				socket := fmt.Sprintf("/run/iotsense-replay-demo-%d/sensor.sock", pid)
				if _, err := client.New(socket).Stats(t.Context()); err == nil || t.Context().Err() != nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w := tt.pipe(t)
			defer r.Close()
			c := exec.Command(os.Args[0], "demo", "--json", "--speed", "40")
			c.Env = append(os.Environ(), asCommand+"=1")
			c.Stdout = w
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			never := time.AfterFunc(deadlock, func() { _ = c.Process.Kill() })
			defer never.Stop()
			tt.then(t, c.Process.Pid, r)
			_ = c.Wait()
			if !c.ProcessState.Exited() {
				t.Errorf("ended by %v", c.ProcessState)
			}
			if left, err := filepath.Glob(fmt.Sprintf("/run/iotsense-*-%d", c.Process.Pid)); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// Clients of the socket that ask for all flows or for explanations without a pause, and
// those that never read, cost no sample and no record, and neither the others' answers nor
// the end; nor do explanations of all verdicts there is time for.
func TestRunClients(t *testing.T) {
	testenv.Root(t)
	s := runLive(t, nil, nil, "--model", box.LabModel, "--speed", "12", "--explain-rate", "6000")
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop()
	for i := range 100 {
		clients.Go(func() {
			for ctx.Err() == nil {
				c, err := net.Dial("unix", s.socket)
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				_, _ = io.WriteString(c, "GET /flows HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") // may be cut off
				if i%4 == 0 {
					time.Sleep(time.Second) // and has read nothing
				} else {
					_, _ = io.Copy(io.Discard, c)
				}
				c.Close()
			}
		})
	}
	clients.Go(func() {
		for ctx.Err() == nil {
			_, _ = s.client.Explanation(ctx, "02:00:00:00:01:00", v1.ExplanationRequest{}) // there is none at first
		}
	})
	const flows = 25600
	s.play(datagrams(flows, 6400))
	stats := s.until("all flows are judged", func(stats v1.Stats) bool { return stats.Records == flows && stats.Flows.Open == 0 })
	if p := stats.Packets; p.Seen != flows || stats.Samples.RingFull != 0 || stats.IncompleteRecords != 0 || p.Counted != p.InClosed || p.InClosed != p.WithDevice {
		t.Errorf("%+v", stats)
	}
	if e := stats.Explanations; e.Made < 3 || e.Devices != 64 {
		t.Errorf("%+v", e)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	const most = 400 << 10
	var peak int // kB
	if _, text, found := strings.Cut(string(status), "VmHWM:"); !found {
		t.Error("no peak of memory")
	} else if _, err := fmt.Sscan(text, &peak); err != nil || peak > most {
		t.Errorf("took %d kB of memory, want %d at most (%v)", peak, most, err)
	}
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}
