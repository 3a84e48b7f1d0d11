package analyze

// This file measures the shares that the paper's text quotes (III-A to III-C, IV-B).

import "github.com/iotsense/iotsense/pkg/flows"

// smallPacket is the packet size of a share the paper quotes (III-A).
const smallPacket = 1000

// FourServices are those of the paper's specialised models (IV-B).
var FourServices = []flows.Service{{Proto: 6, Port: 80}, {Proto: 6, Port: 443}, {Proto: 17, Port: 53}, {Proto: 17, Port: 123}}

// Ratio is a count, of how many, and the one divided by the other; nil of none.
type Ratio struct {
	Count uint64   `json:"count"`
	Of    uint64   `json:"of"`
	Share *float64 `json:"share"`
}

// NewRatio is count of of.
func NewRatio(count, of uint64) Ratio { return Ratio{count, of, quotient(count, of)} }

func quotient(a, b uint64) *float64 {
	if b == 0 {
		return nil
	}
	q := round(float64(a) / float64(b))
	return &q
}

// Shares are what the paper says of its data set in numbers. "Packets" are those
// that records describe one by one: the first ten of each record.
type Shares struct {
	ShortFlows    Ratio    `json:"flows_up_to_10_packets"`
	SmallPackets  Ratio    `json:"packets_up_to_1000_bytes"`
	EmptyPackets  Ratio    `json:"packets_without_payload"`
	SentPackets   Ratio    `json:"packets_sent"`
	LocalFlows    Ratio    `json:"flows_with_local_remote"`
	ServiceFlows  Ratio    `json:"flows_of_four_services"`
	FullRows      Ratio    `json:"rows_with_full_payload"` // payload section of all 3,000 values used
	MeanPayload   *float64 `json:"mean_payload_bytes"`     // of packets with payload, at most 1,000 bytes of each
	MeanRowValues *float64 `json:"mean_row_payload_values"`
	MidRowValues  *float64 `json:"median_row_payload_values"`
}

type shares struct {
	flows, short, local, services, rows, full uint64
	packets, small, sent                      uint64
	known, empty, payloadBytes                uint64
	rowValues                                 [flows.PayloadTokens + 1]uint64 // rows by used payload values
}

func (s *shares) add(r *flows.Record) {
	s.flows++
	if r.PacketCount <= flows.RowPackets {
		s.short++
	}
	if r.IsLocal() {
		s.local++
	}
	if _, ok := flows.ServiceOf(r, FourServices); ok {
		s.services++
	}
	if r.Incomplete { // its packets are not all there
		return
	}
	known, used := knownPayloads(r), 0
	for i := range r.Packets[:min(len(r.Packets), flows.RowPackets)] {
		p := &r.Packets[i]
		s.packets++
		if p.Size <= smallPacket {
			s.small++
		}
		if p.Sent {
			s.sent++
		}
		used += len(p.Payload) + 2
		if i >= known {
			continue
		}
		s.known++
		s.payloadBytes += uint64(len(p.Payload))
		if len(p.Payload) == 0 {
			s.empty++
		}
	}
	s.rows++
	s.rowValues[min(used, flows.PayloadTokens)]++
	if used >= flows.PayloadTokens {
		s.full++
	}
}

func (s *shares) result() Shares {
	var sum, seen uint64
	var median *float64
	for used, n := range s.rowValues {
		sum += uint64(used) * n
		if seen += n; median == nil && n > 0 && 2*seen >= s.rows {
			m := float64(used)
			median = &m
		}
	}
	return Shares{
		ShortFlows:    NewRatio(s.short, s.flows),
		SmallPackets:  NewRatio(s.small, s.packets),
		EmptyPackets:  NewRatio(s.empty, s.known),
		SentPackets:   NewRatio(s.sent, s.packets),
		LocalFlows:    NewRatio(s.local, s.flows),
		ServiceFlows:  NewRatio(s.services, s.flows),
		FullRows:      NewRatio(s.full, s.rows),
		MeanPayload:   quotient(s.payloadBytes, s.known-s.empty),
		MeanRowValues: quotient(sum, s.rows),
		MidRowValues:  median,
	}
}
