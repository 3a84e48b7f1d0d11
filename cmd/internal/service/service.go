// Package service tells systemd how a sensor is, and takes over a socket that systemd
// has made for it (sd_notify(3), sd_listen_fds(3)).
package service

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Sensor is what systemd is told of.
type Sensor interface {
	// Progress is a number that grows, from one call to the next at least, while the kernel's
	// events are read.
	Progress() uint64
	Stats() (v1.Stats, error)
}

const (
	startEvery = 20 * time.Millisecond // until the first progress
	tellEvery  = 30 * time.Second      // or thrice in the watchdog's time
)

// Socket is the one at path, if systemd has made it and passes it on; nil: it has not.
func Socket(path string) (net.Listener, error) {
	var taken net.Listener
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			continue // no listening socket, such as what the descriptor store keeps
		}
		at := l.Addr().String()
		if taken != nil || filepath.Clean(at) != filepath.Clean(path) {
			l.Close()
			return nil, fmt.Errorf("systemd passes the socket %s, want --socket %s and no other: make ListenStream= and --socket the same", at, path)
		}
		taken = l
	}
	return taken, nil
}

// Follow tells systemd that the sensor works, until the function that it returns is called;
// the watchdog is fed for as long as the sensor gets on.
func Follow(ctx context.Context, s Sensor) (end func()) {
	send := func(words string) bool { told, _ := daemon.SdNotify(false, words); return told }
	within, err := daemon.SdWatchdogEnabled(true)
	f := &follower{sensor: s, send: send, watchdog: err == nil && within > 0}
	if !send("STATUS=starting") {
		return func() {} // no systemd is there to be told
	}
	every := time.Duration(tellEvery)
	if f.watchdog {
		every = min(every, within/3)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !f.ready && wait(ctx, startEvery) {
			f.look()
		}
		for wait(ctx, every) {
			f.look()
		}
		send(daemon.SdNotifyStopping + "\nSTATUS=judging what is still open")
	}()
	return func() { stop(); <-ended }
}

// wait reports false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// follower is what systemd has been told.
type follower struct {
	sensor   Sensor
	send     func(words string) bool
	watchdog bool
	ready    bool
	before   uint64 // progress
	status   string
}

// look tells what is new, and feeds the watchdog, if the sensor has got on.
func (f *follower) look() {
	now := f.sensor.Progress()
	if now == f.before {
		return
	}
	f.before = now
	var words []string
	if !f.ready {
		f.ready = true
		words = append(words, daemon.SdNotifyReady)
	}
	if f.watchdog {
		words = append(words, daemon.SdNotifyWatchdog)
	}
	if stats, err := f.sensor.Stats(); err == nil { // else whoever asks is told
		if status := statusText(stats); status != f.status {
			f.status = status
			words = append(words, "STATUS="+status)
		}
	}
	if words != nil {
		f.send(strings.Join(words, "\n"))
	}
}

// statusText is how a sensor is, in a line.
func statusText(s v1.Stats) string {
	var at []string
	for _, i := range s.Interfaces {
		switch {
		case i.Attached:
			at = append(at, fmt.Sprintf("on %s (%s)", i.Name, i.Hook))
		default:
			at = append(at, "waiting for "+i.Name)
		}
	}
	return fmt.Sprintf("%s; %d packets, %d flows open, %d samples lost", strings.Join(at, ", "), s.Packets.Seen, s.Flows.Open, s.Samples.RingFull)
}
