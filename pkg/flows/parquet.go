package flows

// This file reads and writes records as parquet in the layout of the published
// customFlow data set (github.com/ArunanSivanathan/customFlow), raw values.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// LabelledRecord is a record with what a data set says about it.
type LabelledRecord struct {
	*Record
	Label   string // the device's class; empty when unknown
	Unit    string // the physical device; empty when unknown
	Capture string // the capture file, relative to its manifest; empty when unknown
	Split   string // train, test, ...; empty when unknown
}

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
)

// recordColumns is the order of a records file's columns.
func recordColumns() []string {
	names := []string{colDevice, colFirstSeen, colRemote, colProto, colDevPort, colRemPort, colBytes, colPackets}
	for _, group := range []string{"TO", "PS", "D"} {
		for i := range RowPackets {
			names = append(names, fmt.Sprintf("P%02d_%s", i, group))
		}
	}
	for i := range PayloadTokens {
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
			if name[0] == 'C' {
				group[name] = leaf(parquet.Int(16))
			} else {
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

// RecordsKey is the key of a records file's metadata that says, in JSON, how the
// records were made.
const RecordsKey = "iotsense.record"

// RecordsSpec is how the metadata of a records file say that its records were made.
// ok is false where they say nothing, as in the published files: these are the
// paper's, in a direction that is not known.
func RecordsSpec(metadata map[string]string) (spec RecordSpec, ok bool) {
	var named struct {
		RecordSpec
		Direction *Direction `json:"direction"` // tells none from bi
	}
	if json.Unmarshal([]byte(metadata[RecordsKey]), &named) != nil || named.Direction == nil {
		return DefaultRecordSpec(), false
	}
	spec = named.RecordSpec.withDefaults()
	spec.Direction = *named.Direction
	return spec, true
}

// RecordWriter writes records to a parquet file.
type RecordWriter struct {
	w      *parquet.GenericWriter[any]
	rows   []parquet.Row // up to parquetBatch, not yet written
	tokens []int16
}

// NewRecordWriter starts a records file on w. metadata goes into the file's
// key-value metadata.
func NewRecordWriter(w io.Writer, metadata map[string]string) *RecordWriter {
	options := []parquet.WriterOption{
		recordSchema(),
		parquet.PageBufferSize(parquetPage),
		parquet.MaxRowsPerRowGroup(parquetRowGroup),
		parquet.DataPageStatistics(false),
		parquet.CreatedBy("iotsense", "", ""),
	}
	for k, v := range metadata {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	return &RecordWriter{w: parquet.NewGenericWriter[any](w, options...)}
}

// Write appends one record.
func (w *RecordWriter) Write(r *LabelledRecord) error {
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
	meta := Row{Record: r.Record}.Meta()
	for _, v := range meta[MetaValues-3*RowPackets:] {
		add(parquet.Int32Value(int32(v)))
	}
	w.tokens = r.Tokens(w.tokens[:0], PayloadTokens)
	for _, v := range w.tokens {
		add(parquet.Int32Value(int32(v)))
	}
	for range PayloadTokens - len(w.tokens) {
		add(parquet.Int32Value(PayloadPadding))
	}
	for _, s := range []string{r.Label, r.Unit, r.Capture, r.Split} {
		add(parquet.ByteArrayValue([]byte(s)))
	}
	add(parquet.BooleanValue(r.Incomplete))
	w.rows[n] = row
	return nil
}

func (w *RecordWriter) flush() error {
	if _, err := w.w.WriteRows(w.rows); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	w.rows = w.rows[:0]
	return nil
}

// Close writes what is left and the file's footer. It does not close the
// underlying writer.
func (w *RecordWriter) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}

var (
	packetColumn  = regexp.MustCompile(`^P(\d+)_(TO|PS|D)$`)
	payloadColumn = regexp.MustCompile(`^C_(\d+)$`)
)

// recordColumn is where one column's value goes.
type recordColumn struct {
	name  string        // one of the col constants, "TO", "PS", "D" or "C"; empty: nowhere
	index int           // of the packet or the payload value
	unit  time.Duration // of FirstSeen
}

// String is the column's name as [RecordWriter] has it.
func (c recordColumn) String() string {
	switch c.name {
	case "TO", "PS", "D":
		return fmt.Sprintf("P%02d_%s", c.index, c.name)
	case "C":
		return fmt.Sprintf("C_%03d", c.index)
	}
	return c.name
}

// ReadRecords reads the parquet file at path and emits its records in file
// order. It accepts files of RecordWriter and the published ones: any integer or
// float column types, nulls for missing values, zero-padded column names, other
// columns, a class name instead of a MAC in Device, which then is the label. A column
// that is missing, or a value that no record has, is an error. Before the first record
// begin is given the file's own key-value metadata, unless it is nil; its error ends
// the reading.
func ReadRecords(ctx context.Context, path string, begin func(metadata map[string]string) error, emit func(LabelledRecord) error) error {
	if err := readRecords(ctx, path, begin, emit); err != nil {
		return fmt.Errorf("records %s: %w", path, err)
	}
	return nil
}

func readRecords(ctx context.Context, path string, begin func(metadata map[string]string) error, emit func(LabelledRecord) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // the decoder's, on a corrupt page
			err = fmt.Errorf("corrupt parquet data: %v", p)
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("not a readable parquet file: %w", err)
	}
	if err := checkCompression(file); err != nil {
		return err
	}
	columns, err := mapColumns(file.Schema())
	if err != nil {
		return err
	}
	metadata := map[string]string{}
	for _, kv := range file.Metadata().KeyValueMetadata {
		metadata[kv.Key] = kv.Value
	}
	if begin != nil {
		if err := begin(metadata); err != nil {
			return err
		}
	}
	for _, group := range file.RowGroups() {
		for from := int64(0); from < group.NumRows(); from += parquetBlock {
			if err := readBlock(ctx, group, from, columns, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBlock reads some rows of a group, one column after the other: row by row, a
// page of each of 3,000 columns would be in memory, and other writers' pages can
// hold as many values as there are rows.
func readBlock(ctx context.Context, group parquet.RowGroup, from int64, columns []recordColumn, emit func(LabelledRecord) error) error {
	rows := make([]recordRow, min(parquetBlock, group.NumRows()-from))
	for i := range rows {
		rows[i].reset()
	}
	for i, chunk := range group.ColumnChunks() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if columns[i].name == "" {
			continue
		}
		if err := readColumn(chunk, from, columns[i], rows); err != nil {
			return err
		}
	}
	for i := range rows {
		if err := emit(rows[i].record()); err != nil {
			return err
		}
		rows[i] = recordRow{} // not needed any more, and large
	}
	return nil
}

// readColumn sets one column's values, from a row on, in the rows.
func readColumn(chunk parquet.ColumnChunk, from int64, c recordColumn, rows []recordRow) error {
	pages := chunk.Pages()
	defer pages.Close()
	if err := pages.SeekToRow(from); err != nil {
		return fmt.Errorf("read column %v: %w", c, err)
	}
	var values [parquetBatch]parquet.Value
	for at := 0; at < len(rows); {
		page, err := pages.ReadPage()
		if err != nil {
			return fmt.Errorf("read column %v: row %d: %w", c, from+int64(at), err)
		}
		for reader := page.Values(); err == nil && at < len(rows); {
			var n int
			n, err = reader.ReadValues(values[:min(len(values), len(rows)-at)])
			for _, v := range values[:n] {
				if err := rows[at].set(c, v); err != nil {
					return fmt.Errorf("column %v: row %d: %w", c, from+int64(at), err)
				}
				at++
			}
		}
		parquet.Release(page)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read column %v: row %d: %w", c, from+int64(at), err)
		}
	}
	return nil
}

// checkCompression refuses LZ4, of which the decoder asks for memory without end when
// a page is not as it expects.
func checkCompression(file *parquet.File) error {
	for _, group := range file.Metadata().RowGroups {
		for i := range group.Columns {
			if codec := group.Columns[i].MetaData.Codec; codec == format.Lz4Raw {
				return fmt.Errorf("compressed with %v: write it with zstd, snappy, gzip or without compression", codec)
			}
		}
	}
	return nil
}

// mapColumns finds the meaning of each column, by name. A column of another name has
// none.
func mapColumns(schema *parquet.Schema) ([]recordColumn, error) {
	known := map[recordColumn]bool{} // true: a file may lack it
	for _, c := range recordColumns() {
		known[columnOf(c)] = slices.Contains(optionalColumns, c)
	}
	var columns []recordColumn
	found := map[recordColumn]bool{}
	for _, path := range schema.Columns() {
		c := columnOf(path[0])
		if _, ok := known[c]; !ok || len(path) > 1 {
			columns = append(columns, recordColumn{})
			continue
		}
		if found[c] {
			return nil, fmt.Errorf("column %v is there twice", c)
		}
		found[c] = true
		if c.name == colFirstSeen {
			leaf, _ := schema.Lookup(path...)
			c.unit = timeUnit(leaf.Node)
		}
		columns = append(columns, c)
	}
	for _, name := range recordColumns() {
		if c := columnOf(name); !found[c] && !known[c] {
			return nil, fmt.Errorf("column %v is missing: not a custom-flow records file", c)
		}
	}
	return columns, nil
}

// optionalColumns are those that the published files lack.
var optionalColumns = []string{colLabel, colUnit, colCapture, colSplit, colIncomplete}

// columnOf reads a column's name.
func columnOf(name string) recordColumn {
	if m := packetColumn.FindStringSubmatch(name); m != nil {
		index, _ := strconv.Atoi(m[1])
		return recordColumn{name: m[2], index: index}
	}
	if m := payloadColumn.FindStringSubmatch(name); m != nil {
		index, _ := strconv.Atoi(m[1])
		return recordColumn{name: "C", index: index}
	}
	switch name {
	case "TO", "PS", "D", "C": // groups, not columns
		return recordColumn{}
	}
	return recordColumn{name: name}
}

// timeUnit is the unit of a column of times: a number's is the microsecond.
func timeUnit(n parquet.Node) time.Duration {
	if t := n.Type().LogicalType(); t != nil {
		if stamp, ok := t.Value.(*format.TimestampType); ok {
			return stamp.Unit.Value.Duration()
		}
	}
	return time.Microsecond
}

// recordRow is a row that is being put together, in any order of its columns.
type recordRow struct {
	LabelledRecord
	offsets, sizes, sent [RowPackets]int64
	tokens               []int16 // without the padding at its end
	packets              int
}

func (r *recordRow) reset() {
	*r = recordRow{LabelledRecord: LabelledRecord{Record: &Record{}}}
	for i := range r.sizes {
		r.sizes[i] = Missing
	}
}

// set takes the value of a column.
func (r *recordRow) set(c recordColumn, v parquet.Value) (err error) {
	switch c.name {
	case colDevice:
		if r.Device = text(v); r.Device == "" {
			return errors.New("no device")
		}
	case colRemote:
		if r.Remote, err = netip.ParseAddr(text(v)); err != nil {
			return err
		}
	case colLabel:
		r.Label = text(v)
	case colUnit:
		r.Unit = text(v)
	case colCapture:
		r.Capture = text(v)
	case colSplit:
		r.Split = text(v)
	case colIncomplete:
		r.Incomplete = !v.IsNull() && v.Kind() == parquet.Boolean && v.Boolean()
	default:
		return r.setNumber(c, v)
	}
	return nil
}

// setNumber takes the value of a column of numbers.
func (r *recordRow) setNumber(c recordColumn, v parquet.Value) error {
	n, ok, err := integer(v)
	if err != nil {
		return err
	}
	switch c.name {
	case colDevPort, colRemPort, "TO", "PS", "D":
		if !ok {
			n = Missing
		}
	case "C":
		if !ok {
			n = PayloadPadding
		}
	default:
		if !ok {
			return errors.New("no value")
		}
	}
	if least, most := c.limits(); n < least || n > most {
		return fmt.Errorf("%d is no value of a record: want %d to %d", n, least, most)
	}
	switch c.name {
	case colFirstSeen:
		r.FirstSeen = n * int64(c.unit) / int64(time.Microsecond)
	case colProto:
		r.Proto = uint8(n)
	case colDevPort:
		r.DevPort = int32(n)
	case colRemPort:
		r.RemPort = int32(n)
	case colBytes:
		r.TotalBytes = uint64(n)
	case colPackets:
		r.PacketCount = uint64(n)
	case "C":
		return r.setToken(c.index, int16(n))
	default:
		r.setPacket(c, n)
	}
	return nil
}

// limits are the least and the greatest value of a column of numbers.
func (c recordColumn) limits() (least, most int64) {
	switch c.name {
	case colProto:
		return 0, math.MaxUint8
	case colDevPort, colRemPort:
		return Missing, math.MaxUint16
	case colBytes, colPackets:
		return 0, math.MaxInt64
	case "PS":
		return Missing, math.MaxUint32
	case "D":
		return Missing, 1
	case "C":
		return PayloadPadding, math.MaxUint8
	}
	return math.MinInt64, math.MaxInt64
}

// setPacket takes an offset, a size or a direction.
func (r *recordRow) setPacket(c recordColumn, n int64) {
	switch c.name {
	case "TO":
		r.offsets[c.index] = n
	case "PS":
		r.sizes[c.index] = n
		if n >= 0 {
			r.packets = max(r.packets, c.index+1)
		}
	default:
		r.sent[c.index] = n
	}
}

// setToken takes a payload value.
func (r *recordRow) setToken(index int, v int16) error {
	if v < 0 && v != PayloadStart && v != PayloadEnd && v != PayloadPadding {
		return fmt.Errorf("%d is no byte, and none of %d, %d and %d", v, PayloadStart, PayloadEnd, PayloadPadding)
	}
	if index >= len(r.tokens) && v == PayloadPadding {
		return nil
	}
	for len(r.tokens) <= index {
		r.tokens = append(r.tokens, PayloadPadding)
	}
	r.tokens[index] = v
	return nil
}

// record is the row, once all columns are set.
func (r *recordRow) record() LabelledRecord {
	r.LastSeen = r.FirstSeen
	r.Packets = make([]RowPacket, r.packets)
	for i := range r.Packets {
		r.Packets[i] = RowPacket{Offset: max(0, r.offsets[i]), Size: uint32(max(0, r.sizes[i])), Sent: r.sent[i] == 1}
	}
	decodePayload(r.Packets, r.tokens)
	if _, err := ParseMAC(r.Device); err != nil && r.Label == "" && !isIPDevice(r.Device) {
		r.Label = r.Device
	}
	return r.LabelledRecord
}

// decodePayload splits a payload section at its delimiters.
func decodePayload(packets []RowPacket, tokens []int16) {
	end := slices.Index(tokens, PayloadPadding)
	if end < 0 {
		end = len(tokens)
	}
	buffer := make([]byte, 0, end)
	i, start := -1, 0
	for _, v := range tokens[:end] {
		switch {
		case v == PayloadStart:
			i, start = i+1, len(buffer)
		case v >= 0:
			buffer = append(buffer, byte(v))
		}
		if i >= 0 && i < len(packets) {
			packets[i].Payload = buffer[start:len(buffer):len(buffer)]
		}
	}
}

func isIPDevice(name string) bool {
	const prefix = "ip:"
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		return false
	}
	_, err := netip.ParseAddr(name[len(prefix):])
	return err == nil
}

// integer is a number of any column type; ok is false for null and NaN.
func integer(v parquet.Value) (n int64, ok bool, err error) {
	if v.IsNull() {
		return 0, false, nil
	}
	var f float64
	switch v.Kind() {
	case parquet.Int32:
		return int64(v.Int32()), true, nil
	case parquet.Int64:
		return v.Int64(), true, nil
	case parquet.Boolean:
		if v.Boolean() {
			return 1, true, nil
		}
		return 0, true, nil
	case parquet.Float:
		f = float64(v.Float())
	case parquet.Double:
		f = v.Double()
	default:
		return 0, false, fmt.Errorf("%v is no number", v)
	}
	return int64(f), !math.IsNaN(f), nil
}

func text(v parquet.Value) string {
	if v.IsNull() {
		return ""
	}
	return v.String()
}
