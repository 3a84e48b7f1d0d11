package learn

// This file computes the trunk - conv1, ReLU, conv2, ReLU, dropout, max pool -
// and its gradient for one window, without gorgonia.
//
// A row ends in a run of one constant. From where the longest row of a window
// ends (its head ends there), every value of the trunk is known once for all
// windows, and so is its gradient but for a sum; only the head is computed.

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/loops"
)

// shape is the trunk's sizes and where its parameters stand in one vector: conv1
// weight and bias, conv2 weight and bias, each as in the model file.
type shape struct {
	cnn.Architecture
	cnn.Dims
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

// taps2 is the length of a conv2 kernel row in the backward pass, zeros behind
// the kernel's own values.
func (s *shape) taps2() int { return conv.RoundUp(s.Kernel2[1], loops.Lanes) }

// plane1 is the length of a conv1 plane: what conv1 writes and conv2 reads, back
// and forth.
func (s *shape) plane1() int {
	return max(conv.RoundUp(s.Cols1, conv.Lanes), conv.Reach(s.Cols2, s.Kernel2[1]), s.Cols2+s.taps2())
}

// kernels are the parameters in the layout of the loops, and the values of the
// layers where all input is padding.
type kernels struct {
	w1             [][]float32   // [f1][taps]
	w2             [][][]float32 // [f2][kernel rows * f1][taps]
	back2          [][]float32   // [f2][kernel rows * f1 * taps2]: w2 for the way back
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
			v += w * cnn.Missing
		}
		k.const1 = append(k.const1, max(v, 0))
	}
	for f := range f2 {
		var kernel [][]float32
		var back []float32
		v := b2[f]
		for r := range s.Kernel2[0] {
			for c := range f1 {
				taps := conv.Gather(w2[r*s.Kernel2[1]*f1*f2:], s.Kernel2[1], f1*f2, c*f2+f)
				kernel = append(kernel, taps)
				back = append(back, make([]float32, s.taps2())...)
				copy(back[len(back)-s.taps2():], taps[:s.Kernel2[1]])
				for _, w := range taps {
					v += w * k.const1[c]
				}
			}
		}
		k.w2, k.back2 = append(k.w2, kernel), append(k.back2, back)
		k.const2 = append(k.const2, max(v, 0))
	}
	return k
}

// instance is one window on its way through the trunk: its input, and what the
// backward pass needs of the forward one.
type instance struct {
	rows    [][]float32 // [K] scaled values, padding behind them
	lengths []int       // values of each row before its padding; 0: missing row
	conv1   stack       // [K*f1][columns], after ReLU
	cols2   int         // conv2 columns of the head
	head    int         // pooled columns of the head
	source  []int32     // [flat]: conv2 place (row*Cols2 + column) of each maximum; noSource; head first
}

// noSource marks a pooled value that is 0: nothing positive was kept.
const noSource = -1

// scratch is what a worker needs beside the instance.
type scratch struct {
	scaler *cnn.Scaler
	conv2  [][][]float32 // [pool rows][f2][columns], before ReLU: the pool begins at 0
	best   []float32     // [columns]: largest kept value of the pool's rows
	from   []int32       // [columns]: where it came from
	keep   []byte        // [columns/8]: dropout's decisions, a bit a value
	delta1 stack         // [K*f1][columns]: gradient at conv1's outputs
	gw1    [][]float32   // gradient of kernels.w1, with room for whole lanes
	gw2    [][]float32   // gradient of kernels.back2
	rng    rand.PCG
}

// stack is planes of one length, one behind the other.
type stack struct {
	data   []float32
	stride int
}

func newStack(n, stride int) stack { return stack{make([]float32, n*stride), stride} }

// plane is the i-th plane.
func (s stack) plane(i int) []float32 { return s.data[i*s.stride:][:s.stride] }

// planes are all of them.
func (s stack) planes() [][]float32 {
	p := make([][]float32, len(s.data)/s.stride)
	for i := range p {
		p[i] = s.plane(i)
	}
	return p
}

func (s *shape) instance() *instance {
	in := &instance{
		rows:    planes(s.K, conv.Reach(s.Cols1, s.Kernel1)+conv.Taps+conv.Lanes),
		lengths: make([]int, s.K),
		conv1:   newStack(s.K*s.Filters[0], s.plane1()),
		source:  make([]int32, s.Flat),
	}
	for _, row := range in.rows {
		conv.Fill(row, cnn.Missing)
	}
	return in
}

func (s *shape) scratch(spec model.RecordSpec, scaling model.Scaling) *scratch {
	c := &scratch{scaler: cnn.NewScaler(spec, scaling)}
	for range s.Pool[0] {
		c.conv2 = append(c.conv2, planes(s.Filters[1], conv.RoundUp(s.Cols2, conv.Lanes)+s.Pool[1]))
	}
	columns := conv.RoundUp(s.Cols2, 64) // whole words of dropout
	c.best, c.from, c.keep = make([]float32, columns), make([]int32, columns), make([]byte, columns/8)
	c.delta1 = newStack(s.K*s.Filters[0], s.plane1())
	c.gw1 = planes(s.Filters[0], conv.RoundUp(s.Kernel1, loops.Lanes))
	c.gw2 = planes(s.Filters[1], s.Kernel2[0]*s.Filters[0]*s.taps2())
	return c
}

func planes(n, length int) [][]float32 { return newStack(n, length).planes() }

// load scales the window's rows.
func (in *instance) load(s *scratch, rows []flows.Row) error {
	first := len(in.rows) - len(rows)
	for i, row := range in.rows {
		n := 0
		if i >= first {
			var err error
			if n, err = s.scaler.Row(row, rows[i-first]); err != nil {
				return err
			}
		}
		if n < in.lengths[i] { // behind the row's last values is padding already
			conv.Fill(row[n:in.lengths[i]], cnn.Missing)
		}
		in.lengths[i] = n
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

// toss decides on 8*len(keep) values: a bit is set when its value survives.
// cap(keep) is a multiple of 8.
func (c *coin) toss(keep []byte) {
	switch c.drop {
	case 0:
		for i := range keep {
			keep[i] = math.MaxUint8
		}
	case 1 << 31: // 0.5
		for i := 0; i < len(keep); i += 8 {
			binary.LittleEndian.PutUint64(keep[i:i+8:cap(keep)], c.rng.Uint64())
		}
	default:
		for i := range keep {
			var b byte
			for bit := range 8 {
				b |= byte((c.drop-1-c.bits(32))>>63) << bit // the difference is negative
			}
			keep[i] = b
		}
	}
}

// forward writes the flattened trunk output of the window to out. rng decides
// what dropout zeroes; the caller seeds it for this window and step.
func (s *shape) forward(in *instance, c *scratch, k *kernels, dropout float64, out []float32) {
	in.cols2 = min(slices.Max(in.lengths), s.Cols2)
	in.head = min((in.cols2+s.Pool[1]-1)/s.Pool[1], s.PoolCols)
	in.cols2 = max(in.cols2, in.head*s.Pool[1]) // the head's last pool reaches past the rows
	reach := conv.Reach(in.cols2, s.Kernel2[1])
	for r, row := range in.rows {
		cols := min(in.lengths[r], s.Cols1)
		for f := range k.w1 {
			p := in.conv1.plane(r*len(k.w1) + f)
			conv.Fill(p[:conv.RoundUp(cols, conv.Lanes)], k.b1[f])
			conv.Correlate(p, [][]float32{row}, k.w1[f:f+1], cols)
			conv.ReLU(p[:cols])
			conv.Fill(p[cols:max(cols, reach)], k.const1[f])
		}
	}
	dropper := newCoin(&c.rng, dropout)
	for pr := range s.PoolRows {
		for q := range s.Pool[0] {
			s.conv2(in, c.conv2[q], k, pr*s.Pool[0]+q)
		}
		part := s.PoolCols * s.Filters[1]
		s.pool(in, c, k, dropper, pr, out[pr*part:][:part], in.source[pr*part:][:part])
	}
}

// conv2 computes one row of conv2, before its ReLU, over the head's columns.
func (s *shape) conv2(in *instance, dst [][]float32, k *kernels, row int) {
	cols := min(slices.Max(in.lengths[row:row+s.Kernel2[0]]), s.Cols2)
	planes := in.conv1.planes()[row*s.Filters[0]:]
	for f, kernel := range k.w2 {
		p := dst[f]
		conv.Fill(p[:conv.RoundUp(cols, conv.Lanes)], k.b2[f])
		conv.Correlate(p, planes, kernel, cols)
		conv.Fill(p[cols:max(cols, in.head*s.Pool[1])], k.const2[f])
	}
}

// pool writes one pooled row and where its maxima came from.
func (s *shape) pool(in *instance, c *scratch, k *kernels, dropper *coin, pr int, out []float32, source []int32) {
	width, channels := s.Pool[1], s.Filters[1]
	scale := float32(1 / (1 - float64(dropper.drop)/(1<<32)))
	cols := conv.RoundUp(in.head*width, loops.Lanes)
	for f := range channels {
		clear(c.best[:cols])
		for q, rows := range c.conv2 {
			dropper.toss(c.keep[:cols/8])
			loops.KeepMax(c.best, c.from, rows[f][:cols], c.keep, int32((pr*s.Pool[0]+q)*s.Cols2))
		}
		for col := range in.head {
			var top uint64 // value, then place: the first place of equal values wins
			for x := col * width; x < (col+1)*width; x++ {
				top = max(top, uint64(math.Float32bits(c.best[x]))<<32|uint64(^uint32(c.from[x])))
			}
			best, from := math.Float32frombits(uint32(top>>32)), int32(^uint32(top))
			if best == 0 {
				from = noSource
			}
			out[col*channels+f] = best * scale
			source[col*channels+f] = from
		}
		s.poolTail(in, k.const2[f]*scale, f, dropper, out, source)
	}
}

// poolTail writes a filter's pooled columns behind the head, where all values of
// a pool are the same: it is 0 only when every one of them is dropped.
func (s *shape) poolTail(in *instance, v float32, f int, dropper *coin, out []float32, source []int32) {
	none, channels := uint64(0), s.Filters[1]
	if dropper.drop > 0 {
		none = uint64(math.Round(math.Pow(float64(dropper.drop)/(1<<32), float64(s.Pool[0]*s.Pool[1])) * (1 << 32)))
	}
	for at := in.head*channels + f; at < len(out); at += channels {
		out[at], source[at] = v, 0
		if v == 0 || none > 0 && dropper.bits(32) < none {
			out[at], source[at] = 0, noSource
		}
	}
}

// backward writes the gradient of the parameters to grad, given the gradient at
// the trunk's output and what forward left in the instance.
func (s *shape) backward(in *instance, c *scratch, k *kernels, dropout float64, out, grad []float32) {
	clear(grad)
	w1, b1, w2, b2 := s.split(grad)
	for _, g := range slices.Concat(c.gw1, c.gw2) {
		clear(g)
	}
	cols := min(in.cols2+s.Kernel2[1]-1, s.Cols1) // conv1 columns that the head's conv2 reads
	for p := range s.K * s.Filters[0] {
		d := c.delta1.plane(p)
		clear(d[:min(cols+loops.Lanes, len(d))])
	}

	tail := s.backwardPool(in, c, k, float32(1/(1-dropout)), out, b2)
	s.backwardConv1(in, c, k, cols, tail, b1)

	f1, f2 := s.Filters[0], s.Filters[1]
	for f, g := range c.gw1 {
		for t := range s.Kernel1 {
			w1[t*f1+f] = g[t]
		}
	}
	taps := s.taps2()
	for f, kernel := range c.gw2 {
		for p := range s.Kernel2[0] * f1 {
			y, ch := p/f1, p%f1
			for x := range s.Kernel2[1] {
				w2[((y*s.Kernel2[1]+x)*f1+ch)*f2+f] = kernel[p*taps+x]
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
	stride, taps := in.conv1.stride, s.taps2()
	for pr := range s.PoolRows {
		g, source := out[pr*part:][:part], in.source[pr*part:][:part]
		for i, from := range source[:in.head*channels] {
			if from == noSource || g[i] == 0 {
				continue
			}
			f, v := i%channels, g[i]*scale
			b2[f] += v
			row, col := int(from)/s.Cols2, int(from)%s.Cols2
			at := row*s.Filters[0]*stride + col
			loops.Scatter(c.gw2[f], c.delta1.data[at:], in.conv1.data[at:], k.back2[f], stride, taps, v)
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
		for i, w := range k.back2[f] {
			ch := i / taps % len(tail)
			c.gw2[f][i] += v * k.const1[ch]
			tail[ch] += sum * float64(w)
		}
	}
	return tail
}

// backwardConv1 sends c.delta1 through conv1's ReLU into c.gw1 and its bias.
func (s *shape) backwardConv1(in *instance, c *scratch, k *kernels, cols int, tail []float64, b1 []float32) {
	for ch, constant := range tail {
		for r, row := range in.rows {
			n := min(in.lengths[r], cols)
			d, a := c.delta1.plane(r*len(tail)+ch), in.conv1.plane(r*len(tail)+ch)
			for _, v := range d[n:cols] {
				constant += float64(v)
			}
			whole := conv.RoundUp(n, loops.Lanes)
			clear(d[n:whole])
			b1[ch] += loops.MaskSum(d[:whole], a[:whole])
			loops.KernelGradient(c.gw1[ch], d[:whole], row)
		}
		if k.const1[ch] > 0 {
			b1[ch] += float32(constant)
			for t := range c.gw1[ch] {
				c.gw1[ch][t] += float32(constant) * cnn.Missing
			}
		}
	}
}
