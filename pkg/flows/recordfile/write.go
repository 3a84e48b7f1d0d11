package recordfile

// This file writes records in the layout of the published customFlow data set
// (github.com/ArunanSivanathan/customFlow).

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/parquet-go/parquet-go"

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
// reader keeps 2.6 KB of every column of every row group.
const (
	parquetPage     = 1 << 12
	parquetRowGroup = 1 << 16
	parquetBatch    = 64
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

// recordNode is the schema's root: a group whose fields keep the published order.
type recordNode struct {
	parquet.Group
	fields []parquet.Field
}

// Fields are the columns in file order.
func (n recordNode) Fields() []parquet.Field { return n.fields }

// recordSchema is the schema of a records file.
func recordSchema() *parquet.Schema {
	leaf := func(n parquet.Node) parquet.Node {
		return parquet.Compressed(n, &parquet.Zstd)
	}
	columns := recordColumns()
	group := parquet.Group{}
	for _, name := range columns {
		switch name {
		case colDevice, colRemote, colLabel, colUnit, colCapture, colSplit:
			group[name] = leaf(parquet.String())
		case colIncomplete:
			group[name] = parquet.Compressed(parquet.Leaf(parquet.BooleanType), &parquet.Zstd)
		case colFirstSeen, colBytes, colPackets:
			group[name] = leaf(parquet.Int(64))
		case colProto, colDevPort, colRemPort:
			group[name] = leaf(parquet.Int(32))
		default:
			switch {
			case name[0] == 'C':
				group[name] = leaf(parquet.Int(16))
			case strings.HasSuffix(name, "_PS"): // a size has 32 bits and may be missing
				group[name] = leaf(parquet.Int(64))
			default:
				group[name] = leaf(parquet.Int(32))
			}
		}
	}
	fields := group.Fields()
	byName := make(map[string]parquet.Field, len(fields))
	for _, f := range fields {
		byName[f.Name()] = f
	}
	for i, name := range columns {
		fields[i] = byName[name]
	}
	return parquet.NewSchema("records", recordNode{group, fields})
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
	w      *parquet.GenericWriter[any]
	rows   []parquet.Row // up to parquetBatch, not yet written
	tokens []int16
}

// NewWriter starts a records file on w. metadata goes into the file's
// key-value metadata.
func NewWriter(w io.Writer, metadata map[string]string) *Writer {
	options := []parquet.WriterOption{
		recordSchema(),
		parquet.PageBufferSize(parquetPage),
		parquet.MaxRowsPerRowGroup(parquetRowGroup),
		parquet.DataPageStatistics(false),
		parquet.CreatedBy(recordsWriter, "", ""),
	}
	for k, v := range metadata {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	return &Writer{w: parquet.NewGenericWriter[any](w, options...)}
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
	if len(w.rows) == parquetBatch {
		if err := w.flush(); err != nil {
			return err
		}
	}
	n := len(w.rows)
	if n == cap(w.rows) {
		w.rows = append(w.rows, nil)
	}
	w.rows = w.rows[:n+1]
	row := w.rows[n][:0]
	add := func(v parquet.Value) { row = append(row, v.Level(0, 0, len(row))) }
	add(parquet.ByteArrayValue([]byte(r.Device)))
	add(parquet.Int64Value(r.FirstSeen))
	add(parquet.ByteArrayValue([]byte(r.Remote.String())))
	add(parquet.Int32Value(int32(r.Proto)))
	add(parquet.Int32Value(r.DevPort))
	add(parquet.Int32Value(r.RemPort))
	add(parquet.Int64Value(int64(r.TotalBytes)))
	add(parquet.Int64Value(int64(r.PacketCount)))
	meta := flows.Row{Record: r.Record}.Meta()
	for i, v := range meta[flows.MetaValues-3*flows.RowPackets:] {
		if i/flows.RowPackets == 1 { // sizes
			add(parquet.Int64Value(int64(v)))
		} else {
			add(parquet.Int32Value(int32(v)))
		}
	}
	w.tokens = r.Tokens(w.tokens[:0], flows.PayloadTokens)
	for _, v := range w.tokens {
		add(parquet.Int32Value(int32(v)))
	}
	for range flows.PayloadTokens - len(w.tokens) {
		add(parquet.Int32Value(flows.PayloadPadding))
	}
	for _, s := range []string{r.Label, r.Unit, r.Capture, r.Split} {
		add(parquet.ByteArrayValue([]byte(s)))
	}
	add(parquet.BooleanValue(r.Incomplete))
	w.rows[n] = row
	return nil
}

func (w *Writer) flush() error {
	if _, err := w.w.WriteRows(w.rows); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	w.rows = w.rows[:0]
	return nil
}

// Close writes what is left and the file's footer. It does not close the
// underlying writer.
func (w *Writer) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}
