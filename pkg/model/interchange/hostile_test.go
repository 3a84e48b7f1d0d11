package interchange

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/model/cnn"
)

// repeated is a message of n copies of a field.
func repeated(n int, field func(*message)) message {
	var m message
	for range n {
		field(&m)
	}
	return m
}

// onnxOf is a file of a graph.
func onnxOf(graph message) message {
	var m message
	m.bytes(modelGraph, graph)
	return m
}

// tensorOf is a tensor of a shape, with the values' bytes.
func tensorOf(name string, element uint64, raw []byte, shape ...uint64) message {
	var t message
	for _, n := range shape {
		t.varint(tensorDims, n)
	}
	t.varint(tensorDataType, element)
	t.text(tensorName, name)
	t.bytes(tensorRawData, raw)
	return t
}

// convolution is a graph of one convolution with these weights.
func convolution(weights message) message {
	g := graph{last: inputName}
	g.body.bytes(graphInput, value(inputName, 0, 1, 5, 40))
	g.body.bytes(graphOutput, value("out", 0))
	g.body.bytes(graphInitializer, weights)
	g.node("Conv", "out", []string{"w"})
	return g.body
}

// A file that claims what no network has ends with a message, before anything is
// made of the claim.
func TestImportBounds(t *testing.T) {
	const huge = 1 << 27
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"axes of nothing", onnxOf(convolution(tensorOf("w", elementFloat, nil, huge, 0, 1, huge))), "absurd shape"},
		{"many axes", onnxOf(convolution(tensorOf("w", elementFloat, make([]byte, 4), 1, 1, 1, 1, 1, 1, 1, 1, 1))), "9 axes"},
		{"float16", onnxOf(convolution(tensorOf("w", 10, make([]byte, 20), 1, 1, 1, 10))), `Conv out: constant "w" is of float16: export with float32`},
		{"bfloat16", onnxOf(convolution(tensorOf("w", 16, make([]byte, 20), 1, 1, 1, 10))), "bfloat16"},
		{"a new type", onnxOf(convolution(tensorOf("w", 99, nil, 1, 1, 1, 10))), "type 99"},
		{"many nodes", onnxOf(repeated(1001, func(m *message) { m.bytes(graphNode, nil) })), "more than 1000 nodes"},
		{"many tensors", onnxOf(tensors(1001)), "more than 1000 tensors"},
		{"many inputs of the graph", onnxOf(repeated(1001, func(m *message) { m.bytes(graphInput, nil) })), "more than 1000 inputs"},
		{"many inputs of a node", onnxOf(repeated(1, func(m *message) {
			m.bytes(graphNode, repeated(1000, func(n *message) { n.text(nodeInput, "x") }))
		})), "inputs, outputs and attributes"},
		{"a long attribute", onnxOf(repeated(1, func(m *message) {
			m.bytes(graphNode, repeated(1, func(n *message) {
				n.bytes(nodeAttribute, repeated(1, func(a *message) { a.bytes(attributeInts, make([]byte, 1000)) }))
			}))
		})), "more than 64 numbers"},
		{"HDF5 arrays of the same bytes", sharedBytes(20, 1000), "more than the file has bytes"},
		{"HDF5 as \"latest\"", append([]byte(hdf5Signature+"\x03\x08\x08"), make([]byte, 100)...), `superblock version 3, as h5py writes with libver="latest"`},
		{"a long archive", listed(t, 101), "more than 100 files"},
		{"an archive of something else", listed(t, 1), "no config.json in the archive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parse(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// tensors are n tensors, each of another name.
func tensors(n int) (m message) {
	for i := range n {
		m.bytes(graphInitializer, tensorOf(fmt.Sprint(i), elementInt64, nil))
	}
	return m
}

// listed is an archive of n empty files.
func listed(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range n {
		if _, err := w.Create(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sharedBytes is an HDF5 file of n arrays that are the same bytes.
func sharedBytes(n, bytes int) []byte {
	data := make([]byte, 96+bytes)
	copy(data, hdf5Signature)
	data[13], data[14] = 8, 8
	le := binary.LittleEndian
	words := func(list ...uint64) (b []byte) {
		for _, v := range list {
			b = le.AppendUint64(b, v)
		}
		return b
	}
	header := func(messages map[uint16][]byte) uint64 {
		var body []byte
		for kind, m := range messages {
			body = le.AppendUint16(body, kind)
			body = le.AppendUint16(body, uint16(len(m)))
			body = append(append(body, 0, 0, 0, 0), m...)
		}
		at := uint64(len(data))
		data = append(data, 1, 0, byte(len(messages)), 0, 1, 0, 0, 0)
		data = le.AppendUint32(data, uint32(len(body)))
		data = append(append(data, 0, 0, 0, 0), body...)
		return at
	}
	var names, entries []byte
	for i := range n {
		at := header(map[uint16][]byte{
			messageDataspace: append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, words(uint64(bytes/4))...),
			messageDatatype:  {classFloat | 0x10, 0, 0, 0, 4, 0, 0, 0},
			messageLayout:    append([]byte{3, layoutWhole}, words(96, uint64(bytes))...),
		})
		entries = append(append(entries, words(uint64(len(names)), at)...), make([]byte, 24)...)
		names = append(names, fmt.Sprintf("%d\x00", i)...)
	}
	heap := uint64(len(data))
	data = append(append(data, "HEAP\x00\x00\x00\x00"...), words(uint64(len(names)), 0, heap+32)...)
	data = append(data, names...)
	tree := uint64(len(data))
	data = append(append(data, "SNOD\x01\x00"...), byte(n), byte(n>>8))
	data = append(data, entries...)
	le.PutUint64(data[64:], header(map[uint16][]byte{messageSymbolTable: words(tree, heap)}))
	return data
}

// The classes are counted before each gets a name.
func TestImportClasses(t *testing.T) {
	n := &Network{Arch: cnn.Architecture{Filters: [2]int{2, 2}, Kernel1: 10, Kernel2: [2]int{3, 5}, Hidden: 7}, Classes: 4}
	if err := n.bounds(); err != nil {
		t.Error(err)
	}
	if n.Classes = 1 << 27; n.bounds() == nil {
		t.Errorf("%d classes taken", n.Classes)
	}
}

// What a hostile file makes of memory is a small multiple of its bytes.
func TestImportMemory(t *testing.T) {
	const size = 4 << 20
	empty := func(number byte) []byte { return bytes.Repeat([]byte{number<<3 | 2, 0}, size/2) }
	graph := func(inner []byte) []byte {
		var m message
		m.bytes(modelGraph, inner)
		return m
	}
	within := func(number int, inner []byte) []byte {
		var m message
		m.bytes(graphNode, inner)
		if number > 0 {
			m = nil
			m.bytes(graphInitializer, inner)
		}
		return graph(m)
	}
	for name, data := range map[string][]byte{
		"fields of the file":    empty(99 % 16),
		"fields of the graph":   graph(empty(15)),
		"nodes":                 graph(empty(byte(graphNode))),
		"fields of a node":      within(0, empty(byte(nodeInput))),
		"dimensions":            within(1, bytes.Repeat([]byte{byte(tensorDims << 3), 1}, size/2)),
		"values one by one":     within(1, bytes.Repeat([]byte{byte(tensorFloatData<<3) | 5, 0, 0, 0, 0}, size/5)),
		"packed dimensions":     within(1, append([]byte{byte(tensorDims<<3) | 2, 0x80, 0x80, 0x80, 0x01}, make([]byte, 2<<20)...)),
		"arrays of one's bytes": sharedBytes(500, 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := parse(data)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("taken for a network")
			}
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(8*len(data)+1<<20); got > most {
				t.Errorf("%d bytes allocated for a file of %d (%v), want at most %d", got, len(data), err, most)
			}
		})
	}
}

// A pipe that nobody writes to ends with the context.
func TestImportIsCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe.onnx")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Read(ctx, path); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one of the context that names the file", err)
	}
}
