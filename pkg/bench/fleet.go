package bench

// This file holds the captures that a measurement plays, frames in memory, and multiplies
// them to the traffic of many devices.

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

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
