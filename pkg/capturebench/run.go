package capturebench

// This file makes one run: a tool, a scenario.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Run is one measurement of one tool. Times are in seconds, of CPUs where they are not
// of a clock.
type Run struct {
	Scenario   string `json:"scenario"`
	Tool       string `json:"tool"`
	Repetition int    `json:"repetition"`
	// Failed says why there are no figures; empty where there are.
	Failed string `json:"failed"`

	OnInterface uint64  `json:"on_interface"` // packets that the interface has counted, without those dropped
	Dropped     uint64  `json:"dropped"`      // that it has received, and found the kernel's queue full: no tool can see them
	Count       Count   `json:"counted"`      // packets that the tool has
	Lost        int64   `json:"lost"`         // of the interface's packets; below 0: counted more
	TrafficS    float64 `json:"traffic_s"`    // from the first packet to the last
	DrainS      float64 `json:"drain_s"`      // from the last packet until the tool was at rest

	CPUS        float64 `json:"cpu_s"`         // the tool's process tree, until it was at rest
	UserS       float64 `json:"user_s"`        // of cpu_s, in user space
	StartS      float64 `json:"start_cpu_s"`   // the tree, before the first packet
	EndS        float64 `json:"end_cpu_s"`     // the tree, from SIGTERM on
	WindowS     float64 `json:"window_s"`      // over which cpu_s was taken
	TrafficCPUS float64 `json:"traffic_cpu_s"` // what sends and receives the traffic
	MachineCPUS float64 `json:"machine_cpu_s"` // the whole machine, while there was traffic
	SoftirqS    float64 `json:"softirq_s"`     // of machine_cpu_s
	PeakRSSMB   float64 `json:"peak_rss_mb"`   // sum over the tree
	// KernelNS is what a packet cost in the sensor's programs, by the kernel's run-time
	// statistics, in a run of their own; null: not such a run.
	KernelNS *float64 `json:"kernel_ns_per_packet"`
}

// measurement is a run going on.
type measurement struct {
	Run
	cfg    *Config
	ground *ground
	at     *site
	tool   *Tool
	kernel bool // with the kernel's run-time statistics
	group  *Group
	p      *process
	sensor *client.Client
}

// measure makes one run. Its error is of the measurement itself; what the tool does wrong
// is in the Run.
func (m *measurement) measure(ctx context.Context, s *Scenario) (err error) {
	m.at = m.ground.at(s)
	if s.Group == groupOffloads {
		if err := m.ground.SetOffloads(true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.ground.SetOffloads(false)) }()
	}
	if m.group, err = NewGroup("tool"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.group.Close()) }()
	if err := m.start(ctx); err != nil {
		m.Failed = err.Error()
		return ctx.Err()
	}
	t, err := newTraffic(ctx, m.ground, m.at, s, m.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	if _, err := m.group.rest(ctx, 0, startPatience/3); err != nil {
		return err
	}
	if err := m.watch(ctx, t); err != nil {
		return err
	}
	return m.stop(ctx)
}

// start starts the tool and waits until it captures.
func (m *measurement) start(ctx context.Context) error {
	if m.tool.command == nil {
		return nil
	}
	p := m.cfg.places(m.at.iface, m.ground.socketOf(m.Repetition))
	line := p.commandOf(m.tool)
	if m.kernel {
		line = append(line, "--kernel-stats")
	}
	var err error
	if m.p, err = startIn(m.tool.Name, m.group, m.at.near, line, m.tool.Ours); err != nil {
		return err
	}
	ready := m.at.captured
	if m.tool.Ours {
		m.sensor = client.New(p.socket)
		ready = func() (bool, error) {
			stats, err := m.sensor.Stats(ctx)
			return err == nil && len(stats.Interfaces) == 1 && stats.Interfaces[0].Attached, nil
		}
	}
	if err := waitFor(ctx, m.tool.Name+" to capture", m.p.ended, ready); err != nil {
		return fmt.Errorf("%w: %s", err, m.p.out.last())
	}
	return nil
}

// moment is what has been counted at one time.
type moment struct {
	link          linkCounts
	tool, traffic CPU
	machine       machineTime
	sensor        *v1.Stats
	at            time.Time
}

func (m *measurement) now(ctx context.Context, t *traffic) (n moment, err error) {
	if m.kernel {
		stats, err := m.sensor.Stats(ctx)
		if err != nil {
			return n, err
		}
		n.sensor = &stats
	}
	var errs [4]error
	n.link, errs[0] = m.at.link()
	n.tool, errs[1] = m.group.CPU()
	n.traffic, errs[2] = t.cpu()
	n.machine, errs[3] = readMachineTime()
	n.at = time.Now()
	return n, errors.Join(errs[:]...)
}

// watch makes the traffic and takes the figures of it.
func (m *measurement) watch(ctx context.Context, t *traffic) error {
	before, err := m.now(ctx, t)
	if err != nil {
		return err
	}
	m.StartS = before.tool.Total.Seconds()
	if err := t.run(ctx); err != nil {
		return err
	}
	sent, err := m.now(ctx, t)
	if err != nil {
		return err
	}
	const (
		drain = 3                // times the length of the traffic, as in the paper
		least = 10 * time.Second // where that is short
	)
	since, err := m.group.rest(ctx, ringPatience, max(least, drain*sent.at.Sub(before.at)))
	if err != nil {
		return err
	}
	after, err := m.now(ctx, t)
	if err != nil {
		return err
	}
	m.OnInterface, m.Dropped = after.link.since(before.link)
	m.TrafficS, m.DrainS = sent.at.Sub(before.at).Seconds(), max(0, since.Sub(sent.at).Seconds())
	used := after.tool.minus(before.tool)
	m.CPUS, m.UserS, m.WindowS = used.Total.Seconds(), used.User.Seconds(), after.at.Sub(before.at).Seconds()
	m.TrafficCPUS = after.traffic.minus(before.traffic).Total.Seconds()
	m.MachineCPUS = (sent.machine.busy - before.machine.busy).Seconds()
	m.SoftirqS = (sent.machine.softirq - before.machine.softirq).Seconds()
	rss, err := m.group.PeakRSS()
	m.PeakRSSMB = float64(rss) / 1e6
	if m.kernel {
		m.kernelCost(before.sensor, after.sensor)
	}
	return err
}

// kernelCost is what the sensor's programs took, for each packet seen.
func (m *measurement) kernelCost(before, after *v1.Stats) {
	seen := after.Packets.Seen - before.Packets.Seen
	if seen == 0 || before.KernelNSTotal == nil || after.KernelNSTotal == nil {
		return
	}
	ns := float64(*after.KernelNSTotal-*before.KernelNSTotal) / float64(seen)
	m.KernelNS = &ns
}

// stop ends the tool and takes its count.
func (m *measurement) stop(ctx context.Context) error {
	if m.p == nil {
		return nil
	}
	if m.hasGaps(ctx) {
		m.Failed = takenOff
	}
	before, err := m.group.CPU()
	if err != nil {
		return err
	}
	out, err := m.p.stop()
	if err != nil {
		m.Failed = err.Error()
		return nil
	}
	after, err := m.group.CPU()
	if err != nil {
		return err
	}
	m.EndS = after.minus(before).Total.Seconds()
	if m.Count, err = m.tool.count(out); err != nil {
		m.Failed = fmt.Sprintf("%s: %v: %s", m.tool.Name, err, m.p.out.last())
		return nil
	}
	m.Lost = int64(m.OnInterface) - int64(m.tool.handled(&m.Run, m.at.iface == loopback))
	return nil
}

// takenOff is why a run of the sensor has no figures that was kept from seeing what others
// see.
const takenOff = "another program has taken the sensor's off the interface meanwhile"

// hasGaps reports whether the sensor was off the interface for a while.
func (m *measurement) hasGaps(ctx context.Context) bool {
	if m.sensor == nil {
		return false
	}
	stats, err := m.sensor.Stats(ctx)
	return err == nil && slices.ContainsFunc(stats.Interfaces, func(i v1.Interface) bool { return i.Gaps > 0 })
}
