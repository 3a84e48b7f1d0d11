package cnn

// This file shares outputs out among the values of a window: DeepSHAP, in float64.

import (
	"errors"
	"fmt"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/deeplift"
)

// Reference implements model.Explainable: an input of the network, scaled.
func (n *Net) Reference(record model.RecordSpec) model.Tensor {
	return model.Tensor{Name: "background", Shape: n.Input(record)}
}

// Refer implements model.Explainable.
func (n *Net) Refer(record model.RecordSpec, scaling model.Scaling, rows []flows.Row, number int) ([]float32, error) {
	rows = model.StandIns(rows[max(0, len(rows)-n.Arch.K):], number)
	input := make([]float32, n.Arch.K*record.Width())
	if err := NewScaler(record, scaling).Window(input, n.Arch.K, rows); err != nil {
		return nil, fmt.Errorf("make a reference: %w", err)
	}
	return input, nil
}

// attributor is a [model.Attributor]. Planes are [filter][row][column].
type attributor struct {
	arch Architecture
	Dims
	scaler     *Scaler
	conv1      [][]float64   // [f1][taps]
	conv2      [][][]float64 // [f2][kernel rows * f1][taps]
	bias1      []float64
	bias2      []float64
	dense1     deeplift.Dense // no units: there is none
	dense2     deeplift.Dense
	references []*pass

	input   []float32
	units   []float64 // factors of the hidden units
	planes  []float64 // of what the first convolution computes
	values  []float64 // of a row's values
	factors []float64 // of the logits
}

// Attributor implements model.Explainable.
func (n *Net) Attributor(record model.RecordSpec, scaling model.Scaling, references []float32) (model.Attributor, error) {
	d, err := n.Dims(record)
	if err != nil {
		return nil, err
	}
	w := &n.Weights
	a := &attributor{
		arch: n.Arch, Dims: d, scaler: NewScaler(record, scaling),
		bias1: deeplift.Wide(w.Conv1Bias), bias2: deeplift.Wide(w.Conv2Bias),
		dense1: deeplift.NewDense(w.Dense1, w.Dense1Bias), dense2: deeplift.NewDense(w.Dense2, w.Dense2Bias),
		input: make([]float32, n.Arch.K*d.Width), units: make([]float64, n.Arch.Hidden), values: make([]float64, d.Width),
		planes: make([]float64, n.Arch.Filters[0]*n.Arch.K*d.Cols1), factors: make([]float64, d.Classes),
	}
	f1 := n.Arch.Filters[0]
	for f := range f1 {
		taps := make([]float64, n.Arch.Kernel1)
		for t := range taps {
			taps[t] = float64(w.Conv1[t*f1+f])
		}
		a.conv1 = append(a.conv1, taps)
	}
	for _, filter := range kernel2(n) {
		var rows [][]float64
		for _, taps := range filter {
			rows = append(rows, deeplift.Wide(taps))
		}
		a.conv2 = append(a.conv2, rows)
	}
	for size := len(a.input); len(references) >= size; references = references[size:] {
		a.references = append(a.references, a.forward(references[:size]))
	}
	if len(a.references) == 0 {
		return nil, errors.New("the background is empty")
	}
	return a, nil
}

// pass is what the network computes for one input. From column end on every value of
// the input is Missing.
type pass struct {
	end    int
	input  []float64 // [K][width]
	conv1  []float64 // before ReLU
	conv2  []float64 // before ReLU
	pooled []float64 // after it, in the order of the dense layer's inputs
	from   []int     // where in conv2 each of these is from
	hidden []float64 // before ReLU
	logits []float64
}

func (a *attributor) forward(input []float32) *pass {
	p := &pass{input: deeplift.Wide(input)}
	for i, v := range input {
		if v != Missing {
			p.end = max(p.end, i%a.Width+1)
		}
	}
	k, f1 := a.arch.K, a.arch.Filters[0]
	p.conv1 = make([]float64, f1*k*a.Cols1)
	for f, taps := range a.conv1 {
		for r := range k {
			row := p.input[r*a.Width:][:a.Width]
			plane(p.conv1[(f*k+r)*a.Cols1:][:a.Cols1], p.end, func(c int) float64 {
				return a.bias1[f] + deeplift.Dot(taps, row[c:])
			})
		}
	}
	after := deeplift.ReLU(p.conv1)
	p.conv2 = make([]float64, len(a.conv2)*a.Rows2*a.Cols2)
	for f, filter := range a.conv2 {
		for r := range a.Rows2 {
			plane(p.conv2[(f*a.Rows2+r)*a.Cols2:][:a.Cols2], p.end, func(c int) float64 {
				v := a.bias2[f]
				for i, taps := range filter {
					v += deeplift.Dot(taps, after[((i%f1)*k+r+i/f1)*a.Cols1+c:])
				}
				return v
			})
		}
	}
	a.pool(p)
	last := p.pooled
	if a.arch.Hidden > 0 {
		p.hidden = a.dense1.Apply(last)
		last = deeplift.ReLU(p.hidden)
	}
	p.logits = a.dense2.Apply(last)
	return p
}

// plane fills a row of a plane whose columns are the same from end on.
func plane(dst []float64, end int, value func(column int) float64) {
	for c := range dst {
		if c > end {
			dst[c] = dst[end]
			continue
		}
		dst[c] = value(c)
	}
}

// pool takes the maxima, each from the first place that has it.
func (a *attributor) pool(p *pass) {
	p.pooled, p.from = make([]float64, a.Flat), make([]int, a.Flat)
	f2 := a.arch.Filters[1]
	for i := range p.pooled {
		f, place := i%f2, i/f2
		row, col := place/a.PoolCols*a.arch.Pool[0], place%a.PoolCols*a.arch.Pool[1]
		p.from[i] = (f*a.Rows2+row)*a.Cols2 + col
		for y := range a.arch.Pool[0] {
			for x := range a.arch.Pool[1] {
				at := (f*a.Rows2+row+y)*a.Cols2 + col + x
				if max(p.conv2[at], 0) > max(p.conv2[p.from[i]], 0) {
					p.from[i] = at
				}
			}
		}
		p.pooled[i] = max(p.conv2[p.from[i]], 0)
	}
}

// Attribute implements model.Attributor.
func (a *attributor) Attribute(rows []flows.Row, head model.Head) (*model.Attribution, error) {
	rows = rows[max(0, len(rows)-a.arch.K):]
	if err := a.scaler.Window(a.input, a.arch.K, rows); err != nil {
		return nil, err
	}
	x := a.forward(a.input)
	if err := deeplift.Finite(x.logits); err != nil {
		return nil, err
	}
	out := &model.Attribution{Phi: make([]float64, len(a.input)), Rows: a.arch.K, Logits: x.logits}
	for _, r := range a.references {
		head(x.logits, r.logits, a.factors)
		a.share(out.Phi, x, r)
		out.References = append(out.References, r.logits)
	}
	for i := range out.Phi {
		out.Phi[i] /= float64(len(a.references))
	}
	return out, nil
}

// share adds each value's part of the difference from one reference.
func (a *attributor) share(phi []float64, x, r *pass) {
	end := min(max(x.end, r.end), a.Cols1)
	clear(a.planes)
	for h := range a.units {
		a.units[h] = deeplift.Slope(x.hidden[h], r.hidden[h]) * a.dense2.Back(h, a.factors)
	}
	for i, y := range x.pooled {
		d := y - r.pooled[i]
		if d == 0 {
			continue
		}
		at := x.from[i]
		if d < 0 {
			at = r.from[i]
		}
		var factor float64
		if a.arch.Hidden > 0 {
			factor = a.dense1.Back(i, a.units)
		} else {
			factor = a.dense2.Back(i, a.factors)
		}
		a.spread(at, factor*d/(x.conv2[at]-r.conv2[at]))
	}
	k := a.arch.K
	for row := range k {
		clear(a.values)
		for f, taps := range a.conv1 {
			first := (f*k + row) * a.Cols1
			for c, factor := range a.planes[first:][:end] {
				if factor == 0 {
					continue
				}
				factor *= deeplift.Slope(x.conv1[first+c], r.conv1[first+c])
				for t, w := range taps {
					a.values[c+t] += factor * w
				}
			}
		}
		first := row * a.Width
		for c := range max(x.end, r.end) {
			phi[first+c] += a.values[c] * (x.input[first+c] - r.input[first+c])
		}
	}
}

// spread gives the factor of a value of conv2 on to what it is computed of.
func (a *attributor) spread(at int, factor float64) {
	c, r, f := at%a.Cols2, at/a.Cols2%a.Rows2, at/a.Cols2/a.Rows2
	f1 := a.arch.Filters[0]
	for i, taps := range a.conv2[f] {
		of := a.planes[((i%f1)*a.arch.K+r+i/f1)*a.Cols1+c:][:len(taps)]
		for t, w := range taps {
			of[t] += factor * w
		}
	}
}
