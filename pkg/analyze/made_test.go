package analyze

// This file makes the records of this package's tests.

import (
	"net/netip"

	"github.com/iotsense/iotsense/pkg/flows"
)

const (
	udp = 17
	tcp = 6
)

// made describes a record of a test; what is left out is 0, a local remote, and
// one packet that the device sent for each payload.
type made struct {
	label, unit, capture, split, device string

	at       int64 // s
	proto    uint8
	dev, rem int32
	remote   string // empty: a local one
	own      string // the device's address
	payloads []string
	packets  uint64 // 0: as many as payloads
}

func (m made) record() flows.LabelledRecord {
	r := &flows.Record{
		Device: m.device, FirstSeen: m.at * 1e6, Remote: netip.IPv4Unspecified(), RemoteAddr: netip.MustParseAddr("192.168.7.1"),
		DeviceAddr: netip.MustParseAddr("192.168.7.20"), Proto: m.proto, DevPort: m.dev, RemPort: m.rem, PacketCount: m.packets,
	}
	if m.remote != "" {
		r.Remote = netip.MustParseAddr(m.remote)
		r.RemoteAddr = r.Remote
	}
	if m.own != "" {
		r.DeviceAddr = netip.MustParseAddr(m.own)
	}
	for i, p := range m.payloads {
		size := uint32(28 + len(p))
		r.Packets = append(r.Packets, flows.RowPacket{Offset: int64(i) * 1000, Size: size, Sent: i%2 == 0, Payload: []byte(p)})
		r.TotalBytes += uint64(size)
	}
	if r.PacketCount == 0 {
		r.PacketCount = uint64(len(m.payloads))
	}
	return flows.LabelledRecord{Record: r, Label: m.label, Unit: m.unit, Capture: m.capture, Split: m.split}
}

// analyzeMade analyzes records capture by capture.
func analyzeMade(cfg Config, records []made) *Result {
	a := New(cfg)
	for i, m := range records {
		a.Add(m.record())
		if i+1 == len(records) || records[i+1].capture != m.capture {
			a.EndCapture(m.capture)
		}
	}
	return a.Result()
}
