package model

// This file holds the engine's weights and its reference: the full forward pass
// over every column, padding included. incremental.go computes the same faster.

import (
	"fmt"
	"math"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Engine runs a model on windows without allocating. It keeps buffers: one
// goroutine each, [Engine.Clone] makes another over the same weights.
type Engine struct {
	net    *network
	scaler *Scaler
	buf    *buffers
}

// network is a model's weights in the layout of the loops. It is never written
// once built, so clones share it.
type network struct {
	arch Architecture
	Dims
	record      RecordSpec
	scaling     Scaling
	temperature float64

	w1 [][]float32   // [f1][taps]
	w2 [][][]float32 // [f2][kernel rows * f1][taps]
	b1 []float32
	b2 []float32

	dense1, bias1 []float32
	dense2, bias2 []float32

	// What a column whose inputs are all [Missing] comes out as; see incremental.go.
	const1, const2 []float32 // [f1], [f2], after ReLU
	tail           []float32 // [PoolCols+1][hidden]: bias1 plus all constant columns from p on
	whole          bool      // compute padding like everything else; tests set it
}

// buffers are an engine's scratch space.
type buffers struct {
	row    []float32   // one scaled row
	conv1  [][]float32 // [K*f1][columns]
	conv2  [][]float32 // [f2][columns]
	max2   [][]float32 // [rows2][PoolCols*f2]: conv2 after the pool's columns
	pooled []float32   // [flat]
	hidden []float32
	logits []float32
	live   []int32 // indices of the dense layer's inputs that are not zero
	state  State   // of windows that belong to no device
}

// NewEngine prepares a model for inference.
func NewEngine(m *Model) (*Engine, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	n, err := newNetwork(m)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return n.engine(), nil
}

// Clone is another engine over the same weights, for another goroutine.
func (e *Engine) Clone() *Engine { return e.net.engine() }

// Classes is the number of probabilities that a prediction has.
func (e *Engine) Classes() int { return e.net.Classes }

func (n *network) engine() *Engine {
	a := n.arch
	b := &buffers{
		row:    filled(conv.Reach(n.Cols1, a.Kernel1), Missing),
		conv1:  planes(a.K*a.Filters[0], n.plane1()),
		conv2:  planes(a.Filters[1], conv.RoundUp(n.Cols2, conv.Lanes)+a.Pool[1]),
		max2:   planes(n.Rows2, n.PoolCols*a.Filters[1]),
		pooled: make([]float32, n.Flat),
		hidden: make([]float32, a.Hidden),
		logits: make([]float32, n.Classes),
		live:   make([]int32, 0, n.Flat),
	}
	return &Engine{net: n, scaler: NewScaler(n.record, n.scaling), buf: b}
}

// plane1 is the length of a conv1 plane: what conv1 writes and conv2 reads.
func (n *network) plane1() int {
	return max(conv.RoundUp(n.Cols1, conv.Lanes), conv.Reach(n.Cols2, n.arch.Kernel2[1])) + n.arch.Pool[1]
}

func planes(n, length int) [][]float32 {
	p := make([][]float32, n)
	for i := range p {
		p[i] = make([]float32, length)
	}
	return p
}

func filled(n int, v float32) []float32 {
	s := make([]float32, n)
	fill(s, v)
	return s
}

func fill(s []float32, v float32) {
	for i := range s {
		s[i] = v
	}
}

func newNetwork(m *Model) (*network, error) {
	d, err := m.Dims()
	if err != nil {
		return nil, err
	}
	n := &network{
		arch: m.Arch, Dims: d, record: m.Record, scaling: m.Scaling, temperature: m.Temperature(),
		b1: m.Weights.Conv1Bias, b2: m.Weights.Conv2Bias,
		dense1: m.Weights.Dense1, bias1: m.Weights.Dense1Bias,
		dense2: m.Weights.Dense2, bias2: m.Weights.Dense2Bias,
	}
	f1, f2 := m.Arch.Filters[0], m.Arch.Filters[1]
	for f := range f1 {
		n.w1 = append(n.w1, conv.Gather(m.Weights.Conv1, m.Arch.Kernel1, f1, f))
	}
	rows, cols := m.Arch.Kernel2[0], m.Arch.Kernel2[1]
	for f := range f2 {
		var kernel [][]float32
		for r := range rows {
			for c := range f1 {
				kernel = append(kernel, conv.Gather(m.Weights.Conv2[r*cols*f1*f2:], cols, f1*f2, c*f2+f))
			}
		}
		n.w2 = append(n.w2, kernel)
	}
	return n, n.constants()
}

// Predict writes the class probabilities of one window to probs, which holds
// [Engine.Classes] values. Nothing is kept between calls.
func (e *Engine) Predict(w flows.Window, probs []float32) error {
	e.buf.state.Reset()
	return e.Next(&e.buf.state, w, probs)
}

// Forward is the reference: it computes every column of an input of [K, width]
// scaled values and writes the logits, before calibration. It refuses input
// that is not finite.
func (e *Engine) Forward(input, logits []float32) error {
	n, b := e.net, e.buf
	if len(input) != n.arch.K*n.Width || len(logits) != n.Classes {
		return fmt.Errorf("forward: %d values in and %d out, want %d and %d",
			len(input), len(logits), n.arch.K*n.Width, n.Classes)
	}
	if i := notFinite(input); i >= 0 {
		return fmt.Errorf("forward: input value %d of row %d is %v, want a finite number",
			i%n.Width, i/n.Width, input[i])
	}
	for r := range n.arch.K {
		copy(b.row, input[r*n.Width:(r+1)*n.Width])
		fill(b.row[n.Width:], Missing)
		n.conv1(n.rows1(b.conv1, r, 1), b.row, n.Cols1)
	}
	for r := range n.Rows2 {
		n.conv2(b.conv2, n.rows1(b.conv1, r, n.arch.Kernel2[0]), n.Cols2)
		n.poolColumns(b.max2[r], b.conv2, n.PoolCols)
	}
	copy(b.hidden, n.bias1)
	size := n.PoolCols * n.arch.Filters[1] // of one pooled row
	for r := range n.PoolRows {
		pooled := b.pooled[r*size:][:size]
		rowMax(pooled, b.max2[r*n.arch.Pool[0]:(r+1)*n.arch.Pool[0]])
		b.dense(b.hidden, pooled, n.dense1[r*size*n.arch.Hidden:][:size*n.arch.Hidden])
	}
	return n.output(b, logits)
}

// output computes the last layer from b.hidden, before its ReLU.
func (n *network) output(b *buffers, logits []float32) error {
	conv.ReLU(b.hidden)
	copy(logits, n.bias2)
	b.dense(logits, b.hidden, n.dense2)
	if i := notFinite(logits); i >= 0 {
		return fmt.Errorf("output %d is %v: the weights are too large for this input", i, logits[i])
	}
	return nil
}

// rows1 are the conv1 planes of count rows from first on.
func (n *network) rows1(planes [][]float32, first, count int) [][]float32 {
	f := n.arch.Filters[0]
	return planes[first*f : (first+count)*f]
}

// conv1 writes the first cols columns of conv1's planes for one row.
func (n *network) conv1(dst [][]float32, row []float32, cols int) {
	for f := range n.w1 {
		p := dst[f][:conv.RoundUp(cols, conv.Lanes)]
		fill(p, n.b1[f])
		conv.Correlate(p, [][]float32{row}, n.w1[f:f+1], cols)
		conv.ReLU(p)
	}
}

// conv2 writes the first cols columns of one row of conv2's planes from the
// conv1 planes of as many rows as its kernel has.
func (n *network) conv2(dst, planes [][]float32, cols int) {
	for f, kernel := range n.w2 {
		p := dst[f][:conv.RoundUp(cols, conv.Lanes)]
		fill(p, n.b2[f])
		conv.Correlate(p, planes, kernel, cols)
		conv.ReLU(p)
	}
}

// poolColumns writes the maxima over the pool's columns, channel by channel.
func (n *network) poolColumns(dst []float32, src [][]float32, cols int) {
	width, channels := n.arch.Pool[1], len(src)
	for f, p := range src {
		for c := range cols {
			best := p[c*width]
			for _, v := range p[c*width+1 : (c+1)*width] {
				best = max(best, v)
			}
			dst[c*channels+f] = best
		}
	}
}

// rowMax writes the maxima over the pool's rows.
func rowMax(dst []float32, rows [][]float32) {
	copy(dst, rows[0])
	for _, row := range rows[1:] {
		for i, v := range row[:len(dst)] {
			dst[i] = max(dst[i], v)
		}
	}
}

// dense adds x w to dst; w is [len(x), len(dst)]. Inputs that are zero, about
// half of them after a ReLU, cost nothing.
func (b *buffers) dense(dst, x, w []float32) {
	b.live = b.live[:0]
	for i, v := range x {
		if v != 0 {
			b.live = append(b.live, int32(i))
		}
	}
	n := len(dst)
	row := func(i int32) []float32 { return w[int(i)*n:][:n] }
	live := b.live
	for ; len(live) >= 4; live = live[4:] {
		v0, v1, v2, v3 := x[live[0]], x[live[1]], x[live[2]], x[live[3]]
		w0, w1, w2, w3 := row(live[0]), row(live[1]), row(live[2]), row(live[3])
		for h := range dst {
			dst[h] += (v0*w0[h] + v1*w1[h]) + (v2*w2[h] + v3*w3[h])
		}
	}
	for _, i := range live {
		v := x[i]
		for h, u := range row(i) {
			dst[h] += v * u
		}
	}
}

// softmax writes the probabilities of logits divided by the temperature.
func softmax(probs, logits []float32, temperature float64) {
	top := logits[0]
	for _, l := range logits {
		top = max(top, l)
	}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l-top) / temperature)
	}
	for i, l := range logits {
		probs[i] = float32(math.Exp(float64(l-top)/temperature) / sum)
	}
}
