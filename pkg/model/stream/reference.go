package stream

// This file holds the references that explanations compare with: flows without payload.

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// A row of a reference in a model file: these, and of each packet offset, size,
// direction (1 sent, 0 received) and payload bytes, each of all packets. Missing stands
// for what is not there; a row that is not there has it everywhere.
const (
	refRemote   = iota // kind of remote address, see remoteKind
	refProtocol        // IP protocol
	refOwnPort
	refRemotePort
	refBytes
	refPackets
	refMeta
)

// Reference implements model.Explainable: rows, oldest first.
func (n *Net) Reference(record model.RecordSpec) model.Tensor {
	return model.Tensor{Name: "references", Shape: []int{n.Arch.Flows, refMeta + 4*record.Packets}}
}

// Refer implements model.Explainable. What stands in for payload bytes is not kept: it
// follows from their places.
func (n *Net) Refer(record model.RecordSpec, _ model.Scaling, rows []flows.Row, _ int) ([]float32, error) {
	shape := n.Reference(record).Shape
	reference := slices.Repeat([]float32{flows.Missing}, shape[0]*shape[1])
	rows = rows[max(0, len(rows)-n.Arch.Flows):]
	for i, row := range rows {
		if row.Record == nil {
			return nil, errors.New("make a reference: no record")
		}
		v := reference[(n.Arch.Flows-len(rows)+i)*shape[1]:][:shape[1]]
		v[refRemote], v[refProtocol] = float32(remoteKind(row.Record)), float32(row.Proto)
		v[refOwnPort], v[refRemotePort] = float32(row.DevPort), float32(row.RemPort)
		v[refBytes], v[refPackets] = model.Rounded(float32(row.TotalBytes)), model.Rounded(float32(row.PacketCount))
		for j, p := range row.Packets[:min(len(row.Packets), record.Packets)] {
			of := v[refMeta+j:]
			of[0], of[record.Packets], of[2*record.Packets] = model.Rounded(float32(p.Offset)), float32(p.Size), 0
			if p.Sent {
				of[2*record.Packets] = 1
			}
			of[3*record.Packets] = float32(min(len(p.Payload), record.Prefix))
		}
	}
	return reference, nil
}

// remoteKinds are addresses of each kind, see remoteKind.
var remoteKinds = [...]netip.Addr{
	netip.AddrFrom4([4]byte{}), netip.AddrFrom4([4]byte{224, 0, 0, 1}), netip.AddrFrom4([4]byte{255, 255, 255, 255}),
	netip.AddrFrom16([16]byte{0x20, 0x01}), netip.AddrFrom4([4]byte{1, 0, 0, 1}),
}

// refered are the rows of the reference of that number.
func (n *Net) refered(record model.RecordSpec, reference []float32, number int) (rows []flows.Row, err error) {
	size := n.Reference(record).Shape[1]
	for i := range n.Arch.Flows {
		v := reference[i*size:][:size]
		if v[refRemote] == flows.Missing {
			continue
		}
		row, err := referedRow(record, v, func(at int) byte { return model.StandIn(number, i, at) })
		if err != nil {
			return nil, fmt.Errorf("reference %d: row %d: %w", number, i, err)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("reference %d has no row", number)
	}
	return rows, nil
}

func referedRow(record model.RecordSpec, v []float32, draw func(at int) byte) (flows.Row, error) {
	// Bounds: of a hostile file no value may be more than a record can hold.
	for i, x := range v {
		high := float32(math.MaxUint16)
		switch {
		case i == refRemote:
			high = float32(len(remoteKinds) - 1)
		case i == refProtocol:
			high = math.MaxUint8
		case i == refBytes, i == refPackets, i >= refMeta && i < refMeta+record.Packets:
			high = 1 << 40
		case i >= refMeta+3*record.Packets:
			high = float32(record.Prefix)
		}
		if x < flows.Missing || x > high || x < 0 && i < refOwnPort {
			return flows.Row{}, fmt.Errorf("value %d is %v, want at most %v", i, x, high)
		}
	}
	rec := &flows.Record{
		Remote: remoteKinds[int(v[refRemote])], Proto: uint8(v[refProtocol]),
		DevPort: int32(v[refOwnPort]), RemPort: int32(v[refRemotePort]),
		TotalBytes: uint64(max(v[refBytes], 0)), PacketCount: uint64(max(v[refPackets], 0)),
	}
	at := 0
	for j := range record.Packets {
		of := v[refMeta+j:]
		if of[record.Packets] < 0 {
			break
		}
		p := flows.RowPacket{Offset: int64(of[0]), Size: uint32(of[record.Packets]), Sent: of[2*record.Packets] == 1}
		p.Payload = make([]byte, int(max(of[3*record.Packets], 0)))
		for b := range p.Payload {
			p.Payload[b] = draw(at)
			at++
		}
		rec.Packets = append(rec.Packets, p)
	}
	return flows.Row{Record: rec}, nil
}
