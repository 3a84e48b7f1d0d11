package recordfile

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"unsafe"

	"github.com/parquet-go/parquet-go/format"
)

// value is a value of a column, or its lack (the zero value). Millions are in memory at
// once: a number is in n, other values are n bytes from data on.
type value struct {
	data *byte
	n    uint64
	kind int8 // as in a file's schema, and one; 0: null
}

func valueOf(kind format.Type, n uint64) value { return value{kind: int8(kind) + 1, n: n} }

// bytesValue is a value that lies in b, which must stay as it is.
func bytesValue(kind format.Type, b []byte) value {
	return value{kind: int8(kind) + 1, n: uint64(len(b)), data: unsafe.SliceData(b)}
}

func booleanValue(v bool) value {
	if v {
		return valueOf(format.Boolean, 1)
	}
	return valueOf(format.Boolean, 0)
}

func int32Value(v int32) value { return valueOf(format.Int32, uint64(uint32(v))) }
func int64Value(v int64) value { return valueOf(format.Int64, uint64(v)) }

// is reports whether it is of the kind, and not null.
func (v value) is(kind format.Type) bool { return v.kind == int8(kind)+1 }

func (v value) isNull() bool { return v.kind == 0 }

// isText reports whether it is bytes, and not null.
func (v value) isText() bool { return v.is(format.ByteArray) || v.is(format.FixedLenByteArray) }

func (v value) bytes() []byte { return unsafe.Slice(v.data, v.n) }

// float is a Float or a Double.
func (v value) float() float64 {
	if v.is(format.Float) {
		return float64(math.Float32frombits(uint32(v.n)))
	}
	return math.Float64frombits(v.n)
}

// String is the value as text.
func (v value) String() string {
	switch {
	case v.isNull():
		return "<null>"
	case v.is(format.Boolean):
		return strconv.FormatBool(v.n == 1)
	case v.is(format.Int32):
		return strconv.Itoa(int(int32(v.n)))
	case v.is(format.Int64):
		return strconv.FormatInt(int64(v.n), 10)
	case v.is(format.Float):
		return strconv.FormatFloat(v.float(), 'g', -1, 32)
	case v.is(format.Double):
		return strconv.FormatFloat(v.float(), 'g', -1, 64)
	}
	if v.is(format.Int96) {
		return hex.EncodeToString(v.bytes())
	}
	return string(v.bytes())
}

// fixed is a value whose size is that of its kind.
func fixed(kind format.Type, b []byte) value {
	switch kind {
	case format.Int32, format.Float:
		return valueOf(kind, uint64(binary.LittleEndian.Uint32(b)))
	case format.Int64, format.Double:
		return valueOf(kind, binary.LittleEndian.Uint64(b))
	}
	return bytesValue(kind, b)
}
