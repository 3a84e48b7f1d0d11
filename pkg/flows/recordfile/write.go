package recordfile

// This file writes records in the layout of the published customFlow data set
// (github.com/ArunanSivanathan/customFlow).

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Columns of a records file. The groups P00_TO.., P00_PS.., P00_D.. (offset,
// size and direction of each packet) and C_000.. (payload section) follow.
const (
	colDevice     = "Device"
	colFirstSeen  = "FirstSeen"
	colRemote     = "RemIP"
	colProto      = "Proto"
	colDevPort    = "DevPort"
	colRemPort    = "RemPort"
	colBytes      = "TotalFlowSize"
	colPackets    = "PacketCount"
	colLabel      = "Label"
	colUnit       = "Unit"
	colCapture    = "Capture"
	colSplit      = "Split"
	colIncomplete = "Incomplete"
)

// Sizes that keep writing and reading of more than 3,000 columns small in memory. A
// reader keeps a description of every column of every row group.
const (
	parquetPage     = 1 << 12
	parquetRowGroup = 1 << 16
	parquetBlock    = 1 << 15 // rows that are put together at once
	parquetOrdered  = 1 << 16 // rows that are kept at once to put them in order
	parquetRows     = 1 << 23 // rows of a file whose order has to be looked at
)

// recordColumns is the order of a records file's columns.
func recordColumns() []string {
	names := []string{colDevice, colFirstSeen, colRemote, colProto, colDevPort, colRemPort, colBytes, colPackets}
	for _, group := range []string{"TO", "PS", "D"} {
		for i := range flows.RowPackets {
			names = append(names, fmt.Sprintf("P%02d_%s", i, group))
		}
	}
	for i := range flows.PayloadTokens {
		names = append(names, fmt.Sprintf("C_%03d", i))
	}
	return append(names, colLabel, colUnit, colCapture, colSplit, colIncomplete)
}

// recordSchema is the schema of a records file: a root, and a column each.
func recordSchema() []format.SchemaElement {
	columns := recordColumns()
	schema := []format.SchemaElement{{Name: "records", NumChildren: thrift.New(int32(len(columns)))}}
	for _, name := range columns {
		e := format.SchemaElement{Name: name, RepetitionType: thrift.New(format.Required)}
		switch columnOf(name).name {
		case colDevice, colRemote, colLabel, colUnit, colCapture, colSplit:
			e.Type, e.ConvertedType = thrift.New(format.ByteArray), thrift.New(deprecated.UTF8)
			e.LogicalType.Value = &format.StringType{}
		case colIncomplete:
			e.Type = thrift.New(format.Boolean)
		case colFirstSeen, colBytes, colPackets, "PS": // a size has 32 bits and may be missing
			wholeNumber(&e, 64)
		case "C":
			wholeNumber(&e, 16)
		default:
			wholeNumber(&e, 32)
		}
		schema = append(schema, e)
	}
	return schema
}

// wholeNumber makes a column one of whole numbers of so many bits.
func wholeNumber(e *format.SchemaElement, bits int8) {
	e.Type, e.ConvertedType = thrift.New(format.Int32), thrift.New(deprecated.Int32)
	switch bits {
	case 16:
		e.ConvertedType.V = deprecated.Int16
	case 64:
		e.Type.V, e.ConvertedType.V = format.Int64, deprecated.Int64
	}
	e.LogicalType.Value = &format.IntType{BitWidth: bits, IsSigned: true}
}

// SpecKey is the key of a records file's metadata that says, in JSON, how the
// records were made.
const SpecKey = "iotsense.record"

// Spec is how the metadata of a records file say that its records were made.
// ok is false where they say nothing, as in the published files: these are the
// paper's, in a direction that is not known.
func Spec(metadata map[string]string) (spec flows.RecordSpec, ok bool) {
	var named struct {
		flows.RecordSpec
		Direction *flows.Direction `json:"direction"` // tells none from bi
	}
	if json.Unmarshal([]byte(metadata[SpecKey]), &named) != nil || named.Direction == nil {
		return flows.DefaultRecordSpec(), false
	}
	spec = named.RecordSpec.WithDefaults()
	spec.Direction = *named.Direction
	return spec, true
}

// recordsWriter is the application that files of Writer name as their creator.
const recordsWriter = "iotsense"

// Writer writes records to a parquet file.
type Writer struct {
	chunks chunkWriter
	tokens []int16
}

// NewWriter starts a records file on w. metadata goes into the file's
// key-value metadata.
func NewWriter(w io.Writer, metadata map[string]string) *Writer {
	return &Writer{chunks: newChunkWriter(w, recordSchema(), recordsWriter, metadata)}
}

// check refuses a record that would not be read back as it is.
func check(r *flows.LabelledRecord) error {
	for _, s := range []string{r.Device, r.Label, r.Unit, r.Capture, r.Split} {
		if err := plaintext.Check(s); err != nil {
			return err
		}
	}
	if r.TotalBytes > math.MaxInt64 || r.PacketCount > math.MaxInt64 {
		return fmt.Errorf("%d bytes in %d packets: more than a file holds", r.TotalBytes, r.PacketCount)
	}
	for i := range r.Packets[:min(len(r.Packets), flows.RowPackets)] {
		if o := r.Packets[i].Offset; o < 0 || o > math.MaxInt32 {
			return fmt.Errorf("a packet %d us after its record's first", o)
		}
	}
	return nil
}

// Write appends one record.
func (w *Writer) Write(r *flows.LabelledRecord) error {
	if err := check(r); err != nil {
		return fmt.Errorf("write records: device %q: %w", r.Device, err)
	}
	row := w.chunks.row()
	row.text(r.Device)
	row.long(r.FirstSeen)
	row.text(r.Remote.String())
	row.number(int32(r.Proto))
	row.number(r.DevPort)
	row.number(r.RemPort)
	row.long(int64(r.TotalBytes))
	row.long(int64(r.PacketCount))
	meta := flows.Row{Record: r.Record}.Meta()
	for i, v := range meta[flows.MetaValues-3*flows.RowPackets:] {
		if i/flows.RowPackets == 1 { // sizes
			row.long(int64(v))
		} else {
			row.number(int32(v))
		}
	}
	w.tokens = r.Tokens(w.tokens[:0], flows.PayloadTokens)
	for _, v := range w.tokens {
		row.number(int32(v))
	}
	for range flows.PayloadTokens - len(w.tokens) {
		row.number(flows.PayloadPadding)
	}
	for _, s := range []string{r.Label, r.Unit, r.Capture, r.Split} {
		row.text(s)
	}
	row.flag(r.Incomplete)
	if err := row.end(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}

// Close writes what is left and the file's footer. It does not close the
// underlying writer.
func (w *Writer) Close() error {
	if err := w.chunks.close(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}
