package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	soakSpeed  = 20
	soakGrowth = 0.05     // of what a sensor takes of memory, from warm-up to the end
	soakDisk   = 16 << 20 // bytes of the file system that the registry is on
	soakDelay  = 4096     // packets that the interface has and the accounts have not yet
)

// soak is a sensor with what happens to it.
type soak struct {
	*liveSensor
	random *rand.Rand
	args   []string
	dir    string // what is left to look at: log, events, and where it failed the rest
	disk   string
	begun  time.Time
	before uint64 // packets that the interface had then
	events *os.File
	done   map[string]int
	takes  []taken // after each event
}

// A sensor under everything at once, 20 times as fast: killed and started anew, stopped, its
// interface down, its disk full, its ring and table flooded, its socket's clients hostile, those that
// it tells of events gone, silent, or mad. At the end each sensor has taken over from the one before,
// each packet is counted once, no more is taken than after the warm-up, and what was to be told has
// been. In a machine of its own the clock is set, and nobody is told. IOTSENSE_SOAK is for how long
// (`make soak`), IOTSENSE_SOAK_DIR where to leave what there is to look at.
func TestSoak(t *testing.T) {
	text := os.Getenv("IOTSENSE_SOAK")
	if text == "" {
		t.Skip("only `make soak` has the time")
	}
	testenv.Root(t)
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	s := newSoak(t)
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	calm, told := []string{"stop", "flap", "fill", "flood"}, func(*soak) {}
	if os.Getenv("IOTSENSE_TEST_VM") != "" {
		calm = append(calm, "clock")
	} else {
		peers := startPeers(ctx, t, s.n)
		s.args, told = append(s.args, peers.args()...), peers.check
	}
	s.begin(t, s.n)
	s.begun, s.before = time.Now(), received(t, s.n)
	var around sync.WaitGroup
	around.Go(func() { playHome(ctx, t, s.n) })
	around.Go(func() { hostile(ctx, s.socket) })
	at := func(part float64) time.Time { return s.begun.Add(time.Duration(part * float64(length))) }
	s.disturb(at(0.4), append(calm, "kill", "restart")...)
	s.disturb(s.begun, "flood")
	s.disturb(at(0.5), calm...) // no more starts: this is the warm-up
	s.takes = nil
	s.disturb(at(0.6), calm...)
	warm := median(s.takes)
	s.disturb(at(0.9), calm...)
	s.takes = nil
	s.disturb(at(1), calm...)
	last := median(s.takes)
	around.Wait()
	s.until("all is as it was", s.settled)
	s.check(warm, last, length)
	s.checkLog()
	told(s)
	if err := syscall.Kill(s.pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// newSoak makes all but the sensor.
func newSoak(t *testing.T) *soak {
	t.Helper()
	const seed = 19
	s := &soak{random: rand.New(rand.NewPCG(seed, 0)), disk: smallDisk(t), dir: os.Getenv("IOTSENSE_SOAK_DIR"), done: map[string]int{}}
	if s.dir == "" {
		s.dir = t.TempDir()
		t.Cleanup(func() {
			if log, err := os.ReadFile(s.log()); t.Failed() {
				t.Logf("the log (%v):\n%s", err, log)
			}
		})
	}
	s.args = []string{
		"--model", box.LabModel, "--keep", "--speed", fmt.Sprint(soakSpeed), "--ring-size", "256KiB", "--max-flows", "2048",
		"--state", filepath.Join(s.disk, "registry.db"),
	}
	var err error
	if s.events, err = os.Create(filepath.Join(s.dir, "events.jsonl")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.events.Close() })
	s.liveSensor = &liveSensor{t: t, n: liveNetwork(t)}
	t.Cleanup(s.autopsy) // before the network goes
	return s
}

// disturb has something of what happens happen until an end, one after the other.
func (s *soak) disturb(end time.Time, what ...string) {
	s.t.Helper()
	for first := true; first || time.Now().Before(end); first = false {
		name := what[s.random.IntN(len(what))]
		s.done[name]++
		do := map[string]func() error{
			"kill": func() error { return s.again(syscall.SIGKILL) }, "restart": func() error { return s.again(syscall.SIGTERM) },
			"stop": s.stopped, "flap": s.flap, "fill": s.fill, "flood": s.flood, "clock": s.setClock,
		}[name]
		if err := do(); err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		s.account(name)
		time.Sleep(time.Duration(s.random.IntN(400)) * time.Millisecond)
	}
}

// account compares what the sensor has seen with what the interface has, so that it is the event
// that is to blame, and writes down both.
func (s *soak) account(event string) {
	s.t.Helper()
	least := received(s.t, s.n) - s.before
	stats := s.until("it answers", func(v1.Stats) bool { return true })
	most := received(s.t, s.n) - s.before
	took := s.take(stats)
	s.takes = append(s.takes, took)
	pins, err := os.ReadDir(s.pins)
	line, err2 := json.Marshal(map[string]any{
		"at": time.Since(s.begun).String(), "event": event, "pid": s.pid, "received": []uint64{least, most}, "takes": took, "pins": len(pins), "stats": stats,
	})
	_, err3 := s.events.Write(append(line, '\n'))
	if err := errors.Join(err, err2, err3); err != nil {
		s.t.Fatal(err)
	}
	if seen := stats.Packets.Seen; seen+soakDelay < least || seen > most {
		s.t.Fatalf("after %s: seen %d, the interface has %d to %d", event, seen, least, most)
	}
}

// autopsy leaves of a failure what explains it: what the kernel has, and what the process does.
func (s *soak) autopsy() {
	if !s.t.Failed() {
		return
	}
	err := s.n.Do(func() error {
		for file, command := range map[string]string{
			"links":   "ip -s -s link; tc filter show dev " + replay.Interface + " ingress; tc filter show dev " + replay.Interface + " egress",
			"pins":    "ls -lR --time-style=full-iso " + s.pins,
			"process": fmt.Sprintf("cat /proc/%d/status; ls -l /proc/%[1]d/fd; cat /proc/%[1]d/smaps_rollup", s.pid),
			"disk":    "ls -lR " + s.disk + "; df " + s.disk,
			"kernel":  "dmesg | tail -n 50",
		} {
			out, err := exec.Command("sh", "-c", command).CombinedOutput()
			if err := os.WriteFile(filepath.Join(s.dir, file), fmt.Append(out, "\n", err, "\n"), 0o600); err != nil {
				return err
			}
		}
		return nil
	})
	if s.pid != 0 { // its goroutines, into the log
		err = errors.Join(err, syscall.Kill(s.pid, syscall.SIGABRT))
		time.Sleep(time.Second)
	}
	s.t.Logf("what explains it is in %s (%v)", s.dir, err)
}

// again ends the sensor and starts another.
func (s *soak) again(signal syscall.Signal) error {
	if err := syscall.Kill(s.pid, signal); err != nil {
		return err
	}
	if err := <-s.ended; err != nil && signal == syscall.SIGTERM {
		return err
	}
	s.begin(s.t, s.n)
	return nil
}

func (s *soak) begin(t *testing.T, n *replay.Network) {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.liveSensor = runLiveOn(t, n, nil, log, s.args...)
}

// stopped has the sensor stand still.
func (s *soak) stopped() error {
	if err := syscall.Kill(s.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(time.Duration(500+s.random.IntN(1500)) * time.Millisecond)
	return syscall.Kill(s.pid, syscall.SIGCONT)
}

func (s *soak) flap() error {
	return s.n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetDown(l); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		return netlink.LinkSetUp(l)
	})
}

// fill leaves the disk no room for a second.
func (s *soak) fill() error {
	path := filepath.Join(s.disk, "full")
	if err := os.WriteFile(path, make([]byte, soakDisk), 0o600); err == nil {
		return fmt.Errorf("%s had room for all", s.disk)
	}
	time.Sleep(time.Second)
	return os.Remove(path)
}

// flood opens more flows than the table takes, with more samples than the ring does.
func (s *soak) flood() error {
	_, err := s.n.Play(s.t.Context(), packets(6000, 6000, 60_000), replay.PlayOptions{})
	if isDown(err) {
		return nil
	}
	return err
}

// setClock sets the machine's, as NTP does, or who has no battery: by up to a second, a minute, an
// hour or a day, forward or back; or has it go half a second faster or slower, as NTP does too.
func (s *soak) setClock() error {
	if s.random.IntN(5) == 0 {
		_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT, Offset: s.random.Int64N(1e6) - 5e5})
		return err
	}
	most := []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}[s.random.IntN(4)]
	by := time.Duration(s.random.Int64N(2*int64(most))) - most
	at := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &at)
}

// isDown reports whether a frame could not be sent since the interface is down.
func isDown(err error) bool { return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS) }

// settled reports whether the sensor has come back to rest on its interface.
func (s *soak) settled(stats v1.Stats) bool {
	return stats.Interfaces[0].Attached && stats.Flows.Open < 1024
}

// taken is what a process takes.
type taken struct{ MemoryKB, Threads, Descriptors, Goroutines int }

func (s *soak) take(stats v1.Stats) (all taken) {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d", &all.MemoryKB)
		_, _ = fmt.Sscanf(line, "Threads: %d", &all.Threads)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	all.Descriptors, all.Goroutines = len(files), int(stats.Goroutines)
	return all
}

// median is what was taken half of the time: a flood, or a client, comes and goes.
func median(takes []taken) taken {
	of := func(value func(taken) int) int {
		values := make([]int, len(takes))
		for i, t := range takes {
			values[i] = value(t)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return taken{
		of(func(t taken) int { return t.MemoryKB }), of(func(t taken) int { return t.Threads }),
		of(func(t taken) int { return t.Descriptors }), of(func(t taken) int { return t.Goroutines }),
	}
}

// check compares the accounts with the interface's, and what is taken with what was.
func (s *soak) check(warm, last taken, length time.Duration) {
	s.t.Helper()
	stats := s.until("the ring is empty", func(stats v1.Stats) bool { return stats.Ring.WaitingBytes == 0 })
	p, carried := stats.Packets, received(s.t, s.n)-s.before
	s.t.Logf("%v: %v; %d packets, %d flows, %d records (%d incomplete), %d samples lost, %d flows refused; took %+v, at the end %+v",
		length, s.done, p.Seen, stats.Flows.Closed, stats.Records, stats.IncompleteRecords, stats.Samples.RingFull, stats.Flows.Refused, warm, last)
	if p.Seen != carried {
		s.t.Errorf("seen %d, the interface has %d", p.Seen, carried)
	}
	if p.Seen != p.Counted+p.NotIP+p.Malformed+p.TableFull+p.Duplicate || p.Counted != p.InClosed+p.InOpen || p.InClosed != p.WithDevice+p.NoDevice {
		s.t.Errorf("%+v", p)
	}
	events, err := s.client.Events(s.t.Context(), 0)
	for _, e := range events { // but for those of floods, they are never silent for long
		if e.Event == v1.EventGone && !strings.HasPrefix(*e.Device, floodMACs) {
			s.t.Errorf("%s is gone, at %v", *e.Device, e.Time)
		}
	}
	if err != nil || len(events) == 0 {
		s.t.Errorf("%d events, %v", len(events), err)
	}
	if stats.Samples.RingFull == 0 || stats.Flows.Refused == 0 {
		s.t.Errorf("nothing overflowed: %d samples lost, %d flows refused", stats.Samples.RingFull, stats.Flows.Refused)
	}
	if last.Descriptors > warm.Descriptors+8 || last.Goroutines > warm.Goroutines+8 { // clients come and go
		s.t.Errorf("it takes %+v, after warm-up %+v", last, warm)
	}
	if most := float64(warm.MemoryKB) * (1 + soakGrowth); length >= time.Hour && float64(last.MemoryKB) > most {
		s.t.Errorf("%d kB of memory, after warm-up %d", last.MemoryKB, warm.MemoryKB)
	}
}

// checkLog compares what the sensors say with what was done to them.
func (s *soak) checkLog() {
	s.t.Helper()
	log, err := os.ReadFile(s.log())
	if err != nil {
		s.t.Fatal(err)
	}
	taken, want := strings.Count(string(log), "taken over from the sensor before"), s.done["kill"]+s.done["restart"]
	if taken != want || strings.Contains(string(log), "nothing is ") {
		s.t.Errorf("%d sensors have taken over, want %d", taken, want)
	}
}

// log is the file that the sensors write theirs to.
func (s *soak) log() string { return filepath.Join(s.dir, "log") }

// smallDisk is a file system of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", soakDisk)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// playHome plays devices of the lab side by side, again and again, all from their end: what the
// sensor's end sends while it goes down is seen, and counted by no interface.
func playHome(ctx context.Context, t *testing.T, n *replay.Network) {
	var lists [][]lab.Frame
	for i, kind := range lab.Kinds() {
		r, err := lab.Generate(kind, i, int64(i), 5*time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		lists = append(lists, r.Frames)
	}
	frames := replay.Merge(time.Second, lists...)
	for ctx.Err() == nil {
		_, err := n.Play(ctx, frames, replay.PlayOptions{Speed: soakSpeed, FarEnd: true})
		if err != nil && ctx.Err() == nil && !isDown(err) {
			t.Error(err)
			return
		}
	}
}

// hostile asks the socket for much and does not read, or says what is no request.
func hostile(ctx context.Context, socket string) {
	for i := 0; ctx.Err() == nil; i++ {
		c, err := net.Dial("unix", socket)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		text := "GET /v1/flows HTTP/1.1\r\nHost: x\r\n\r\n"
		if i%2 == 0 {
			text = strings.Repeat("\x00\xffPOST ", 1000)
		}
		_, _ = c.Write([]byte(text)) // it may be cut off
		time.Sleep(20 * time.Millisecond)
		c.Close()
	}
}
