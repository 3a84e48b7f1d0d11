package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
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
)

// soak is a sensor with what happens to it.
type soak struct {
	*liveSensor
	random *rand.Rand
	args   []string
	log    string // file that the sensors write theirs to
	disk   string
	done   map[string]int
}

// A sensor under everything at once, 20 times as fast: killed and started anew, stopped, its
// interface down, its disk full, its ring and table flooded, its socket's clients hostile. At the end
// each sensor has taken over from the one before, each packet is counted once, and no more is taken
// than after the warm-up. IOTSENSE_SOAK is for how long (`make soak`).
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
	const seed = 19
	s := &soak{random: rand.New(rand.NewPCG(seed, 0)), disk: smallDisk(t), log: filepath.Join(t.TempDir(), "log"), done: map[string]int{}}
	s.args = []string{
		"--model", box.LabModel, "--keep", "--speed", fmt.Sprint(soakSpeed), "--ring-size", "256KiB", "--max-flows", "2048",
		"--state", filepath.Join(s.disk, "registry.db"),
	}
	n := liveNetwork(t)
	s.begin(t, n)
	before := received(t, n)
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var around sync.WaitGroup
	around.Go(func() { playHome(ctx, t, n) })
	around.Go(func() { hostile(ctx, s.socket) })
	end := time.Now().Add(length)
	s.disturb(end.Add(-length/2), "kill", "restart", "stop", "flap", "fill", "flood")
	s.until("all is as it was", s.settled)
	warm := s.takes()
	s.disturb(end, "stop", "flap", "fill", "flood")
	around.Wait()
	s.until("all is as it was", s.settled)
	last := s.takes()
	s.check(received(t, n)-before, warm, last, length)
	s.checkLog()
	if err := syscall.Kill(s.pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		log, err := os.ReadFile(s.log)
		t.Errorf("status %d: ...%s (%v)", status, log[max(0, len(log)-3000):], err)
	}
}

// disturb has something of what happens happen until an end, one after the other.
func (s *soak) disturb(end time.Time, what ...string) {
	s.t.Helper()
	for first := true; first || time.Now().Before(end); first = false {
		name := what[s.random.IntN(len(what))]
		s.done[name]++
		do := map[string]func() error{
			"kill": func() error { return s.again(syscall.SIGKILL) }, "restart": func() error { return s.again(syscall.SIGTERM) },
			"stop": s.stopped, "flap": s.flap, "fill": s.fill, "flood": s.flood,
		}[name]
		if err := do(); err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		time.Sleep(time.Duration(s.random.IntN(400)) * time.Millisecond)
	}
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
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
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

// isDown reports whether a frame could not be sent since the interface is down.
func isDown(err error) bool { return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS) }

// settled reports whether the sensor has come back to rest on its interface.
func (s *soak) settled(stats v1.Stats) bool {
	return stats.Interfaces[0].Attached && stats.Flows.Open < 1024
}

// taken is what a process takes.
type taken struct{ memoryKB, threads, descriptors int }

func (s *soak) takes() (all taken) {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d", &all.memoryKB)
		_, _ = fmt.Sscanf(line, "Threads: %d", &all.threads)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	all.descriptors = len(files)
	return all
}

// check compares the accounts with the interface's, and what is taken with what was.
func (s *soak) check(carried uint64, warm, last taken, length time.Duration) {
	s.t.Helper()
	stats := s.until("the ring is empty", func(stats v1.Stats) bool { return stats.Ring.WaitingBytes == 0 })
	p := stats.Packets
	s.t.Logf("%v: %v; %d packets, %d flows, %d records (%d incomplete), %d samples lost, %d flows refused; took %+v, at the end %+v",
		length, s.done, p.Seen, stats.Flows.Closed, stats.Records, stats.IncompleteRecords, stats.Samples.RingFull, stats.Flows.Refused, warm, last)
	if p.Seen != carried {
		s.t.Errorf("seen %d, the interface has %d", p.Seen, carried)
	}
	if p.Seen != p.Counted+p.NotIP+p.Malformed+p.TableFull+p.Duplicate || p.Counted != p.InClosed+p.InOpen || p.InClosed != p.WithDevice+p.NoDevice {
		s.t.Errorf("%+v", p)
	}
	if last.descriptors > warm.descriptors+8 { // clients come and go
		s.t.Errorf("%d descriptors, after warm-up %d", last.descriptors, warm.descriptors)
	}
	if most := float64(warm.memoryKB) * (1 + soakGrowth); length >= time.Hour && float64(last.memoryKB) > most {
		s.t.Errorf("%d kB of memory, after warm-up %d", last.memoryKB, warm.memoryKB)
	}
}

// checkLog compares what the sensors say with what was done to them.
func (s *soak) checkLog() {
	s.t.Helper()
	log, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	taken, want := strings.Count(string(log), "taken over from the sensor before"), s.done["kill"]+s.done["restart"]
	if taken != want || strings.Contains(string(log), "nothing is ") {
		s.t.Errorf("%d sensors have taken over, want %d", taken, want)
	}
	if s.t.Failed() {
		s.t.Logf("the log:\n%s", log)
	}
}

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
