package stream

// This file shares outputs out among the values of a device's last rows: DeepSHAP, in
// float64. A byte counts by what it adds to the convolution where that is strongest.

import (
	"errors"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/deeplift"
)

// attributor is a [model.Attributor].
type attributor struct {
	arch       Architecture
	spec       model.RecordSpec
	reader     *Reader
	table      []float64 // [tap][symbol][filter], as conv.ByteTable
	bias       []float64 // of the filters
	numbers    deeplift.Dense
	tokens     deeplift.Dense // its units' sums begin with the bias
	dense1     deeplift.Dense
	dense2     deeplift.Dense
	references [][]*flow       // of each the rows' flows, oldest first
	passes     map[int][]*pass // the references cut to as many rows

	factors []float64   // of the logits
	units   []float64   // of the hidden units
	vectors [][]float64 // of each row's vector
}

// flow is what the network computes of one row.
type flow struct {
	row    flows.Row
	meta   [flows.MetaValues]float64
	Flow                    // as the network sees it; symbols are offsets in a tap's part of the table
	slots  [maxTokens]int32 // buckets of the packets, then of the ports; -1: none
	best   [Filters]float64 // of each filter, 0 or more
	at     [Filters]int     // the first position that has it; -1: none, it is 0
	before []float64        // the vector before ReLU
	vector []float64
}

// pass is what it computes of a device.
type pass struct {
	flows  []*flow // oldest first
	joined []float64
	most   []int // whose each of the maxima is, the first that has it
	hidden []float64
	logits []float64
}

// Attributor implements model.Explainable.
func (n *Net) Attributor(record model.RecordSpec, scaling model.Scaling, references []float32) (model.Attributor, error) {
	w := &n.Weights
	a := &attributor{
		arch: n.Arch, spec: record, reader: NewReader(n.Arch, record, scaling),
		table: tabulateWide(w), bias: deeplift.Wide(w.KernelBias),
		numbers: deeplift.NewDense(w.Numbers, w.NumbersBias), tokens: deeplift.NewDense(w.Tokens, w.TokensBias),
		dense1: deeplift.NewDense(w.Dense1, w.Dense1Bias), dense2: deeplift.NewDense(w.Dense2, w.Dense2Bias),
		passes:  map[int][]*pass{},
		factors: make([]float64, len(w.Dense2Bias)), units: make([]float64, n.Arch.Hidden),
	}
	for range n.Arch.Flows {
		a.vectors = append(a.vectors, make([]float64, n.Arch.Flow()))
	}
	size := n.Reference(record).Size()
	for number := 0; len(references) >= size; number++ {
		rows, err := n.refered(record, references[:size], number)
		if err != nil {
			return nil, err
		}
		of, err := a.flows(rows)
		if err != nil {
			return nil, err
		}
		a.references, references = append(a.references, of), references[size:]
	}
	if len(a.references) == 0 {
		return nil, errors.New("there are no references")
	}
	return a, nil
}

// tabulateWide is [Tabulate] in float64.
func tabulateWide(w *Weights) []float64 {
	table := make([]float64, Taps*conv.Symbols*Filters)
	for tap := range Taps {
		for symbol := range Symbols {
			row := table[(tap*conv.Symbols+symbol)*Filters:][:Filters]
			for e, v := range w.Embedding[symbol*Embedding:][:Embedding] {
				for f, k := range w.Kernel[(tap*Embedding+e)*Filters:][:Filters] {
					row[f] += float64(v) * float64(k)
				}
			}
		}
	}
	return table
}

// flows are what the network computes of rows.
func (a *attributor) flows(rows []flows.Row) ([]*flow, error) {
	all := make([]*flow, len(rows))
	for i, row := range rows {
		f := &flow{row: row, before: make([]float64, a.arch.Flow())}
		if err := a.reader.Read(&f.Flow, row); err != nil {
			return nil, err
		}
		f.meta = row.Meta()
		a.place(f)
		a.strongest(f)
		for i, v := range f.best {
			f.before[i] = v + a.bias[i]
		}
		numbers := f.before[Filters:][:a.arch.Units]
		copy(numbers, a.numbers.Apply(deeplift.Wide(f.Numbers[:])))
		tokens := f.before[Filters+a.arch.Units:]
		copy(tokens, a.tokens.Bias)
		for _, t := range f.Tokens {
			for i, v := range a.token(t) {
				tokens[i] += v
			}
		}
		f.vector = deeplift.ReLU(f.before)
		all[i] = f
	}
	return all, nil
}

// token is the row of a token.
func (a *attributor) token(bucket int32) []float64 {
	return a.tokens.Weights[int(bucket)*a.arch.Width:][:a.arch.Width]
}

// place says which packet or port each token is of.
func (a *attributor) place(f *flow) {
	for i := range f.slots {
		f.slots[i] = -1
	}
	left := f.Tokens
	for i := range min(len(f.row.Packets), a.spec.Packets) {
		f.slots[i], left = left[0], left[1:]
	}
	if len(left) > 0 && f.row.DevPort >= 0 && f.row.DevPort < OwnPortLimit {
		f.slots[flows.RowPackets], left = left[0], left[1:]
	}
	if len(left) > 0 {
		f.slots[flows.RowPackets+1] = left[0]
	}
}

// strongest computes where each filter is strongest.
func (a *attributor) strongest(f *flow) {
	for i := range f.at {
		f.at[i] = -1
	}
	var sums [Filters]float64
	for p := range f.Positions {
		clear(sums[:])
		for tap, symbol := range f.Symbols[p*Stride:][:Taps] {
			for i, v := range a.taps(tap, symbol) {
				sums[i] += v
			}
		}
		for i, v := range sums {
			if v > f.best[i] {
				f.best[i], f.at[i] = v, p
			}
		}
	}
}

// taps is what a symbol adds to each filter at a tap.
func (a *attributor) taps(tap int, symbol uint32) *[Filters]float64 {
	return (*[Filters]float64)(a.table[tap*conv.Symbols*Filters+int(symbol):])
}

// symbol is the one at a place of a flow, or what stands behind its end.
func (f *flow) symbol(at int) uint32 {
	if at < len(f.Symbols) {
		return f.Symbols[at]
	}
	return conv.Row(Symbols)
}

// pass computes the outputs for flows.
func (a *attributor) pass(of []*flow) *pass {
	p := &pass{flows: of, most: make([]int, a.arch.Flow())}
	last := of[len(of)-1].vector
	mean, most := make([]float64, len(last)), make([]float64, len(last))
	for i, f := range of {
		for j, v := range f.vector {
			mean[j] += v / float64(len(of))
			if v > most[j] {
				most[j], p.most[j] = v, i
			}
		}
	}
	p.joined = slices.Concat(last, mean, most)
	p.hidden = a.dense1.Apply(p.joined)
	p.logits = a.dense2.Apply(deeplift.ReLU(p.hidden))
	return p
}

// against are the references for a device of so many rows: their last, again from the
// last on where they have fewer.
func (a *attributor) against(rows int) []*pass {
	if known, ok := a.passes[rows]; ok {
		return known
	}
	for _, r := range a.references {
		of := make([]*flow, rows)
		for i := range of {
			back := (rows - 1 - i) % len(r)
			of[i] = r[len(r)-1-back]
		}
		a.passes[rows] = append(a.passes[rows], a.pass(of))
	}
	return a.passes[rows]
}

// Attribute implements model.Attributor.
func (a *attributor) Attribute(rows []flows.Row, head model.Head) (*model.Attribution, error) {
	of, err := a.flows(rows[max(0, len(rows)-a.arch.Flows):])
	if err != nil {
		return nil, err
	}
	x := a.pass(of)
	if err := deeplift.Finite(x.logits); err != nil {
		return nil, err
	}
	width := a.spec.Width()
	out := &model.Attribution{Phi: make([]float64, len(of)*width), Rows: len(of), Logits: x.logits}
	for _, r := range a.against(len(of)) {
		head(x.logits, r.logits, a.factors)
		a.back(x, r)
		for i := range of {
			a.share(out.Phi[i*width:][:width], a.vectors[i], x.flows[i], r.flows[i])
		}
		out.References = append(out.References, r.logits)
	}
	for i := range out.Phi {
		out.Phi[i] /= float64(len(out.References))
	}
	return out, nil
}

// back computes the factors of the values of each row's vector before ReLU.
func (a *attributor) back(x, r *pass) {
	for h := range a.units {
		a.units[h] = deeplift.Slope(x.hidden[h], r.hidden[h]) * a.dense2.Back(h, a.factors)
	}
	size, rows := a.arch.Flow(), len(x.flows)
	for i := range size {
		mean := a.dense1.Back(size+i, a.units) / float64(rows)
		for row := range rows {
			a.vectors[row][i] = mean
		}
		a.vectors[rows-1][i] += a.dense1.Back(i, a.units)
		if d := x.joined[2*size+i] - r.joined[2*size+i]; d != 0 {
			row := x.most[i]
			if d < 0 {
				row = r.most[i]
			}
			a.vectors[row][i] += a.dense1.Back(2*size+i, a.units) * d / (x.flows[row].vector[i] - r.flows[row].vector[i])
		}
		for row := range rows {
			a.vectors[row][i] *= deeplift.Slope(x.flows[row].before[i], r.flows[row].before[i])
		}
	}
}
