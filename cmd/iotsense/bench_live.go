package main

// This file holds the command that measures how much live traffic one core takes
// before something is lost.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

// ticks is the unit of CPU time in /proc (USER_HZ), alike on amd64 and arm64.
const ticks = 100

func benchLiveCommand() *cli.Command {
	return &cli.Command{
		Name:  "live",
		Usage: "packet to verdict live, through the kernel: what one core takes before something is lost (root)",
		Description: "Plays captures, multiplied as in bench pipeline, on a private pair of interfaces past a running\n" +
			"sensor that may use one core, faster at each step. Ends with the first step that lost something,\n" +
			"or that could not be played in time. The lifetime of flows is divided by the speed, so the\n" +
			"sensor has that many times the flows, packets and verdicts to handle.",
		Flags: append(fleetFlags(),
			&cli.IntFlag{Name: "devices", Value: 100, Usage: "`N` devices"},
			&cli.StringFlag{Name: "speed", Value: "10,20,40,80,160,320,640", Usage: "`N,...` times faster than recorded"},
			&cli.DurationFlag{Name: "time", Value: 10 * time.Second, Usage: "play again until a step has taken `D`"},
			&cli.StringFlag{Name: "hook", Value: string(attach.HookAuto), Usage: "`auto|xdp|xdp-generic|tcx|tc`"}),
		Action: benchLive,
	}
}

// liveFigures is one step: rates are per second of the time that playing took.
type liveFigures struct {
	Devices    int     `json:"devices"`
	Speed      int     `json:"speed"`
	Hook       string  `json:"hook"`
	Seconds    float64 `json:"seconds"`
	Packets    uint64  `json:"packets"` // sent; all of them must be seen
	PacketRate float64 `json:"packets_per_second"`
	Megabits   float64 `json:"mbit_per_second"`
	Flows      float64 `json:"flows_per_second"`
	Inferences float64 `json:"inferences_per_second"`
	Sensor     float64 `json:"sensor_core_percent"` // of one core, user and system
	Kernel     float64 `json:"kernel_core_percent"` // of one core, spent in the programs on the packets' way
	KernelNS   float64 `json:"kernel_ns_per_packet"`
	Unseen     uint64  `json:"unseen"`
	TableFull  uint64  `json:"table_full"`
	RingFull   uint64  `json:"ring_full"`
	Incomplete uint64  `json:"incomplete_records"`
	Late       float64 `json:"played_late_s"` // how late the latest packet was sent
}

// lost is what the sensor missed of what was sent.
func (f *liveFigures) lost() uint64 { return f.Unseen + f.TableFull + f.RingFull + f.Incomplete }

// playedLate is when the sender, not the sensor, was too slow for the step.
func (f *liveFigures) playedLate() bool { return f.Late > f.Seconds/10 }

func benchLive(c *cli.Context) error {
	speeds, err := parseCounts("speed", c.String("speed"))
	if err != nil {
		return err
	}
	if c.Int("devices") < 1 {
		return terminal.Usagef("--devices %d: want at least 1", c.Int("devices"))
	}
	if err := checkSensor(c, "bench live"); err != nil {
		return err
	}
	captures, data, err := benchCaptures(c)
	if err != nil {
		return err
	}
	fleet, err := bench.NewFleet(captures, c.Int("devices"))
	if err != nil {
		return err
	}
	if err := clearWay(c.Context); err != nil {
		return err
	}
	var steps []liveFigures
	frames := fleet.Frames()
	for _, speed := range speeds {
		f, err := liveStep(c, frames, speed)
		if err != nil {
			return fmt.Errorf("bench live: speed %d: %w", speed, err)
		}
		f.Devices = fleet.Devices
		steps = append(steps, f)
		if f.lost() > 0 || f.playedLate() {
			break
		}
	}
	return printLive(c.App.Writer, c, data, steps)
}

// liveStep plays the frames at one speed past a sensor of its own.
func liveStep(c *cli.Context, frames []lab.Frame, speed int) (f liveFigures, err error) {
	opts := demoOptions{
		hook: c.String("hook"), model: c.String("model"), speed: float64(speed),
		flags: []string{"--kernel-stats"}, env: []string{"GOMAXPROCS=1"},
	}
	err = besideSensor(c.Context, opts, func(n *replay.Network, s *demoSensor) error {
		f.Speed, f.Hook = speed, s.hook
		return f.measure(c.Context, n, s, frames, c.Duration("time"))
	})
	return f, err
}

// measure plays the frames, over and over for a length of time, waits until all
// their flows are over and reads the counters.
func (f *liveFigures) measure(ctx context.Context, n *replay.Network, s *demoSensor, frames []lab.Frame, length time.Duration) error {
	before, err := cpuSeconds(s.process.Pid)
	if err != nil {
		return err
	}
	var bytes uint64
	begin := time.Now()
	for f.Packets == 0 || time.Since(begin) < length {
		played, err := n.Play(ctx, frames, replay.PlayOptions{Speed: float64(f.Speed), FarEnd: strings.HasPrefix(f.Hook, "xdp")})
		if err != nil {
			return err
		}
		f.Packets, bytes, f.Late = f.Packets+played.Frames, bytes+played.Bytes, max(f.Late, played.Latest.Seconds())
	}
	f.Seconds = time.Since(begin).Seconds()
	stats, err := s.settle(ctx, time.Duration(float64(flows.Lifetime)/float64(f.Speed))+demoBlindTime)
	if err != nil {
		return err
	}
	after, err := cpuSeconds(s.process.Pid)
	if err != nil {
		return err
	}
	f.PacketRate, f.Megabits = float64(f.Packets)/f.Seconds, float64(bytes)*8/1e6/f.Seconds
	f.Sensor = 100 * (after - before) / f.Seconds
	f.count(&stats)
	return nil
}

// count takes the sensor's own counters.
func (f *liveFigures) count(s *v1.Stats) {
	f.Flows, f.Inferences = float64(s.Records)/f.Seconds, float64(s.Inferences)/f.Seconds
	if s.KernelNSTotal != nil {
		f.Kernel = 100 * float64(*s.KernelNSTotal) / 1e9 / f.Seconds
	}
	if ns := kernelNS(s); ns != nil {
		f.KernelNS = *ns
	}
	f.Unseen = f.Packets - min(f.Packets, s.Packets.Seen)
	f.TableFull, f.RingFull, f.Incomplete = s.Packets.TableFull, s.Samples.RingFull, s.IncompleteRecords
}

// cpuSeconds is what a process has used, in user space and in the kernel (proc(5):
// fields 14 and 15 of stat, the 12th and 13th after the command's name).
func cpuSeconds(pid int) (float64, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("CPU time of the sensor: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("CPU time of the sensor: %s has %d fields after the name", path, len(fields))
	}
	user, errUser := strconv.ParseUint(fields[11], 10, 64)
	system, errSystem := strconv.ParseUint(fields[12], 10, 64)
	return float64(user+system) / ticks, errors.Join(errUser, errSystem)
}

func printLive(w io.Writer, c *cli.Context, data string, steps []liveFigures) error {
	if c.Bool("json") {
		return terminal.PrintJSON(w, map[string]any{"data": data, "model": modelName(c), "steps": steps})
	}
	last := steps[len(steps)-1]
	if _, err := fmt.Fprintf(w, "%d devices live on %s, %s, model %s\n\n", last.Devices, last.Hook, data, modelName(c)); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	t := terminal.NewTable(w, "Speed", "Packets/s", "Mbit/s", "Flows/s", "Inferences/s", "Sensor, % of a core", "Kernel programs, %", "ns/packet", "Packets", "Lost")
	for _, f := range steps {
		t.AppendRow(table.Row{f.Speed, whole(f.PacketRate), whole(f.Megabits), whole(f.Flows), whole(f.Inferences),
			fmt.Sprintf("%.1f", f.Sensor), fmt.Sprintf("%.1f", f.Kernel), whole(f.KernelNS), f.Packets, f.lost()})
	}
	t.Render()
	var err error
	if last.lost() > 0 {
		_, err = fmt.Fprintf(w, "\nlost at speed %d: %d packets not seen, %d of refused flows, %d samples for a full ring, %d records incomplete\n",
			last.Speed, last.Unseen, last.TableFull, last.RingFull, last.Incomplete)
	}
	if err == nil && last.playedLate() {
		_, err = fmt.Fprintf(w, "\nat speed %d packets were sent up to %.1f s late: the sender is the limit\n", last.Speed, last.Late)
	}
	return err
}
