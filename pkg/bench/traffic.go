package bench

// This file prepares the windows that a measurement of inference runs on.

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Stream is the successive rows of one device in one capture.
type Stream []flows.Row

// order is the seed of the order in which streams and windows are taken.
const order = 1

// Traffic is streams in an order that has nothing to do with their place in the
// data set, so that any part of them is a fair sample.
type Traffic struct {
	streams []Stream
	first   int           // number of the first row of a stream that is judged
	windows [][]flows.Row // what outputs of all streams rest on, or a sample, in an order of their own
}

// NewTraffic takes the streams that hold a row; it refuses to be without any. An
// output rests on span rows, 0: on all of the stream so far; the first of a stream
// that is judged has the number first. most bounds the windows that [Cold] takes; 0:
// no bound.
func NewTraffic(streams []Stream, span, first, most int) (*Traffic, error) {
	t := &Traffic{first: first, streams: slices.DeleteFunc(slices.Clone(streams), func(s Stream) bool { return len(s) <= first })}
	if len(t.streams) == 0 {
		return nil, fmt.Errorf("traffic: no window in %d streams: nothing to measure on", len(streams))
	}
	r := rand.New(rand.NewPCG(order, order))
	r.Shuffle(len(t.streams), func(i, j int) { t.streams[i], t.streams[j] = t.streams[j], t.streams[i] })
	for _, s := range t.streams {
		for end := first + 1; end <= len(s); end++ {
			from := 0
			if span > 0 {
				from = max(0, end-span)
			}
			t.windows = append(t.windows, s[from:end])
		}
	}
	r.Shuffle(len(t.windows), func(i, j int) { t.windows[i], t.windows[j] = t.windows[j], t.windows[i] })
	if most > 0 {
		t.windows = t.windows[:min(most, len(t.windows))]
	}
	return t, nil
}

// Windows are what outputs rest on, oldest row first, in the order in which [Cold]
// takes them.
func (t *Traffic) Windows() [][]flows.Row { return t.windows }

// FullRows returns the streams with every payload section filled to its last
// value by random bytes: the most that a row can cost.
func FullRows(spec model.RecordSpec, streams []Stream) []Stream {
	r := rand.New(rand.NewPCG(order, order))
	bytes := make([]byte, 1<<16) // all payloads are parts of this one
	for i := range bytes {
		bytes[i] = byte(r.Uint32())
	}
	fill := func(rec *flows.Record) *flows.Record {
		f := *rec
		f.Packets = make([]flows.RowPacket, spec.Packets)
		copy(f.Packets, rec.Packets)
		for i := range f.Packets {
			at := r.IntN(len(bytes) - spec.Prefix)
			f.Packets[i].Payload = bytes[at : at+spec.Prefix]
		}
		return &f
	}
	out := make([]Stream, len(streams))
	for i, s := range streams {
		for _, row := range s {
			out[i] = append(out[i], flows.Row{Record: fill(row.Record), Since: row.Since})
		}
	}
	return out
}

// Lengths are percentiles of how many values a row has before its padding,
// metadata included; every record counts once.
type Lengths struct {
	P10  int `json:"p10"`
	P50  int `json:"p50"`
	P90  int `json:"p90"`
	P99  int `json:"p99"`
	Max  int `json:"max"`
	Mean int `json:"mean"`
}

// RowLengths measures the newest row of every window as the model sees it.
func RowLengths(spec model.RecordSpec, t *Traffic) Lengths {
	lengths := make([]int, len(t.windows))
	sum := 0
	for i, w := range t.windows {
		n := spec.Length(w[len(w)-1])
		lengths[i], sum = n, sum+n
	}
	slices.Sort(lengths)
	return Lengths{
		P10: percentile(lengths, 10), P50: percentile(lengths, 50), P90: percentile(lengths, 90),
		P99: percentile(lengths, 99), Max: lengths[len(lengths)-1], Mean: sum / len(lengths),
	}
}

// percentile is the smallest value that at least p percent of the values do not
// exceed (nearest rank). The values are sorted and not none.
func percentile[T any](sorted []T, p int) T {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// median is the middle value; of an even number, the lower of the two.
func median(values []float64) float64 {
	return percentile(slices.Sorted(slices.Values(values)), 50)
}
