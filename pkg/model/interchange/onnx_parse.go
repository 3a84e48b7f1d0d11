package interchange

// This file reads an ONNX file into a chain of operators with their constants. It
// knows protocol buffers and graphs; what network the chain is, onnx_read.go says.

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
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
	if o.name == "" {
		return o.kind
	}
	return o.kind + " " + o.name
}

// onnxFile is the decoded file.
type onnxFile struct {
	nodes     []node
	constants map[string]array // by name; floats only
	unread    map[string]bool  // constants of other types: shapes, axes
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

// maxNodes bounds the nodes of a graph: the network has fewer than 30.
const maxNodes = 1000

// decodeONNX reads the whole file.
func decodeONNX(data []byte) (*onnxFile, error) {
	f := &onnxFile{constants: map[string]array{}, unread: map[string]bool{}}
	top, err := fields(data)
	if err != nil {
		return nil, fmt.Errorf("not an ONNX or Keras file: %w", err)
	}
	graphs := 0
	for _, x := range top {
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
	parts, err := fields(b)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	var key, value string
	for _, x := range parts {
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
	f.metadata[key] = value
	return nil
}

func (f *onnxFile) graph(b []byte) error {
	parts, err := fields(b)
	if err != nil {
		return fmt.Errorf("graph: %w", err)
	}
	for _, x := range parts {
		switch x.number {
		case graphNode:
			err = f.node(x.bytes)
		case graphInitializer:
			err = f.initializer(x.bytes)
		case graphInput:
			var in input
			in, err = decodeInput(x.bytes)
			f.inputs = append(f.inputs, in)
		case graphOutput:
			var out input
			out, err = decodeInput(x.bytes)
			f.outputs = append(f.outputs, out.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *onnxFile) initializer(b []byte) error {
	name, a, known, err := decodeTensor(b)
	if err != nil {
		return fmt.Errorf("tensor %s: %w", name, err)
	}
	f.constant(name, a, known)
	return nil
}

func (f *onnxFile) constant(name string, a array, known bool) {
	if known {
		f.constants[name] = a
	} else {
		f.unread[name] = true
	}
}

// decodeTensor reads a tensor; known is false when it holds no floating point
// numbers; float64 is narrowed.
func decodeTensor(b []byte) (name string, a array, known bool, err error) {
	parts, err := fields(b)
	if err != nil {
		return "", array{}, false, err
	}
	var (
		shape    []int64
		values   []float32
		raw      []byte
		element  uint64
		location uint64
	)
	for _, x := range parts {
		switch x.number {
		case tensorName:
			name = string(x.bytes)
		case tensorDims:
			var dims []int64
			if dims, err = x.integers(); err == nil {
				shape = append(shape, dims...)
			}
		case tensorDataType:
			element = x.value
		case tensorRawData, tensorFloatData:
			if x.bytes == nil {
				values = append(values, math.Float32frombits(uint32(x.value)))
				continue
			}
			raw = x.bytes
		case tensorLocation:
			location = x.value
		}
		if err != nil {
			return name, array{}, false, err
		}
	}
	if location != 0 {
		return name, array{}, false, errors.New("its values lie in another file: export with the weights inside")
	}
	if element == elementDouble && raw != nil {
		raw, err = narrowed(raw)
	} else if element != elementFloat {
		return name, array{}, false, nil
	}
	if err == nil && raw != nil {
		values, err = floats(raw)
	}
	if err != nil {
		return name, array{}, false, err
	}
	a, err = newArray(shape, values)
	return name, a, true, err
}

// decodeInput reads a graph input or output.
func decodeInput(b []byte) (input, error) {
	in := input{}
	parts, err := fields(b)
	if err != nil {
		return in, fmt.Errorf("input: %w", err)
	}
	for _, x := range parts {
		if x.number == valueName {
			in.name = string(x.bytes)
		}
	}
	for _, inner := range []protowire.Number{valueType, typeTensor, typeShape} {
		at := slices.IndexFunc(parts, func(x field) bool { return x.number == inner })
		if at < 0 {
			return in, nil // the file does not say
		}
		if parts, err = fields(parts[at].bytes); err != nil {
			return in, fmt.Errorf("input %s: %w", in.name, err)
		}
	}
	for _, x := range parts {
		if x.number != shapeDim {
			continue
		}
		inner, err := fields(x.bytes)
		if err != nil {
			return in, fmt.Errorf("input %s: %w", in.name, err)
		}
		size := -1
		for _, y := range inner {
			if y.number == dimensionValue && y.value > 0 && y.value < maxValues {
				size = int(y.value)
			}
		}
		in.dims = append(in.dims, size)
	}
	return in, nil
}

// node reads a node; a Constant becomes one.
func (f *onnxFile) node(b []byte) error {
	parts, err := fields(b)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if len(f.nodes) == maxNodes {
		return fmt.Errorf("more than %d nodes: not a network of this kind", maxNodes)
	}
	n := node{operator: operator{ints: map[string][]int64{}, floats: map[string]float32{}, texts: map[string]string{}}}
	var tensor []byte
	for _, x := range parts {
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
				return fmt.Errorf("node %s is of operator set %s: want ONNX's own operators", n.name, d)
			}
		case nodeAttribute:
			t, err := n.attribute(x.bytes)
			if err != nil {
				return fmt.Errorf("node %s: attribute: %w", n.name, err)
			}
			if t != nil {
				tensor = t
			}
		}
	}
	if n.kind == "Constant" && len(n.outputs) == 1 {
		if tensor == nil {
			f.unread[n.outputs[0]] = true
			return nil
		}
		_, a, known, err := decodeTensor(tensor)
		if err != nil {
			return fmt.Errorf("constant %s: %w", n.outputs[0], err)
		}
		f.constant(n.outputs[0], a, known)
		return nil
	}
	f.nodes = append(f.nodes, n)
	return nil
}

// attribute notes one attribute; it returns its tensor when it is one.
func (n *node) attribute(b []byte) ([]byte, error) {
	parts, err := fields(b)
	if err != nil {
		return nil, err
	}
	var name string
	for _, x := range parts {
		if x.number == attributeName {
			name = string(x.bytes)
		}
	}
	var tensor []byte
	for _, x := range parts {
		switch x.number {
		case attributeFloat:
			n.floats[name] = math.Float32frombits(uint32(x.value))
		case attributeInt, attributeInts:
			list, err := x.integers()
			if err != nil {
				return nil, err
			}
			n.ints[name] = append(n.ints[name], list...)
		case attributeString:
			n.texts[name] = string(x.bytes)
		case attributeTensor:
			tensor = bytes.Clone(x.bytes)
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
		op := n.operator
		next := ""
		for _, name := range n.inputs {
			if a, ok := f.constants[name]; ok {
				if next == "" && n.kind != "Add" && n.kind != "Mul" {
					return nil, input{}, fmt.Errorf("%v: its first input is a constant", op)
				}
				op.constants = append(op.constants, a)
			} else if name != "" && !f.unread[name] && next == "" {
				next = name // of Reshape the shape may be computed; it is not followed
			} else if name != "" && !f.unread[name] && n.kind != "Reshape" {
				return nil, input{}, fmt.Errorf("%v joins two paths: not the network of this project", op)
			}
		}
		back, at = append(back, op), next
	}
	return nil, input{}, errors.New("the graph runs in a circle")
}
