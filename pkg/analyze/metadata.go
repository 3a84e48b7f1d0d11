package analyze

// This file measures the metadata fields of Fig. 2.

import (
	"encoding/binary"

	"github.com/iotsense/iotsense/pkg/flows"
)

// FieldNames are the metadata fields of Fig. 2, in the order of Class.Metadata.
var FieldNames = [...]string{
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

type metadata [len(FieldNames)]valueCounter

// add counts a record's values in the order of FieldNames.
func (m *metadata) add(r *flows.Record) {
	o := r.Octets()
	for i, v := range [len(FieldNames)]int64{
		int64(r.DevPort), int64(r.RemPort), int64(binary.BigEndian.Uint32(o[:])),
		int64(o[0]), int64(o[1]), int64(o[2]), int64(o[3]), int64(r.PacketCount), int64(r.TotalBytes),
	} {
		if v != flows.Missing { // the ports of a flow without any
			m[i].add(uint64(v))
		}
	}
}

func (m *metadata) result() []FieldEntropy {
	fields := make([]FieldEntropy, len(m))
	for i := range m {
		c := &m[i]
		fields[i] = FieldEntropy{FieldNames[i], round(c.entropy()), c.total, len(c.counts), c.rest}
	}
	return fields
}
