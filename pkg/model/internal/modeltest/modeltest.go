// Package modeltest makes random models and windows for the tests of package
// model and its sub-packages.
package modeltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
)

// Model is a random model of the architecture with n classes.
func Model(r *rand.Rand, arch cnn.Architecture, n int) *model.Model {
	m := Bare(n)
	d, err := arch.Dims(m.Record.Width(), n)
	if err != nil {
		panic(err) // a test asked for an architecture that cannot be
	}
	f := arch.Filters
	random := func(size, in, out int) []float32 {
		w := make([]float32, size)
		limit := math.Sqrt(6 / float64(in+out))
		for i := range w {
			w[i] = float32((2*r.Float64() - 1) * limit)
		}
		return w
	}
	kernel, last := arch.Kernel2[0]*arch.Kernel2[1], arch.Hidden
	if last == 0 {
		last = d.Flat
	}
	m.Net = &cnn.Net{Arch: arch, Weights: cnn.Weights{
		Conv1:     random(arch.Kernel1*f[0], arch.Kernel1, arch.Kernel1*f[0]),
		Conv1Bias: random(f[0], 50, 50),
		Conv2:     random(kernel*f[0]*f[1], kernel*f[0], kernel*f[1]),
		Conv2Bias: random(f[1], 50, 50),
		Dense1:    random(d.Flat*arch.Hidden, d.Flat, arch.Hidden), Dense1Bias: random(arch.Hidden, 100, 100),
		Dense2: random(last*n, last, n), Dense2Bias: random(n, 100, 100),
	}}
	return m
}

// Bare is a model of n classes without a network.
func Bare(n int) *model.Model {
	m := &model.Model{
		Record:     model.DefaultRecordSpec(),
		Scaling:    model.Scaling{Bytes: model.Moments{Mean: 6, Deviation: 2}, Packets: model.Moments{Mean: 1.5, Deviation: 1}},
		Thresholds: model.Thresholds{Default: model.DefaultThreshold},
		Training:   model.Training{Digest: "none", Seed: 1, Threads: 1, Options: map[string]string{"seed": "1"}},
	}
	for i := range n {
		m.Labels = append(m.Labels, fmt.Sprintf("class%03d", i))
	}
	return m
}

// Net is the paper's network of a model.
func Net(m *model.Model) *cnn.Net { return m.Net.(*cnn.Net) }

// Dims are the sizes of its layers.
func Dims(m *model.Model) cnn.Dims {
	d, err := Net(m).Dims(m.Record)
	if err != nil {
		panic(err) // a test asked for records that do not fit
	}
	return d
}

// Record is a random record of the given packets, each with a payload of the
// given length.
func Record(r *rand.Rand, payloads ...int) *flows.Record {
	rec := &flows.Record{
		Device:    "02:00:00:00:00:01",
		FirstSeen: r.Int64N(1e15),
		Remote:    netip.AddrFrom4([4]byte{byte(r.IntN(256)), byte(r.IntN(256)), 0, byte(r.IntN(256))}),
		Proto:     uint8(r.IntN(256)),
		DevPort:   r.Int32N(65536),
		RemPort:   flows.Missing,
	}
	for _, n := range payloads {
		p := flows.RowPacket{Offset: r.Int64N(60e6), Size: uint32(40 + n), Sent: r.IntN(2) == 1, Payload: make([]byte, n)}
		for i := range p.Payload {
			p.Payload[i] = byte(r.IntN(256))
		}
		rec.Packets = append(rec.Packets, p)
		rec.TotalBytes += uint64(p.Size)
		rec.PacketCount++
	}
	return rec
}

// Stream is a random stream of n rows. Lengths change between empty, short,
// median and full in no order.
func Stream(r *rand.Rand, n int) []flows.Row {
	rows := make([]flows.Row, n)
	for i := range rows {
		var payloads []int
		switch r.IntN(5) {
		case 0:
		case 1:
			payloads = []int{0, 0}
		case 2:
			payloads = []int{1000, 1000, 1000}
		case 3:
			payloads = []int{r.IntN(1000), r.IntN(300), r.IntN(100)}
		default:
			for range 1 + r.IntN(flows.RowPackets) {
				payloads = append(payloads, r.IntN(200))
			}
		}
		rows[i] = flows.Row{Record: Record(r, payloads...), Since: r.Int64N(120e6)}
	}
	return rows
}

// Windows are the windows of at most k rows that the stream yields, one a row.
func Windows(rows []flows.Row, k int) [][]flows.Row {
	out := make([][]flows.Row, len(rows))
	for i := range rows {
		out[i] = rows[max(0, i+1-k) : i+1]
	}
	return out
}

// RealWindows are the windows of at most k rows of the data set's test captures, one
// a row and a stream's in their order.
func RealWindows(t testing.TB, spec flows.StreamSpec, k int) [][]flows.Row {
	t.Helper()
	set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(testenv.Data(t), "manifest.csv"), Splits: []string{"test"}})
	if err != nil {
		t.Fatal(err)
	}
	var windows [][]flows.Row
	streams := map[string][]flows.Row{}
	if _, err := set.Steps(t.Context(), spec, func(x dataset.Example) error {
		key := x.Capture + x.Name
		streams[key] = append(streams[key], x.Row)
		windows = append(windows, streams[key][max(0, len(streams[key])-k):])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return windows
}

// Logits is the network written as its definition: float64, no cleverness.
func Logits(m *model.Model, input []float32) []float64 {
	a, w, d := Net(m).Arch, Net(m).Weights, Dims(m)
	f1, f2 := a.Filters[0], a.Filters[1]
	at := func(s []float32, i int) float64 { return float64(s[i]) }
	c1 := make([]float64, a.K*d.Cols1*f1)
	for r := range a.K {
		for c := range d.Cols1 {
			for f := range f1 {
				v := at(w.Conv1Bias, f)
				for t := range a.Kernel1 {
					v += at(input, r*d.Width+c+t) * at(w.Conv1, t*f1+f)
				}
				c1[(r*d.Cols1+c)*f1+f] = max(v, 0)
			}
		}
	}
	c2 := make([]float64, d.Rows2*d.Cols2*f2)
	for r := range d.Rows2 {
		for c := range d.Cols2 {
			for f := range f2 {
				v := at(w.Conv2Bias, f)
				for y := range a.Kernel2[0] {
					for x := range a.Kernel2[1] {
						for g := range f1 {
							v += c1[((r+y)*d.Cols1+c+x)*f1+g] * at(w.Conv2, ((y*a.Kernel2[1]+x)*f1+g)*f2+f)
						}
					}
				}
				c2[(r*d.Cols2+c)*f2+f] = max(v, 0)
			}
		}
	}
	var pooled []float64
	for r := range d.PoolRows {
		for c := range d.PoolCols {
			for f := range f2 {
				best := math.Inf(-1)
				for y := range a.Pool[0] {
					for x := range a.Pool[1] {
						best = max(best, c2[((r*a.Pool[0]+y)*d.Cols2+c*a.Pool[1]+x)*f2+f])
					}
				}
				pooled = append(pooled, best)
			}
		}
	}
	if a.Hidden == 0 {
		return Product(pooled, w.Dense2, w.Dense2Bias)
	}
	hidden := Product(pooled, w.Dense1, w.Dense1Bias)
	for i, v := range hidden {
		hidden[i] = max(v, 0)
	}
	return Product(hidden, w.Dense2, w.Dense2Bias)
}

// Product is x w + b.
func Product(x []float64, w, b []float32) []float64 {
	y := make([]float64, len(b))
	for k := range y {
		y[k] = float64(b[k])
		for i, v := range x {
			y[k] += v * float64(w[i*len(b)+k])
		}
	}
	return y
}
