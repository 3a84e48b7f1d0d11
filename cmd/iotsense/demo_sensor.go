package main

// This file runs the sensor of a demo: this very program, as a process of its
// own on the private network.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	sensorStart = 30 * time.Second // to load and attach
	sensorStop  = 15 * time.Second // to judge the flows still open
	sensorPoll  = 50 * time.Millisecond
	longestLine = 1 << 20
)

// checkSensor refuses a hook that there is not, and whoever may not start a sensor.
func checkSensor(c *cli.Context, command string) error {
	if _, err := attach.ParseHook(c.String("hook")); err != nil {
		return terminal.WrongUsage(fmt.Errorf("--hook: %w", err))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s makes network namespaces and loads programs into the kernel: run it as root", command)
	}
	return nil
}

// onDemoNetwork does it on a network of the demo's own, which it removes.
func onDemoNetwork(ctx context.Context, do func(*replay.Network) error) error {
	if err := clearWay(ctx); err != nil {
		return err
	}
	n, err := replay.NewNetwork("demo")
	if err != nil {
		return err
	}
	return errors.Join(do(n), n.Close())
}

// clearWay removes what a command that was killed has left behind.
func clearWay(ctx context.Context) error {
	if err := terminal.Undoes(ctx); err != nil {
		return err
	}
	return replay.RemoveStale()
}

// demoSensor is a running `iotsense run`.
type demoSensor struct {
	socket   string
	client   *client.Client
	verdicts chan v1.Verdict // closed when the sensor has ended
	unread   io.ReadCloser   // what it prints, where nobody listens yet
	hook     string          // what --hook auto has taken
	process  *os.Process
	hurry    context.Context // ends when there is no time to judge the flows still open
	ended    <-chan error
	stderr   bytes.Buffer // to be read once ended is
}

// startSensor starts the sensor and returns once it sees packets.
func startSensor(ctx context.Context, n *replay.Network, opts demoOptions) (*demoSensor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	lines, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the sensor: %w", err)
	}
	socket := filepath.Join(n.Dir, "sensor.sock")
	s := &demoSensor{socket: socket, client: client.New(socket), verdicts: make(chan v1.Verdict), hurry: terminal.EndingOf(ctx).Hurry}
	cmd := exec.Command(self, append([]string{"run", "-i", replay.Interface, "--hook", opts.hook, "--model", opts.model, "--json",
		"--socket", socket, "--pin", "", "--speed", strconv.FormatFloat(opts.speed, 'g', -1, 64)}, opts.flags...)...)
	cmd.Env = append(os.Environ(), opts.env...)
	cmd.Stdout, cmd.Stderr = out, &s.stderr
	s.ended, err = n.Start(cmd)
	out.Close()
	if err != nil {
		lines.Close()
		return nil, err
	}
	s.process = cmd.Process
	s.unread = lines
	if !opts.unread {
		s.listen()
	}
	if err := s.attached(ctx); err != nil {
		s.ignore() // there is nobody else to take them
		return nil, err
	}
	return s, nil
}

// leave ends a sensor that nobody has looked at.
func (s *demoSensor) leave() error {
	go s.ignore()
	return s.stop()
}

// besideSensor runs f beside a sensor on a network of its own, whose verdicts nobody
// looks at.
func besideSensor(ctx context.Context, opts demoOptions, f func(*replay.Network, *demoSensor) error) error {
	n, err := replay.NewNetwork("bench")
	if err != nil {
		return err
	}
	s, err := startSensor(ctx, n, opts)
	if err == nil {
		if !opts.unread {
			go s.ignore()
		}
		if err = f(n, s); opts.unread {
			go s.ignore()
		}
		err = errors.Join(err, s.stop())
	}
	return errors.Join(err, n.Close())
}

// listen begins to read what the sensor prints.
func (s *demoSensor) listen() {
	if s.unread != nil {
		go s.read(s.unread)
		s.unread = nil
	}
}

// ignore takes verdicts, which are made and printed, without a look at what they say.
func (s *demoSensor) ignore() {
	s.listen()
	for range s.verdicts {
	}
}

// read turns the sensor's lines into verdicts.
func (s *demoSensor) read(lines io.ReadCloser) {
	defer close(s.verdicts)
	defer lines.Close()
	in := bufio.NewScanner(lines)
	in.Buffer(nil, longestLine)
	for in.Scan() {
		var v v1.Verdict
		if err := json.Unmarshal(in.Bytes(), &v); err == nil && v.Device != "" {
			s.verdicts <- v
		}
	}
}

// attached waits until the sensor says that it is attached.
func (s *demoSensor) attached(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sensorStart)
	defer cancel()
	for {
		stats, err := s.client.Stats(ctx)
		if err == nil && len(stats.Interfaces) == 1 && stats.Interfaces[0].Attached {
			s.hook = string(stats.Interfaces[0].Hook)
			return nil
		}
		select {
		case err := <-s.ended:
			return s.failure(err)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for the sensor to attach: %w", ctx.Err()), s.stop())
		case <-time.After(sensorPoll):
		}
	}
}

// settle waits until every flow has lived its lifetime, and returns the counters.
func (s *demoSensor) settle(ctx context.Context, most time.Duration) (v1.Stats, error) {
	deadline := time.Now().Add(most)
	for {
		stats, err := s.client.Stats(context.WithoutCancel(ctx))
		if err != nil || stats.Flows.Open == 0 || time.Now().After(deadline) {
			return stats, err
		}
		select {
		case <-ctx.Done():
			return stats, nil
		case <-time.After(sensorPoll):
		}
	}
}

// stop lets the sensor judge the flows that are still open, and waits for its end.
func (s *demoSensor) stop() error {
	if err := s.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the sensor: %w", err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			return s.failure(err)
		}
		return nil
	case <-s.hurry.Done():
		_ = s.process.Kill() // it may have ended by now; its network goes with this process
		<-s.ended
		return errors.New("the sensor was killed: there was no time for it to end")
	case <-time.After(sensorStop):
		_ = s.process.Kill()
		<-s.ended
		return fmt.Errorf("the sensor had not ended %v after SIGTERM: killed", sensorStop)
	}
}

// failure is what the sensor itself said, in its last line.
func (s *demoSensor) failure(err error) error {
	lines := strings.Split(strings.TrimSpace(s.stderr.String()), "\n")
	return fmt.Errorf("the sensor ended (%v): %s", err, strings.TrimPrefix(lines[len(lines)-1], "iotsense: "))
}
