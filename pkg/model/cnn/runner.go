package cnn

// This file holds the runner's weights and its reference: the full forward pass
// over every column, padding included. incremental.go computes the same faster.

import (
	"fmt"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Runner runs the network: a [model.Runner].
type Runner struct {
	net    *network
	scaler *Scaler
	buf    *buffers
}

// network is a model's weights in the layout of the loops. It is never written
// once built, so clones share it.
type network struct {
	path conv.Path
	arch Architecture
	Dims
	record  model.RecordSpec
	scaling model.Scaling

	conv1 conv.Bank
	conv2 conv.RowBank

	// Rows of dense layers, their biases and outputs end in zeros, see [conv.PadRows].
	dense1, bias1 []float32
	dense2, bias2 []float32
	hidden        int  // length of a row of dense1
	direct        bool // there is no first dense layer: the last one stands in its place

	// What a column whose inputs are all [Missing] comes out as; see incremental.go.
	const1, const2 []float32 // [f1], [f2], after ReLU
	tail           []float32 // [PoolCols+1][hidden]: bias1 plus all constant columns from p on
	whole          bool      // compute padding like everything else; tests set it
}

// buffers are a runner's scratch space.
type buffers struct {
	row    []float32   // one scaled row
	conv1  [][]float32 // [K*f1][columns], of a whole input
	rows   [][]float32 // [kernel rows*f1]: conv1 planes of a device's rows
	cols   []int       // [kernel rows]: from here on those are constant
	conv2  [][]float32 // [f2][columns], before ReLU
	max2   [][]float32 // [rows2*f2][PoolCols]: conv2 after the pool's columns
	pooled [][]float32 // [f2][PoolCols]: after the pool's rows
	live   []conv.Live // the last layer's inputs
	logits [][]float32
	group
	pool pool // of memories
}

// Clone implements model.Runner.
func (r *Runner) Clone() model.Runner { return r.net.runner() }

// Path implements model.Runner.
func (r *Runner) Path() string { return r.net.path.String() }

// Memory implements model.Runner.
func (r *Runner) Memory() model.Memory { return &Memory{} }

func (n *network) runner() *Runner {
	a := n.arch
	b := &buffers{
		row:    filled(conv.Reach(n.Cols1, a.Kernel1), Missing),
		conv1:  planes(a.K*a.Filters[0], n.plane1(n.Cols1)),
		rows:   make([][]float32, a.Kernel2[0]*a.Filters[0]),
		cols:   make([]int, a.Kernel2[0]),
		conv2:  planes(a.Filters[1], conv.RoundUp(n.Cols2, conv.Tile)+a.Pool[1]),
		max2:   planes(n.Rows2*a.Filters[1], n.PoolCols),
		pooled: planes(a.Filters[1], n.PoolCols),
		live:   []conv.Live{conv.NewLive(n.hidden)},
		logits: planes(1, len(n.bias2)),
	}
	b.grow(n, 1)
	return &Runner{net: n, scaler: NewScaler(n.record, n.scaling), buf: b}
}

// plane1 is the length of a conv1 plane with cols columns that are not constant:
// what conv1 writes and conv2 reads.
func (n *network) plane1(cols int) int {
	return max(conv.RoundUp(cols, conv.Lanes), conv.RowsReach(cols, n.arch.Kernel2[1]))
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
	conv.Fill(s, v)
	return s
}

func newNetwork(m *Net, record model.RecordSpec, scaling model.Scaling, path conv.Path) (*network, error) {
	d, err := m.Dims(record)
	if err != nil {
		return nil, err
	}
	n := &network{
		path: path, arch: m.Arch, Dims: d, record: record, scaling: scaling,
		dense2: conv.PadRows(m.Weights.Dense2, d.Classes), bias2: conv.PadRows(m.Weights.Dense2Bias, d.Classes),
	}
	if n.direct = m.Arch.Hidden == 0; n.direct {
		n.dense1, n.bias1 = n.dense2, n.bias2
	} else {
		n.dense1, n.bias1 = conv.PadRows(m.Weights.Dense1, m.Arch.Hidden), conv.PadRows(m.Weights.Dense1Bias, m.Arch.Hidden)
	}
	n.hidden = len(n.bias1)
	f1 := m.Arch.Filters[0]
	var filters [][][]float32
	for f := range f1 {
		filters = append(filters, [][]float32{conv.Gather(m.Weights.Conv1, m.Arch.Kernel1, f1, f)})
	}
	n.conv1 = conv.NewBank(filters, m.Weights.Conv1Bias)
	return n, n.constants(m)
}

// kernel2 are conv2's filters: [f2][kernel rows * f1][taps].
func kernel2(m *Net) [][][]float32 {
	f1, f2, cols := m.Arch.Filters[0], m.Arch.Filters[1], m.Arch.Kernel2[1]
	filters := make([][][]float32, f2)
	for f := range filters {
		for r := range m.Arch.Kernel2[0] {
			for c := range f1 {
				filters[f] = append(filters[f], conv.Gather(m.Weights.Conv2[r*cols*f1*f2:], cols, f1*f2, c*f2+f))
			}
		}
	}
	return filters
}

// Forward is the reference: it computes every column of an input of [K, width]
// scaled values and writes the logits, before calibration. It refuses input
// that is not finite.
func (e *Runner) Forward(input, logits []float32) error {
	n, b := e.net, e.buf
	if len(input) != n.arch.K*n.Width || len(logits) != n.Classes {
		return fmt.Errorf("forward: %d values in and %d out, want %d and %d",
			len(input), len(logits), n.arch.K*n.Width, n.Classes)
	}
	if i := model.NotFinite(input); i >= 0 {
		return fmt.Errorf("forward: input value %d of row %d is %v, want a finite number",
			i%n.Width, i/n.Width, input[i])
	}
	for r := range n.arch.K {
		copy(b.row, input[r*n.Width:(r+1)*n.Width])
		conv.Fill(b.row[n.Width:], Missing)
		n.path.Convolve(n.rows1(b.conv1, r, 1), [][]float32{b.row}, &n.conv1, n.Cols1)
	}
	f2 := n.arch.Filters[1]
	for i := range b.cols {
		b.cols[i] = n.Cols1
	}
	for r := range n.Rows2 {
		n.path.ConvolveRows(b.conv2, n.rows1(b.conv1, r, n.arch.Kernel2[0]), b.cols, &n.conv2, n.Cols2)
		for f, p := range b.conv2 {
			n.path.Pool(b.max2[r*f2+f], p, n.arch.Pool[1])
		}
	}
	live := &b.lists[0]
	live.Reset()
	for r := range n.PoolRows {
		for f := range f2 {
			for i := range n.arch.Pool[0] {
				row := b.max2[(r*n.arch.Pool[0]+i)*f2+f]
				if i == 0 {
					copy(b.pooled[f], row)
				} else {
					n.path.Max(b.pooled[f], row)
				}
			}
		}
		n.path.List(live, b.pooled, n.PoolCols, r*n.PoolCols*f2)
	}
	copy(b.sums[0], n.bias1)
	n.path.Dense(b.sums[:1], n.dense1, b.lists[:1])
	if err := n.output(b, b.sums[0]); err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	copy(logits, b.logits[0])
	return nil
}

// output computes b.logits from the first dense layer's sums, before their ReLU.
func (n *network) output(b *buffers, sums []float32) error {
	logits := b.logits[0]
	if n.direct {
		copy(logits, sums)
	} else {
		conv.ReLU(sums)
		b.live[0].Reset()
		n.path.List(&b.live[0], [][]float32{sums}, n.arch.Hidden, 0)
		copy(logits, n.bias2)
		n.path.Dense(b.logits, n.dense2, b.live)
	}
	if i := model.NotFinite(logits); i >= 0 {
		return fmt.Errorf("output %d is %v: the weights are too large for this input", i, logits[i])
	}
	return nil
}

// rows1 are the conv1 planes of count rows from first on.
func (n *network) rows1(planes [][]float32, first, count int) [][]float32 {
	f := n.arch.Filters[0]
	return planes[first*f : (first+count)*f]
}
