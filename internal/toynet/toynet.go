// Package toynet is a network for tests: as unlike the paper's as can be, to hold the
// doors open that another network needs. Its memory is a running sum of rows, so an
// output rests on a device's whole stream; what stands on top is linear.
package toynet

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// Kind is the network's name in model files and of --arch.
const Kind = "toy"

// features are how many numbers a row adds to the sum: a count, the scaled totals, the
// protocol, how full payload bytes' 16 ranges are.
const features = 4 + 16

// Shape is what a model file keeps of the network.
type Shape struct {
	Kind     string `json:"kind"`
	Features int    `json:"features"`
}

// Net is the network: a [model.Net].
type Net struct {
	Weight []float32 // [features, classes]
	Bias   []float32 // [classes]
}

// Register makes the network known to package model.
func Register() { model.Register(model.Kind{Name: Kind, Read: read}) }

func read(shape json.RawMessage, _ model.RecordSpec, classes int, take func(string, ...int) ([]float32, error)) (model.Net, error) {
	var s Shape
	if err := json.Unmarshal(shape, &s); err != nil || s.Features != features {
		return nil, fmt.Errorf("architecture: %d features, want %d: %w", s.Features, features, err)
	}
	weight, err := take("weight", features, classes)
	if err != nil {
		return nil, err
	}
	bias, err := take("bias", classes)
	return &Net{weight, bias}, err
}

// Kind implements model.Net.
func (n *Net) Kind() string { return Kind }

// Shape implements model.Net.
func (n *Net) Shape() any { return Shape{Kind, features} }

// Span implements model.Net: the whole stream.
func (n *Net) Span() int { return 0 }

// Strict implements model.Net.
func (n *Net) Strict() int { return model.StrictRows }

// Ports implements model.Net: it sees none.
func (n *Net) Ports(int32, int32) (int32, int32) { return flows.Missing, flows.Missing }

// Input implements model.Net.
func (n *Net) Input(model.RecordSpec) []int { return []int{features} }

// Fits implements model.Net.
func (n *Net) Fits(_ model.RecordSpec, classes int) error {
	if len(n.Bias) != classes || len(n.Weight) != features*classes {
		return fmt.Errorf("%d weights, %d biases for %d classes", len(n.Weight), len(n.Bias), classes)
	}
	return nil
}

// Tensors implements model.Net.
func (n *Net) Tensors() []model.Tensor {
	return []model.Tensor{
		{Name: "weight", Shape: []int{features, len(n.Bias)}, Data: n.Weight},
		{Name: "bias", Shape: []int{len(n.Bias)}, Data: n.Bias},
	}
}

// Runner implements model.Net.
func (n *Net) Runner(_ model.RecordSpec, scaling model.Scaling) (model.Runner, error) {
	return &runner{n, scaling}, nil
}

type runner struct {
	net     *Net
	scaling model.Scaling
}

// memory is a running sum.
type memory struct {
	rows int
	sum  [features]float32
}

// Reset implements model.Memory.
func (m *memory) Reset() { *m = memory{} }

// Trim implements model.Memory: a sum cannot be computed again.
func (m *memory) Trim() {}

// Bytes implements model.Memory.
func (m *memory) Bytes() int { return 0 }

// Clone implements model.Memory.
func (m *memory) Clone() model.Memory {
	c := *m
	return &c
}

// Clone implements model.Runner.
func (r *runner) Clone() model.Runner { return r }

// Path implements model.Runner.
func (r *runner) Path() string { return "go" }

// Memory implements model.Runner.
func (r *runner) Memory() model.Memory { return &memory{} }

// Skip implements model.Runner.
func (r *runner) Skip(of model.Memory, row flows.Row) error {
	m, ok := of.(*memory)
	if !ok || row.Record == nil {
		return fmt.Errorf("%T is no memory of this network, or there is no record", of)
	}
	m.add(row, r.scaling)
	return nil
}

func (m *memory) add(row flows.Row, scaling model.Scaling) {
	m.rows++
	x := values(row, scaling)
	for i, v := range x {
		m.sum[i] += v
	}
}

// Steps implements model.Runner.
func (r *runner) Steps(memories []model.Memory, rows []flows.Row, logits [][]float32) error {
	for i, m := range memories {
		if err := r.Skip(m, rows[i]); err != nil {
			return &model.RowError{Row: i, Err: err}
		}
		r.net.logits(m.(*memory).mean(), logits[i])
	}
	return nil
}

func (m *memory) mean() (x [features]float32) {
	for i, v := range m.sum {
		x[i] = v / float32(m.rows)
	}
	return x
}

func (n *Net) logits(x [features]float32, logits []float32) {
	copy(logits, n.Bias)
	for i, v := range x {
		for c := range logits {
			logits[c] += v * n.Weight[i*len(n.Bias)+c]
		}
	}
}

// values are a row's features.
func values(row flows.Row, scaling model.Scaling) (x [features]float32) {
	x[0], x[1], x[2] = 1, float32(scaling.Bytes.Score(float64(row.TotalBytes))), float32(scaling.Packets.Score(float64(row.PacketCount)))
	x[3] = float32(row.Proto) / 255
	for _, p := range row.Packets {
		for _, b := range p.Payload {
			x[4+b/16]++
		}
	}
	for i := range 16 {
		x[4+i] = float32(math.Log1p(float64(x[4+i])) / 4)
	}
	return x
}

// Design is the network to be trained: a [train.Design].
type Design struct{}

// Span implements train.Design.
func (Design) Span() int { return 0 }

// Strict implements train.Design.
func (Design) Strict() int { return model.StrictRows }

// Cut implements train.Design.
func (Design) Cut() (rows, judged int) { return 64, 32 }

// Learner implements train.Design.
func (Design) Learner(m *model.Model, _, _ int, rng *rand.Rand) (train.Learner, error) {
	n := &Net{make([]float32, features*len(m.Labels)), make([]float32, len(m.Labels))}
	for i := range n.Weight {
		n.Weight[i] = rng.Float32()*0.02 - 0.01
	}
	return &learner{n, m.Scaling}, nil
}

type learner struct {
	net     *Net
	scaling model.Scaling
}

// Values implements train.Learner.
func (l *learner) Values() [][]float32 { return [][]float32{l.net.Weight, l.net.Bias} }

// Gradients implements train.Learner.
func (l *learner) Gradients(pieces []train.Piece, _ uint64) (float64, [][]float32, error) {
	classes := len(l.net.Bias)
	weight, bias := make([]float32, len(l.net.Weight)), make([]float32, classes)
	probs, loss := make([]float32, classes), 0.0
	for _, p := range pieces {
		var m memory
		share := 1 / float32(p.Judged*len(pieces))
		for at, row := range p.Rows {
			if m.add(row, l.scaling); at < len(p.Rows)-p.Judged {
				continue
			}
			x := m.mean()
			l.net.logits(x, probs)
			loss -= float64(share) * math.Log(softmax(probs, p.Class))
			probs[p.Class]--
			for c, g := range probs {
				bias[c] += share * g
				for i, v := range x {
					weight[i*classes+c] += share * g * v
				}
			}
		}
	}
	return loss, [][]float32{weight, bias}, nil
}

// softmax makes probabilities of logits in place and returns that of a class.
func softmax(v []float32, class int) float64 {
	top, sum := slices.Max(v), 0.0
	for i, l := range v {
		v[i] = float32(math.Exp(float64(l - top)))
		sum += float64(v[i])
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / sum)
	}
	return max(float64(v[class]), 1e-30)
}

// Settle implements train.Learner.
func (l *learner) Settle() {}

// Net implements train.Learner.
func (l *learner) Net(values [][]float32) model.Net {
	return &Net{slices.Clone(values[0]), slices.Clone(values[1])}
}

// Close implements train.Learner.
func (l *learner) Close() {}
