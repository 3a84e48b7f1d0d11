package interchange

// This file writes the stream network as an ONNX graph of one step: a raw row and a
// device's memory in, probabilities and the new memory out. The graph does what
// [stream.Reader] does too: whoever has records needs nothing of this project.

import (
	"fmt"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/stream"
)

// Inputs and outputs of a step beside [outputName].
const (
	rowsName   = "rows"        // [N, width], raw
	ipv6Name   = "ipv6"        // [N, 1], 1 where the remote address is IPv6; of models with such rows only
	memoryName = "memory"      // [N, flows, vector and 1], zeros before a device's first row
	nextName   = "next_memory" // the same after the row
)

// step is the graph of a step under construction.
type step struct {
	graph
	model  *model.Model
	net    *stream.Net
	known  map[string]bool // constants by name
	nodes  int
	values string // the row's metadata, float64
	whole  string // the same, int64
}

// newStep is the network from a raw row on. A memory holds the vectors of the last
// flows, the newest last, with a 1 behind each: what is not there yet is zeros.
func newStep(m *model.Model, net *stream.Net) *graph {
	g := &step{model: m, net: net, known: map[string]bool{}}
	a, w, shape := net.Arch, net.Weights, []int{0, net.Arch.Flows, net.Arch.Flow() + 1}
	g.body.text(graphName, "step")
	g.body.bytes(graphInput, value(rowsName, 0, m.Record.Width()))
	if m.Record.IPv6 {
		g.body.bytes(graphInput, value(ipv6Name, 0, 1))
	}
	g.body.bytes(graphInput, value(memoryName, shape...))
	g.body.bytes(graphOutput, value(outputName, 0, len(m.Labels)))
	g.body.bytes(graphOutput, value(nextName, shape...))

	meta := g.columns(rowsName, 0, m.Record.MetaValues())
	g.values, g.whole = g.cast(meta, elementDouble), g.cast(meta, elementInt64)
	vector := g.op("Concat", []string{g.payload(), g.numbers(), g.tokens()}, integer("axis", 1))
	g.remember(vector)
	g.last = g.recall(vector)
	g.dense("dense1", []int{a.Joined(), a.Hidden}, w.Dense1, w.Dense1Bias)
	g.node("Relu", "dense1.relu", nil)
	g.dense("dense2", []int{a.Hidden, len(m.Labels)}, w.Dense2, w.Dense2Bias)
	g.calibrate(m)
	return &g.graph
}

// hides says that the model does without a field of the row.
func (g *step) hides(field string) bool { return slices.Contains(g.model.Record.Without, field) }

// payload are the convolution's filters, added up as the engine does, with its bits.
// Behind the last symbol stand zeros, as far as the kernel of the last position reads:
// whatever reads nothing else changes no maximum.
func (g *step) payload() string {
	spec, w := g.model.Record, g.net.Weights
	raw := g.columns(rowsName, spec.MetaValues(), spec.Width())
	raw = g.op("Pad", []string{raw, g.ints(0, 0, 0, stream.Taps), g.float(flows.PayloadPadding)})
	symbol := g.cast(raw, elementInt64)
	end := g.choose(g.op("Equal", []string{symbol, g.int(flows.PayloadEnd)}), g.int(stream.SymbolEnd), g.int(stream.Symbols))
	start := g.choose(g.op("Equal", []string{symbol, g.int(flows.PayloadStart)}), g.int(stream.SymbolStart), end)
	symbol = g.choose(g.op("Less", []string{symbol, g.int(0)}), start, symbol)

	var table conv.ByteTable
	if !g.hides(model.FieldPayload) {
		stream.Tabulate(&table, &w)
	}
	sum, last := "", spec.Payload/stream.Stride*stream.Stride // where the last position begins
	for tap := range stream.Taps {
		rows := make([]float32, 0, (stream.Symbols+1)*stream.Filters)
		for s := range stream.Symbols + 1 {
			rows = append(rows, table.At(tap, s)[:]...)
		}
		name := fmt.Sprintf("conv.weight.%d", tap)
		g.constant(name, []int{stream.Symbols + 1, stream.Filters}, elementFloat, rows)
		at := g.op("Slice", []string{symbol, g.ints(tap), g.ints(tap + last + 1), g.ints(1), g.ints(stream.Stride)})
		sum = g.add(sum, g.op("Gather", []string{name, at}))
	}
	g.constant("conv.bias", []int{stream.Filters}, elementFloat, w.KernelBias)
	most := g.op("ReduceMax", []string{sum}, ints("axes", 1), integer("keepdims", 0))
	return g.relu(g.add(g.relu(most), "conv.bias"))
}

// numbers are the units of a flow's numbers: of their layer only the rows that the
// model's records can have.
func (g *step) numbers() string {
	n, a, w := g.model.Record.Packets, g.net.Arch, g.net.Weights
	size := g.op("Max", []string{g.column(g.values, 10+n, n), g.double(0)})
	log := func(of string) string { return g.op("Log", []string{g.add(of, g.double(1))}) }
	over := func(of string, by float64) string { return g.op("Div", []string{of, g.double(by)}) }
	total := func(at int, by model.Moments) string {
		return over(g.op("Sub", []string{log(g.column(g.values, at, 1)), g.double(by.Mean)}), by.Deviation)
	}
	direction := g.op("Sub", []string{g.op("Mul", []string{g.column(g.whole, 10+2*n, n), g.int(2)}), g.int(1)})
	direction = g.choose(g.there(), direction, g.int(0))
	parts := []struct {
		at, count int
		field     string
		value     string
	}{
		{stream.RemoteAt, stream.ProtocolAt - stream.RemoteAt, model.FieldRemote, g.remote()},
		{stream.ProtocolAt, stream.TotalsAt - stream.ProtocolAt, "", g.protocol()},
		{stream.TotalsAt, 1, "", total(8, g.model.Scaling.Bytes)},
		{stream.TotalsAt + 1, 1, "", total(9, g.model.Scaling.Packets)},
		{stream.SizesAt, n, "", over(size, stream.FullPacket)},
		{stream.LogSizesAt, n, "", over(log(size), stream.LogPacket*math.Ln2)},
		{stream.DirectionsAt, n, "", direction},
		{stream.OffsetsAt, n, model.FieldTime, over(log(g.op("Max", []string{g.column(g.values, 10, n), g.double(0)})), stream.LogLife)},
		{stream.OwnPortAt, stream.RemotePortAt - stream.OwnPortAt, model.FieldPorts, g.port(6, a.OwnPorts)},
		{stream.RemotePortAt, stream.Numbers - stream.RemotePortAt, model.FieldPorts, g.port(7, a.RemotePorts)},
	}
	var values []string
	var weights []float32
	for _, p := range parts {
		if !g.hides(p.field) {
			values = append(values, g.cast(p.value, elementFloat))
			weights = append(weights, w.Numbers[p.at*a.Units:][:p.count*a.Units]...)
		}
	}
	g.last = g.cast(g.op("Concat", values, integer("axis", 1)), elementDouble)
	g.dense("numbers", []int{len(weights) / a.Units, a.Units}, weights, w.NumbersBias)
	return g.relu(g.cast("numbers", elementFloat))
}

// there says of each packet whether the row has it: its size is not missing.
func (g *step) there() string {
	n := g.model.Record.Packets
	return g.op("GreaterOrEqual", []string{g.column(g.whole, 10+n, n), g.int(0)})
}

// remote is the kind of the remote address, of its octets (flows.Record.Octets).
func (g *step) remote() string {
	octets := g.column(g.whole, 1, 4)
	sum := g.op("ReduceSum", []string{octets, g.ints(1)})
	multicast := make([]int64, 2<<8) // by first octet, IPv6 behind IPv4
	for i := range 16 {
		multicast[0xe0+i] = 1
	}
	multicast[1<<8+0xff] = 1
	g.constant("multicast", []int{len(multicast)}, elementInt64, multicast)
	is := func(what string) string { return g.cast(what, elementInt64) }
	v6, first := g.int(0), g.column(g.whole, 1, 1)
	if g.model.Record.IPv6 {
		v6 = is(ipv6Name)
		first = g.add(first, g.op("Mul", []string{v6, g.int(1 << 8)}))
	}
	kinds := []string{
		is(g.op("Equal", []string{sum, g.int(0)})),
		g.op("Gather", []string{"multicast", first}),
		is(g.op("Equal", []string{sum, g.int(4 * 255)})),
	}
	rest := g.int(1)
	for _, kind := range kinds {
		rest = g.op("Sub", []string{rest, kind})
	}
	v6 = g.op("Mul", []string{rest, v6})
	return g.op("Concat", append(kinds, v6, g.op("Sub", []string{rest, v6})), integer("axis", 1))
}

// protocol is the kind of the protocol.
func (g *step) protocol() string {
	const kinds = stream.TotalsAt - stream.ProtocolAt
	table := make([]int64, kinds<<8)
	for p := range 1 << 8 {
		table[p*kinds+stream.ProtocolKind(uint8(p))] = 1
	}
	g.constant("protocols", []int{1 << 8, kinds}, elementInt64, table)
	return g.op("Gather", []string{"protocols", g.op("Squeeze", []string{g.column(g.whole, 5, 1), g.ints(1)})})
}

// port says which of the known ports the one at a place of the row is, or whether it
// is another.
func (g *step) port(at int, known []int32) string {
	list := make([]int, stream.PortNumbers)
	for i := range list {
		if list[i] = flows.Missing - 1; i < len(known) {
			list[i] = int(known[i])
		}
	}
	port := g.column(g.whole, at, 1)
	which := g.cast(g.op("Equal", []string{port, g.ints(list...)}), elementInt64)
	other := g.cast(g.op("GreaterOrEqual", []string{port, g.int(0)}), elementInt64)
	other = g.op("Sub", []string{other, g.op("ReduceSum", []string{which, g.ints(1)})})
	return g.op("Concat", []string{which, other}, integer("axis", 1))
}

// tokens is the sum of the tokens' rows; one that is not there has a row of zeros.
func (g *step) tokens() string {
	n, a, w := g.model.Record.Packets, g.net.Arch, g.net.Weights
	packets := g.add(g.op("Mul", []string{g.column(g.whole, 10+n, n), g.int(2)}), g.column(g.whole, 10+2*n, n))
	values, valid := []string{packets}, []string{g.there()}
	kinds := slices.Repeat([]int{stream.TokenPacket}, n)
	if !g.hides(model.FieldPorts) {
		for i, limit := range []int{stream.OwnPortLimit, stream.RemotePortLimit} {
			port := g.column(g.whole, 6+i, 1)
			is := g.op("And", []string{g.op("GreaterOrEqual", []string{port, g.int(0)}), g.op("Less", []string{port, g.int(limit)})})
			values, valid = append(values, port), append(valid, is)
			kinds = append(kinds, []int{stream.TokenOwnPort, stream.TokenRemotePort}[i])
		}
	}
	is := g.op("Concat", valid, integer("axis", 1))
	bits := g.choose(is, g.op("Concat", values, integer("axis", 1)), g.int(0))
	bits = g.add(g.op("Mul", []string{bits, g.int(1 << 16)}), g.op("Mul", []string{g.column(g.whole, 5, 1), g.int(1 << 8)}))
	bucket := g.choose(is, g.bucket(g.add(bits, g.ints(kinds...))), g.int(a.Buckets))
	g.constant("tokens.weight", []int{a.Buckets + 1, a.Width}, elementFloat, append(slices.Clone(w.Tokens), make([]float32, a.Width)...))
	g.constant("tokens.bias", []int{1, a.Width}, elementFloat, w.TokensBias)
	sum := "tokens.bias"
	for i := range kinds {
		sum = g.add(sum, g.op("Gather", []string{"tokens.weight", g.op("Squeeze", []string{g.column(bucket, i, 1), g.ints(1)})}))
	}
	return g.relu(sum)
}

// bucket hashes tokens' bits (see [stream.TokenHash]) in parts, as no operator
// multiplies 64 bits by 64 and says what becomes of the upper ones. No product here
// has more than 50.
func (g *step) bucket(bits string) string {
	const low = stream.TokenHash & math.MaxUint32
	mul := func(of string, by uint64) string { return g.op("Mul", []string{of, g.int(int(by))}) }
	div := func(of string, by uint64) string { return g.op("Div", []string{of, g.int(int(by))}) }
	mod := func(of string, by uint64) string { return g.op("Mod", []string{of, g.int(int(by))}) }
	upper, lower := div(bits, 1<<32), mod(bits, 1<<32)
	a, b := div(lower, 1<<16), mod(lower, 1<<16)
	hash := div(g.add(mul(a, low), div(mul(b, low), 1<<16)), 1<<16) // lower times low, its upper half
	hash = g.add(hash, mul(upper, low))
	hash = g.add(hash, mul(mod(mul(a, stream.TokenHash>>32), 1<<16), 1<<16)) // lower times the factor's upper half
	hash = mod(g.add(hash, mul(b, stream.TokenHash>>32)), 1<<32)
	return div(mul(hash, uint64(g.net.Arch.Buckets)), 1<<32)
}

// remember puts a vector behind the memory's others, the first of which goes.
func (g *step) remember(vector string) {
	flow := g.op("Unsqueeze", []string{g.op("Pad", []string{vector, g.ints(0, 0, 0, 1), g.float(1)}), g.ints(1)})
	kept := g.op("Slice", []string{memoryName, g.ints(1), g.ints(g.net.Arch.Flows), g.ints(1)})
	g.join("Concat", nextName, []string{kept, flow}, integer("axis", 1))
}

// recall joins what an output rests on: the vector, the mean and the maximum of the
// memory's.
func (g *step) recall(vector string) string {
	flow := g.net.Arch.Flow()
	sums := g.op("ReduceSum", []string{nextName, g.ints(1)}, integer("keepdims", 0))
	share := g.op("Div", []string{g.float(1), g.columns(sums, flow, flow+1)})
	mean := g.op("Mul", []string{g.columns(sums, 0, flow), share})
	most := g.op("ReduceMax", []string{nextName}, ints("axes", 1), integer("keepdims", 0))
	return g.cast(g.op("Concat", []string{vector, mean, g.columns(most, 0, flow)}, integer("axis", 1)), elementDouble)
}

// op appends an operator and returns its output's name.
func (g *step) op(op string, inputs []string, attributes ...message) string {
	g.nodes++
	name := fmt.Sprintf("%s.%d", op, g.nodes)
	g.join(op, name, inputs, attributes...)
	return name
}

func (g *step) cast(of string, element int) string {
	return g.op("Cast", []string{of}, integer("to", element))
}

func (g *step) relu(of string) string { return g.op("Relu", []string{of}) }

// add is the sum of two; "" adds nothing.
func (g *step) add(a, b string) string {
	if a == "" {
		return b
	}
	return g.op("Add", []string{a, b})
}

func (g *step) choose(where, yes, no string) string { return g.op("Where", []string{where, yes, no}) }

// columns are those of a matrix from one on and before another.
func (g *step) columns(of string, from, to int) string {
	return g.op("Slice", []string{of, g.ints(from), g.ints(to), g.ints(1)})
}

// column are count columns of a matrix.
func (g *step) column(of string, at, count int) string { return g.columns(of, at, at+count) }

// ints, int, float and double are constants: a list, or one number.
func (g *step) ints(values ...int) string {
	list := make([]int64, len(values))
	for i, v := range values {
		list[i] = int64(v)
	}
	return g.once(fmt.Sprint(values), []int{len(values)}, elementInt64, list)
}

func (g *step) int(v int) string {
	return g.once(fmt.Sprint(v), nil, elementInt64, int64(v))
}

func (g *step) float(v float32) string {
	return g.once(fmt.Sprintf("float.%v", v), nil, elementFloat, v)
}

func (g *step) double(v float64) string {
	return g.once(fmt.Sprintf("double.%v", v), nil, elementDouble, v)
}

// once adds a constant that may be there already.
func (g *step) once(name string, shape []int, element uint64, values any) string {
	if !g.known[name] {
		g.known[name] = true
		g.constant(name, shape, element, values)
	}
	return name
}
