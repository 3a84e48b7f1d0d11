package bench

// This file multiplies captures to the traffic of many devices.

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
