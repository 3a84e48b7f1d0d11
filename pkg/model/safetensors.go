package model

// This file reads and writes the safetensors container: an 8-byte little-endian
// header length, a JSON header, and the tensors' bytes without gaps. It knows
// nothing about models. A reader trusts no number of the header: memory grows
// only with bytes that really come.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/iotsense/iotsense/internal/plaintext"
)

const (
	maxHeader   = 4 << 20           // bytes of JSON
	maxTensors  = 1 << 10           // entries of a header
	floatBytes  = 4                 // of an F32 value
	readChunk   = 64 << 10          // bytes read at a time
	metadataKey = "__metadata__"    // the header entry that is no tensor
	dtypeF32    = "F32"             // the only element type of a model file
	headerAlign = 8                 // headers are filled with spaces to this size
	maxElements = 2 * MaxParameters // values of one file, background included
)

// tensorEntry is a tensor's line in the header.
type tensorEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// elements is the product of the shape, or an error when it is absurd.
func (e tensorEntry) elements() (int64, error) {
	n := int64(1)
	for _, s := range e.Shape {
		if s < 0 || s > maxElements {
			return 0, fmt.Errorf("absurd shape %v", e.Shape)
		}
		if n *= s; n > maxElements {
			return 0, fmt.Errorf("absurd shape %v", e.Shape)
		}
	}
	return n, nil
}

// writeSafetensors writes metadata and tensors, in the order given. The same
// input gives the same bytes.
func writeSafetensors(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	header := map[string]any{metadataKey: metadata}
	var offset int64
	for _, t := range tensors {
		end := offset + int64(len(t.Data))*floatBytes
		shape := make([]int64, len(t.Shape))
		for i, s := range t.Shape {
			shape[i] = int64(s)
		}
		header[t.Name] = tensorEntry{dtypeF32, shape, [2]int64{offset, end}}
		offset = end
	}
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	if pad := len(text) % headerAlign; pad != 0 {
		text = append(text, strings.Repeat(" ", headerAlign-pad)...)
	}
	if len(text) > maxHeader {
		return fmt.Errorf("header is %d bytes, the format allows %d here", len(text), maxHeader)
	}
	b := bufio.NewWriter(w)
	var buf [8]byte
	binary.LittleEndian.PutUint64(buf[:], uint64(len(text)))
	b.Write(buf[:]) // bufio keeps the first error for Flush
	b.Write(text)
	for _, t := range tensors {
		for _, v := range t.Data {
			binary.LittleEndian.PutUint32(buf[:4], math.Float32bits(v))
			b.Write(buf[:4])
		}
	}
	return b.Flush()
}

// readSafetensors reads a whole file. Errors name the tensor concerned.
func readSafetensors(r io.Reader) (map[string]string, map[string]Tensor, error) {
	r = bufio.NewReader(r)
	metadata, entries, err := readHeader(r)
	if err != nil {
		return nil, nil, err
	}
	names, err := layout(entries)
	if err != nil {
		return nil, nil, err
	}
	tensors := make(map[string]Tensor, len(names))
	for _, name := range names {
		e := entries[name]
		data, err := readFloats(r, (e.Offsets[1]-e.Offsets[0])/floatBytes)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", plaintext.Escape(name), err)
		}
		shape := make([]int, len(e.Shape))
		for i, s := range e.Shape {
			shape[i] = int(s)
		}
		tensors[name] = Tensor{name, shape, data}
	}
	var one [1]byte
	if n, err := io.ReadFull(r, one[:]); n != 0 {
		return nil, nil, errors.New("bytes after the last tensor")
	} else if err != io.EOF {
		return nil, nil, err
	}
	return metadata, tensors, nil
}

// readHeader reads the length and the JSON that follows it.
func readHeader(r io.Reader) (map[string]string, map[string]tensorEntry, error) {
	var size uint64
	if err := binary.Read(r, binary.LittleEndian, &size); err != nil {
		return nil, nil, fmt.Errorf("header length: %w", truncated(err))
	}
	if size > maxHeader {
		return nil, nil, errors.New("not a model file: networks of ONNX (.onnx) and Keras (.keras, .h5) become one by `iotsense model import`")
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if uint64(len(text)) < size {
		return nil, nil, fmt.Errorf("header: %w", truncated(io.EOF))
	}
	if !utf8.Valid(text) { // JSON would change it
		return nil, nil, errors.New("header is not UTF-8")
	}
	raw, err := members[json.RawMessage](text)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	var metadata map[string]string
	if m, ok := raw[metadataKey]; ok {
		if metadata, err = members[string](m); err != nil {
			return nil, nil, fmt.Errorf("header: %s: %w", metadataKey, err)
		}
		delete(raw, metadataKey)
	}
	entries := make(map[string]tensorEntry, len(raw))
	for name, m := range raw {
		var e tensorEntry
		if err := json.Unmarshal(m, &e); err != nil {
			return nil, nil, fmt.Errorf("header: tensor %s: %w", plaintext.Escape(name), err)
		}
		entries[name] = e
	}
	return metadata, entries, nil
}

// members are those of a JSON object, one at a time: a map of a hostile header's would
// be twenty times its bytes.
func members[V any](text []byte) (map[string]V, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	all := map[string]V{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var v V
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%q twice", name)
		}
		if all[name] = v; len(all) > maxTensors {
			return nil, fmt.Errorf("more than %d entries: not a model file", maxTensors)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, err
	}
	if len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("more than one JSON object")
	}
	return all, nil
}

// layout checks that the tensors are F32 and follow each other without gap or
// overlap, and returns their names in the order of their bytes.
func layout(entries map[string]tensorEntry) ([]string, error) {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := entries[a].Offsets, entries[b].Offsets
		switch {
		case x[0] != y[0]:
			return compare(x[0], y[0])
		case x[1] != y[1]:
			return compare(x[1], y[1])
		}
		return strings.Compare(a, b)
	})
	var offset, total int64
	for _, name := range names {
		e := entries[name]
		if e.DType != dtypeF32 {
			return nil, fmt.Errorf("tensor %s: type %q, want %s", plaintext.Escape(name), e.DType, dtypeF32)
		}
		n, err := e.elements()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", plaintext.Escape(name), err)
		}
		if total += n; total > maxElements {
			return nil, fmt.Errorf("tensor %s: more than %d values in the file", plaintext.Escape(name), maxElements)
		}
		if e.Offsets[0] != offset || e.Offsets[1] != offset+n*floatBytes {
			return nil, fmt.Errorf("tensor %s: offsets %v, want [%d %d] for shape %v",
				plaintext.Escape(name), e.Offsets, offset, offset+n*floatBytes, e.Shape)
		}
		offset = e.Offsets[1]
	}
	return names, nil
}

func compare(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// readFloats reads n values; what it holds never exceeds twice what has come.
func readFloats(r io.Reader, n int64) ([]float32, error) {
	data := make([]float32, 0, min(n, readChunk/floatBytes))
	var buf [readChunk]byte
	for left := n; left > 0; {
		part := buf[:min(left*floatBytes, readChunk)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, truncated(err)
		}
		for i := 0; i < len(part); i += floatBytes {
			data = append(data, math.Float32frombits(binary.LittleEndian.Uint32(part[i:])))
		}
		left -= int64(len(part) / floatBytes)
	}
	return slices.Clip(data), nil
}

// truncated names an early end of a file.
func truncated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the file is truncated")
	}
	return err
}
