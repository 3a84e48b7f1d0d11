package main

// This file holds the command that sends samples at a steady rate past a running
// sensor: what is lost, and what the sensor costs.

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/replay"
)

// medianPayload is the median transport payload of the packets of the device data
// set, bytes. (Of its samples alone it is 0: most first packets of a flow have none.)
const medianPayload = 5

func benchSamplesCommand() *cli.Command {
	return &cli.Command{
		Name:  "samples",
		Usage: "samples at a steady rate past a running sensor: losses and cost (root)",
		Description: "Sends UDP datagrams on a private pair of interfaces, ten for each flow, so that every one is\n" +
			"sampled, to `iotsense run --model none`. The counters must account for every packet.\n" +
			"--blocked has them judged, a flow's life two seconds, by a sensor whose output nobody reads,\n" +
			"and asks it for its counters every second.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "rate", Value: 100_000, Usage: "`N` packets a second"},
			&cli.DurationFlag{Name: "time", Value: 10 * time.Second, Usage: "send for `D`"},
			&cli.IntFlag{Name: "runs", Value: 1, Usage: "`N` times, each with a sensor of its own"},
			&cli.IntFlag{Name: "payload", Value: medianPayload, Usage: "`N` bytes in each packet"},
			&cli.IntFlag{Name: "macs", Value: 256, Usage: "sources are spread over `N` MACs"},
			&cli.IntFlag{Name: "max-flows", Value: object.DefaultMaxFlows, Usage: "the sensor's --max-flows"},
			&cli.StringFlag{Name: "hook", Value: string(attach.HookAuto), Usage: "`auto|xdp|xdp-generic|tcx|tc`"},
			&cli.BoolFlag{Name: "kernel-stats", Usage: "also the time spent in the programs, which this itself prolongs"},
			&cli.BoolFlag{Name: "blocked", Usage: "judge the flows too, and read no verdict until all is sent"},
			terminal.JSONFlag,
		},
		Action: benchSamples,
	}
}

// sampleFigures is one run.
type sampleFigures struct {
	Packets    uint64   `json:"packets"` // sent; each is a sample
	Seconds    float64  `json:"seconds"`
	Late       float64  `json:"sent_late_s"` // how late the latest packet was sent
	Unseen     uint64   `json:"unseen"`
	TableFull  uint64   `json:"table_full"`
	RingFull   uint64   `json:"ring_full"`
	Sent       uint64   `json:"sent"`                 // samples in the ring
	UserCPU    float64  `json:"user_cpu_s"`           // of the sensor, while packets were sent
	UserCore   float64  `json:"user_core_percent"`    // the same, of one core
	KernelNS   *float64 `json:"kernel_ns_per_packet"` // null without --kernel-stats
	Incomplete uint64   `json:"incomplete_records"`   // of the flows that had ended when counted
	Dropped    *uint64  `json:"dropped_verdicts"`     // null without --blocked
	Slowest    *float64 `json:"slowest_answer_s"`     // of the socket; null without --blocked
}

func benchSamples(c *cli.Context) error {
	for name, most := range map[string]int{"rate": 1_000_000, "runs": 1000, "payload": 9000, "macs": 1 << 16, "max-flows": 1 << 24} {
		if n := c.Int(name); n < 1 && name != "payload" || n < 0 || n > most {
			return terminal.Usagef("--%s %d: want 1 to %d", name, n, most)
		}
	}
	if d := c.Duration("time"); d < time.Second || d > time.Hour {
		return terminal.Usagef("--time %v: want 1s to 1h", d)
	}
	if err := checkSensor(c, "bench samples"); err != nil {
		return err
	}
	if err := clearWay(c.Context); err != nil {
		return err
	}
	frames := sampledFrames(int(c.Duration("time").Seconds()*float64(c.Int("rate"))), c.Int("rate"), c.Int("macs"), c.Int("payload"))
	var runs []sampleFigures
	for range c.Int("runs") {
		f, err := sampleRun(c, frames)
		if err != nil {
			return fmt.Errorf("bench samples: %w", err)
		}
		runs = append(runs, f)
	}
	return printSamples(c.App.Writer, c, runs)
}

// sampledFrames are n datagrams, evenly spaced. Flows follow each other in groups
// of one for each MAC, so that a flow's packets do not come in a row.
func sampledFrames(n, rate, macs, payload int) []lab.Frame {
	frames := make([]lab.Frame, n)
	group := make([][]byte, macs)
	for i := range frames {
		mac, round := i%macs, i/macs
		if round%flows.RowPackets == 0 {
			group[mac] = sampledFrame(uint32(round/flows.RowPackets), uint32(mac), payload)
		}
		frames[i] = lab.Frame{
			Time: time.Unix(0, int64(i)*int64(time.Second)/int64(rate)),
			Data: group[mac], FromDevice: true,
		}
	}
	return frames
}

// sampledFrame is a datagram of the device's flow number flow.
func sampledFrame(flow, device uint32, payload int) []byte {
	mac, src := [6]byte{2}, [4]byte{10, 1, byte(device >> 8), byte(device)}
	binary.BigEndian.PutUint32(mac[2:], device)
	dst := [4]byte{198, 18, byte(flow >> 24), byte(flow >> 16)} // RFC 2544: for benchmarks
	return packet.EthernetFrom(mac, packet.RouterMAC, packet.IPv4Type, packet.IPv4(
		packet.IP{Proto: packet.UDPProto, Src: netip.AddrFrom4(src), Dst: netip.AddrFrom4(dst)},
		packet.UDP(uint16(flow), 53, packet.Payload(payload))))
}

// sampleRun plays the frames past a sensor of its own.
func sampleRun(c *cli.Context, frames []lab.Frame) (f sampleFigures, err error) {
	opts := demoOptions{hook: c.String("hook"), model: ask.NoModel, speed: 1, flags: []string{"--max-flows", strconv.Itoa(c.Int("max-flows"))}}
	if c.Bool("kernel-stats") {
		opts.flags = append(opts.flags, "--kernel-stats")
	}
	if c.Bool("blocked") {
		opts.model, opts.speed, opts.unread = "", blockedSpeed, true
		f.Dropped, f.Slowest = new(uint64), new(float64)
	}
	err = besideSensor(c.Context, opts, func(n *replay.Network, s *demoSensor) error { return f.measure(c.Context, n, s, frames) })
	return f, err
}

// blockedSpeed makes records, and with them verdicts, come from the third second on.
const blockedSpeed = 30

// ask asks for the counters every second until ctx ends, and keeps how long it took.
func (f *sampleFigures) ask(ctx context.Context, s *demoSensor) {
	for f.Slowest != nil {
		begin := time.Now()
		if _, err := s.client.Stats(ctx); err == nil || ctx.Err() == nil { // one that failed took its time too
			*f.Slowest = max(*f.Slowest, time.Since(begin).Seconds())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (f *sampleFigures) measure(ctx context.Context, n *replay.Network, s *demoSensor, frames []lab.Frame) error {
	before, err := s.client.Stats(ctx)
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { f.ask(asking, s) })
	begin := time.Now()
	played, err := n.Play(ctx, frames, replay.PlayOptions{FarEnd: true})
	f.Seconds = time.Since(begin).Seconds()
	stop()
	all.Wait()
	if err != nil {
		return err
	}
	after, err := s.client.Stats(ctx)
	if err != nil {
		return err
	}
	f.Packets, f.Late = played.Frames, played.Latest.Seconds()
	return f.count(&before, &after)
}

// count takes the sensor's counters, which must account for every packet.
func (f *sampleFigures) count(before, after *v1.Stats) error {
	p := after.Packets
	f.Unseen = f.Packets - min(f.Packets, p.Seen)
	f.TableFull, f.RingFull, f.Sent, f.Incomplete = p.TableFull, after.Samples.RingFull, after.Samples.Sent, after.IncompleteRecords
	f.UserCPU = after.UserCPUS - before.UserCPUS
	f.UserCore = 100 * f.UserCPU / f.Seconds
	f.KernelNS = kernelNS(after)
	if f.Dropped != nil {
		*f.Dropped = after.DroppedVerdicts
		if err := p.Check(); err != nil {
			return err
		}
	}
	if f.Sent+f.RingFull+p.TableFull != p.Seen {
		return fmt.Errorf("%d packets seen, but %d samples sent, %d lost and %d packets refused", p.Seen, f.Sent, f.RingFull, p.TableFull)
	}
	return nil
}

// kernelNS is what a packet took in the kernel on average; nil without --kernel-stats.
func kernelNS(s *v1.Stats) *float64 {
	if s.KernelNSTotal == nil || *s.KernelRuns == 0 {
		return nil
	}
	ns := float64(*s.KernelNSTotal) / float64(*s.KernelRuns)
	return &ns
}

func printSamples(w io.Writer, c *cli.Context, runs []sampleFigures) error {
	if c.Bool("json") {
		return terminal.PrintJSON(w, map[string]any{"payload": c.Int("payload"), "macs": c.Int("macs"), "max_flows": c.Int("max-flows"), "runs": runs})
	}
	t := terminal.NewTable(w, "Run", "Packets", "Packets/s", "Sent late, s", "Unseen", "Table full", "Ring full", "User CPU, s", "% of a core", "Kernel, ns/packet")
	for i, f := range runs {
		kernel := "-"
		if f.KernelNS != nil {
			kernel = fmt.Sprintf("%.0f", *f.KernelNS)
		}
		t.AppendRow(table.Row{i + 1, f.Packets, whole(float64(f.Packets) / f.Seconds), fmt.Sprintf("%.3f", f.Late), f.Unseen, f.TableFull, f.RingFull,
			fmt.Sprintf("%.3f", f.UserCPU), fmt.Sprintf("%.2f", f.UserCore), kernel})
	}
	t.Render()
	for i, f := range runs {
		if f.Dropped != nil {
			fmt.Fprintf(w, "run %d: nobody read %d verdicts; no answer took longer than %.3f s\n", i+1, *f.Dropped, *f.Slowest)
		}
	}
	return nil
}
