package bench

// This file holds the captures that a measurement plays: frames in memory.

import (
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

// Capture is what one device, or a few, sent and received.
type Capture struct {
	Devices []flows.MAC
	Frames  []replay.Frame
}

// The device lab's captures for measurements, alike on every machine.
const (
	labUnits  = 4
	labLength = 2 * time.Minute
	labSeed   = 1
)

// LabCaptures are captures of the device lab (package lab): several units of each
// kind, for machines without a data set. The traffic is generated; its mix of
// row lengths is not that of real devices.
func LabCaptures() ([]Capture, error) {
	var captures []Capture
	for _, kind := range lab.Kinds() {
		for unit := range labUnits {
			c, err := lab.Generate(kind, unit, labSeed, labLength)
			if err != nil {
				return nil, err
			}
			frames := make([]replay.Frame, len(c.Frames))
			for i, f := range c.Frames {
				frames[i] = replay.Frame(f)
			}
			captures = append(captures, Capture{Devices: []flows.MAC{c.Device}, Frames: frames})
		}
	}
	return captures, nil
}

// Streams makes the capture's records, as package flows does for a file, and of them
// each device's stream.
func (c *Capture) Streams(spec flows.RecordSpec, of flows.StreamSpec) []Stream {
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
