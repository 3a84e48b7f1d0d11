package stream

// This file gives the parts of a flow's vector back to the values of its row.

import (
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Values of a row, by index (see [flows.Row.Meta]).
const (
	rowRemote     = 1 // four octets
	rowProtocol   = 5
	rowOwnPort    = 6
	rowRemotePort = 7
	rowTotals     = 8 // bytes and packets
	rowPackets    = 10
)

// share adds to phi, a row, what each of its values has of the difference of x from r,
// by the factors of the vector before ReLU.
func (a *attributor) share(phi, factors []float64, x, r *flow) {
	a.sharePayload(phi[a.spec.MetaValues():], factors[:Filters], x, r)
	a.shareNumbers(phi, factors[Filters:][:a.arch.Units], x, r)
	a.shareTokens(phi, factors[Filters+a.arch.Units:], x, r)
}

// sharePayload goes from each filter's maximum to the eight symbols it is of.
func (a *attributor) sharePayload(phi, factors []float64, x, r *flow) {
	for f, factor := range factors {
		d := x.best[f] - r.best[f]
		if d == 0 || factor == 0 {
			continue
		}
		at := x.at[f]
		if d < 0 {
			at = r.at[f]
		}
		at *= Stride
		var parts [Taps]float64
		sum := 0.0
		for tap := range Taps {
			parts[tap] = a.taps(tap, x.symbol(at+tap))[f] - a.taps(tap, r.symbol(at+tap))[f]
			sum += parts[tap]
		}
		for tap, part := range parts[:min(Taps, len(phi)-at)] { // behind the row's end both have nothing
			phi[at+tap] += factor * d / sum * part
		}
	}
}

// shareNumbers goes from the units' sums to the numbers, and from these to values.
func (a *attributor) shareNumbers(phi, factors []float64, x, r *flow) {
	for k := range x.Numbers {
		if d := float64(x.Numbers[k]) - float64(r.Numbers[k]); d != 0 {
			first, count := valueOf(a.spec, k)
			for i := range count {
				phi[first+i] += d * a.numbers.Back(k, factors) / float64(count)
			}
		}
	}
}

// valueOf is which values of a row a number is of: the first, and how many follow.
func valueOf(spec model.RecordSpec, number int) (first, count int) {
	packet := (number - SizesAt) % flows.RowPackets
	switch {
	case number < ProtocolAt:
		return rowRemote, 4
	case number < TotalsAt:
		return rowProtocol, 1
	case number < SizesAt:
		return rowTotals + number - TotalsAt, 1
	case number < DirectionsAt:
		return rowPackets + spec.Packets + packet, 1
	case number < OffsetsAt:
		return rowPackets + 2*spec.Packets + packet, 1
	case number < OwnPortAt:
		return rowPackets + packet, 1
	case number < RemotePortAt:
		return rowOwnPort, 1
	}
	return rowRemotePort, 1
}

// shareTokens gives the difference that a packet's or a port's token makes to those of
// the values it is hashed of that differ, in equal parts.
func (a *attributor) shareTokens(phi, factors []float64, x, r *flow) {
	for slot := range x.slots {
		if x.slots[slot] == r.slots[slot] {
			continue
		}
		d := 0.0
		for i, f := range factors {
			d += f * (a.tokenAt(x.slots[slot], i) - a.tokenAt(r.slots[slot], i))
		}
		values := a.differ(slot, x, r)
		for _, v := range values {
			phi[v] += d / float64(len(values))
		}
	}
}

func (a *attributor) tokenAt(bucket int32, i int) float64 {
	if bucket < 0 {
		return 0
	}
	return a.token(bucket)[i]
}

// differ are those of the values that a slot's token is hashed of that are not the same.
func (a *attributor) differ(slot int, x, r *flow) []int {
	// Where a value stands in a model's row, and in one of all packets.
	of := [][2]int{{rowProtocol, rowProtocol}}
	switch slot {
	case flows.RowPackets:
		of = append(of, [2]int{rowOwnPort, rowOwnPort})
	case flows.RowPackets + 1:
		of = append(of, [2]int{rowRemotePort, rowRemotePort})
	default:
		for group := 1; group < 3; group++ {
			of = append(of, [2]int{rowPackets + group*a.spec.Packets + slot, rowPackets + group*flows.RowPackets + slot})
		}
	}
	var values []int
	for _, v := range of {
		if x.meta[v[1]] != r.meta[v[1]] {
			values = append(values, v[0])
		}
	}
	return slices.Clip(values)
}
