package bench

// This file prepares the windows that a measurement of inference runs on.

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Stream is the successive windows of one device in one capture.
type Stream []flows.Window

// order is the seed of the order in which streams and windows are taken.
const order = 1

// Traffic is streams in an order that has nothing to do with their place in the
// data set, so that any part of them is a fair sample.
type Traffic struct {
	streams []Stream
	windows []flows.Window // of all streams, or a sample, in an order of their own
}

// NewTraffic takes the streams that hold a window; it refuses to be without any.
// most bounds the windows that [Cold] takes; 0: no bound.
func NewTraffic(streams []Stream, most int) (*Traffic, error) {
	t := &Traffic{streams: slices.DeleteFunc(slices.Clone(streams), func(s Stream) bool { return len(s) == 0 })}
	if len(t.streams) == 0 {
		return nil, fmt.Errorf("traffic: no window in %d streams: nothing to measure on", len(streams))
	}
	r := rand.New(rand.NewPCG(order, order))
	r.Shuffle(len(t.streams), func(i, j int) { t.streams[i], t.streams[j] = t.streams[j], t.streams[i] })
	t.windows = slices.Concat(t.streams...)
	r.Shuffle(len(t.windows), func(i, j int) { t.windows[i], t.windows[j] = t.windows[j], t.windows[i] })
	if most > 0 {
		t.windows = t.windows[:min(most, len(t.windows))]
	}
	return t, nil
}

// Windows are the windows in the order in which [Cold] takes them.
func (t *Traffic) Windows() []flows.Window { return t.windows }

// FullRows returns the streams with every payload section filled to its last
// value by random bytes: the most that a row can cost.
func FullRows(spec model.RecordSpec, streams []Stream) []Stream {
	r := rand.New(rand.NewPCG(order, order))
	bytes := make([]byte, 1<<16) // all payloads are parts of this one
	for i := range bytes {
		bytes[i] = byte(r.Uint32())
	}
	full := map[*flows.Record]*flows.Record{}
	fill := func(rec *flows.Record) *flows.Record {
		if f, ok := full[rec]; ok {
			return f
		}
		f := *rec
		f.Packets = make([]flows.RowPacket, spec.Packets)
		copy(f.Packets, rec.Packets)
		for i := range f.Packets {
			at := r.IntN(len(bytes) - spec.Prefix)
			f.Packets[i].Payload = bytes[at : at+spec.Prefix]
		}
		full[rec] = &f
		return &f
	}
	out := make([]Stream, len(streams))
	for i, s := range streams {
		for _, w := range s {
			rows := make([]flows.Row, len(w.Rows))
			for j, row := range w.Rows {
				rows[j] = flows.Row{Record: fill(row.Record), Since: row.Since}
			}
			out[i] = append(out[i], flows.Window{Device: w.Device, Rows: rows})
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
func RowLengths(m *model.Model, t *Traffic) (Lengths, error) {
	scaler := model.NewScaler(m.Record, m.Scaling)
	row := make([]float32, m.Record.Width())
	lengths := make([]int, len(t.windows))
	sum := 0
	for i, w := range t.windows {
		n, err := scaler.Row(row, w.Rows[len(w.Rows)-1])
		if err != nil {
			return Lengths{}, fmt.Errorf("row lengths: device %s: %w", w.Device, err)
		}
		lengths[i], sum = n, sum+n
	}
	slices.Sort(lengths)
	return Lengths{
		P10: percentile(lengths, 10), P50: percentile(lengths, 50), P90: percentile(lengths, 90),
		P99: percentile(lengths, 99), Max: lengths[len(lengths)-1], Mean: sum / len(lengths),
	}, nil
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
