package interchange

// This file reads HDF5 as h5py writes it by default, which is how Keras saves
// weights: superblock version 0, groups as symbol tables, object headers version
// 1, arrays of little-endian float32 or float64 in one piece. The kept pure-Go
// reader was tried: it does not tell an array's shape and holds a second copy.
// Nothing is followed outside the bytes given, and nothing twice; all arrays
// together take no more memory than the file has bytes.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

const hdf5Signature = "\x89HDF\r\n\x1a\n"

// Types of object header messages.
const (
	messageDataspace    = 0x0001
	messageDatatype     = 0x0003
	messageLayout       = 0x0008
	messageAttribute    = 0x000c
	messageContinuation = 0x0010
	messageSymbolTable  = 0x0011
)

const (
	symbolEntry  = 40 // bytes of a symbol table entry
	maxObjects   = 10_000
	maxPath      = 32 // groups within each other
	classFloat   = 1
	classString  = 3
	classVarying = 9 // of varying length, such as text
	layoutWhole  = 1 // contiguous
	layoutInside = 0 // compact
)

var errCutShort = errors.New("hdf5: the file is truncated or damaged")

// hdf5File collects the arrays of a file.
type hdf5File struct {
	data    []byte
	visited map[uint64]bool   // addresses of headers and tree nodes
	left    int               // bytes of arrays that may still come
	arrays  map[string]array  // by path, "layers/conv2d/vars/0"
	order   []string          // paths in the file's order: by name within a group
	groups  []string          // paths of the groups
	texts   map[string]string // the file's own attributes that are text
}

// readHDF5 reads every array of floating point numbers, and the file's attributes.
func readHDF5(data []byte) (*hdf5File, error) {
	f := &hdf5File{data: data, left: len(data), visited: map[uint64]bool{}, arrays: map[string]array{}, texts: map[string]string{}}
	head, err := f.at(0, 96)
	if err != nil {
		return nil, err
	}
	// Where the sizes are depends on the version.
	if head[8] != 0 {
		return nil, fmt.Errorf(`hdf5: superblock version %d, as h5py writes with libver="latest": copy the file with h5py's defaults, which is version 0`, head[8])
	}
	if head[13] != 8 || head[14] != 8 {
		return nil, fmt.Errorf("hdf5: addresses of %d and lengths of %d bytes: want 8, as h5py writes by default", head[13], head[14])
	}
	if base := word(head[24:]); base != 0 {
		return nil, fmt.Errorf("hdf5: the file begins at byte %d: want 0", base)
	}
	if err := f.object("", word(head[64:]), 0); err != nil {
		return nil, err
	}
	return f, nil
}

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// at returns n bytes at an address.
func (f *hdf5File) at(address, n uint64) ([]byte, error) {
	if address > uint64(len(f.data)) || n > uint64(len(f.data))-address {
		return nil, errCutShort
	}
	return f.data[address : address+n], nil
}

// visit notes an address; one that comes again is refused.
func (f *hdf5File) visit(address uint64) error {
	if f.visited[address] || len(f.visited) == maxObjects {
		return errors.New("hdf5: the groups run in a circle, or are more than any network has")
	}
	f.visited[address] = true
	return nil
}

// headerMessage is one message of an object header.
type headerMessage struct {
	kind uint16
	body []byte
}

// messages reads an object header with its continuations.
func (f *hdf5File) messages(address uint64) ([]headerMessage, error) {
	head, err := f.at(address, 16)
	if err != nil {
		return nil, err
	}
	if head[0] != 1 {
		return nil, errors.New("hdf5: an object header that is not of version 1: save the file with h5py's defaults")
	}
	type block struct{ address, size uint64 }
	blocks := []block{{address + 16, uint64(binary.LittleEndian.Uint32(head[8:]))}}
	var list []headerMessage
	for i := 0; i < len(blocks); i++ {
		if err := f.visit(blocks[i].address); err != nil {
			return nil, err
		}
		b, err := f.at(blocks[i].address, blocks[i].size)
		if err != nil {
			return nil, err
		}
		for len(b) >= 8 {
			kind, size := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
			if len(b) < 8+size {
				return nil, errCutShort
			}
			body := b[8 : 8+size]
			if kind == messageContinuation && size >= 16 {
				blocks = append(blocks, block{word(body), word(body[8:])})
			}
			list = append(list, headerMessage{kind, body})
			b = b[8+size:]
		}
	}
	return list, nil
}

// object reads a group with all below it, or an array.
func (f *hdf5File) object(path string, address uint64, depth int) error {
	if depth > maxPath {
		return errors.New("hdf5: groups nest deeper than any network's")
	}
	list, err := f.messages(address)
	if err != nil {
		return err
	}
	if path == "" {
		if err := f.attributes(list); err != nil {
			return err
		}
	}
	var space, kind, layout []byte
	for _, m := range list {
		switch m.kind {
		case messageSymbolTable:
			if len(m.body) < 16 {
				return errCutShort
			}
			f.groups = append(f.groups, path)
			return f.group(path, word(m.body), word(m.body[8:]), depth)
		case messageDataspace:
			space = m.body
		case messageDatatype:
			kind = m.body
		case messageLayout:
			layout = m.body
		}
	}
	if space == nil || kind == nil || layout == nil {
		return nil // something that holds no array
	}
	a, known, err := f.array(space, kind, layout)
	if err != nil {
		return fmt.Errorf("hdf5: %q: %w", path, err)
	}
	if known {
		f.arrays[path] = a
		f.order = append(f.order, path)
	}
	return nil
}

// group reads the objects of a group from its tree and its heap of names.
func (f *hdf5File) group(path string, tree, heap uint64, depth int) error {
	head, err := f.at(heap, 32)
	if err != nil {
		return err
	}
	if string(head[:4]) != "HEAP" {
		return errCutShort
	}
	names, err := f.at(word(head[24:]), word(head[8:]))
	if err != nil {
		return err
	}
	return f.tree(tree, func(entry []byte) error {
		offset := word(entry)
		if offset >= uint64(len(names)) {
			return errCutShort
		}
		name, _, ended := strings.Cut(string(names[offset:min(offset+256, uint64(len(names)))]), "\x00")
		if !ended {
			return errCutShort
		}
		return f.object(strings.TrimPrefix(path+"/"+name, "/"), word(entry[8:]), depth+1)
	})
}

// tree gives the symbol table entries of a group's B-tree to each, in order.
func (f *hdf5File) tree(address uint64, each func(entry []byte) error) error {
	if err := f.visit(address); err != nil {
		return err
	}
	head, err := f.at(address, 24)
	if err != nil {
		return err
	}
	if string(head[:4]) == "SNOD" {
		count := uint64(binary.LittleEndian.Uint16(head[6:]))
		entries, err := f.at(address+8, count*symbolEntry)
		if err != nil {
			return err
		}
		for ; len(entries) > 0; entries = entries[symbolEntry:] {
			if err := each(entries[:symbolEntry]); err != nil {
				return err
			}
		}
		return nil
	}
	if string(head[:4]) != "TREE" || head[4] != 0 {
		return errCutShort
	}
	count := uint64(binary.LittleEndian.Uint16(head[6:]))
	pairs, err := f.at(address+24, count*16) // key, child
	if err != nil {
		return err
	}
	for ; len(pairs) > 0; pairs = pairs[16:] {
		if err := f.tree(word(pairs[8:]), each); err != nil {
			return err
		}
	}
	return nil
}

// array reads an array; known is false when it holds no floating point numbers.
func (f *hdf5File) array(space, kind, layout []byte) (a array, known bool, err error) {
	if len(kind) < 8 || len(space) < 4 || len(layout) < 4 {
		return array{}, false, errCutShort
	}
	size := binary.LittleEndian.Uint32(kind[4:])
	if kind[0]&0x0f != classFloat {
		return array{}, false, nil
	}
	if size != 4 && size != 8 {
		return array{}, false, fmt.Errorf("numbers of float%d: save it in float32", 8*uint64(size))
	}
	if kind[1]&1 != 0 {
		return array{}, false, errors.New("big-endian numbers: save it on another machine")
	}
	shape, err := dataspace(space)
	if err != nil {
		return array{}, false, err
	}
	raw, err := f.raw(layout)
	if err != nil {
		return array{}, false, err
	}
	// Arrays of a whole file do not share their bytes.
	if f.left -= len(raw); f.left < 0 {
		return array{}, false, errors.New("the arrays are more than the file has bytes")
	}
	if size == 8 {
		if raw, err = narrowed(raw); err != nil {
			return array{}, false, err
		}
	}
	values, err := floats(raw)
	if err != nil {
		return array{}, false, err
	}
	a, err = newArray(shape, values)
	return a, true, err
}

// dataspace is an array's shape.
func dataspace(b []byte) ([]int64, error) {
	rank, start := int(b[1]), 8
	if b[0] == 2 {
		start = 4
	}
	if len(b) < start+8*rank {
		return nil, errCutShort
	}
	if rank > maxAxes {
		return nil, fmt.Errorf("%d axes: no network's array has more than %d", rank, maxAxes)
	}
	shape := make([]int64, rank)
	for i := range shape {
		shape[i] = int64(word(b[start+8*i:]))
	}
	return shape, nil
}

// raw is an array's bytes.
func (f *hdf5File) raw(layout []byte) ([]byte, error) {
	if layout[0] != 3 {
		return nil, fmt.Errorf("data layout version %d: want 3", layout[0])
	}
	switch layout[1] {
	case layoutInside:
		n := int(binary.LittleEndian.Uint16(layout[2:]))
		if len(layout) < 4+n {
			return nil, errCutShort
		}
		return layout[4 : 4+n], nil
	case layoutWhole:
		if len(layout) < 18 {
			return nil, errCutShort
		}
		return f.at(word(layout[2:]), word(layout[10:]))
	}
	return nil, errors.New("the array is chunked or compressed: save it without")
}

// narrowed turns float64 into float32.
func narrowed(raw []byte) ([]byte, error) {
	if len(raw)%8 != 0 {
		return nil, errCutShort
	}
	out := make([]byte, 0, len(raw)/2)
	for ; len(raw) > 0; raw = raw[8:] {
		v := float32(math.Float64frombits(word(raw)))
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out, nil
}

// attributes reads those attributes of the file that are one text.
func (f *hdf5File) attributes(list []headerMessage) error {
	for _, m := range list {
		if m.kind != messageAttribute {
			continue
		}
		name, kind, value, err := attribute(m.body)
		if err != nil {
			return err
		}
		switch kind[0] & 0x0f {
		case classString:
			size := binary.LittleEndian.Uint32(kind[4:])
			if uint64(size) > uint64(len(value)) {
				return errCutShort
			}
			f.texts[name] = strings.TrimRight(string(value[:size]), "\x00")
		case classVarying:
			if len(value) < 16 {
				return errCutShort
			}
			text, err := f.heapObject(word(value[4:]), binary.LittleEndian.Uint32(value[12:]))
			if err != nil {
				return err
			}
			f.texts[name] = string(text[:min(len(text), int(binary.LittleEndian.Uint32(value)))])
		}
	}
	return nil
}

// attribute splits an attribute message, of any version, into its parts.
func attribute(b []byte) (name string, kind, value []byte, err error) {
	if len(b) < 8 || b[0] < 1 || b[0] > 3 {
		return "", nil, nil, errCutShort
	}
	rest, align := b[8:], 1
	switch b[0] {
	case 1:
		align = 8
	case 3:
		rest = b[min(9, len(b)):]
	}
	var parts [3][]byte // name, datatype, dataspace
	for i := range parts {
		n := int(binary.LittleEndian.Uint16(b[2+2*i:]))
		room := (n + align - 1) / align * align
		if room > len(rest) {
			return "", nil, nil, errCutShort
		}
		parts[i], rest = rest[:n], rest[room:]
	}
	if len(parts[1]) < 8 {
		return "", nil, nil, errCutShort
	}
	name, _, _ = strings.Cut(string(parts[0]), "\x00")
	return name, parts[1], rest, nil
}

// heapObject is an object of a global heap collection.
func (f *hdf5File) heapObject(address uint64, index uint32) ([]byte, error) {
	const objectHead = 16
	head, err := f.at(address, objectHead)
	if err != nil {
		return nil, err
	}
	if string(head[:4]) != "GCOL" || word(head[8:]) < objectHead {
		return nil, errCutShort
	}
	b, err := f.at(address+objectHead, word(head[8:])-objectHead)
	if err != nil {
		return nil, err
	}
	for len(b) >= objectHead {
		number, size := binary.LittleEndian.Uint16(b), word(b[8:])
		if b = b[objectHead:]; number == 0 || size > uint64(len(b)) {
			return nil, errCutShort // 0: the rest is free
		}
		if uint32(number) == index {
			return b[:size], nil
		}
		b = b[min(uint64(len(b)), (size+7)/8*8):]
	}
	return nil, errCutShort
}
