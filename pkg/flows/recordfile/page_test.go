package recordfile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// page is a data page of n values, version 1.
func page(t testing.TB, encoding format.Encoding, n int, unpacked int, data []byte) []byte {
	t.Helper()
	h := &format.PageHeader{Type: format.DataPage, CompressedPageSize: int32(len(data)), UncompressedPageSize: int32(unpacked)}
	h.DataPageHeader.Valid = true
	h.DataPageHeader.V = format.DataPageHeader{NumValues: int32(n), Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE}
	return append(header(t, h), data...)
}

// dictionary is a dictionary page of n values.
func dictionary(t testing.TB, n int, data []byte) []byte {
	t.Helper()
	h := &format.PageHeader{Type: format.DictionaryPage, CompressedPageSize: int32(len(data)), UncompressedPageSize: int32(len(data))}
	h.DictionaryPageHeader.Valid = true
	h.DictionaryPageHeader.V = format.DictionaryPageHeader{NumValues: int32(n), Encoding: format.Plain}
	return append(header(t, h), data...)
}

func header(t testing.TB, h *format.PageHeader) []byte {
	t.Helper()
	text, err := thrift.Marshal(new(thrift.CompactProtocol), h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// values reads n values of a column's bytes, from a row on, as text.
func values(c pageColumn, chunk []byte, from int64, n int) (list []string, err error) {
	var r pageReader
	r.open(bytes.NewReader(chunk), &format.ColumnMetaData{Codec: c.codec, TotalCompressedSize: int64(len(chunk))}, c)
	err = r.read(from, n, func(_ int, v value) error {
		list = append(list, v.String())
		return nil
	})
	return list, err
}

// texts lie one after the other, each after its length.
func texts(list ...string) (b []byte) {
	for _, s := range list {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}

// lengthThen is b after its length.
func lengthThen(b ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func TestPageValues(t *testing.T) {
	runOf := func(n uint64, v byte) []byte { return append(binary.AppendUvarint(nil, n<<1), v) }
	text, number := pageColumn{kind: format.ByteArray}, pageColumn{kind: format.Int32}
	optional := pageColumn{kind: format.ByteArray, optional: true}
	delta := func(n uint64, first int64, least int64, widths []byte, packed ...byte) []byte {
		b := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 32), 4), n)
		b = binary.AppendVarint(binary.AppendVarint(b, first), least)
		return append(append(b, widths...), packed...)
	}
	for _, tt := range []struct {
		name    string
		c       pageColumn
		chunk   []byte
		from, n int
		want    string
	}{
		{"texts", text, page(t, format.Plain, 2, 20, texts("ab", "c")), 0, 2, "ab c"},
		{"with what fills the page", text, page(t, format.Plain, 2, 20, append(texts("ab", "c"), make([]byte, 8)...)), 0, 2, "ab c"},
		{"of several pages", text, slices.Concat(page(t, format.Plain, 2, 20, texts("a", "b")), page(t, format.Plain, 3, 20, texts("c", "d", "e"))), 1, 3, "b c d"},
		{"from a later page on", text, slices.Concat(page(t, format.Plain, 2, 20, texts("a", "b")), page(t, format.Plain, 3, 20, texts("c", "d", "e"))), 3, 2, "d e"},
		{"some missing", optional, page(t, format.Plain, 4, 20, append(lengthThen(0x03, 0b0101), texts("a", "b")...)), 0, 4, "a <null> b <null>"},
		{"levels for more rows than there are", optional, page(t, format.Plain, 3, 20, append(lengthThen(runOf(1<<30, 1)...), texts("a", "b", "c")...)), 0, 3, "a b c"},
		{"of a dictionary", text, slices.Concat(dictionary(t, 2, texts("x", "y")), page(t, format.RLEDictionary, 5, 9, append([]byte{1}, slices.Concat(runOf(3, 1), runOf(1<<31, 0))...))), 0, 5, "y y y x x"},
		{"of a dictionary, packed", text, slices.Concat(dictionary(t, 3, texts("x", "y", "z")), page(t, plainDictionary, 3, 9, []byte{2, 0x03, 0b100100})), 0, 3, "x y z"},
		{"differences", number, page(t, format.DeltaBinaryPacked, 4, 20, delta(4, 7, -2, []byte{2, 0, 0, 0}, 0b100001, 0)), 0, 4, "7 6 4 4"},
		{"lengths", text, page(t, format.DeltaLengthByteArray, 2, 20, append(delta(2, 1, 1, []byte{0, 0, 0, 0}), "abc"...)), 0, 2, "a bc"},
		{"shared beginnings", text, page(t, format.DeltaByteArray, 2, 20, slices.Concat(delta(2, 0, 1, []byte{0, 0, 0, 0}), delta(2, 2, -1, []byte{0, 0, 0, 0}), []byte("abc"))), 0, 2, "ab ac"},
		{"flags", pageColumn{kind: format.Boolean}, page(t, format.Plain, 3, 1, []byte{0b101}), 0, 3, "true false true"},
		{"flags in runs", pageColumn{kind: format.Boolean}, page(t, format.RLE, 3, 9, lengthThen(runOf(3, 1)...)), 0, 3, "true true true"},
		{"bytes apart", number, page(t, format.ByteStreamSplit, 2, 8, []byte{1, 2, 0, 1, 0, 0, 0, 0}), 0, 2, "1 258"},
	} {
		got, err := values(tt.c, tt.chunk, int64(tt.from), tt.n)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

// However much a page claims, or unpacks to, memory stays within bounds, and the page is
// an error.
func TestPageBounds(t *testing.T) {
	zeros := make([]byte, maxPage+1)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(zeros); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	small := encoder.EncodeAll(zeros, nil)
	many := bytes.Repeat(small, 50) // each within a few kilobytes
	number := pageColumn{kind: format.Int32}
	with := func(codec format.CompressionCodec) pageColumn { return pageColumn{kind: format.Int32, codec: codec} }
	statistics := &format.PageHeader{Type: format.DataPage, CompressedPageSize: 8, UncompressedPageSize: 8}
	statistics.DataPageHeader.Valid = true
	statistics.DataPageHeader.V = format.DataPageHeader{NumValues: 2, Statistics: format.Statistics{Max: bytes.Repeat([]byte{7}, 40)}}
	claim := header(t, statistics)
	at := bytes.Index(claim, append([]byte{40}, 7, 7, 7))
	claim = slices.Concat(claim[:at], binary.AppendUvarint(nil, math.MaxInt32), claim[at+1:])
	for _, tt := range []struct {
		name  string
		c     pageColumn
		chunk []byte
	}{
		{"unpacked size", with(format.Gzip), page(t, format.Plain, 2, math.MaxInt32, zipped.Bytes()[:64])},
		{"number of values", number, page(t, format.Plain, math.MaxInt32, 8, make([]byte, 8))},
		{"gzip", with(format.Gzip), page(t, format.Plain, 2, 8, zipped.Bytes())},
		{"zstd", with(format.Zstd), page(t, format.Plain, 2, 8, small)},
		{"zstd, many frames", with(format.Zstd), page(t, format.Plain, 2, 8, many)},
		{"snappy", with(format.Snappy), page(t, format.Plain, 2, 8, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})},
		{"differences", number, page(t, format.DeltaBinaryPacked, 2, 8, []byte{0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 7, 0})},
		{"statistics", number, claim},
		{"indexes beyond the dictionary", number, page(t, format.RLEDictionary, 2, 8, []byte{1, 4, 1})},
		{"levels of more than 1", pageColumn{kind: format.ByteArray, optional: true}, slices.Concat(dictionary(t, 1, texts("a")),
			page(t, format.RLEDictionary, 1<<16, 9, slices.Concat(lengthThen(append(binary.AppendUvarint(nil, 1<<17), 255)...), []byte{0}, binary.AppendUvarint(nil, 1<<40))))},
		{"negative size", number, header(t, &format.PageHeader{Type: format.DataPage, CompressedPageSize: -1})},
		{"another codec", with(format.Brotli), page(t, format.Plain, 2, 8, make([]byte, 8))},
		{"an end too soon", number, page(t, format.Plain, 1, 4, make([]byte, 4))},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := values(tt.c, tt.chunk, 0, 2)
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; err == nil || taken > 6*maxPage {
			t.Errorf("%s: took %d bytes, error %v", tt.name, taken, err)
		}
	}
}

// FuzzPage: whatever the bytes of a column are, reading ends, without a panic, in the
// values asked for or an error.
func FuzzPage(f *testing.F) {
	for _, kind := range []format.Type{format.Boolean, format.Int32, format.ByteArray} {
		for _, encoding := range []format.Encoding{format.Plain, format.RLE, format.RLEDictionary, format.DeltaBinaryPacked, format.DeltaLengthByteArray, format.DeltaByteArray, format.ByteStreamSplit} {
			data := []byte{2, 0, 0, 0, 3, 5, 32, 4, 3, 2, 1, 0, 0, 0, 0, 9}
			f.Add(uint8(0), uint8(kind), true, slices.Concat(dictionary(f, 1, texts("a")), page(f, encoding, 3, 16, data)))
			f.Add(uint8(0), uint8(kind), false, page(f, encoding, 3, 16, data))
		}
	}
	f.Fuzz(func(t *testing.T, codec, kind uint8, optional bool, chunk []byte) {
		const n = 4
		c := pageColumn{codec: format.CompressionCodec(codec % 8), kind: format.Type(kind % 8), length: 3, optional: optional}
		got, err := values(c, chunk, 1, n)
		if err == nil && len(got) != n {
			t.Error(fmt.Errorf("%d values of %d, and no error", len(got), n))
		}
	})
}
