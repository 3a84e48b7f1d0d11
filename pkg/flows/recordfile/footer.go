package recordfile

// This file reads what a parquet file says of itself at its end.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// magic is what a parquet file begins and ends with.
const magic = "PAR1"

// maxNesting is how deep groups of columns may lie in each other.
const maxNesting = 64

// readFooter reads the description at the end of a file of so many bytes.
func readFooter(file io.ReaderAt, size int64) (*format.FileMetaData, error) {
	var ends [12]byte
	if size < int64(len(ends)) {
		return nil, fmt.Errorf("%d bytes are no parquet file", size)
	}
	if _, err := file.ReadAt(ends[:4], 0); err != nil {
		return nil, err
	}
	if _, err := file.ReadAt(ends[4:], size-8); err != nil {
		return nil, err
	}
	if string(ends[:4]) != magic || string(ends[8:]) != magic {
		return nil, fmt.Errorf("it begins with %q and ends with %q, not with %s", ends[:4], ends[8:], magic)
	}
	length := int64(binary.LittleEndian.Uint32(ends[4:]))
	if length > size-int64(len(ends)) {
		return nil, fmt.Errorf("a description of %d bytes in a file of %d: it is damaged", length, size)
	}
	text := make([]byte, length)
	if _, err := file.ReadAt(text, size-8-length); err != nil {
		return nil, err
	}
	m := &format.FileMetaData{}
	in := boundedReader{new(thrift.CompactProtocol).NewReaderFromBytes(text), len(text)}
	if err := thrift.NewDecoder(in).Decode(m); err != nil {
		return nil, fmt.Errorf("its description: %w", err)
	}
	return m, nil
}

// boundedReader reads thrift of so many bytes. The decoder makes room for as many items
// as a list claims, before it reads the first one.
type boundedReader struct {
	reader
	length int
}

// reader is embedded under a name that is not that of one of its methods.
type reader = thrift.Reader

// ReadList implements thrift.Reader. An item has a byte at least.
func (r boundedReader) ReadList() (thrift.List, error) {
	l, err := r.reader.ReadList()
	if left := r.length - r.BytesRead(); err == nil && int(l.Size) > left {
		err = fmt.Errorf("a list of %d items in %d bytes: it is damaged", l.Size, left)
	}
	return l, err
}

// leaf is a column of a file.
type leaf struct {
	format.SchemaElement
	top      string // the name of its outermost group, or its own
	depth    int    // 1: in no group
	optional bool   // some rows may have no value
	repeated bool   // a row may have several
}

// leaves are the columns of a file, in order; every row group has a part of each.
func leaves(m *format.FileMetaData) (list []leaf, err error) {
	if len(m.Schema) == 0 {
		return nil, errors.New("no schema")
	}
	next := 1
	for range m.Schema[0].NumChildren.V {
		if list, next, err = appendLeaves(list, m.Schema, next, leaf{}); err != nil {
			return nil, err
		}
	}
	for i := range m.RowGroups {
		if n := len(m.RowGroups[i].Columns); n != len(list) {
			return nil, fmt.Errorf("row group %d has %d columns, the schema %d: it is damaged", i, n, len(list))
		}
	}
	return list, nil
}

// appendLeaves appends the columns of the schema's i-th element, which lies in a group.
func appendLeaves(list []leaf, schema []format.SchemaElement, i int, group leaf) (_ []leaf, next int, err error) {
	if i >= len(schema) || group.depth == maxNesting {
		return nil, 0, errors.New("a schema that does not end, or is too deep: it is damaged")
	}
	l := leaf{SchemaElement: schema[i], top: group.top, depth: group.depth + 1, optional: group.optional, repeated: group.repeated}
	if l.depth == 1 {
		l.top = l.Name
	}
	if l.RepetitionType.Valid {
		l.optional = l.optional || l.RepetitionType.V != format.Required
		l.repeated = l.repeated || l.RepetitionType.V == format.Repeated
	}
	if l.Type.Valid {
		return append(list, l), i + 1, nil
	}
	next = i + 1
	for range l.NumChildren.V {
		if list, next, err = appendLeaves(list, schema, next, l); err != nil {
			return nil, 0, err
		}
	}
	return list, next, nil
}

// timeUnit is the unit of a column of times: a number's is the microsecond.
func (l *leaf) timeUnit() time.Duration {
	if stamp, ok := l.LogicalType.Value.(*format.TimestampType); ok {
		return stamp.Unit.Value.Duration()
	}
	if l.ConvertedType.Valid && l.ConvertedType.V == deprecated.TimestampMillis {
		return time.Millisecond
	}
	return time.Microsecond
}

// foreign names what a column holds that its numbers are not: they would be read wrongly.
func (l *leaf) foreign() string {
	old := l.ConvertedType.V // UTF8 where there is none
	_, date := l.LogicalType.Value.(*format.DateType)
	_, clock := l.LogicalType.Value.(*format.TimeType)
	decimal, ok := l.LogicalType.Value.(*format.DecimalType)
	switch {
	case date || old == deprecated.Date:
		return "dates"
	case clock || old == deprecated.TimeMillis || old == deprecated.TimeMicros:
		return "times of day"
	case ok && decimal.Scale != 0 || old == deprecated.Decimal && l.Scale.V != 0:
		return "decimal fractions"
	}
	return ""
}

// isUnsigned reports whether a column's numbers of 32 bits have no sign.
func (l *leaf) isUnsigned() bool {
	if i, ok := l.LogicalType.Value.(*format.IntType); ok {
		return !i.IsSigned
	}
	switch l.ConvertedType.V {
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32:
		return l.ConvertedType.Valid
	}
	return false
}
