package loader

// This file turns what the kernel half writes into the shared types of flows.

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
)

// sampleHead is a sample event's size without payload.
const sampleHead = int(unsafe.Offsetof(gen.IotsenseSample{}.Payload))

// deliver hands one ring event on: samples to the sink, closes to s.pending.
func (k *Kernel) deliver(raw []byte) error {
	if len(raw) < 4 {
		return fmt.Errorf("ring event of %d bytes", len(raw))
	}
	switch kind := gen.IotsenseEventKind(binary.NativeEndian.Uint32(raw)); kind {
	case gen.IotsenseEventKindEVENT_SAMPLE:
		if len(raw) < sampleHead {
			return fmt.Errorf("sample event of %d bytes, want at least %d", len(raw), sampleHead)
		}
		k.sample = sampleEvent(raw)
		k.sink.Sample(&k.sample)
		k.sample.Payload = nil // it is in the ring
	case gen.IotsenseEventKindEVENT_CLOSE:
		var e gen.IotsenseClose
		if !decode(&e, raw) {
			return fmt.Errorf("close event of %d bytes, want %d", len(raw), unsafe.Sizeof(e))
		}
		k.pending = append(k.pending, k.closeOf(gen.IotsenseFlow{
			Key: e.Key, Life: e.Life, LastNs: e.LastNs, Packets: e.Packets, Bytes: e.Bytes, Owner: [2]uint32{e.Owner},
		}))
		k.note(k.pending[len(k.pending)-1:])
	default:
		return fmt.Errorf("ring event of unknown kind %d", kind)
	}
	return nil
}

// decode copies raw into e, as far as raw goes; false when it is too short.
func decode[T any](e *T, raw []byte) bool {
	to := unsafe.Slice((*byte)(unsafe.Pointer(e)), unsafe.Sizeof(*e))
	return copy(to, raw) == len(to)
}

func sampleEvent(raw []byte) flows.Sample {
	var e gen.IotsenseSample
	decode(&e, raw[:sampleHead])
	return flows.Sample{
		Life:    flows.Life{Key: flowKey(e.Key), Generation: generation(e.FirstUs, e.Key.Alt)},
		Index:   uint8(e.Index),
		Order:   int64(e.FirstUs), // the life's place is its first packet's
		Stamp:   int64(e.StampNs / 1000),
		FromA:   e.FromA != 0,
		Size:    e.Size,
		Payload: raw[sampleHead:],
	}
}

// closeOf is the end of the life that f holds, but for the name of the interface.
func (k *Kernel) closeOf(f gen.IotsenseFlow) flows.Close {
	first := f.Life >> gen.IotsenseLifeWordLIFE_FIRST_SHIFT
	taken := f.Life >> gen.IotsenseLifeWordLIFE_TAKEN_SHIFT & uint64(gen.IotsenseLifeWordLIFE_TAKEN)
	c := flows.Close{
		Life:    flows.Life{Key: flowKey(f.Key), Generation: generation(first, f.Key.Alt)},
		Order:   int64(first),
		First:   int64(first),
		Last:    max(int64(first), int64(f.LastNs/1000)),
		Packets: f.Packets,
		Bytes:   f.Bytes,
		Samples: uint8(min(taken, uint64(k.cfg.Packets))),
	}
	c.Interface.Index = cmp.Or(f.Owner[0], f.Owner[1]) >> 1
	const shift = uint64(gen.IotsenseTotalWordTOTAL_SHIFT)
	for i, t := range f.Total {
		c.Packets[i] += t.Word >> shift
		c.Bytes[i] += t.Word & (1<<shift - 1)
	}
	return c
}

// generation tells the lives of one flow apart: no two at one place have the
// same first stamp.
func generation(firstUs uint64, alt uint8) uint64 {
	return firstUs*uint64(gen.IotsensePlacePLACES) | uint64(alt)
}

func flowKey(k gen.IotsenseFlowKey) flows.Key {
	return flows.Key{
		A:        flows.End{Addr: addr(k.Version, k.A.Addr), MAC: k.A.Mac, Port: k.A.Port},
		B:        flows.End{Addr: addr(k.Version, k.B.Addr), MAC: k.B.Mac, Port: k.B.Port},
		Proto:    k.Proto,
		HasPorts: k.HasPorts != 0,
	}
}

// tableKey is the key of a life's entry, as flowKey and generation have read it.
func tableKey(l *flows.Life) gen.IotsenseFlowKey {
	k := gen.IotsenseFlowKey{Version: 6, Proto: l.Key.Proto, Alt: uint8(l.Generation % uint64(gen.IotsensePlacePLACES))}
	if l.Key.A.Addr.Is4() {
		k.Version = 4
	}
	if l.Key.HasPorts {
		k.HasPorts = 1
	}
	copy(k.A.Addr[:], l.Key.A.Addr.AsSlice())
	copy(k.B.Addr[:], l.Key.B.Addr.AsSlice())
	k.A.Mac, k.A.Port, k.B.Mac, k.B.Port = l.Key.A.MAC, l.Key.A.Port, l.Key.B.MAC, l.Key.B.Port
	return k
}

func addr(version uint8, b [16]byte) netip.Addr {
	if version == 4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}
