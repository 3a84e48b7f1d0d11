package train

// This file computes the trunk - conv1, ReLU, conv2, ReLU, dropout, max pool -
// and its gradient for one window, without gorgonia.
//
// A row ends in a run of one constant. From where the longest row of a window
// ends (its head ends there), every value of the trunk is known once for all
// windows, and so is its gradient but for a sum; only the head is computed.

import (
	"math"
	"math/rand/v2"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// shape is the trunk's sizes and where its parameters stand in one vector: conv1
// weight and bias, conv2 weight and bias, each as in the model file.
type shape struct {
	model.Architecture
	model.Dims
}

func (s *shape) sizes() (w1, b1, w2, b2 int) {
	f := s.Filters
	return s.Kernel1 * f[0], f[0], s.Kernel2[0] * s.Kernel2[1] * f[0] * f[1], f[1]
}

func (s *shape) parameters() int {
	w1, b1, w2, b2 := s.sizes()
	return w1 + b1 + w2 + b2
}

// split cuts the parameter vector, or its gradient, into its four tensors.
func (s *shape) split(theta []float32) (w1, b1, w2, b2 []float32) {
	n1, n2, n3, _ := s.sizes()
	return theta[:n1], theta[n1 : n1+n2], theta[n1+n2 : n1+n2+n3], theta[n1+n2+n3:]
}

// plane1 is the length of a conv1 plane: what conv1 writes and conv2 reads.
func (s *shape) plane1() int {
	return max(conv.RoundUp(s.Cols1, conv.Lanes), conv.Reach(s.Cols2, s.Kernel2[1])) + conv.Taps
}

// kernels are the parameters in the layout of the loops, and the values of the
// layers where all input is padding.
type kernels struct {
	w1             [][]float32   // [f1][taps]
	w2             [][][]float32 // [f2][kernel rows * f1][taps]
	b1, b2         []float32
	const1, const2 []float32
}

func (s *shape) kernels(theta []float32) *kernels {
	w1, b1, w2, b2 := s.split(theta)
	f1, f2 := s.Filters[0], s.Filters[1]
	k := &kernels{b1: b1, b2: b2}
	for f := range f1 {
		k.w1 = append(k.w1, conv.Gather(w1, s.Kernel1, f1, f))
		v := b1[f]
		for _, w := range k.w1[f] {
			v += w * model.Missing
		}
		k.const1 = append(k.const1, max(v, 0))
	}
	for f := range f2 {
		var kernel [][]float32
		v := b2[f]
		for r := range s.Kernel2[0] {
			for c := range f1 {
				taps := conv.Gather(w2[r*s.Kernel2[1]*f1*f2:], s.Kernel2[1], f1*f2, c*f2+f)
				kernel = append(kernel, taps)
				for _, w := range taps {
					v += w * k.const1[c]
				}
			}
		}
		k.w2 = append(k.w2, kernel)
		k.const2 = append(k.const2, max(v, 0))
	}
	return k
}

// instance is one window on its way through the trunk: its input, and what the
// backward pass needs of the forward one.
type instance struct {
	rows    [][]float32 // [K] scaled values, padding behind them
	lengths []int       // values of each row before its padding; 0: missing row
	conv1   [][]float32 // [K*f1][columns], after ReLU
	cols2   int         // conv2 columns of the head
	head    int         // pooled columns of the head
	source  []int32     // [flat]: conv2 place (row*Cols2 + column) of each maximum; noSource; head first
}

// noSource marks a pooled value that is 0: nothing positive was kept.
const noSource = -1

// scratch is what a worker needs beside the instance.
type scratch struct {
	scaler *model.Scaler
	conv2  [][][]float32 // [pool rows][f2][columns]
	delta1 [][]float32   // [K*f1][columns]: gradient at conv1's outputs
	gw1    [][]float32   // gradient of kernels.w1, with room for whole lanes
	gw2    [][][]float32 // gradient of kernels.w2
	rng    rand.PCG
}

func (s *shape) instance() *instance {
	return &instance{
		rows:    planes(s.K, conv.Reach(s.Cols1, s.Kernel1)+conv.Taps+conv.Lanes),
		lengths: make([]int, s.K),
		conv1:   planes(s.K*s.Filters[0], s.plane1()),
		source:  make([]int32, s.Flat),
	}
}

func (s *shape) scratch(spec model.RecordSpec, scaling model.Scaling) *scratch {
	c := &scratch{scaler: model.NewScaler(spec, scaling)}
	for range s.Pool[0] {
		c.conv2 = append(c.conv2, planes(s.Filters[1], conv.RoundUp(s.Cols2, conv.Lanes)+s.Pool[1]))
	}
	c.delta1 = planes(s.K*s.Filters[0], s.plane1())
	c.gw1 = planes(s.Filters[0], conv.RoundUp(s.Kernel1, conv.Lanes))
	for range s.Filters[1] {
		c.gw2 = append(c.gw2, planes(s.Kernel2[0]*s.Filters[0], conv.RoundUp(s.Kernel2[1], conv.Taps)))
	}
	return c
}

func planes(n, length int) [][]float32 {
	p := make([][]float32, n)
	for i := range p {
		p[i] = make([]float32, length)
	}
	return p
}

func fill(s []float32, v float32) {
	for i := range s {
		s[i] = v
	}
}

// load scales the window's rows.
func (in *instance) load(s *scratch, w flows.Window) error {
	first := len(in.rows) - len(w.Rows)
	for i, row := range in.rows {
		n := 0
		if i >= first {
			var err error
			if n, err = s.scaler.Row(row, w.Rows[i-first]); err != nil {
				return err
			}
		}
		in.lengths[i] = n
		fill(row[n:], model.Missing)
	}
	return nil
}

// coin draws dropout decisions.
type coin struct {
	rng  *rand.PCG
	drop uint64 // of 1<<32
	word uint64 // random bits not yet used
	left int    // how many
}

func newCoin(rng *rand.PCG, dropout float64) *coin {
	return &coin{rng: rng, drop: uint64(math.Round(dropout * (1 << 32)))}
}

// bits are the next n random bits, n dividing 64.
func (c *coin) bits(n int) uint64 {
	if c.left < n {
		c.word, c.left = c.rng.Uint64(), 64
	}
	v := c.word & (1<<n - 1)
	c.word >>= n
	c.left -= n
	return v
}

// keep is all ones when a value survives and 0 when it is dropped. It has no
// branch that depends on the outcome: half of them would be guessed wrong.
func (c *coin) keep() uint32 {
	switch c.drop {
	case 0:
		return math.MaxUint32
	case 1 << 31: // 0.5
		return -uint32(c.bits(1))
	}
	return uint32((c.drop - 1 - c.bits(32)) >> 32) // the difference is negative
}

// forward writes the flattened trunk output of the window to out. rng decides
// what dropout zeroes; the caller seeds it for this window and step.
func (s *shape) forward(in *instance, c *scratch, k *kernels, dropout float64, out []float32) {
	longest := 0
	for _, n := range in.lengths {
		longest = max(longest, n)
	}
	in.cols2 = min(longest, s.Cols2)
	in.head = min((in.cols2+s.Pool[1]-1)/s.Pool[1], s.PoolCols)
	reach := conv.Reach(in.cols2, s.Kernel2[1])
	for r, row := range in.rows {
		cols := min(in.lengths[r], s.Cols1)
		for f := range k.w1 {
			p := in.conv1[r*len(k.w1)+f]
			fill(p[:conv.RoundUp(cols, conv.Lanes)], k.b1[f])
			conv.Correlate(p, [][]float32{row}, k.w1[f:f+1], cols)
			conv.ReLU(p[:cols])
			fill(p[cols:max(cols, reach)], k.const1[f])
		}
	}
	toss := newCoin(&c.rng, dropout)
	for pr := range s.PoolRows {
		for q := range s.Pool[0] {
			s.conv2(in, c.conv2[q], k, pr*s.Pool[0]+q)
		}
		part := s.PoolCols * s.Filters[1]
		s.pool(in, c, k, toss, pr, out[pr*part:][:part], in.source[pr*part:][:part])
	}
}

// conv2 computes one row of conv2 over the head's columns.
func (s *shape) conv2(in *instance, dst [][]float32, k *kernels, row int) {
	longest := 0
	for _, n := range in.lengths[row : row+s.Kernel2[0]] {
		longest = max(longest, n)
	}
	cols := min(longest, s.Cols2)
	for f, kernel := range k.w2 {
		p := dst[f]
		fill(p[:conv.RoundUp(cols, conv.Lanes)], k.b2[f])
		conv.Correlate(p, in.conv1[row*s.Filters[0]:], kernel, cols)
		conv.ReLU(p[:cols])
		fill(p[cols:max(cols, in.head*s.Pool[1])], k.const2[f])
	}
}

// pool writes one pooled row and where its maxima came from.
func (s *shape) pool(in *instance, c *scratch, k *kernels, toss *coin, pr int, out []float32, source []int32) {
	width, channels := s.Pool[1], s.Filters[1]
	scale := float32(1 / (1 - float64(toss.drop)/(1<<32)))
	for f := range channels {
		for col := range in.head {
			var best uint32 // as bits: what ReLU leaves is ordered like them
			from := int32(noSource)
			for q, rows := range c.conv2 {
				place := int32((pr*s.Pool[0]+q)*s.Cols2 + col*width)
				for x, v := range rows[f][col*width : (col+1)*width] {
					if b := math.Float32bits(v) & toss.keep(); b > best {
						best, from = b, place+int32(x)
					}
				}
			}
			out[col*channels+f] = math.Float32frombits(best) * scale
			source[col*channels+f] = from
		}
		// Behind the head all values of a pool are the same: it is 0 only when
		// every one of them is dropped.
		none := uint64(0)
		if toss.drop > 0 {
			none = uint64(math.Round(math.Pow(float64(toss.drop)/(1<<32), float64(s.Pool[0]*width)) * (1 << 32)))
		}
		for col := in.head; col < s.PoolCols; col++ {
			v, from := k.const2[f]*scale, int32(0)
			if v == 0 || none > 0 && toss.bits(32) < none {
				v, from = 0, noSource
			}
			out[col*channels+f] = v
			source[col*channels+f] = from
		}
	}
}

// backward writes the gradient of the parameters to grad, given the gradient at
// the trunk's output and what forward left in the instance.
func (s *shape) backward(in *instance, c *scratch, k *kernels, dropout float64, out, grad []float32) {
	clear(grad)
	w1, b1, w2, b2 := s.split(grad)
	for _, p := range c.gw1 {
		clear(p)
	}
	for _, kernel := range c.gw2 {
		for _, taps := range kernel {
			clear(taps)
		}
	}
	cols := min(in.cols2+s.Kernel2[1]-1, s.Cols1) // conv1 columns that the head's conv2 reads
	for _, d := range c.delta1 {
		clear(d[:cols+conv.Taps])
	}

	tail := s.backwardPool(in, c, k, float32(1/(1-dropout)), out, b2)
	s.backwardConv1(in, c, k, cols, tail, b1)

	f1, f2 := s.Filters[0], s.Filters[1]
	for f, g := range c.gw1 {
		for t := range s.Kernel1 {
			w1[t*f1+f] = g[t]
		}
	}
	for f, kernel := range c.gw2 {
		for p, g := range kernel {
			y, ch := p/f1, p%f1
			for x := range s.Kernel2[1] {
				w2[((y*s.Kernel2[1]+x)*f1+ch)*f2+f] = g[x]
			}
		}
	}
}

// backwardPool sends the output's gradient through pool, dropout and conv2: into
// c.gw2, c.delta1 and conv2's bias. It returns the gradient at conv1's constant
// columns that only the tail reads, summed, for each of its filters.
func (s *shape) backwardPool(in *instance, c *scratch, k *kernels, scale float32, out, b2 []float32) []float64 {
	channels, part := s.Filters[1], s.PoolCols*s.Filters[1]
	sums := make([]float64, channels) // thousands of terms: float32 would lose them
	for pr := range s.PoolRows {
		g, source := out[pr*part:][:part], in.source[pr*part:][:part]
		for i, from := range source[:in.head*channels] {
			if from == noSource || g[i] == 0 {
				continue
			}
			f, v := i%channels, g[i]*scale
			b2[f] += v
			row, col := int(from)/s.Cols2, int(from)%s.Cols2
			planes := row * s.Filters[0]
			for p, w := range k.w2[f] {
				a, d, gw := in.conv1[planes+p][col:], c.delta1[planes+p][col:], c.gw2[f][p]
				for t := 0; t < len(w); t += conv.Taps {
					conv.Spread((*[conv.Taps]float32)(gw[t:]), (*[conv.Taps]float32)(a[t:]), v)
					conv.Spread((*[conv.Taps]float32)(d[t:]), (*[conv.Taps]float32)(w[t:]), v)
				}
			}
		}
		for i := in.head * channels; i < part; i++ {
			if source[i] != noSource {
				sums[i%channels] += float64(g[i] * scale)
			}
		}
	}
	tail := make([]float64, s.Filters[0])
	for f, sum := range sums {
		v := float32(sum)
		b2[f] += v
		for p, w := range k.w2[f] {
			ch := p % len(tail)
			for t, u := range w {
				c.gw2[f][p][t] += v * k.const1[ch]
				tail[ch] += sum * float64(u)
			}
		}
	}
	return tail
}

// backwardConv1 sends c.delta1 through conv1's ReLU into c.gw1 and its bias.
func (s *shape) backwardConv1(in *instance, c *scratch, k *kernels, cols int, tail []float64, b1 []float32) {
	for ch := range tail {
		constant := tail[ch]
		for r, row := range in.rows {
			n := min(in.lengths[r], cols)
			d, a := c.delta1[r*len(tail)+ch], in.conv1[r*len(tail)+ch]
			for _, v := range d[n:cols] {
				constant += float64(v)
			}
			clear(d[n:conv.RoundUp(n, conv.Taps)])
			var sum float32
			for j, v := range a[:n] {
				if v == 0 {
					d[j] = 0
				}
				sum += d[j]
			}
			b1[ch] += sum
			conv.Correlate(c.gw1[ch], [][]float32{row}, [][]float32{d[:conv.RoundUp(n, conv.Taps)]}, s.Kernel1)
		}
		if k.const1[ch] > 0 {
			b1[ch] += float32(constant)
			for t := range c.gw1[ch] {
				c.gw1[ch][t] += float32(constant) * model.Missing
			}
		}
	}
}
