package analyze

// This file measures the metadata fields of Fig. 2 by Shannon's entropy (paper III-B,
// formula 1), and payload bytes by their place, as in Figs 3 and 4.

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

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

// Entropy is Shannon's entropy in bits of symbols that occurred counts times
// each (paper III-B, formula 1). Zeros count for nothing; no symbol at all gives
// 0, as in the paper. The order of counts does not change the result.
func Entropy(counts []uint64) float64 {
	sorted := slices.Clone(counts) // one order of summation: the same bits whatever the map gave
	slices.Sort(sorted)
	var total float64
	for _, n := range sorted {
		total += float64(n)
	}
	var h float64
	for _, n := range sorted {
		if n > 0 {
			p := float64(n) / total
			h -= p * math.Log2(p)
		}
	}
	return math.Max(0, h)
}

// maxDistinct is how many distinct values a valueCounter tells apart.
const maxDistinct = 1 << 18

// valueCounter counts values. Beyond maxDistinct of them the rest are counted as
// one, which makes the entropy a lower bound.
type valueCounter struct {
	counts map[uint64]uint64
	rest   uint64
	total  uint64
}

func (c *valueCounter) add(v uint64) {
	if c.counts == nil {
		c.counts = map[uint64]uint64{}
	}
	c.total++
	if _, known := c.counts[v]; !known && len(c.counts) >= maxDistinct {
		c.rest++
		return
	}
	c.counts[v]++
}

func (c *valueCounter) entropy() float64 {
	counts := make([]uint64, 0, len(c.counts)+1)
	for _, n := range c.counts {
		counts = append(counts, n)
	}
	return Entropy(append(counts, c.rest))
}

// round keeps six decimals: enough for a reader, few enough to be equal on every
// platform.
func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// PacketBytes describes the payload of one of a record's first packets, byte by
// byte: index b of each list is the paper's P00_B000 and so on. The lists end
// with the last place that any record of the class has a byte at.
type PacketBytes struct {
	Packet    string    `json:"packet"`    // P00..P09
	Records   []uint32  `json:"records"`   // records with a byte there
	Entropy   []float64 `json:"entropy"`   // bits, over those records; at most 8
	Mean      []float64 `json:"mean"`      // of the byte's values
	Deviation []float64 `json:"deviation"` // standard deviation of the byte's values
}

// payload counts byte values by packet and place. A place costs 1 KiB once it
// has been used: 10 MB for a class whose payloads are all full.
type payload [flows.RowPackets][flows.PayloadPrefix]*[256]uint32

func (p *payload) add(r *flows.Record) {
	for i := range knownPayloads(r) {
		bytes := r.Packets[i].Payload
		for b, v := range bytes[:min(len(bytes), flows.PayloadPrefix)] {
			if p[i][b] == nil {
				p[i][b] = new([256]uint32)
			}
			if n := &p[i][b][v]; *n < math.MaxUint32 {
				*n++
			}
		}
	}
}

// knownPayloads is how many of the record's packets have their whole payload
// prefix. All have, unless the record was read from a records file, whose payload
// section ends after 3,000 values: what it cut must not pass for empty packets.
func knownPayloads(r *flows.Record) int {
	n := min(len(r.Packets), flows.RowPackets)
	if r.RemoteAddr.IsValid() { // never part of a file
		return n
	}
	room := flows.PayloadTokens
	for i := range n {
		if room -= len(r.Packets[i].Payload) + 2; room < 0 {
			return i
		}
	}
	return n
}

func (p *payload) result() []PacketBytes {
	packets := make([]PacketBytes, flows.RowPackets)
	for i := range p {
		end := flows.PayloadPrefix
		for end > 0 && p[i][end-1] == nil {
			end--
		}
		packets[i] = PacketBytes{
			Packet: fmt.Sprintf("P%02d", i), Records: make([]uint32, end),
			Entropy: make([]float64, end), Mean: make([]float64, end), Deviation: make([]float64, end),
		}
		for b := range end {
			records, entropy, mean, deviation := describeByte(p[i][b])
			packets[i].Records[b], packets[i].Entropy[b] = records, round(entropy)
			packets[i].Mean[b], packets[i].Deviation[b] = round(mean), round(deviation)
		}
	}
	return packets
}

func describeByte(values *[256]uint32) (records uint32, entropy, mean, deviation float64) {
	if values == nil {
		return 0, 0, 0, 0
	}
	var counts [256]uint64
	var n, sum, squares uint64
	for v, count := range values {
		c, x := uint64(count), uint64(v)
		counts[v] = c
		n, sum, squares = n+c, sum+c*x, squares+c*x*x
	}
	mean = float64(sum) / float64(n)
	deviation = math.Sqrt(math.Max(0, float64(squares)/float64(n)-mean*mean))
	return uint32(min(n, math.MaxUint32)), Entropy(counts[:]), mean, deviation
}
