package model

// This file turns raw rows into the network's input (paper III-C and IV; the
// divisors are those of the record specification).

import (
	"errors"
	"fmt"

	"github.com/iotsense/iotsense/pkg/flows"
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

// Scaler turns rows into network input. It keeps a buffer: one goroutine each.
type Scaler struct {
	spec   RecordSpec
	scale  Scaling
	tokens []int16
	table  [-flows.PayloadEnd + 256]float32 // scaled token; index = token - PayloadEnd
}

// NewScaler prepares the scaling of rows as spec describes them.
func NewScaler(spec RecordSpec, scale Scaling) *Scaler {
	s := &Scaler{spec: spec, scale: scale, tokens: make([]int16, 0, spec.PayloadTokens)}
	for i := range s.table {
		v := i + flows.PayloadEnd
		if v >= 0 || spec.ScaleDelimiters {
			s.table[i] = float32(float64(v) / scaleByte)
		} else {
			s.table[i] = float32(v)
		}
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
	r.Record = s.clip(r.Record)
	n := s.meta(dst, r)
	if i := notFinite(dst[:n]); i >= 0 {
		return 0, fmt.Errorf("scale row: value %d is %v: check the model's scaling", i+1, dst[i])
	}
	s.tokens = r.Tokens(s.tokens[:0], s.spec.PayloadTokens)
	for i, t := range s.tokens {
		dst[n+i] = s.table[int(t)-flows.PayloadEnd]
	}
	return n + len(s.tokens), nil
}

// Window writes the whole [K, width] input of a window to dst, missing older
// rows and padding included.
func (s *Scaler) Window(dst []float32, k int, w flows.Window) error {
	if err := checkRows(w, k); err != nil {
		return err
	}
	width := s.spec.Width()
	for i := range dst[:k*width] {
		dst[i] = Missing
	}
	first := k - len(w.Rows)
	for i, r := range w.Rows {
		if _, err := s.Row(dst[(first+i)*width:(first+i+1)*width], r); err != nil {
			return err
		}
	}
	return nil
}

// checkRows reports a window that no model of k rows can take.
func checkRows(w flows.Window, k int) error {
	if len(w.Rows) < 1 || len(w.Rows) > k {
		return fmt.Errorf("window of %s has %d rows, want 1 to %d", w.Device, len(w.Rows), k)
	}
	return nil
}

// clip is r cut down to the packets and the payload prefix of the model.
func (s *Scaler) clip(r *flows.Record) *flows.Record {
	long := len(r.Packets) > s.spec.Packets
	for i := range r.Packets {
		long = long || len(r.Packets[i].Payload) > s.spec.Prefix
	}
	if !long {
		return r
	}
	c := *r
	c.Packets = append([]flows.RowPacket(nil), r.Packets[:min(len(r.Packets), s.spec.Packets)]...)
	for i := range c.Packets {
		p := &c.Packets[i]
		p.Payload = p.Payload[:min(len(p.Payload), s.spec.Prefix)]
	}
	return &c
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
	return 10 + 3*n
}

// scaled is v / by; [flows.Missing] stays as it is.
func scaled(v, by float64) float32 {
	if v == flows.Missing {
		return Missing
	}
	return float32(v / by)
}
