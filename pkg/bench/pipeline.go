package bench

// This file measures the path from packet to verdict on one core, without the
// kernel half: parser, flow table, assembler, windows, engine, registry.

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
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
