package sensor_test

// This file runs what a live test needs as processes of their own on a private
// network: the sensor, which is this very test binary, and tcpdump.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/replay"
	"github.com/iotsense/iotsense/pkg/sensor"
)

// sensorEnv makes the test binary a sensor with the sensorConfig that it holds.
const sensorEnv = "IOTSENSE_TEST_SENSOR"

func TestMain(m *testing.M) {
	if text := os.Getenv(sensorEnv); text != "" {
		if err := beSensor(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := replay.RemoveStale(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(m.Run())
}

// sensorConfig is what a test chooses of a sensor.
type sensorConfig struct {
	Hook      attach.Hook
	Direction flows.Direction
	Speed     float64
	Socket    string // empty: none
	State     string // empty: none
}

// sensorResult is what a sensor has made, its flows closed.
type sensorResult struct {
	Records []flows.Record
	Stats   v1.Stats
	Facts   []v1.Fact // of all devices
	Peers   []v1.Peers
	Early   map[string]int // provisional verdicts, by device
	Apart   int            // answers to Stats meanwhile that did not add up, see askOften
}

// ready is the line that says that the sensor is attached.
const ready = "attached"

// beSensor runs a sensor until SIGTERM, then writes its result to standard output.
func beSensor(text string) error {
	var cfg sensorConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	bundle, err := labBundle(cfg.Direction)
	if err != nil {
		return err
	}
	result := sensorResult{Early: map[string]int{}}
	s, err := sensor.Open(sensor.Config{
		Loader: loader.Config{Interfaces: []string{replay.Interface}, Hook: cfg.Hook},
		Model:  bundle,
		Speed:  cfg.Speed,
		Socket: cfg.Socket,
		State:  cfg.State,
		Record: func(r *flows.Record) { result.Records = append(result.Records, *r) },
		Verdict: func(v v1.Verdict) error {
			if v.Provisional {
				result.Early[v.Device]++
			}
			return nil
		},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(ready)
	asking, enough := context.WithCancel(ctx)
	var asked sync.WaitGroup
	asked.Go(func() { result.Apart = askOften(asking, s) })
	err = s.Run(ctx)
	enough()
	asked.Wait()
	if err != nil {
		return err
	}
	if result.Stats, err = s.Stats(); err != nil {
		return err
	}
	devices, err := s.Devices()
	if err != nil {
		return err
	}
	for _, d := range devices {
		if d.Provisional {
			return fmt.Errorf("device %s: a provisional verdict after the last flow has ended", d.Device)
		}
		list, err := s.Facts(d.Device)
		if err != nil {
			return err
		}
		if len(list) > 0 && (d.Facts[list[0].Kind] == "" || d.Facts["maker"] != "" && *d.Vendor != d.Facts["maker"]) {
			return fmt.Errorf("device %s with %d facts is told with %v, vendor %v", d.Device, len(list), d.Facts, d.Vendor)
		}
		result.Facts = append(result.Facts, list...)
		peers, err := s.Peers(d.Device)
		if err != nil {
			return err
		}
		result.Peers = append(result.Peers, peers)
	}
	return gob.NewEncoder(os.Stdout).Encode(result)
}

// askOften counts the answers whose packets of ended lives are not those with and
// without a device: user space has counted both.
func askOften(ctx context.Context, s *sensor.Sensor) (apart int) {
	for ctx.Err() == nil {
		if stats, err := s.Stats(); err == nil && stats.Packets.InClosed != stats.Packets.WithDevice+stats.Packets.NoDevice {
			apart++
		}
		time.Sleep(20 * time.Millisecond)
	}
	return apart
}

// labBundle is the device lab's model, for records of the direction: the weights
// do not matter here, what the model makes the kernel collect does.
func labBundle(direction flows.Direction) (model.Bundle, error) {
	bundle, err := embedded.Lab()
	if err != nil {
		return nil, err
	}
	for _, m := range bundle {
		m.Record.Direction = direction
	}
	return bundle, nil
}

// process is a command that a test stops with a signal.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  <-chan error
	stderr bytes.Buffer
}

func start(t *testing.T, n *replay.Network, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd}
	cmd.Stderr = &p.stderr
	var err error
	if p.ended, err = n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // where a test has failed before it came to stop
	return p
}

// stop ends the process with the signal, and fails the test if it does not end well.
func (p *process) stop(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%s: %v", p.cmd.Path, err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("%s: %v\n%s", p.cmd.Path, err, &p.stderr)
		}
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%s does not end", p.cmd.Path)
	}
}

// sensorProcess is a sensor that a test has started.
type sensorProcess struct {
	*process
	out    *bufio.Reader
	result chan sensorResult
}

// startSensor returns once the sensor is attached.
func startSensor(t *testing.T, n *replay.Network, cfg sensorConfig) *sensorProcess {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), sensorEnv+"="+string(text))
	cmd.Stdout = w
	s := &sensorProcess{process: start(t, n, cmd), out: bufio.NewReader(r), result: make(chan sensorResult, 1)}
	w.Close()
	line, err := s.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != ready {
		<-s.ended
		t.Fatalf("sensor with hook %s: %v\n%s", cfg.Hook, err, &s.stderr)
	}
	go func() {
		var result sensorResult
		if err := gob.NewDecoder(s.out).Decode(&result); err != nil {
			t.Errorf("result of the sensor: %v", err)
		}
		s.result <- result
	}()
	return s
}

// stop makes the sensor close its flows, and returns what it has made.
func (s *sensorProcess) stop() sensorResult {
	s.t.Helper()
	s.process.stop(syscall.SIGTERM)
	return <-s.result
}

// recorder is a tcpdump on the sensor's interface.
type recorder struct {
	*process
	path string
}

func startRecorder(t *testing.T, n *replay.Network) *recorder {
	t.Helper()
	path := filepath.Join(n.Dir, "recording.pcap")
	// No link-level noise is on the network; the buffer holds what a busy machine leaves waiting.
	cmd := exec.Command(testenv.Tool(t, "tcpdump"), "-i", replay.Interface, "-U", "-w", path, "-n", "-s", "0", "-B", "16384", "-Z", "root")
	p := start(t, n, cmd)
	deadline := time.Now().Add(10 * time.Second)
	for { // tcpdump writes the file's header when it listens
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("tcpdump does not begin to record")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return &recorder{p, path}
}

var recorderDropped = regexp.MustCompile(`(?m)^(\d+) packets? dropped by kernel`)

// stop returns what was recorded; a recording with gaps fails the test.
func (r *recorder) stop() []lab.Frame {
	r.t.Helper()
	r.process.stop(syscall.SIGINT)
	if m := recorderDropped.FindStringSubmatch(r.stderr.String()); m == nil || m[1] != "0" {
		r.t.Fatalf("tcpdump's recording is not complete:\n%s", &r.stderr)
	}
	frames, err := replay.ReadCapture(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	return frames
}
