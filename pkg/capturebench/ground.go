package capturebench

// This file holds where tools and traffic meet: a private pair of interfaces, or a cable
// to another machine.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	loopback     = "lo"
	loopbackAddr = "127.0.0.1"
	iperfPort    = 5201
	wireMTU      = 1500
	asFastAsGoes = 1e9 // times faster than recorded
)

// ground is the network of a measurement. Cable and far are empty on a private pair.
type ground struct {
	*replay.Network
	cable, far string
}

func newGround(cable, far string) (*ground, error) {
	n, err := replay.NewNetwork("capture")
	if err != nil {
		return nil, err
	}
	if err := n.Address(wireMTU); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return &ground{n, cable, far}, nil
}

// site is where one scenario takes place.
type site struct {
	iface    string
	near     func(*exec.Cmd) (<-chan error, error) // starts tools and servers
	far      func(*exec.Cmd) (<-chan error, error) // starts clients
	do       func(func() error) error              // on a thread where the interface is
	server   string                                // its address
	reversed bool                                  // the server is another machine, and sends
}

// at is where a scenario takes place, of those that [Config.Check] lets pass.
func (g *ground) at(s *Scenario) *site {
	if s.Group == groupLoopback {
		return &site{iface: loopback, near: g.Start, far: g.Start, do: g.Do, server: loopbackAddr}
	}
	if g.cable == "" {
		return &site{iface: replay.Interface, near: g.Start, far: g.StartDevice, do: g.Do, server: replay.SensorAddr}
	}
	here := func(f func() error) error { return f() }
	return &site{iface: g.cable, near: startHere, far: startHere, do: here, server: g.far, reversed: true}
}

func startHere(cmd *exec.Cmd) (<-chan error, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// link are the interface's own counters.
func (s *site) link() (c linkCounts, err error) {
	err = s.do(func() (err error) { c, err = readLink(s.iface); return err })
	return c, err
}

// captured reports whether a packet socket sees the interface.
func (s *site) captured() (yes bool, err error) {
	err = s.do(func() error {
		link, err := net.InterfaceByName(s.iface)
		if err != nil {
			return fmt.Errorf("interface %s: %w", s.iface, err)
		}
		yes, err = hasPacketSocket(link.Index)
		return err
	})
	return yes, err
}

// traffic makes a scenario's packets: run returns when all are sent.
type traffic struct {
	run func(context.Context) error
	cpu func() (CPU, error) // of all that makes and takes the packets
	end func() error
}

// newTraffic gets a scenario's traffic ready, so that run begins at once.
func newTraffic(ctx context.Context, g *ground, at *site, s *Scenario, cfg *Config) (*traffic, error) {
	switch {
	case s.devices > 0:
		return newPlayed(g, s, cfg)
	case s.iperf == nil:
		return &traffic{
			run: func(ctx context.Context) error { return sleep(ctx, cfg.Duration) },
			cpu: func() (CPU, error) { return CPU{}, nil }, end: func() error { return nil },
		}, nil
	}
	group, err := NewGroup("traffic")
	if err != nil {
		return nil, err
	}
	t := &traffic{cpu: group.CPU, end: group.Close}
	args := append([]string{"-c", at.server, "-p", strconv.Itoa(iperfPort), "--connect-timeout", "3000"}, s.iperf...)
	if !s.length {
		args = append(args, "-t", strconv.FormatFloat(cfg.Duration.Seconds(), 'f', -1, 64))
	}
	if at.reversed {
		args = append(args, "-R")
	} else if err := startServer(ctx, at, group, cfg.Iperf3); err != nil {
		return nil, errors.Join(err, group.Close())
	}
	t.run = func(ctx context.Context) error {
		_, err := runIn(ctx, group, at.far, append([]string{cfg.Iperf3}, args...))
		return err
	}
	return t, nil
}

// newPlayed is traffic of frames that this process sends.
func newPlayed(g *ground, s *Scenario, cfg *Config) (*traffic, error) {
	frames, err := cfg.Frames(s.devices)
	if err != nil {
		return nil, err
	}
	speed := s.speed
	if speed == 0 {
		speed = asFastAsGoes
	}
	return &traffic{
		run: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, cfg.Duration)
			defer cancel()
			for {
				_, err := g.Play(ctx, frames, replay.PlayOptions{Speed: speed})
				if errors.Is(err, context.DeadlineExceeded) {
					return nil
				}
				if err != nil {
					return err
				}
			}
		},
		cpu: ownCPU,
		end: func() error { return nil },
	}, nil
}

// ownCPU is what this process has used: it makes the traffic, and does little else.
func ownCPU() (CPU, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return CPU{}, fmt.Errorf("resource usage: %w", err)
	}
	user, system := duration(u.Utime), duration(u.Stime)
	return CPU{user + system, user, system}, nil
}

// startServer starts an iperf3 server for one client and waits until it listens.
func startServer(ctx context.Context, at *site, group *Group, iperf3 string) error {
	p, err := startIn("the iperf3 server", group, at.near, []string{iperf3, "-s", "-1", "-p", strconv.Itoa(iperfPort), "-B", at.server}, true)
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: `make bench-capture` installs it", err)
	}
	if err != nil {
		return err
	}
	return waitFor(ctx, "the iperf3 server to listen", p.ended, func() (yes bool, err error) {
		err = at.do(func() (err error) { yes, err = listens(iperfPort); return err })
		return yes, err
	})
}

// framesFrom is what of frames comes after their middle, when every device is on.
func framesFrom(frames []lab.Frame) []lab.Frame {
	if len(frames) == 0 {
		return frames
	}
	middle := frames[0].Time.Add(frames[len(frames)-1].Time.Sub(frames[0].Time) / 2)
	for i := range frames {
		if !frames[i].Time.Before(middle) {
			return frames[i:]
		}
	}
	return frames
}

// socketOf is where a sensor of the ground answers.
func (g *ground) socketOf(run int) string { return filepath.Join(g.Dir, fmt.Sprintf("%d.sock", run)) }
