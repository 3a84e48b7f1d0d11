package analyze

// This file measures the metadata fields of Fig. 2.

import (
	"encoding/binary"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Fields of Fig. 2, in its order.
const (
	fieldDevPort = iota
	fieldRemPort
	fieldRemote
	fieldOctet1
	fieldOctet2
	fieldOctet3
	fieldOctet4
	fieldPackets
	fieldBytes
	fieldCount
)

// FieldNames are the metadata fields of Fig. 2, in the order of Class.Metadata.
var FieldNames = [fieldCount]string{
	"device_port", "remote_port", "remote_ipv4", "remote_o1", "remote_o2", "remote_o3", "remote_o4", "packet_count", "byte_count",
}

// Range of entropy that the paper takes for a fingerprint (Fig. 2, hatched).
const (
	FingerprintLow  = 0.2
	FingerprintHigh = 2.5
)

// FieldEntropy is the entropy of one metadata field over a class's records.
type FieldEntropy struct {
	Field    string  `json:"field"`
	Entropy  float64 `json:"entropy"`  // bits
	Records  uint64  `json:"records"`  // that have a value; a flow without ports has none
	Distinct int     `json:"distinct"` // values told apart
	Pooled   uint64  `json:"pooled"`   // records beyond the limit of distinct values, taken for one value: if not 0 the entropy is a lower bound
}

type metadata [fieldCount]valueCounter

func (m *metadata) add(r *flows.Record) {
	if r.DevPort != flows.Missing {
		m[fieldDevPort].add(uint64(r.DevPort))
	}
	if r.RemPort != flows.Missing {
		m[fieldRemPort].add(uint64(r.RemPort))
	}
	octets := r.Octets()
	m[fieldRemote].add(uint64(binary.BigEndian.Uint32(octets[:])))
	for i, o := range octets {
		m[fieldOctet1+i].add(uint64(o))
	}
	m[fieldPackets].add(r.PacketCount)
	m[fieldBytes].add(r.TotalBytes)
}

func (m *metadata) result() []FieldEntropy {
	fields := make([]FieldEntropy, fieldCount)
	for i := range m {
		c := &m[i]
		fields[i] = FieldEntropy{FieldNames[i], round(c.entropy()), c.total, len(c.counts), c.rest}
	}
	return fields
}
