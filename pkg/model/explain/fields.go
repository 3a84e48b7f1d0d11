package explain

// This file names the values of rows, and says which of them are padding.

import (
	"fmt"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// names are those of a row's first values.
var names = [...]string{
	"since", "remote_o1", "remote_o2", "remote_o3", "remote_o4", "protocol", "device_port", "remote_port", "byte_count", "packet_count",
}

// Name is what a value of a row is called, by its index: since, remote_o1 to remote_o4,
// protocol, device_port, remote_port, byte_count, packet_count, then of each packet from
// 1 on offset_1, ..., of each size_1, ..., of each direction_1, ..., then payload_1, ....
func Name(spec model.RecordSpec, column int) string {
	if column < len(names) {
		return names[column]
	}
	group, n := (column-len(names))/spec.Packets, (column-len(names))%spec.Packets
	if group < 3 {
		return fmt.Sprintf("%s_%d", [...]string{"offset", "size", "direction"}[group], n+1)
	}
	return fmt.Sprintf("payload_%d", column-spec.MetaValues()+1)
}

// raw are the raw values of the rows that an output rests on: of those there are, and
// before them missing ones.
func (e *Explainer) raw(rows []flows.Row, count int) [][]float64 {
	spec := e.model.Record
	all := make([][]float64, count)
	rows = rows[max(0, len(rows)-count):]
	for i := range all {
		if missing := count - len(rows); i >= missing {
			all[i] = spec.Raw(make([]float64, 0, spec.Width()), rows[i-missing])
			continue
		}
		all[i] = slices.Repeat([]float64{flows.Missing}, spec.Width())
		for j := spec.MetaValues(); j < spec.Width(); j++ {
			all[i][j] = flows.PayloadPadding
		}
	}
	return all
}

// padding marks the values behind each row's payload, and all of missing rows.
func (e *Explainer) padding(rows []flows.Row, count int) []bool {
	spec := e.model.Record
	marks := make([]bool, count*spec.Width())
	rows = rows[max(0, len(rows)-count):]
	missing := count - len(rows)
	for i := range marks[:missing*spec.Width()] {
		marks[i] = true
	}
	for i, row := range rows {
		of := marks[(missing+i)*spec.Width():][:spec.Width()]
		for j := spec.Length(row); j < len(of); j++ {
			of[j] = true
		}
	}
	return marks
}

// fields are the values that have a share, the greatest first.
func (e *Explainer) fields(phi, raw [][]float64, padding []bool) []v1.ExplainedField {
	type place struct {
		size float64
		at   int
	}
	var places []place
	fields := make([]v1.ExplainedField, 0, len(padding))
	for row := range phi {
		marks := padding[row*len(phi[row]):]
		e.places(raw[row], marks, func(column int, part v1.Part, packet, octet int) {
			if v := phi[row][column]; v != 0 {
				places = append(places, place{math.Abs(v), len(fields)})
				fields = append(fields, v1.ExplainedField{
					Row: row, Name: e.names[column], Raw: raw[row][column], Part: part, Packet: e.counted(packet), Byte: e.counted(octet), Phi: v, Column: column,
				})
			}
		})
	}
	slices.SortFunc(places, func(a, b place) int { // which are smaller than fields
		switch {
		case a.size > b.size:
			return -1
		case a.size < b.size:
			return 1
		}
		return a.at - b.at
	})
	sorted := make([]v1.ExplainedField, len(places))
	for i, p := range places {
		sorted[i] = fields[p.at]
	}
	return sorted
}

// places say of each value of a row which part of it that is, of which packet and which
// byte of that one's payload, from 1; 0: of none.
func (e *Explainer) places(raw []float64, padding []bool, say func(column int, part v1.Part, packet, octet int)) {
	spec := e.model.Record
	packet, octet := 0, 0
	for column, v := range raw {
		switch group := column - len(names); {
		case padding[column]:
			say(column, v1.Padding, 0, 0)
		case group < 0:
			say(column, v1.Metadata, 0, 0)
		case column < spec.MetaValues():
			say(column, v1.Metadata, group%spec.Packets+1, 0)
		case v == flows.PayloadStart:
			packet, octet = packet+1, 0
			say(column, v1.Begin, packet, 0)
		case v == flows.PayloadEnd:
			say(column, v1.End, packet, 0)
		default:
			octet++
			say(column, v1.Byte, packet, octet)
		}
	}
}

// counted is a number from 1; nil for 0. Explanations share the numbers.
func (e *Explainer) counted(n int) *int {
	if n == 0 {
		return nil
	}
	for len(e.numbers) <= n {
		n := len(e.numbers)
		e.numbers = append(e.numbers, &n)
	}
	return e.numbers[n]
}

// PaddingFraction is the paper's measure: shares are brought to 0..1 by their least and
// greatest; of those over 0.5, the part that padding has.
func PaddingFraction(phi []float64, padding []bool) float64 {
	least, most := slices.Min(phi), slices.Max(phi)
	over, in := 0, 0
	for i, v := range phi {
		if (v-least)/(most-least) > 0.5 {
			over++
			if padding[i] {
				in++
			}
		}
	}
	return ratio(float64(in), float64(over))
}

// PaddingShare is the part of the positive shares that padding has.
func PaddingShare(phi []float64, padding []bool) float64 {
	all, in := 0.0, 0.0
	for i, v := range phi {
		if v > 0 {
			all += v
			if padding[i] {
				in += v
			}
		}
	}
	return ratio(in, all)
}

func ratio(part, of float64) float64 {
	if of == 0 {
		return 0
	}
	return part / of
}
