package interchange

// This file reads an ONNX file into a chain of operators with their constants. It
// knows protocol buffers and graphs; what network the chain is, onnx_read.go says.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/iotsense/iotsense/internal/plaintext"
)

// operator is one step of the chain.
type operator struct {
	name, kind string
	ints       map[string][]int64 // attributes that are integers or lists of them
	floats     map[string]float32 // attributes that are real numbers
	texts      map[string]string  // attributes that are text
	constants  []array            // inputs that are known, in their order
}

func (o operator) String() string {
	return plaintext.Escape(strings.TrimSpace(o.kind + " " + o.name))
}

// onnxFile is the decoded file.
type onnxFile struct {
	nodes     []node
	constants map[string]array  // by name; floats only
	unread    map[string]uint64 // element types of constants that are no such: shapes, axes
	inputs    []input
	outputs   []string
	metadata  map[string]string
}

// node is a node as it stands in the file.
type node struct {
	operator
	inputs, outputs []string
}

// input is a graph input: -1 for a dimension that is free.
type input struct {
	name string
	dims []int
}

// Bounds of a graph: the network has fewer than 30 nodes and 20 tensors, exporters
// add some of their own, and no list of either is longer than a shape.
const (
	maxNodes   = 1000 // and tensors, inputs, outputs and metadata
	maxList    = 64   // inputs, outputs and attributes of a node, numbers of an attribute
	maxMessage = "more than %d %s: not a network of this kind"
)

// decodeONNX reads the whole file.
func decodeONNX(data []byte) (*onnxFile, error) {
	f := &onnxFile{constants: map[string]array{}, unread: map[string]uint64{}}
	graphs := 0
	for x, err := range fields(data) {
		if err != nil {
			return nil, fmt.Errorf("not an ONNX or Keras file: %w", err)
		}
		switch x.number {
		case modelGraph:
			graphs++
			err = f.graph(x.bytes)
		case modelMetadataProps:
			err = f.entry(x.bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("onnx: %w", err)
		}
	}
	if graphs != 1 {
		return nil, errors.New("not an ONNX or Keras file: no graph in it")
	}
	return f, nil
}

// entry is one of metadata_props.
func (f *onnxFile) entry(b []byte) error {
	var key, value string
	for x, err := range fields(b) {
		if err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		switch x.number {
		case entryKey:
			key = string(x.bytes)
		case entryValue:
			value = string(x.bytes)
		}
	}
	if f.metadata == nil {
		f.metadata = map[string]string{}
	}
	if len(f.metadata) == maxNodes {
		return fmt.Errorf(maxMessage, maxNodes, "metadata")
	}
	f.metadata[key] = value
	return nil
}

func (f *onnxFile) graph(b []byte) error {
	for x, err := range fields(b) {
		if err != nil {
			return fmt.Errorf("graph: %w", err)
		}
		switch x.number {
		case graphNode:
			err = f.node(x.bytes)
		case graphInitializer:
			err = f.initializer(x.bytes)
		case graphInput:
			err = f.ends(x.bytes, func(in input) { f.inputs = append(f.inputs, in) })
		case graphOutput:
			err = f.ends(x.bytes, func(out input) { f.outputs = append(f.outputs, out.name) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ends takes an input or output of the graph.
func (f *onnxFile) ends(b []byte, take func(input)) error {
	if len(f.inputs)+len(f.outputs) == maxNodes {
		return fmt.Errorf(maxMessage, maxNodes, "inputs and outputs")
	}
	in, err := decodeInput(b)
	take(in)
	return err
}

func (f *onnxFile) initializer(b []byte) error {
	t, err := decodeTensor(b)
	if err == nil {
		err = f.constant(t.name, t)
	}
	if err != nil {
		return fmt.Errorf("tensor %q: %w", t.name, err)
	}
	return nil
}

func (f *onnxFile) constant(name string, t tensor) error {
	if len(f.constants)+len(f.unread) == maxNodes {
		return fmt.Errorf(maxMessage, maxNodes, "tensors")
	}
	if t.known {
		f.constants[name] = t.array
	} else {
		f.unread[name] = t.element
	}
	return nil
}

// tensor is a constant of the file; known is false when it holds no floating point
// numbers that can be read.
type tensor struct {
	array
	name    string
	element uint64 // type of its values
	known   bool
}

// decodeTensor reads a tensor; float64 is narrowed.
func decodeTensor(b []byte) (tensor, error) {
	var (
		t        tensor
		shape    []int64
		values   []float32
		raw      []byte
		location uint64
	)
	for x, err := range fields(b) {
		if err != nil {
			return t, err
		}
		switch x.number {
		case tensorName:
			t.name = string(x.bytes)
		case tensorDims:
			if shape, err = x.integers(shape); err != nil {
				return t, err
			}
		case tensorDataType:
			t.element = x.value
		case tensorRawData, tensorFloatData:
			if x.bytes == nil {
				values = append(values, math.Float32frombits(uint32(x.value)))
				continue
			}
			raw = x.bytes
		case tensorLocation:
			location = x.value
		}
	}
	if location != 0 {
		return t, errors.New("its values lie in another file: export with the weights inside")
	}
	var err error
	if t.element == elementDouble && raw != nil {
		raw, err = narrowed(raw)
	} else if t.element != elementFloat {
		return t, nil
	}
	if err == nil && raw != nil {
		values, err = floats(raw)
	}
	if err != nil {
		return t, err
	}
	t.known = true
	t.array, err = newArray(shape, values)
	return t, err
}

// inner is the last of a message's fields with a number; nil: there is none.
func inner(b []byte, number protowire.Number) (found []byte, err error) {
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		if x.number == number {
			found = x.bytes
		}
	}
	return found, nil
}

// decodeInput reads a graph input or output.
func decodeInput(b []byte) (input, error) {
	name, err := inner(b, valueName)
	in := input{name: string(name)}
	for _, number := range []protowire.Number{valueType, typeTensor, typeShape} {
		if err == nil {
			b, err = inner(b, number)
		}
	}
	if err != nil {
		return in, fmt.Errorf("input %q: %w", in.name, err)
	}
	for x, err := range fields(b) { // nothing, when the file does not say
		if err == nil && x.number == shapeDim {
			err = in.dimension(x.bytes)
		}
		if err != nil {
			return in, fmt.Errorf("input %q: %w", in.name, err)
		}
	}
	return in, nil
}

// dimension takes one dimension of the shape.
func (in *input) dimension(b []byte) error {
	if len(in.dims) == maxAxes {
		return fmt.Errorf(maxMessage, maxAxes, "axes")
	}
	size := -1
	for x, err := range fields(b) {
		if err != nil {
			return err
		}
		if x.number == dimensionValue && x.value > 0 && x.value < maxValues {
			size = int(x.value)
		}
	}
	in.dims = append(in.dims, size)
	return nil
}

// node reads a node; a Constant becomes one.
func (f *onnxFile) node(b []byte) error {
	if len(f.nodes) == maxNodes {
		return fmt.Errorf(maxMessage, maxNodes, "nodes")
	}
	n := node{operator: operator{ints: map[string][]int64{}, floats: map[string]float32{}, texts: map[string]string{}}}
	var value []byte // of a Constant
	parts := 0
	for x, err := range fields(b) {
		if err != nil {
			return fmt.Errorf("node: %w", err)
		}
		if parts++; parts > 3*maxList {
			return fmt.Errorf("%v: "+maxMessage, n.operator, maxList, "inputs, outputs and attributes")
		}
		switch x.number {
		case nodeInput:
			n.inputs = append(n.inputs, string(x.bytes))
		case nodeOutput:
			n.outputs = append(n.outputs, string(x.bytes))
		case nodeName:
			n.name = string(x.bytes)
		case nodeOpType:
			n.kind = string(x.bytes)
		case nodeDomain:
			if d := string(x.bytes); d != "" && d != "ai.onnx" {
				return fmt.Errorf("node %q is of operator set %q: want ONNX's own operators", n.name, d)
			}
		case nodeAttribute:
			t, err := n.attribute(x.bytes)
			if err != nil {
				return fmt.Errorf("node %q: attribute: %w", n.name, err)
			}
			if t != nil {
				value = t
			}
		}
	}
	if n.kind != "Constant" || len(n.outputs) != 1 {
		f.nodes = append(f.nodes, n)
		return nil
	}
	t, err := decodeTensor(value) // none: a list of numbers, a text
	if err == nil {
		err = f.constant(n.outputs[0], t)
	}
	if err != nil {
		return fmt.Errorf("constant %q: %w", n.outputs[0], err)
	}
	return nil
}

// attribute notes one attribute; it returns its tensor when it is one.
func (n *node) attribute(b []byte) (tensor []byte, err error) {
	text, err := inner(b, attributeName)
	if err != nil {
		return nil, err
	}
	name := string(text)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.number {
		case attributeFloat:
			n.floats[name] = math.Float32frombits(uint32(x.value))
		case attributeInt, attributeInts:
			if n.ints[name], err = x.integers(n.ints[name]); err != nil {
				return nil, err
			}
		case attributeString:
			n.texts[name] = string(x.bytes)
		case attributeTensor:
			tensor = x.bytes
		}
	}
	return tensor, nil
}

// chain is the operators from the graph's input to its output. It refuses a
// graph with a fork or a join.
func (f *onnxFile) chain() ([]operator, input, error) {
	if len(f.outputs) != 1 {
		return nil, input{}, fmt.Errorf("%d outputs, want one", len(f.outputs))
	}
	by := map[string]int{}
	for i, n := range f.nodes {
		for _, out := range n.outputs {
			by[out] = i
		}
	}
	var back []operator
	at := f.outputs[0]
	for range len(f.nodes) + 1 {
		i, ok := by[at]
		if !ok {
			slices.Reverse(back)
			for _, in := range f.inputs {
				if in.name == at {
					return back, in, nil
				}
			}
			return nil, input{}, fmt.Errorf("%q comes from nowhere", at)
		}
		n := f.nodes[i]
		op, next, err := f.step(n)
		if err != nil {
			return nil, input{}, err
		}
		back, at = append(back, op), next
	}
	return nil, input{}, errors.New("the graph runs in a circle")
}

// step is a node with its constants, and the name of its input that is none.
func (f *onnxFile) step(n node) (op operator, next string, err error) {
	op = n.operator
	for _, name := range n.inputs {
		a, known := f.constants[name]
		element, unread := f.unread[name]
		switch {
		case name == "":
		case known && next == "" && n.kind != "Add" && n.kind != "Mul":
			return op, "", fmt.Errorf("%v: its first input is a constant", op)
		case known:
			op.constants = append(op.constants, a)
		case unread && slices.Contains(weighing, n.kind):
			return op, "", fmt.Errorf("%v: constant %q is of %s: export with float32", op, name, elementName(element))
		case unread:
		case next == "":
			next = name // of Reshape the shape may be computed; it is not followed
		case n.kind != "Reshape":
			return op, "", fmt.Errorf("%v joins two paths: not the network of this project", op)
		}
	}
	return op, next, nil
}

// weighing are the operators whose constants are weights.
var weighing = []string{"Conv", "MatMul", "Gemm", "Add", "Mul", "Div"}

// elementName names a type of values (TensorProto.DataType).
func elementName(element uint64) string {
	names := []string{"unknown type", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16"}
	if element < uint64(len(names)) {
		return names[element]
	}
	return fmt.Sprintf("type %d", element)
}
