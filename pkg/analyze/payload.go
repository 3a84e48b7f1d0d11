package analyze

// This file measures payload bytes by their place, as in Figs 3 and 4.

import (
	"fmt"
	"math"

	"github.com/iotsense/iotsense/pkg/flows"
)

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
		for b, values := range p[i][:end] {
			if values != nil {
				packets[i].describe(b, values)
			}
		}
	}
	return packets
}

// describe fills in what there is to say of the byte at place b.
func (p *PacketBytes) describe(b int, values *[256]uint32) {
	var counts [256]uint64
	var n, sum, squares uint64
	for v, count := range values {
		c, x := uint64(count), uint64(v)
		counts[v] = c
		n, sum, squares = n+c, sum+c*x, squares+c*x*x
	}
	mean := float64(sum) / float64(n)
	deviation := math.Sqrt(math.Max(0, float64(squares)/float64(n)-mean*mean))
	p.Records[b], p.Entropy[b] = uint32(min(n, math.MaxUint32)), round(Entropy(counts[:]))
	p.Mean[b], p.Deviation[b] = round(mean), round(deviation)
}
