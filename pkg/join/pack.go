package join

// This file packs a mean into bytes that outlast the process, and reads them again.

import (
	"encoding/binary"
	"math"
)

// Append packs the mean behind b. Sums are kept to seven digits.
func (m *Mean) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(m.sum)))
	for _, s := range m.sum {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(max(0, s))))
	}
	runs := 0 // of outputs whose model has the class: mostly the same of all classes
	for i := range m.count {
		if runs++; i == len(m.count)-1 || m.count[i+1] != m.count[i] {
			b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(runs)), uint64(m.count[i]))
			runs = 0
		}
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(m.flows)), uint64(m.held))
	b = append(b, bit(m.any))
	b = binary.LittleEndian.AppendUint32(binary.AppendUvarint(b, uint64(m.measured)), math.Float32bits(float32(m.distance)))
	b = append(binary.AppendUvarint(b, uint64(len(m.maker))), m.maker...)
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(m.told)))
	b = binary.AppendUvarint(b, uint64(len(m.named)))
	for i := 0; i < len(m.named); i += 8 {
		var set byte
		for j, named := range m.named[i:min(i+8, len(m.named))] {
			set |= bit(named) << j
		}
		b = append(b, set)
	}
	return b
}

// longestMaker is how many bytes the name of a maker has at most.
const longestMaker = 1 << 8

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// Unpack reads a mean of so many classes, or of nothing; ok is false where it cannot be one.
func (m *Mean) Unpack(b []byte, classes int) (rest []byte, ok bool) {
	r := Unpacker{Rest: b}
	var u Mean
	if n := r.Upto(classes); n > 0 {
		if n != classes {
			return b, false
		}
		u.grow(n)
		for i := range u.sum {
			u.sum[i] = r.Float()
		}
		for i := 0; i < n && !r.Bad; {
			runs := r.Upto(n - i)
			count := r.Upto(math.MaxInt32)
			r.Bad = r.Bad || runs == 0
			for range runs {
				u.count[i] = count
				i++
			}
		}
	}
	u.flows, u.held, u.any = r.Upto(math.MaxInt32), r.Upto(math.MaxInt8), r.Upto(1) == 1
	u.measured, u.distance = r.Upto(math.MaxInt32), r.Float()
	u.maker, u.told = string(r.Bytes(r.Upto(longestMaker))), r.Float()
	r.Bad = r.Bad || u.told > 1
	if n := r.Upto(classes); n > 0 {
		u.named = make([]bool, n)
		set := r.Bytes((n + 7) / 8)
		for i := range u.named {
			u.named[i] = !r.Bad && set[i/8]>>(i%8)&1 == 1
		}
	}
	if r.Bad {
		return b, false
	}
	*m = u
	return r.Rest, true
}

// Unpacker reads packed values. Once something is not what it has to be it is Bad, and
// gives zeros.
type Unpacker struct {
	Rest []byte
	Bad  bool
}

// Upto is a number of at most so much.
func (r *Unpacker) Upto(most int) int {
	v, n := binary.Uvarint(r.Rest)
	if r.Bad = r.Bad || n <= 0 || most < 0 || v > uint64(most); r.Bad {
		return 0
	}
	r.Rest = r.Rest[n:]
	return int(v)
}

// Int is a number with a sign.
func (r *Unpacker) Int() int64 {
	v, n := binary.Varint(r.Rest)
	if r.Bad = r.Bad || n <= 0; r.Bad {
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Float is a finite number, not below zero.
func (r *Unpacker) Float() float64 {
	b := r.Bytes(4)
	if r.Bad {
		return 0
	}
	v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	if r.Bad = !(v >= 0) || math.IsInf(v, 0); r.Bad {
		return 0
	}
	return v
}

// Bytes are so many.
func (r *Unpacker) Bytes(n int) []byte {
	if r.Bad = r.Bad || n < 0 || n > len(r.Rest); r.Bad {
		return nil
	}
	b := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return b
}
