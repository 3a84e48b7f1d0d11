package interchange

// This file writes ONNX.

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/stream"
)

// What the files say of themselves. Operator set 13 is what ONNX Runtime has read
// since 2020; nothing later is needed.
const (
	irVersion    = 7
	opsetNumber  = 13
	producer     = "iotsense"
	inputName    = "windows"       // [N, K, width], scaled as the metadata say
	outputName   = "probabilities" // [N, classes]
	batchName    = "N"             // the free dimension
	internalName = "trunk"         // the graph's name
)

// WriteONNX writes m as an ONNX file: the paper's network from scaled windows
// [N, K, width], N free, to class probabilities [N, classes], the calibration's
// temperature included; a stream network as one step, from raw rows and memories to
// probabilities and memories, see [newStep]. Labels, record description, scaling and
// all else that a model file's metadata hold are its metadata_props, under the same
// keys. The same model gives the same bytes.
func WriteONNX(w io.Writer, m *model.Model) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	metadata, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	var g *graph
	switch net := m.Net.(type) {
	case *cnn.Net:
		g, err = newGraph(m, net)
	case *stream.Net:
		g = newStep(m, net)
	default:
		err = fmt.Errorf("no graph for a %s network", net.Kind())
	}
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if _, err := w.Write(g.file(metadata)); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// graph is an ONNX graph under construction.
type graph struct {
	body message
	last string // the newest node's output
}

// newGraph is the paper's network: a chain of operators.
func newGraph(m *model.Model, net *cnn.Net) (*graph, error) {
	if net.Arch.Hidden == 0 {
		return nil, errors.New("a network without its first dense layer is for comparison only")
	}
	d, err := net.Dims(m.Record)
	if err != nil {
		return nil, err
	}
	a, w := net.Arch, net.Weights
	f1, f2 := a.Filters[0], a.Filters[1]
	g := &graph{last: inputName}
	g.body.text(graphName, internalName)
	g.body.bytes(graphInput, value(inputName, 0, a.K, d.Width))
	g.body.bytes(graphOutput, value(outputName, 0, d.Classes))

	g.constant("image.shape", []int{4}, elementInt64, []int64{-1, 1, int64(a.K), int64(d.Width)})
	g.node("Reshape", "image", []string{"image.shape"})
	g.constant("conv1.weight", []int{f1, 1, 1, a.Kernel1}, elementFloat, channelsFirst(w.Conv1, a.Kernel1, 1, f1))
	g.constant("conv1.bias", []int{f1}, elementFloat, w.Conv1Bias)
	g.node("Conv", "conv1", []string{"conv1.weight", "conv1.bias"}, ints("kernel_shape", 1, a.Kernel1))
	g.node("Relu", "conv1.relu", nil)
	g.constant("conv2.weight", []int{f2, f1, a.Kernel2[0], a.Kernel2[1]}, elementFloat, channelsFirst(w.Conv2, a.Kernel2[0]*a.Kernel2[1], f1, f2))
	g.constant("conv2.bias", []int{f2}, elementFloat, w.Conv2Bias)
	g.node("Conv", "conv2", []string{"conv2.weight", "conv2.bias"}, ints("kernel_shape", a.Kernel2[:]...))
	g.node("Relu", "conv2.relu", nil)
	g.node("MaxPool", "pool", nil, ints("kernel_shape", a.Pool[:]...), ints("strides", a.Pool[:]...))
	g.node("Transpose", "channels_last", nil, ints("perm", 0, 2, 3, 1))
	g.node("Flatten", "flat", nil)
	// Sums of a thousand terms in float64: in float32, ONNX Runtime is up to 9e-7
	// away from the definition, and with the engine's own rounding over 1e-6.
	g.node("Cast", "precise", nil, integer("to", elementDouble))
	g.dense("dense1", []int{d.Flat, a.Hidden}, w.Dense1, w.Dense1Bias)
	g.node("Relu", "dense1.relu", nil)
	g.dense("dense2", []int{a.Hidden, d.Classes}, w.Dense2, w.Dense2Bias)
	g.calibrate(m)
	return g, nil
}

// calibrate makes the output's probabilities of the newest node's logits.
func (g *graph) calibrate(m *model.Model) {
	if t := m.Temperature(); t != 1 {
		g.constant("temperature", nil, elementDouble, t)
		g.node("Div", "calibrated", []string{"temperature"})
	}
	g.node("Softmax", "softmax", nil, integer("axis", 1))
	g.node("Cast", outputName, nil, integer("to", elementFloat))
}

// channelsFirst turns a convolution's weights [places, in, out] into ONNX's
// [out, in, places].
func channelsFirst(w []float32, places, in, out int) []float32 {
	moved := make([]float32, len(w))
	for p := range places {
		for i := range in {
			for o := range out {
				moved[(o*in+i)*places+p] = w[(p*in+i)*out+o]
			}
		}
	}
	return moved
}

// dense adds x w + b.
func (g *graph) dense(name string, shape []int, w, b []float32) {
	g.constant(name+".weight", shape, elementDouble, widened(w))
	g.constant(name+".bias", shape[1:], elementDouble, widened(b))
	g.node("Gemm", name, []string{name + ".weight", name + ".bias"})
}

// node appends an operator that reads the newest node's output and constants.
func (g *graph) node(op, output string, constants []string, attributes ...message) {
	g.join(op, output, append([]string{g.last}, constants...), attributes...)
}

// join appends an operator with all its inputs.
func (g *graph) join(op, output string, inputs []string, attributes ...message) {
	var n message
	for _, name := range inputs {
		n.text(nodeInput, name)
	}
	n.text(nodeOutput, output)
	n.text(nodeName, output)
	n.text(nodeOpType, op)
	for _, a := range attributes {
		n.bytes(nodeAttribute, a)
	}
	g.body.bytes(graphNode, n)
	g.last = output
}

func widened(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// constant adds a constant of an element type; values are one or a list.
func (g *graph) constant(name string, shape []int, element uint64, values any) {
	raw, _ := binary.Append(nil, binary.LittleEndian, values) // never fails for numbers
	var t message
	for _, n := range shape {
		t.varint(tensorDims, uint64(n))
	}
	t.varint(tensorDataType, element)
	t.text(tensorName, name)
	t.bytes(tensorRawData, raw)
	g.body.bytes(graphInitializer, t)
}

// value is the description of an input or output of float32; a dimension of 0 is
// the free one.
func value(name string, dims ...int) message {
	var shape message
	for _, n := range dims {
		var d message
		if n == 0 {
			d.text(dimensionParam, batchName)
		} else {
			d.varint(dimensionValue, uint64(n))
		}
		shape.bytes(shapeDim, d)
	}
	var tensor, kind, v message
	tensor.varint(typeElement, elementFloat)
	tensor.bytes(typeShape, shape)
	kind.bytes(typeTensor, tensor)
	v.text(valueName, name)
	v.bytes(valueType, kind)
	return v
}

// ints is an attribute that is a list.
func ints(name string, values ...int) message {
	var a message
	a.text(attributeName, name)
	for _, v := range values {
		a.varint(attributeInts, uint64(v))
	}
	a.varint(attributeType, kindInts)
	return a
}

// integer is an attribute that is one number.
func integer(name string, v int) message {
	var a message
	a.text(attributeName, name)
	a.varint(attributeInt, uint64(v))
	a.varint(attributeType, kindInt)
	return a
}

// file is the whole file.
func (g *graph) file(metadata map[string]json.RawMessage) []byte {
	var opset, m message
	opset.text(opsetDomain, "")
	opset.varint(opsetVersion, opsetNumber)
	m.varint(modelIRVersion, irVersion)
	m.text(modelProducerName, producer)
	m.text(modelProducerVersion, fmt.Sprint(model.FormatVersion))
	m.bytes(modelGraph, g.body)
	m.bytes(modelOpsetImport, opset)
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		var entry message
		entry.text(entryKey, key)
		entry.text(entryValue, string(metadata[key]))
		m.bytes(modelMetadataProps, entry)
	}
	return m
}
