package bench

// This file holds the captures that a measurement plays: frames in memory.

import (
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
)

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
