package recordfile

// This file writes parquet: columns of required values, plain, in pages that zstd packs.

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// chunkWriter writes rows, each value to its column.
type chunkWriter struct {
	w       io.Writer
	at      int64 // bytes written
	pack    *zstd.Encoder
	packed  []byte // a page, used again
	columns []chunk
	next    int // column of the row that is being written
	rows    int64
	footer  format.FileMetaData
}

// chunk is a column's part of a row group.
type chunk struct {
	kind   format.Type
	values []byte // of the page that is being filled
	count  int    // of these
	total  int64
	pages  bytes.Buffer // whole ones, packed
	size   int64        // of pages before they were packed, with their headers
}

// newChunkWriter starts a file whose schema is a root and a column each.
func newChunkWriter(w io.Writer, schema []format.SchemaElement, creator string, metadata map[string]string) chunkWriter {
	c := chunkWriter{w: w, columns: make([]chunk, len(schema)-1)}
	for i := range c.columns {
		c.columns[i].kind = schema[i+1].Type.V
	}
	c.footer = format.FileMetaData{Version: 1, Schema: schema, CreatedBy: creator}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		c.footer.KeyValueMetadata = append(c.footer.KeyValueMetadata, format.KeyValue{Key: key, Value: metadata[key]})
	}
	return c
}

// row begins a row; its values follow in the order of the columns.
func (c *chunkWriter) row() *chunkWriter {
	c.next = 0
	return c
}

// column is that of the row's next value.
func (c *chunkWriter) column() *chunk {
	col := &c.columns[c.next]
	c.next++
	col.count++
	return col
}

func (c *chunkWriter) text(s string) {
	col := c.column()
	col.values = append(binary.LittleEndian.AppendUint32(col.values, uint32(len(s))), s...)
}

func (c *chunkWriter) number(v int32) {
	col := c.column()
	col.values = binary.LittleEndian.AppendUint32(col.values, uint32(v))
}

func (c *chunkWriter) long(v int64) {
	col := c.column()
	col.values = binary.LittleEndian.AppendUint64(col.values, uint64(v))
}

func (c *chunkWriter) flag(v bool) {
	col := c.column()
	bit := (col.count - 1) % 8
	if bit == 0 {
		col.values = append(col.values, 0)
	}
	if v {
		col.values[len(col.values)-1] |= 1 << bit
	}
}

// end ends a row, and the pages and the row group that are full.
func (c *chunkWriter) end() error {
	c.rows++
	for i := range c.columns {
		if len(c.columns[i].values) >= parquetPage {
			if err := c.page(&c.columns[i]); err != nil {
				return err
			}
		}
	}
	if c.rows == parquetRowGroup {
		return c.group()
	}
	return nil
}

// page packs what is in a column.
func (c *chunkWriter) page(col *chunk) error {
	if col.count == 0 {
		return nil
	}
	if c.pack == nil {
		var err error
		c.pack, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return err
		}
	}
	packed := c.pack.EncodeAll(col.values, c.packed[:0])
	c.packed = packed
	header := &format.PageHeader{
		Type: format.DataPage, UncompressedPageSize: int32(len(col.values)), CompressedPageSize: int32(len(packed)),
		CRC: int32(crc32.ChecksumIEEE(packed)),
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: int32(col.count), Encoding: format.Plain, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}),
	}
	text, err := thrift.Marshal(new(thrift.CompactProtocol), header)
	if err != nil {
		return err
	}
	col.pages.Write(text)
	col.pages.Write(packed)
	col.size += int64(len(text) + len(col.values))
	col.total += int64(col.count)
	col.values, col.count = col.values[:0], 0
	return nil
}

// group writes a row group.
func (c *chunkWriter) group() error {
	if err := c.begin(); err != nil || c.rows == 0 {
		return err
	}
	g := format.RowGroup{NumRows: c.rows, FileOffset: c.at, Ordinal: int16(len(c.footer.RowGroups))}
	for i := range c.columns {
		col := &c.columns[i]
		if err := c.page(col); err != nil {
			return err
		}
		m := format.ColumnMetaData{
			Type: col.kind, Encoding: []format.Encoding{format.Plain, format.RLE}, PathInSchema: []string{c.footer.Schema[i+1].Name},
			Codec: format.Zstd, NumValues: col.total, TotalUncompressedSize: col.size, TotalCompressedSize: int64(col.pages.Len()), DataPageOffset: c.at,
		}
		g.Columns = append(g.Columns, format.ColumnChunk{FileOffset: c.at, MetaData: m})
		g.TotalByteSize += col.size
		g.TotalCompressedSize += m.TotalCompressedSize
		if err := c.write(col.pages.Bytes()); err != nil {
			return err
		}
		col.pages.Reset()
		col.size, col.total = 0, 0
	}
	c.footer.RowGroups = append(c.footer.RowGroups, g)
	c.footer.NumRows += c.rows
	c.rows = 0
	return nil
}

// begin writes the file's first bytes.
func (c *chunkWriter) begin() error {
	if c.at > 0 {
		return nil
	}
	return c.write([]byte(magic))
}

func (c *chunkWriter) write(b []byte) error {
	n, err := c.w.Write(b)
	c.at += int64(n)
	return err
}

// close writes what is left, and the description.
func (c *chunkWriter) close() error {
	if err := c.group(); err != nil {
		return err
	}
	text, err := thrift.Marshal(new(thrift.CompactProtocol), &c.footer)
	if err != nil {
		return err
	}
	text = binary.LittleEndian.AppendUint32(text, uint32(len(text)))
	return c.write(append(text, magic...))
}
