package interchange

// This file holds the part of ONNX's protocol buffers (onnx.proto3) that a
// network needs: the numbers of the fields, and reading and writing them.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto3, by message.
const (
	modelIRVersion       protowire.Number = 1
	modelProducerName    protowire.Number = 2
	modelProducerVersion protowire.Number = 3
	modelGraph           protowire.Number = 7
	modelOpsetImport     protowire.Number = 8
	modelMetadataProps   protowire.Number = 14

	opsetDomain  protowire.Number = 1
	opsetVersion protowire.Number = 2

	entryKey   protowire.Number = 1
	entryValue protowire.Number = 2

	graphNode        protowire.Number = 1
	graphName        protowire.Number = 2
	graphInitializer protowire.Number = 5
	graphInput       protowire.Number = 11
	graphOutput      protowire.Number = 12

	nodeInput     protowire.Number = 1
	nodeOutput    protowire.Number = 2
	nodeName      protowire.Number = 3
	nodeOpType    protowire.Number = 4
	nodeAttribute protowire.Number = 5
	nodeDomain    protowire.Number = 7

	attributeName   protowire.Number = 1
	attributeFloat  protowire.Number = 2
	attributeInt    protowire.Number = 3
	attributeString protowire.Number = 4
	attributeTensor protowire.Number = 5
	attributeInts   protowire.Number = 8
	attributeType   protowire.Number = 20

	tensorDims      protowire.Number = 1
	tensorDataType  protowire.Number = 2
	tensorFloatData protowire.Number = 4
	tensorName      protowire.Number = 8
	tensorRawData   protowire.Number = 9
	tensorLocation  protowire.Number = 14

	valueName      protowire.Number = 1
	valueType      protowire.Number = 2
	typeTensor     protowire.Number = 1
	typeElement    protowire.Number = 1
	typeShape      protowire.Number = 2
	shapeDim       protowire.Number = 1
	dimensionValue protowire.Number = 1
	dimensionParam protowire.Number = 2
)

// Enumerations of onnx.proto3.
const (
	elementFloat  = 1  // TensorProto.FLOAT
	elementInt64  = 7  // TensorProto.INT64
	elementDouble = 11 // TensorProto.DOUBLE
	kindInt       = 2  // AttributeProto.INT
	kindInts      = 7  // AttributeProto.INTS
)

// message is one encoded message under construction.
type message []byte

func (m *message) varint(n protowire.Number, v uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, n, protowire.VarintType), v)
}

func (m *message) bytes(n protowire.Number, v []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, n, protowire.BytesType), v)
}

func (m *message) text(n protowire.Number, v string) { m.bytes(n, []byte(v)) }

// field is one field of a message: a number, or bytes.
type field struct {
	number protowire.Number
	value  uint64 // of a varint or a fixed number
	bytes  []byte
}

// fields gives the fields of a message one by one: a list of them would be twenty
// times the bytes of a hostile file. Of a message that is cut short, the last is an
// error.
func fields(b []byte) iter.Seq2[field, error] {
	return func(yield func(field, error) bool) {
		for len(b) > 0 {
			f, n, err := nextField(b)
			if !yield(f, err) || err != nil {
				return
			}
			b = b[n:]
		}
	}
}

// nextField is a message's first field, and how many bytes it takes.
func nextField(b []byte) (field, int, error) {
	number, kind, head := protowire.ConsumeTag(b)
	if head < 0 {
		return field{}, 0, protowire.ParseError(head)
	}
	f, n := field{number: number}, 0
	switch b = b[head:]; kind {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.value = uint64(v)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		return field{}, 0, errors.New("a field that ONNX does not have")
	}
	if n < 0 {
		return field{}, 0, protowire.ParseError(n)
	}
	return f, head + n, nil
}

// integers appends the values of a repeated integer field: one, or a packed list.
func (f field) integers(list []int64) ([]int64, error) {
	if f.bytes == nil {
		list = append(list, int64(f.value))
	}
	for b := f.bytes; len(b) > 0 && len(list) <= maxList; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		list, b = append(list, int64(v)), b[n:]
	}
	if len(list) > maxList {
		return nil, fmt.Errorf("a list of more than %d numbers: no shape or attribute of the network has so many", maxList)
	}
	return list, nil
}

// array is a tensor of float32.
type array struct {
	shape  []int
	values []float32
}

const (
	maxValues = maxFile / 4 // of one tensor: its bytes are there
	maxAxes   = 8           // of an array: the network's have four at most
)

// newArray checks that a shape fits the values. An axis of length 0 holds nothing,
// whatever the others claim.
func newArray(shape []int64, values []float32) (array, error) {
	if len(shape) > maxAxes {
		return array{}, fmt.Errorf("%d axes: no network's array has more than %d", len(shape), maxAxes)
	}
	size := int64(1)
	a := array{values: values}
	for _, n := range shape {
		if n < 1 || n > maxValues || size*n > maxValues {
			return array{}, fmt.Errorf("absurd shape %v", shape)
		}
		size *= n
		a.shape = append(a.shape, int(n))
	}
	if size != int64(len(values)) {
		return array{}, fmt.Errorf("%d values for shape %v", len(values), shape)
	}
	return a, nil
}

// floats decodes little-endian values.
func floats(b []byte) ([]float32, error) {
	if len(b)%4 != 0 {
		return nil, errors.New("not a whole number of values")
	}
	values := make([]float32, len(b)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return values, nil
}
