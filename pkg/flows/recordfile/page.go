package recordfile

// This file reads the values of a parquet column. The library's reader takes as much
// memory as a page claims to need, which can be thousands of times its size, prints on
// stderr what it finds odd, and weighs 7 MB in a binary; of it only the format is used.

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds of a page. Other tools make pages of a megabyte, or of as many rows as a row
// group has.
const (
	maxPage       = 1 << 26 // bytes, unpacked
	maxPageValues = 1 << 22
	maxPageHeader = 1 << 16
)

// plainDictionary is how older writers, and some of today, name RLEDictionary.
const plainDictionary format.Encoding = 2

// pageColumn is what a column's pages do not say of themselves.
type pageColumn struct {
	codec    format.CompressionCodec
	kind     format.Type
	length   int  // of a value of fixed length
	optional bool // some rows may have no value
}

// pageReader reads the values of one part of a column, page after page.
type pageReader struct {
	pageColumn
	in         *bufio.Reader
	left       int64 // bytes
	packed     []byte
	unpacked   []byte
	dictionary []value
	values     []value
	indexes    []int32
	present    []int32
}

// open begins a column chunk of a file. Buffers are used again.
func (r *pageReader) open(file io.ReaderAt, m *format.ColumnMetaData, c pageColumn) {
	start := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	if r.in == nil {
		r.in = bufio.NewReaderSize(nil, maxPageHeader)
	}
	r.in.Reset(io.NewSectionReader(file, start, m.TotalCompressedSize))
	r.pageColumn, r.codec, r.left = c, m.Codec, m.TotalCompressedSize
	r.dictionary, r.values = nil, r.values[:0]
}

// read gives n values, from a row on, to set.
func (r *pageReader) read(from int64, n int, set func(i int, v value) error) error {
	for at := 0; at < n; {
		h, err := r.header()
		if err != nil {
			return err
		}
		rows := int64(pageValues(h))
		if h.Type != format.DictionaryPage && rows <= from { // of rows before
			from -= rows
			err = r.discard(int(h.CompressedPageSize))
		} else {
			err = r.page(h)
		}
		if err != nil {
			return err
		}
		if h.Type != format.DataPage && h.Type != format.DataPageV2 || len(r.values) == 0 {
			continue
		}
		for _, v := range r.values[from:min(int64(len(r.values)), from+int64(n-at))] {
			if err := set(at, v); err != nil {
				return err
			}
			at++
		}
		from = 0
		r.values = r.values[:0]
	}
	return nil
}

// pageValues is how many rows a page is of; a column of records has no lists.
func pageValues(h *format.PageHeader) int32 {
	if h.Type == format.DataPageV2 {
		return h.DataPageHeaderV2.V.NumValues
	}
	return h.DataPageHeader.V.NumValues
}

// header reads the next page's header and refuses what no page of records needs.
func (r *pageReader) header() (*format.PageHeader, error) {
	text, err := r.in.Peek(int(min(maxPageHeader, max(0, r.left))))
	if len(text) == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	in := new(thrift.CompactProtocol).NewReaderFromBytes(text)
	h := &format.PageHeader{}
	if err := thrift.NewDecoder(in).Decode(h); err != nil {
		return nil, fmt.Errorf("header of a page: %w", err)
	}
	rest, ok := in.Reader().(*bytes.Reader)
	if !ok {
		return nil, errors.New("header of a page: its length is unknown")
	}
	if err := r.discard(len(text) - rest.Len()); err != nil {
		return nil, err
	}
	packed, unpacked := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	values := max(pageValues(h), h.DictionaryPageHeader.V.NumValues)
	switch least := min(pageValues(h), h.DictionaryPageHeader.V.NumValues); {
	case packed < 0 || unpacked < 0 || least < 0 || packed > r.left:
		return nil, fmt.Errorf("a page of %d bytes, %d values, with %d bytes left: the file is damaged", packed, least, r.left)
	case packed > maxPage || unpacked > maxPage || values > maxPageValues:
		return nil, fmt.Errorf("a page of %d bytes, %d values: more than %d bytes or %d values are not read: write smaller pages", unpacked, values, maxPage, maxPageValues)
	}
	return h, nil
}

func (r *pageReader) discard(n int) error {
	done, err := r.in.Discard(n)
	r.left -= int64(done)
	return unexpected(err)
}

// page reads a page into values, or into the dictionary.
func (r *pageReader) page(h *format.PageHeader) error {
	r.packed = slices.Grow(r.packed[:0], int(h.CompressedPageSize))[:h.CompressedPageSize]
	n, err := io.ReadFull(r.in, r.packed)
	r.left -= int64(n)
	if err != nil {
		return unexpected(err)
	}
	if h.CRC != 0 && uint32(h.CRC) != crc32.ChecksumIEEE(r.packed) {
		return errors.New("a page's checksum is wrong: the file is damaged")
	}
	switch h.Type {
	case format.DictionaryPage:
		return r.dictionaryPage(h)
	case format.DataPage:
		return r.pageV1(&h.DataPageHeader.V)
	case format.DataPageV2:
		return r.pageV2(&h.DataPageHeaderV2.V)
	}
	return nil // an index page
}

func (r *pageReader) dictionaryPage(h *format.PageHeader) error {
	data, err := r.unpack(r.packed)
	if err != nil {
		return err
	}
	r.dictionary, err = r.plain(nil, bytes.Clone(data), int(h.DictionaryPageHeader.V.NumValues))
	return err
}

func (r *pageReader) pageV1(h *format.DataPageHeader) error {
	data, err := r.unpack(r.packed)
	if err != nil {
		return err
	}
	if !r.optional {
		return r.decode(h.Encoding, data, int(h.NumValues))
	}
	if h.DefinitionLevelEncoding != format.RLE {
		return fmt.Errorf("levels are encoded as %v, which is not read", h.DefinitionLevelEncoding)
	}
	levels, data, err := lengthFirst(data)
	if err != nil {
		return err
	}
	return r.decodeOptional(h.Encoding, levels, data, int(h.NumValues))
}

func (r *pageReader) pageV2(h *format.DataPageHeaderV2) error {
	levels, repeated := int(h.DefinitionLevelsByteLength), int(h.RepetitionLevelsByteLength)
	if levels < 0 || repeated < 0 || levels > len(r.packed) || repeated > len(r.packed)-levels {
		return fmt.Errorf("levels of %d and %d bytes in a page of %d: the file is damaged", repeated, levels, len(r.packed))
	}
	data := r.packed[repeated+levels:]
	if packed := h.IsCompressed; !packed.Valid || packed.V {
		var err error
		if data, err = r.unpack(data); err != nil {
			return err
		}
	}
	if !r.optional {
		return r.decode(h.Encoding, data, int(h.NumValues))
	}
	return r.decodeOptional(h.Encoding, r.packed[repeated:repeated+levels], data, int(h.NumValues))
}

// lengthFirst cuts data after as many bytes as the number before them says.
func lengthFirst(data []byte) (first, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; n > int64(len(data)) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return data[:n], data[n:], nil
}

// unpackZstd is one decoder for all: it keeps nothing of a page.
var unpackZstd = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage))
})

// unpack gives a page's bytes, no more than maxPage of them, which hold until the next.
func (r *pageReader) unpack(data []byte) (unpacked []byte, err error) {
	switch r.codec {
	case format.Uncompressed:
		return data, nil
	case format.Snappy:
		n, err := snappy.DecodedLen(data)
		if err != nil {
			return nil, err
		}
		if n > maxPage {
			return nil, fmt.Errorf("a page of %d bytes unpacked: want at most %d", n, maxPage)
		}
		r.unpacked, err = snappy.Decode(slices.Grow(r.unpacked[:0], n)[:n], data)
		return r.unpacked, err
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		b := bytes.NewBuffer(r.unpacked[:0])
		_, err = b.ReadFrom(io.LimitReader(z, maxPage+1))
		r.unpacked = b.Bytes()
		if err == nil && len(r.unpacked) > maxPage {
			err = fmt.Errorf("a page of more than %d bytes unpacked", maxPage)
		}
		return r.unpacked, err
	case format.Zstd:
		z, err := unpackZstd()
		if err != nil {
			return nil, err
		}
		r.unpacked, err = z.DecodeAll(data, r.unpacked[:0])
		return r.unpacked, err
	}
	return nil, unreadable(r.codec)
}

func unreadable(codec format.CompressionCodec) error {
	return fmt.Errorf("compressed with %v: write it with zstd, snappy, gzip or without compression", codec)
}

// decodeOptional reads which of n rows have a value, and these.
func (r *pageReader) decodeOptional(encoding format.Encoding, levels, data []byte, n int) (err error) {
	if r.present, err = hybrid(r.present[:0], levels, 1, n); err != nil {
		return fmt.Errorf("levels: %w", err)
	}
	count := 0
	for _, p := range r.present {
		count += int(p)
	}
	if err := r.decode(encoding, data, count); err != nil {
		return err
	}
	r.values = slices.Grow(r.values, n-count)[:n]
	for i := n - 1; i >= 0; i-- { // from the end: values move up
		if r.present[i] == 0 {
			r.values[i] = value{}
			continue
		}
		count--
		r.values[i] = r.values[count]
	}
	return nil
}

// decode reads n values.
func (r *pageReader) decode(encoding format.Encoding, data []byte, n int) (err error) {
	if n == 0 {
		r.values = r.values[:0]
		return nil
	}
	switch encoding {
	case format.Plain:
		r.values, err = r.plain(r.values[:0], data, n)
	case plainDictionary, format.RLEDictionary:
		err = r.fromDictionary(data, n)
	case format.RLE:
		err = r.runs(data, n)
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray, format.DeltaByteArray:
		err = r.deltas(encoding, data, n)
	case format.ByteStreamSplit:
		size := map[format.Type]int{format.Float: 4, format.Int32: 4, format.Double: 8, format.Int64: 8}[r.kind]
		if size == 0 || len(data) < size*n {
			return io.ErrUnexpectedEOF
		}
		joined := make([]byte, size*n)
		for i := range n {
			for j := range size {
				joined[i*size+j] = data[j*n+i]
			}
		}
		r.values, err = r.plain(r.values[:0], joined, n)
	default:
		err = fmt.Errorf("values are encoded as %v, which is not read", encoding)
	}
	return err
}

func (r *pageReader) fromDictionary(data []byte, n int) (err error) {
	if len(data) == 0 || data[0] > 32 {
		return errors.New("indexes of no width: the file is damaged")
	}
	if r.indexes, err = hybrid(r.indexes[:0], data[1:], uint(data[0]), n); err != nil {
		return err
	}
	r.values = r.values[:0]
	for _, i := range r.indexes {
		if i < 0 || int(i) >= len(r.dictionary) {
			return fmt.Errorf("value %d of a dictionary of %d: the file is damaged", i, len(r.dictionary))
		}
		r.values = append(r.values, r.dictionary[i])
	}
	return nil
}

// runs reads flags.
func (r *pageReader) runs(data []byte, n int) error {
	if r.kind != format.Boolean {
		return fmt.Errorf("%v in runs, which is not read", r.kind)
	}
	data, _, err := lengthFirst(data)
	if err != nil {
		return err
	}
	if r.indexes, err = hybrid(r.indexes[:0], data, 1, n); err != nil {
		return err
	}
	r.values = r.values[:0]
	for _, i := range r.indexes {
		r.values = append(r.values, booleanValue(i == 1))
	}
	return nil
}

// deltas reads numbers by their differences, or texts by their lengths, or by what they
// share with the one before.
func (r *pageReader) deltas(encoding format.Encoding, data []byte, n int) error {
	numbers, data, err := differences(data, n)
	if err != nil {
		return err
	}
	r.values = r.values[:0]
	switch {
	case encoding == format.DeltaBinaryPacked && (r.kind == format.Int32 || r.kind == format.Int64):
		for _, v := range numbers {
			if r.kind == format.Int32 {
				v = int64(uint32(v))
			}
			r.values = append(r.values, valueOf(r.kind, uint64(v)))
		}
	case encoding == format.DeltaLengthByteArray && r.kind == format.ByteArray:
		return r.texts(make([]int64, n), numbers, data)
	case encoding == format.DeltaByteArray && r.kind == format.ByteArray:
		lengths, data, err := differences(data, n)
		if err != nil {
			return err
		}
		return r.texts(numbers, lengths, data)
	default:
		return fmt.Errorf("%v encoded as %v, which is not read", r.kind, encoding)
	}
	return nil
}

// texts reads texts that begin as the one before does, for so many bytes, and go on for
// others.
func (r *pageReader) texts(shared, lengths []int64, data []byte) error {
	var before []byte
	total := 0
	for i, n := range lengths {
		if n < 0 || n > int64(len(data)) || shared[i] < 0 || shared[i] > int64(len(before)) {
			return io.ErrUnexpectedEOF
		}
		text := data[:n:n]
		if shared[i] > 0 {
			if total += int(shared[i] + n); total > maxPage {
				return fmt.Errorf("texts of more than %d bytes in a page", maxPage)
			}
			text = slices.Concat(before[:shared[i]], text)
		}
		r.values, before, data = append(r.values, bytesValue(format.ByteArray, text)), text, data[n:]
	}
	return nil
}

// differences reads n numbers: the first, and blocks of what is added each time, in parts
// of so many bits. rest is what follows.
func differences(data []byte, n int) (numbers []int64, rest []byte, err error) {
	var head [4]uint64 // values of a block, its parts, values, the first
	for i := range head {
		v, size := binary.Uvarint(data)
		if size <= 0 {
			return nil, nil, io.ErrUnexpectedEOF
		}
		head[i], data = v, data[size:]
	}
	block, parts := head[0], head[1]
	if head[2] != uint64(n) || block == 0 || block > maxPageValues || parts == 0 || block%parts != 0 || block/parts%8 != 0 {
		return nil, nil, fmt.Errorf("%d values in a page of %d, in blocks of %d in %d parts: the file is damaged", head[2], n, block, parts)
	}
	last := int64(head[3]>>1) ^ -int64(head[3]&1)
	numbers = append(numbers, last)
	for len(numbers) < n {
		least, size := binary.Varint(data)
		if size <= 0 || uint64(len(data)-size) < parts {
			return nil, nil, io.ErrUnexpectedEOF
		}
		widths := data[size:][:parts]
		data = data[size+int(parts):]
		for _, width := range widths {
			if len(numbers) == n {
				break // parts without values may be missing
			}
			bytes := block / parts / 8 * uint64(width)
			if width > 64 || bytes > uint64(len(data)) {
				return nil, nil, io.ErrUnexpectedEOF
			}
			for i := range min(int(block/parts), n-len(numbers)) {
				last += least + int64(bits(data, i*int(width), int(width)))
				numbers = append(numbers, last)
			}
			data = data[bytes:]
		}
	}
	return numbers, data, nil
}

// bits is the number of so many bits, the lowest first, at a place in bits.
func bits(data []byte, at, width int) uint64 {
	v := uint64(0)
	for done := 0; done < width; {
		b := uint64(data[(at+done)/8]) >> ((at + done) % 8)
		v |= b << done
		done += 8 - (at+done)%8
	}
	if width < 64 {
		v &= 1<<width - 1
	}
	return v
}

// plain appends n values that lie one after the other; they point into data, whose end
// may be of no meaning.
func (r *pageReader) plain(values []value, data []byte, n int) ([]value, error) {
	size := 0
	switch r.kind {
	case format.Boolean:
		if len(data) < (n+7)/8 {
			return nil, io.ErrUnexpectedEOF
		}
		for i := range n {
			values = append(values, booleanValue(data[i/8]>>(i%8)&1 == 1))
		}
		return values, nil
	case format.ByteArray:
		for range n {
			text, rest, err := lengthFirst(data)
			if err != nil {
				return nil, err
			}
			values, data = append(values, bytesValue(format.ByteArray, text)), rest
		}
		return values, nil
	case format.Int32, format.Float:
		size = 4
	case format.Int64, format.Double:
		size = 8
	case format.Int96:
		size = 12
	case format.FixedLenByteArray:
		size = r.length
	}
	if size <= 0 || len(data)/size < n {
		return nil, io.ErrUnexpectedEOF
	}
	for i := range n {
		values = append(values, fixed(r.kind, data[i*size:][:size]))
	}
	return values, nil
}

// hybrid appends n numbers of so many bits: runs of one number, and groups of eight that
// are packed, each with its length first. What follows them has no meaning.
func hybrid(dst []int32, data []byte, width uint, n int) ([]int32, error) {
	bytesOf := int(width+7) / 8
	for len(dst) < n {
		head, size := binary.Uvarint(data)
		if size <= 0 {
			return nil, io.ErrUnexpectedEOF
		}
		data = data[size:]
		left, count := uint64(n-len(dst)), head>>1
		if head&1 == 0 {
			if len(data) < bytesOf {
				return nil, io.ErrUnexpectedEOF
			}
			v := uint64(0)
			for i, b := range data[:bytesOf] {
				v |= uint64(b) << (8 * i)
			}
			if v>>width != 0 {
				return nil, fmt.Errorf("a run of %d in %d bits: the file is damaged", v, width)
			}
			data = data[bytesOf:]
			for range min(count, left) {
				dst = append(dst, int32(v))
			}
			continue
		}
		if count > uint64(len(data)) && width > 0 { // the last group may be cut
			count = uint64(len(data))
		}
		var packed uint64
		var bits uint
		for range min(8*count, left) {
			for bits < width {
				if len(data) == 0 {
					return nil, io.ErrUnexpectedEOF
				}
				packed |= uint64(data[0]) << bits
				data, bits = data[1:], bits+8
			}
			dst = append(dst, int32(packed&(1<<width-1)))
			packed, bits = packed>>width, bits-width
		}
	}
	return dst, nil
}

// unexpected names the end of a file that should go on.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
