package recordfile

// This file reads records from parquet, those of other tools among them.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go/format"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/flows"
)

var numberedColumn = regexp.MustCompile(`^(?:P(\d+)_(TO|PS|D)|(C)_(\d+))$`)

// recordColumn is where one column's value goes.
type recordColumn struct {
	name  string        // one of the col constants, "TO", "PS", "D" or "C"; empty: nowhere
	index int           // of the packet or the payload value
	unit  time.Duration // of FirstSeen

	unsigned bool // 32 bits without a sign
	page     pageColumn
}

// String is the column's name as [Writer] has it.
func (c recordColumn) String() string {
	switch c.name {
	case "TO", "PS", "D":
		return fmt.Sprintf("P%02d_%s", c.index, c.name)
	case "C":
		return fmt.Sprintf("C_%03d", c.index)
	}
	return c.name
}

// Read reads the parquet file at path and emits its records, those of a device
// in a capture in order of time: files of Writer as they are, others sorted by
// FirstSeen if they are not. It accepts files of Writer and the published ones: any
// integer or float column types, nulls for missing values, zero-padded column names,
// other columns, a class name instead of a MAC in Device, which then is the label. A column
// that is missing, or a value that no record has, is an error. Before the first record
// begin is given the file's own key-value metadata, unless it is nil; its error ends
// the reading.
func Read(ctx context.Context, path string, begin func(metadata map[string]string) error, emit func(flows.LabelledRecord) error) error {
	return openRecords(path, func(f *recordsFile) error {
		metadata := map[string]string{}
		for _, kv := range f.meta.KeyValueMetadata {
			metadata[kv.Key] = kv.Value
		}
		if begin != nil {
			if err := begin(metadata); err != nil {
				return err
			}
		}
		ranks, err := f.ranks(ctx)
		if err != nil {
			return err
		}
		if ranks != nil {
			return f.readOrdered(ctx, ranks, parquetOrdered, emit)
		}
		return f.readRows(ctx, func(_ int, r flows.LabelledRecord) error { return emit(r) })
	})
}

// FirstUnnamed is the earliest FirstSeen of the records of no capture in the parquet file
// at path. ok is false where there is none.
func FirstUnnamed(ctx context.Context, path string) (first int64, ok bool, err error) {
	err = openRecords(path, func(f *recordsFile) error {
		times, err := f.times(ctx)
		for _, at := range times {
			if at.capture == "" && (!ok || at.first < first) {
				first, ok = at.first, true
			}
		}
		return err
	})
	return first, ok, err
}

// IsExtracted reports whether the file at path holds records that [Writer] wrote.
func IsExtracted(path string) bool {
	own := false
	err := openRecords(path, func(f *recordsFile) error {
		own = strings.HasPrefix(f.meta.CreatedBy, recordsWriter)
		return nil
	})
	return err == nil && own
}

// recordsFile is a parquet file whose columns are those of records.
type recordsFile struct {
	file    io.ReaderAt
	meta    *format.FileMetaData
	columns []recordColumn
	pages   pageReader
	names   names
}

// openRecords opens a file for read. An error names it.
func openRecords(path string, read func(*recordsFile) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // the decoder's, on a corrupt page
			err = fmt.Errorf("corrupt parquet data: %v", p)
		}
		if err != nil {
			err = fmt.Errorf("records %s: %w", path, err)
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
	meta, err := readFooter(f, info.Size())
	if err != nil {
		return fmt.Errorf("not a readable parquet file: %w", err)
	}
	if err := checkCompression(meta); err != nil {
		return err
	}
	all, err := leaves(meta)
	if err != nil {
		return fmt.Errorf("not a readable parquet file: %w", err)
	}
	columns, err := mapColumns(all)
	if err != nil {
		return err
	}
	return read(&recordsFile{file: f, meta: meta, columns: columns, names: names{}})
}

// readRows gives every record with the number of its row.
func (f *recordsFile) readRows(ctx context.Context, emit func(row int, r flows.LabelledRecord) error) error {
	row := 0
	for g, group := range f.meta.RowGroups {
		for from := int64(0); from < group.NumRows; from += parquetBlock {
			err := f.readBlock(ctx, g, from, func(r flows.LabelledRecord) error {
				row++
				return emit(row-1, r)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// readBlock reads some rows of the g-th group, one column after the other: row by row, a
// page of each of 3,000 columns would be in memory, and other writers' pages can
// hold as many values as there are rows.
func (f *recordsFile) readBlock(ctx context.Context, g int, from int64, emit func(flows.LabelledRecord) error) error {
	rows := make([]recordRow, min(parquetBlock, f.meta.RowGroups[g].NumRows-from))
	for i := range rows {
		rows[i].reset()
	}
	for i, c := range f.columns {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.name == "" {
			continue
		}
		set := func(at int, v value) error { return rows[at].set(c, v, f.names) }
		if c.name == "C" && c.page.kind == format.Int32 { // nearly all columns: the short way
			set = func(at int, v value) error {
				if n := int32(v.n); !v.isNull() && n >= flows.PayloadPadding && n <= math.MaxUint8 {
					return rows[at].setToken(c.index, int16(n))
				}
				return rows[at].set(c, v, f.names)
			}
		}
		err := f.readValues(g, i, from, len(rows), set)
		if err != nil {
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

// readValues gives n values of the i-th column in the g-th group, from a row on, to set.
func (f *recordsFile) readValues(g, i int, from int64, n int, set func(at int, v value) error) error {
	c := f.columns[i]
	next, refused := 0, false
	f.pages.open(f.file, &f.meta.RowGroups[g].Columns[i].MetaData, c.page)
	err := f.pages.read(from, n, func(at int, v value) error {
		next = at
		err := set(at, v)
		refused = err != nil
		return err
	})
	switch {
	case refused:
		return fmt.Errorf("column %v: row %d: %w", c, from+int64(next), err)
	case err != nil:
		return fmt.Errorf("read column %v: from row %d on: %w", c, from+int64(next), err)
	}
	return nil
}

// checkCompression refuses what no bounds can be set to, before anything is read.
func checkCompression(m *format.FileMetaData) error {
	for _, group := range m.RowGroups {
		for i := range group.Columns {
			switch codec := group.Columns[i].MetaData.Codec; codec {
			case format.Uncompressed, format.Snappy, format.Gzip, format.Zstd:
			default:
				return unreadable(codec)
			}
		}
	}
	return nil
}

// mapColumns finds the meaning of each column, by name. A column of another name has
// none.
func mapColumns(all []leaf) ([]recordColumn, error) {
	known := map[recordColumn]bool{} // true: a file may lack it
	for _, c := range recordColumns() {
		known[columnOf(c)] = slices.Contains(optionalColumns, c)
	}
	var columns []recordColumn
	found := map[recordColumn]bool{}
	for i := range all {
		l := &all[i]
		c := columnOf(l.top)
		if _, ok := known[c]; !ok || l.depth > 1 {
			columns = append(columns, recordColumn{})
			continue
		}
		if found[c] {
			return nil, fmt.Errorf("column %v is there twice", c)
		}
		found[c] = true
		if l.repeated {
			return nil, fmt.Errorf("column %v holds lists: not a custom-flow records file", c)
		}
		if what := l.foreign(); what != "" {
			return nil, fmt.Errorf("column %v holds %s: want whole numbers or, for %s, time stamps", c, what, colFirstSeen)
		}
		c.page = pageColumn{kind: l.Type.V, optional: l.optional, length: int(l.TypeLength.V)}
		c.unsigned = l.isUnsigned()
		if c.name == colFirstSeen {
			c.unit = l.timeUnit()
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
	if m := numberedColumn.FindStringSubmatch(name); m != nil {
		index, _ := strconv.Atoi(m[1] + m[4])
		return recordColumn{name: m[2] + m[3], index: index}
	}
	switch name {
	case "TO", "PS", "D", "C": // groups, not columns
		return recordColumn{}
	}
	return recordColumn{name: name}
}

// recordRow is a row that is being put together, in any order of its columns.
type recordRow struct {
	flows.LabelledRecord
	offsets, sizes, sent [flows.RowPackets]int64
	tokens               []int16 // without the padding at its end
}

func (r *recordRow) reset() {
	*r = recordRow{LabelledRecord: flows.LabelledRecord{Record: &flows.Record{}}}
	for i := range r.sizes {
		r.sizes[i] = flows.Missing
	}
}

// textColumns are those of names.
var textColumns = map[string]func(*recordRow) *string{
	colDevice:  func(r *recordRow) *string { return &r.Device },
	colLabel:   func(r *recordRow) *string { return &r.Label },
	colUnit:    func(r *recordRow) *string { return &r.Unit },
	colCapture: func(r *recordRow) *string { return &r.Capture },
	colSplit:   func(r *recordRow) *string { return &r.Split },
}

// number is a column of whole numbers from least to most. Where it may be null, that
// stands for the least.
type number struct {
	least, most int64
	null        bool
	set         func(r *recordRow, index int, n int64)
}

var numberColumns = map[string]number{
	colFirstSeen: {-maxTime, maxTime, false, func(r *recordRow, _ int, n int64) { r.FirstSeen = n }},
	colProto:     {0, math.MaxUint8, false, func(r *recordRow, _ int, n int64) { r.Proto = uint8(n) }},
	colDevPort:   {flows.Missing, math.MaxUint16, true, func(r *recordRow, _ int, n int64) { r.DevPort = int32(n) }},
	colRemPort:   {flows.Missing, math.MaxUint16, true, func(r *recordRow, _ int, n int64) { r.RemPort = int32(n) }},
	colBytes:     {0, math.MaxInt64, false, func(r *recordRow, _ int, n int64) { r.TotalBytes = uint64(n) }},
	colPackets:   {0, math.MaxInt64, false, func(r *recordRow, _ int, n int64) { r.PacketCount = uint64(n) }},
	"TO":         {flows.Missing, maxTime, true, func(r *recordRow, i int, n int64) { r.offsets[i] = n }},
	"PS":         {flows.Missing, math.MaxUint32, true, func(r *recordRow, i int, n int64) { r.sizes[i] = n }},
	"D":          {flows.Missing, 1, true, func(r *recordRow, i int, n int64) { r.sent[i] = n }},
	"C":          {flows.PayloadPadding, math.MaxUint8, true, nil}, // see setToken
}

// maxTime is beyond the year 10000 in us since 1970; sums of such times do not overflow.
const maxTime = 1 << 60

// set takes the value of a column.
func (r *recordRow) set(c recordColumn, v value, names names) (err error) {
	if to, ok := textColumns[c.name]; ok {
		if *to(r), err = names.of(v); err == nil && r.Device == "" && c.name == colDevice {
			err = errors.New("no device")
		}
		return err
	}
	switch c.name {
	case colRemote:
		addr, err := names.of(v)
		if err != nil {
			return err
		}
		if r.Remote, err = netip.ParseAddr(addr); err != nil {
			return err
		}
		if r.Remote.Zone() != "" {
			return fmt.Errorf("%.80s names an interface: want the address alone", addr)
		}
		r.Remote = r.Remote.Unmap() // some tools write IPv4 as ::ffff:192.0.2.1
		return nil
	case colIncomplete:
		r.Incomplete, err = truth(v)
		return err
	}
	return r.setNumber(c, v)
}

// names are texts that can be names, each once, however many rows have it.
type names map[string]string

// maxNames bounds what is kept of a file whose rows all have others.
const maxNames = 1 << 16

// of is the text of a value, or what is wrong with it as a name.
func (n names) of(v value) (string, error) {
	if !v.isText() {
		return text(v), nil
	}
	if name, ok := n[string(v.bytes())]; ok {
		return name, nil
	}
	name := text(v)
	if err := plaintext.Check(name); err != nil {
		return "", err
	}
	if len(n) == maxNames {
		clear(n)
	}
	n[name] = name
	return name, nil
}

// setNumber takes the value of a column of numbers.
func (r *recordRow) setNumber(c recordColumn, v value) error {
	of := numberColumns[c.name]
	n, ok, err := c.integer(v)
	switch {
	case err != nil:
		return err
	case !ok && !of.null:
		return errors.New("no value")
	case !ok:
		n = of.least
	}
	if n < of.least || n > of.most {
		return fmt.Errorf("%d is no value of a record: want %d to %d", n, of.least, of.most)
	}
	if c.name == "C" {
		return r.setToken(c.index, int16(n))
	}
	of.set(r, c.index, n)
	return nil
}

// setToken takes a payload value.
func (r *recordRow) setToken(index int, v int16) error {
	if v < 0 && v != flows.PayloadStart && v != flows.PayloadEnd && v != flows.PayloadPadding {
		return fmt.Errorf("%d is no byte, and none of %d, %d and %d", v, flows.PayloadStart, flows.PayloadEnd, flows.PayloadPadding)
	}
	if index >= len(r.tokens) && v == flows.PayloadPadding {
		return nil
	}
	for len(r.tokens) <= index {
		r.tokens = append(r.tokens, flows.PayloadPadding)
	}
	r.tokens[index] = v
	return nil
}

// record is the row, once all columns are set.
func (r *recordRow) record() flows.LabelledRecord {
	r.LastSeen = r.FirstSeen
	packets := len(r.sizes)
	for packets > 0 && r.sizes[packets-1] < 0 {
		packets--
	}
	r.Packets = make([]flows.RowPacket, packets)
	for i := range r.Packets {
		r.Packets[i] = flows.RowPacket{Offset: max(0, r.offsets[i]), Size: uint32(max(0, r.sizes[i])), Sent: r.sent[i] == 1}
	}
	decodePayload(r.Packets, r.tokens)
	if r.Label == "" && !flows.IsDeviceName(r.Device) {
		r.Label = r.Device
	}
	return r.LabelledRecord
}

// decodePayload splits a payload section at its delimiters.
func decodePayload(packets []flows.RowPacket, tokens []int16) {
	end := slices.Index(tokens, flows.PayloadPadding)
	if end < 0 {
		end = len(tokens)
	}
	buffer := make([]byte, 0, end)
	i, start := -1, 0
	for _, v := range tokens[:end] {
		switch {
		case v == flows.PayloadStart:
			i, start = i+1, len(buffer)
		case v >= 0:
			buffer = append(buffer, byte(v))
		}
		if i >= 0 && i < len(packets) {
			packets[i].Payload = buffer[start:len(buffer):len(buffer)]
		}
	}
}

// integer is a column's number, a time in us; ok is false for null and NaN.
func (c recordColumn) integer(v value) (n int64, ok bool, err error) {
	if v.is(format.Int96) && c.name == colFirstSeen {
		return sparkTime(v), true, nil
	}
	if n, ok, err = integer(v); !ok || err != nil {
		return n, ok, err
	}
	if c.unsigned && v.is(format.Int32) {
		n = int64(uint32(n))
	}
	if c.name != colFirstSeen {
		return n, true, nil
	}
	if c.unit < time.Microsecond {
		return n / int64(time.Microsecond/c.unit), true, nil
	}
	scale := int64(c.unit / time.Microsecond)
	if n > math.MaxInt64/scale || n < math.MinInt64/scale {
		return 0, false, fmt.Errorf("%d %v is no time of a record", n, c.unit)
	}
	return n * scale, true, nil
}

// sparkTime is an INT96 time in us since 1970: nanoseconds of the day in 64 bits, and
// the Julian day number.
func sparkTime(v value) int64 {
	const epoch, day = 2440588, 24 * time.Hour
	b := v.bytes()
	ns := int64(binary.LittleEndian.Uint64(b))
	return (int64(binary.LittleEndian.Uint32(b[8:]))-epoch)*day.Microseconds() + ns/int64(time.Microsecond)
}

// truth is a yes or no of any column type; null is no.
func truth(v value) (bool, error) {
	if v.isNull() {
		return false, nil
	}
	if v.isText() {
		yes, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text(v))))
		if err != nil {
			return false, fmt.Errorf("%.40q is neither true nor false", text(v))
		}
		return yes, nil
	}
	n, ok, err := integer(v)
	if err != nil || ok && n != 0 && n != 1 {
		return false, fmt.Errorf("%v is neither true nor false, 1 nor 0", v)
	}
	return n == 1, nil
}

// integer is a number of any column type; ok is false for null and NaN.
func integer(v value) (n int64, ok bool, err error) {
	if v.isNull() {
		return 0, false, nil
	}
	var f float64
	switch {
	case v.is(format.Int32):
		return int64(int32(v.n)), true, nil
	case v.is(format.Int64), v.is(format.Boolean):
		return int64(v.n), true, nil
	case v.is(format.Float), v.is(format.Double):
		f = v.float()
	default:
		return 0, false, fmt.Errorf("%v is no number", v)
	}
	if f < math.MinInt64 || f >= math.MaxInt64 {
		return 0, false, fmt.Errorf("%v is no number of 64 bits", v)
	}
	if f != math.Trunc(f) && !math.IsNaN(f) {
		return 0, false, fmt.Errorf("%v is no whole number", v)
	}
	return int64(f), !math.IsNaN(f), nil
}

func text(v value) string {
	if v.isNull() {
		return ""
	}
	return v.String()
}
