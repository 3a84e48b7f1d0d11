// Package bench measures what naming a device costs: inference alone, and the
// whole path from packet to verdict. In go a model and windows or frames, out
// come rates, times and memory. It never prints, and never judges a figure.
//
// What is measured is what runs live: the engine of package model, the table and
// the assembler of package flows, the classifier. Nothing here computes a result
// of its own or remembers one.
package bench

// This file measures the path from packet to verdict on one core, without the
// kernel half: parser, flow table, assembler, windows, engine, registry. What it plays is
// captures in memory, multiplied to the traffic of many devices.

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/replay"
)

// PipelineFigures is what one core does per second of its time, and what that
// many devices take in memory.
type PipelineFigures struct {
	Devices    int     `json:"devices"`
	Verdicts   int     `json:"verdicts"` // devices that have one
	Packets    uint64  `json:"packets"`
	Lost       uint64  `json:"lost"`  // packets that no record counts, records that lost a sample
	CPU        float64 `json:"cpu_s"` // user and system, the garbage collector's included
	PacketRate float64 `json:"packets_per_second"`
	Megabits   float64 `json:"mbit_per_second"` // of Ethernet frames
	Flows      float64 `json:"flows_per_second"`
	Inferences float64 `json:"inferences_per_second"`
	Running    float64 `json:"running_mb"` // grown by with the last flows open, garbage included
	Resting    float64 `json:"resting_mb"` // grown by with all flows closed: rows, states, verdicts
}

// Pipeline plays the fleet through the path as fast as it goes.
func Pipeline(ctx context.Context, bundle model.Bundle, fleet *Fleet) (PipelineFigures, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the garbage collector's work is part of the cost
	figures := PipelineFigures{Devices: fleet.Devices}
	locals := flows.NewLocals(nil).WithDevices(fleet.names()...)
	base, err := Settled()
	if err != nil {
		return figures, err
	}
	spec, err := bundle.Record()
	if err != nil {
		return figures, err
	}
	classifier, err := classify.New(bundle, classify.Options{MaxDevices: fleet.Devices})
	if err != nil {
		return figures, err
	}
	var failed error
	var records, incomplete uint64
	assembler := flows.NewAssembler(flows.AssemblerConfig{Spec: spec, Locals: locals, Emit: func(r *flows.Record) {
		records++
		if r.Incomplete {
			incomplete++
		}
		if err := classifier.Record(r); err != nil && failed == nil {
			failed = err
		}
	}})
	table := flows.NewTable(spec, locals, assembler)

	begin := cpuTime()
	bytes, counted := figures.play(fleet, table)
	spent := cpuTime() - begin
	running, err := Resident()
	if err != nil {
		return figures, err
	}
	begin = cpuTime()
	table.Flush()
	spent += cpuTime() - begin
	if failed != nil {
		return figures, failed
	}
	if err := ctx.Err(); err != nil {
		return figures, err
	}
	resting, err := Settled()
	if err != nil {
		return figures, err
	}
	made := assembler.Stats()
	figures.Lost = counted - made.WithDevice - made.NoDevice + incomplete
	figures.Verdicts = verdicts(classifier)
	seconds := spent.Seconds()
	figures.CPU, figures.PacketRate, figures.Megabits = seconds, float64(figures.Packets)/seconds, float64(bytes)*8/1e6/seconds
	figures.Flows, figures.Inferences = float64(records)/seconds, float64(classifier.Inferences())/seconds
	figures.Running, figures.Resting = MB(running.Total-base.Total), MB(resting.Total-base.Total)
	runtime.KeepAlive(classifier)
	runtime.KeepAlive(fleet) // it is part of the base
	return figures, nil
}

// play sends the fleet's frames through the parser into table: their bytes, and how
// many packets of them table got.
func (p *PipelineFigures) play(fleet *Fleet, table *flows.Table) (bytes, counted uint64) {
	var packet flows.Packet
	fleet.each(func(f lab.Frame) {
		p.Packets++
		bytes += uint64(len(f.Data))
		if flows.Parse(&packet, flows.LinkEthernet, f.Data, len(f.Data)) == flows.Counted {
			counted += packet.Segments()
			table.Add(&packet, f.Time.UnixMicro())
		}
	})
	return bytes, counted
}

// verdicts is how many devices have one.
func verdicts(c *classify.Classifier) (n int) {
	for _, d := range c.Registry().Devices() {
		if d.Windows > 0 {
			n++
		}
	}
	return n
}

// cpuTime is what this process has used, in user space and in the kernel.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage of this process: %v", err)) // it cannot fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Memory is what is resident of this process, in bytes.
type Memory struct {
	Total int64
	File  int64 // of it, pages of files: the program itself, embedded models included
}

// MB is bytes as the reports have them.
func MB(bytes int64) float64 { return float64(bytes) / 1e6 }

// Settled is what is resident once garbage has gone back to the system.
func Settled() (Memory, error) {
	debug.FreeOSMemory()
	return Resident()
}

// Resident reads /proc/self/smaps_rollup, which counts pages; the counters of
// /proc/self/status lag behind.
func Resident() (Memory, error) {
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		return Memory{}, fmt.Errorf("resident memory: %w", err)
	}
	defer f.Close()
	bytes := map[string]int64{}
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Fields(in.Text()) // "Rss:  1234 kB"
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("resident memory: %q: %w", in.Text(), err)
		}
		bytes[fields[0]] = n << 10
	}
	total, ok := bytes["Rss:"]
	if !ok {
		return Memory{}, fmt.Errorf("resident memory: no Rss in %s", f.Name())
	}
	return Memory{Total: total, File: total - bytes["Anonymous:"]}, nil
}

// maxCopies is how many copies of a capture can be told apart by one octet.
const maxCopies = 256

// apart is the time from one device's start to the next one's.
const apart = time.Second

// Fleet is many devices' traffic: captures side by side, and copies of them all
// with MACs and private addresses of their own.
type Fleet struct {
	Devices int
	copies  int
	frames  []lab.Frame // of the first copy, in order of time
	macs    []flows.MAC
}

// NewFleet makes as many devices as asked for, or, where several copies are
// needed, the next multiple of the captures' devices. Two captures of one device
// never run side by side: the second one's MACs are changed.
func NewFleet(captures []Household, devices int) (*Fleet, error) {
	captures = slices.Clone(captures)
	r := rand.New(rand.NewPCG(order, order))
	r.Shuffle(len(captures), func(i, j int) { captures[i], captures[j] = captures[j], captures[i] })
	f := &Fleet{}
	var lists [][]lab.Frame
	for i := range captures {
		if len(f.macs) >= devices {
			break
		}
		if c := distinct(&captures[i], i); len(c.Frames) > 0 {
			f.macs = append(f.macs, c.Devices...)
			lists = append(lists, c.Frames)
		}
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("fleet of %d devices: no frame in %d captures", devices, len(captures))
	}
	f.frames = replay.Merge(apart, lists...)
	f.copies = (devices + len(f.macs) - 1) / len(f.macs)
	f.Devices = f.copies * len(f.macs)
	if f.copies > maxCopies {
		return nil, fmt.Errorf("fleet of %d devices: at most %d of these captures can be told apart", devices, maxCopies*len(f.macs))
	}
	return f, nil
}

// distinct is c with MACs that no other capture has: n, its number, goes into
// octets 2 and 3 of each.
func distinct(c *Household, n int) *Household {
	own := func(mac flows.MAC) flows.MAC {
		if !mac.IsGroup() {
			mac[1], mac[2] = mac[1]^byte(n>>8), mac[2]^byte(n)
		}
		return mac
	}
	out := &Household{}
	for _, mac := range c.Devices {
		out.Devices = append(out.Devices, own(mac))
	}
	for _, f := range c.Frames {
		f.Data = bytes.Clone(f.Data)
		for _, at := range []int{0, 6} {
			mac := own(flows.MAC(f.Data[at : at+6]))
			copy(f.Data[at:], mac[:])
		}
		out.Frames = append(out.Frames, f)
	}
	return out
}

// names are the devices' MACs, copies included.
func (f *Fleet) names() []string {
	var names []string
	for n := range f.copies {
		for _, mac := range f.macs {
			mac[3] ^= byte(n)
			names = append(names, mac.String())
		}
	}
	return names
}

// Length is the time from the first frame to the last.
func (f *Fleet) Length() time.Duration {
	return f.frames[len(f.frames)-1].Time.Sub(f.frames[0].Time)
}

// each gives every frame of every copy in order of time; the copies run in step.
// The frame's data are the callee's until it returns.
func (f *Fleet) each(emit func(lab.Frame)) {
	var buffer []byte
	for _, frame := range f.frames {
		buffer = append(buffer[:0], frame.Data...)
		for n := range f.copies {
			copy(buffer, frame.Data[:min(len(frame.Data), rewritten)])
			rewrite(buffer, byte(n))
			emit(lab.Frame{Time: frame.Time, Data: buffer, FromDevice: frame.FromDevice})
		}
	}
}

// Frames are all frames of all copies in order of time.
func (f *Fleet) Frames() []lab.Frame {
	var frames []lab.Frame
	f.each(func(frame lab.Frame) {
		frame.Data = bytes.Clone(frame.Data)
		frames = append(frames, frame)
	})
	return frames
}

// rewritten is how much of a frame rewrite may change: Ethernet and IPv4 header.
const rewritten = 34

// rewrite gives a frame to copy n: octet 4 of its MACs and octet 3 of its private
// IPv4 addresses are changed. Checksums are not: nothing on the way reads them.
func rewrite(frame []byte, n byte) {
	for _, at := range []int{0, 6} {
		if frame[at]&1 == 0 {
			frame[at+3] ^= n
		}
	}
	if len(frame) < rewritten || frame[12] != 0x08 || frame[13] != 0x00 {
		return
	}
	for _, at := range []int{26, 30} {
		a, b := frame[at], frame[at+1]
		if a == 10 || a == 172 && b&0xf0 == 16 || a == 192 && b == 168 {
			frame[at+2] ^= n
		}
	}
}

// Household is what one device, or a few, sent and received.
type Household struct {
	Devices []flows.MAC
	Frames  []lab.Frame
}

// The device lab's captures for measurements, alike on every machine.
const (
	labUnits  = 4
	labLength = 2 * time.Minute
	labSeed   = 1
)

// LabHouseholds are captures of the device lab (package lab): several units of each
// kind, for machines without a data set. The traffic is generated; its mix of
// row lengths is not that of real devices.
func LabHouseholds() ([]Household, error) {
	var captures []Household
	for _, kind := range lab.Kinds() {
		for unit := range labUnits {
			c, err := lab.Generate(kind, unit, labSeed, labLength)
			if err != nil {
				return nil, err
			}
			captures = append(captures, Household{Devices: []flows.MAC{c.Device}, Frames: c.Frames})
		}
	}
	return captures, nil
}

// Streams makes the capture's records, as package flows does for a file, and of them
// each device's stream.
func (c *Household) Streams(spec flows.RecordSpec, of flows.StreamSpec) []Stream {
	names := make([]string, len(c.Devices))
	for i, mac := range c.Devices {
		names[i] = mac.String()
	}
	locals := flows.NewLocals(nil).WithDevices(names...)
	rows, byDevice := flows.NewStreams(of), map[string]Stream{}
	assembler := flows.NewAssembler(flows.AssemblerConfig{Spec: spec, Locals: locals, Emit: func(r *flows.Record) {
		if step, ok := rows.Add(r); ok {
			byDevice[r.Device] = append(byDevice[r.Device], step.Row)
		}
	}})
	table := flows.NewTable(spec, locals, assembler)
	var p flows.Packet
	for _, f := range c.Frames {
		if flows.Parse(&p, flows.LinkEthernet, f.Data, len(f.Data)) == flows.Counted {
			table.Add(&p, f.Time.UnixMicro())
		}
	}
	table.Flush()
	streams := make([]Stream, len(names))
	for i, name := range names {
		streams[i] = byDevice[name]
	}
	return streams
}
