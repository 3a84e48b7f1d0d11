package cnn

// This file turns raw rows into the network's input (paper III-C and IV; the
// divisors are those of the record specification).

import (
	"errors"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Divisors of a row's bounded values.
const (
	scaleDay    = 86_400e6 // us: time since the previous record
	scaleByte   = 255.0    // octets, protocol, payload bytes
	scalePort   = 65_535.0
	scaleOffset = 60e6 // us: a record's life
	scaleSize   = 1_500.0
)

// Missing is every value of a missing row, and of a row's payload padding
// (-255 / 255), after scaling.
const Missing float32 = flows.Missing

// Scaler turns rows into network input. It is never written once built.
type Scaler struct {
	spec       model.RecordSpec
	scale      model.Scaling
	start, end float32 // scaled delimiters
}

// NewScaler prepares the scaling of rows as spec describes them.
func NewScaler(spec model.RecordSpec, scale model.Scaling) *Scaler {
	s := &Scaler{spec: spec, scale: scale, start: flows.PayloadStart, end: flows.PayloadEnd}
	if spec.ScaleDelimiters {
		s.start, s.end = flows.PayloadStart/scaleByte, flows.PayloadEnd/scaleByte
	}
	return s
}

// Row writes a row's scaled values to dst without its payload padding and
// returns how many there are: from there on every value of the row is [Missing].
// dst must hold spec.Width() values.
func (s *Scaler) Row(dst []float32, r flows.Row) (int, error) {
	if r.Record == nil {
		return 0, errors.New("scale row: no record")
	}
	n := s.meta(dst, r)
	if i := model.NotFinite(dst[:n]); i >= 0 {
		return 0, fmt.Errorf("scale row: value %d is %v: check the model's scaling", i+1, dst[i])
	}
	if slices.Contains(s.spec.Without, model.FieldPayload) {
		return n, nil
	}
	return n + s.payload(dst[n:s.spec.Width()], r.Packets), nil
}

// payload writes what [flows.Record.Tokens] lists, scaled, of the model's packets
// and prefixes, until dst is full, and returns the number of values.
func (s *Scaler) payload(dst []float32, packets []flows.RowPacket) int {
	n := 0
	for i := range packets[:min(len(packets), s.spec.Packets)] {
		if n == len(dst) {
			break
		}
		dst[n] = s.start
		n++
		payload := packets[i].Payload
		payload = payload[:min(len(payload), s.spec.Prefix, len(dst)-n)]
		conv.Octets(dst[n:], payload)
		if n += len(payload); n < len(dst) {
			dst[n] = s.end
			n++
		}
	}
	return n
}

// Window writes the whole [K, width] input of a window of at most k rows, oldest
// first, to dst, missing older rows and padding included.
func (s *Scaler) Window(dst []float32, k int, rows []flows.Row) error {
	if len(rows) < 1 || len(rows) > k {
		return fmt.Errorf("a window of %d rows, want 1 to %d", len(rows), k)
	}
	width := s.spec.Width()
	for i := range dst[:k*width] {
		dst[i] = Missing
	}
	first := k - len(rows)
	for i, r := range rows {
		if _, err := s.Row(dst[(first+i)*width:(first+i+1)*width], r); err != nil {
			return err
		}
	}
	return nil
}

// meta writes the scaled metadata values and returns their number.
func (s *Scaler) meta(dst []float32, r flows.Row) int {
	m, n := r.Meta(), s.spec.Packets
	dst[0] = float32(m[0] / scaleDay)
	for i := 1; i <= 5; i++ {
		dst[i] = float32(m[i] / scaleByte)
	}
	dst[6], dst[7] = scaled(m[6], scalePort), scaled(m[7], scalePort)
	dst[8] = float32(s.scale.Bytes.Score(m[8]))
	dst[9] = float32(s.scale.Packets.Score(m[9]))
	for i := range n {
		dst[10+i] = scaled(m[10+i], scaleOffset)
		dst[10+n+i] = scaled(m[10+flows.RowPackets+i], scaleSize)
		dst[10+2*n+i] = float32(m[10+2*flows.RowPackets+i])
	}
	for _, field := range s.spec.Without {
		switch field {
		case model.FieldRemote:
			hide(dst[1:5])
		case model.FieldPorts:
			hide(dst[6:8])
		case model.FieldTime:
			hide(dst[:1])
			hide(dst[10 : 10+n])
		}
	}
	return 10 + 3*n
}

func hide(values []float32) {
	for i := range values {
		values[i] = Missing
	}
}

// scaled is v / by; [flows.Missing] stays as it is.
func scaled(v, by float64) float32 {
	if v == flows.Missing {
		return Missing
	}
	return float32(v / by)
}
