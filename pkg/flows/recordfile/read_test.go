package recordfile_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

func readRecords(t *testing.T, file []byte) ([]flows.LabelledRecord, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records.parquet")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	var records []flows.LabelledRecord
	err := recordfile.Read(context.Background(), path, nil, func(r flows.LabelledRecord) error {
		records = append(records, r)
		return nil
	})
	if err != nil && !strings.Contains(err.Error(), path) {
		t.Errorf("error %q does not name the file", err)
	}
	return records, err
}

// published is a file of one record in the layout of the published data set, with
// what varies there: class names for devices, columns in another order, floats,
// nulls, names without padding, columns of no interest.
type published struct {
	columns parquet.Group
	values  map[string]parquet.Value // those that are not null or padding
}

func newPublished() *published {
	p := &published{
		columns: parquet.Group{
			"Device": parquet.String(), "FirstSeen": parquet.Leaf(parquet.DoubleType), "RemIP": parquet.String(), "Proto": parquet.Uint(8),
			"DevPort": parquet.Optional(parquet.Leaf(parquet.DoubleType)), "RemPort": parquet.Int(32), "TotalFlowSize": parquet.Uint(64), "PacketCount": parquet.Int(64),
			"Comment": parquet.String(), "D": parquet.Int(32), "C": parquet.Int(32),
		},
		values: map[string]parquet.Value{
			"Device": parquet.ValueOf("Smart Camera"), "FirstSeen": parquet.ValueOf(1.5e15), "RemIP": parquet.ValueOf("203.0.113.7"),
			"Proto": parquet.ValueOf(int32(6)), "DevPort": parquet.ValueOf(50000.0), "RemPort": parquet.ValueOf(int32(443)),
			"TotalFlowSize": parquet.ValueOf(int64(5_000_000_000)), "PacketCount": parquet.ValueOf(int64(12)),
			"Comment": parquet.ValueOf("x"), "D": parquet.ValueOf(int32(7)), "C": parquet.ValueOf(int32(700)),
			"P0_TO": parquet.ValueOf(float32(0)), "P0_PS": parquet.ValueOf(float32(60)), "P0_D": parquet.ValueOf(float32(1)),
			"P1_TO": parquet.ValueOf(float32(2500)), "P1_PS": parquet.ValueOf(float32(1500)), "P1_D": parquet.ValueOf(float32(0)),
		},
	}
	for i := range flows.RowPackets {
		for _, suffix := range []string{"_TO", "_PS", "_D"} {
			p.columns["P"+strconv.Itoa(i)+suffix] = parquet.Optional(parquet.Leaf(parquet.FloatType))
		}
	}
	for i := range flows.PayloadTokens {
		p.columns["C_"+strconv.Itoa(i)] = parquet.Int(16)
	}
	for i, token := range []int32{-4, 22, 3, -8, -4, -8} {
		p.values["C_"+strconv.Itoa(i)] = parquet.ValueOf(token)
	}
	return p
}

func (p *published) file(t *testing.T) []byte {
	t.Helper()
	schema := parquet.NewSchema("published", p.columns)
	var row parquet.Row
	for i, column := range schema.Columns() {
		v, ok := p.values[column[0]]
		leaf, _ := schema.Lookup(column...)
		switch {
		case !ok && strings.HasPrefix(column[0], "C_"):
			v = parquet.ValueOf(int32(flows.PayloadPadding)).Level(0, 0, i)
		case !ok:
			v = parquet.NullValue().Level(0, 0, i)
		default:
			v = v.Level(0, leaf.MaxDefinitionLevel, i)
		}
		row = append(row, v)
	}
	var file bytes.Buffer
	w := parquet.NewWriter(&file, schema)
	if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestReadRecordsPublished(t *testing.T) {
	got, err := readRecords(t, newPublished().file(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []flows.LabelledRecord{{Label: "Smart Camera", Record: &flows.Record{
		Device: "Smart Camera", FirstSeen: 1.5e15, LastSeen: 1.5e15, Remote: netip.MustParseAddr("203.0.113.7"), Proto: 6, DevPort: 50000, RemPort: 443,
		TotalBytes: 5_000_000_000, PacketCount: 12,
		Packets: []flows.RowPacket{{Offset: 0, Size: 60, Sent: true, Payload: []byte{22, 3}}, {Offset: 2500, Size: 1500, Payload: []byte{}}},
	}}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Error(diff)
	}
}

// A time that its writer gave a type of its own comes out in microseconds.
func TestReadRecordsTimestamp(t *testing.T) {
	p := newPublished()
	p.columns["FirstSeen"] = parquet.Timestamp(parquet.Nanosecond)
	p.values["FirstSeen"] = parquet.ValueOf(int64(1_500_000_000_123_456_789))
	got, err := readRecords(t, p.file(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(1_500_000_000_123_456); got[0].FirstSeen != want {
		t.Errorf("first seen %d, want %d", got[0].FirstSeen, want)
	}
}

// Values that other tools write in types of their own mean the same, or are refused.
func TestReadRecordsTypes(t *testing.T) {
	julian := deprecated.Int96{0xdae4c500, 0x2b4a, 2457649} // 13:13:20.5 of 2016-09-17
	for _, tt := range []struct {
		name, column string
		node         parquet.Node
		value        parquet.Value
		want         func(r flows.LabelledRecord) bool
		says         string
	}{
		{"a flag", "Incomplete", parquet.Leaf(parquet.BooleanType), parquet.ValueOf(true), incomplete, ""},
		{"a one", "Incomplete", parquet.Int(64), parquet.ValueOf(int64(1)), incomplete, ""},
		{"a real one", "Incomplete", parquet.Leaf(parquet.DoubleType), parquet.ValueOf(1.0), incomplete, ""},
		{"a word", "Incomplete", parquet.String(), parquet.ValueOf("True"), incomplete, ""},
		{"a letter", "Incomplete", parquet.String(), parquet.ValueOf("f"), complete, ""},
		{"a zero", "Incomplete", parquet.Int(32), parquet.ValueOf(int32(0)), complete, ""},
		{"nothing", "Incomplete", parquet.Optional(parquet.Int(32)), parquet.NullValue(), complete, ""},
		{"a number", "Incomplete", parquet.Int(32), parquet.ValueOf(int32(2)), nil, "column Incomplete: row 0: 2 is neither true nor false"},
		{"another word", "Incomplete", parquet.String(), parquet.ValueOf("maybe"), nil, `column Incomplete: row 0: "maybe" is neither`},
		{"INT96", "FirstSeen", parquet.Leaf(parquet.Int96Type), parquet.ValueOf(julian),
			func(r flows.LabelledRecord) bool {
				return r.FirstSeen == time.Date(2016, 9, 17, 13, 13, 20, 500_000_000, time.UTC).UnixMicro()
			}, ""},
		{"INT96 for a number", "PacketCount", parquet.Leaf(parquet.Int96Type), parquet.ValueOf(julian), nil, "column PacketCount: row 0: "},
		{"milliseconds", "FirstSeen", parquet.Timestamp(parquet.Millisecond), parquet.ValueOf(int64(1_500_000_000_123)),
			func(r flows.LabelledRecord) bool { return r.FirstSeen == 1_500_000_000_123_000 }, ""},
		{"too many milliseconds", "FirstSeen", parquet.Timestamp(parquet.Millisecond), parquet.ValueOf(int64(1) << 62), nil, "column FirstSeen: row 0: "},
		{"beyond all time", "FirstSeen", parquet.Int(64), parquet.ValueOf(int64(1) << 61), nil, "column FirstSeen: row 0: "},
		{"no time", "FirstSeen", parquet.Leaf(parquet.DoubleType), parquet.ValueOf(math.Inf(1)), nil, "column FirstSeen: row 0: "},
		{"days", "FirstSeen", parquet.Date(), parquet.ValueOf(int32(17_427)), nil, "column FirstSeen holds dates"},
		{"a time of day", "FirstSeen", parquet.Time(parquet.Microsecond), parquet.ValueOf(int64(7)), nil, "column FirstSeen holds times of day"},
		{"hundredths", "RemPort", parquet.Decimal(2, 9, parquet.Int32Type), parquet.ValueOf(int32(44_350)), nil, "column RemPort holds decimal fractions"},
		{"whole decimals", "RemPort", parquet.Decimal(0, 9, parquet.Int32Type), parquet.ValueOf(int32(443)),
			func(r flows.LabelledRecord) bool { return r.RemPort == 443 }, ""},
		{"half a port", "RemPort", parquet.Leaf(parquet.DoubleType), parquet.ValueOf(443.5), nil, "column RemPort: row 0: 443.5 is no whole number"},
		{"less than half a byte", "P1_PS", parquet.Leaf(parquet.FloatType), parquet.ValueOf(float32(-0.5)), nil, "column P01_PS: row 0: -0.5"},
		{"IPv4 in IPv6", "RemIP", parquet.String(), parquet.ValueOf("::ffff:203.0.113.9"),
			func(r flows.LabelledRecord) bool { return r.Remote == netip.MustParseAddr("203.0.113.9") }, ""},
		{"a zone", "RemIP", parquet.String(), parquet.ValueOf("fe80::2%eth7"), nil, "column RemIP: row 0: fe80::2%eth7 names an interface"},
		{"no sign", "P1_PS", parquet.Uint(32), parquet.ValueOf(uint32(math.MaxUint32)),
			func(r flows.LabelledRecord) bool { return r.Packets[1].Size == math.MaxUint32 }, ""},
		{"a label in Latin-1", "Label", parquet.String(), parquet.ValueOf("T\xfcr"), nil, `column Label: row 0: "T\xfcr" is not UTF-8`},
		{"a unit in Latin-1", "Unit", parquet.String(), parquet.ValueOf("\xfc"), nil, "column Unit: row 0: "},
		{"a capture with NUL", "Capture", parquet.String(), parquet.ValueOf("a\x00b"), nil, "column Capture: row 0: "},
		{"a device that steers", "Device", parquet.String(), parquet.ValueOf("\x1b[2J"), nil, "column Device: row 0: "},
		{"a split of two lines", "Split", parquet.String(), parquet.ValueOf("a\nb"), nil, "column Split: row 0: "},
	} {
		p := newPublished()
		p.columns[tt.column], p.values[tt.column] = tt.node, tt.value
		if tt.value.IsNull() {
			delete(p.values, tt.column)
		}
		got, err := readRecords(t, p.file(t))
		switch {
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.says)
		case tt.says == "" && (err != nil || !tt.want(got[0])):
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

func incomplete(r flows.LabelledRecord) bool { return r.Incomplete }

func complete(r flows.LabelledRecord) bool { return !r.Incomplete }

// Every size that a frame can have is written so that it is read back; what a file cannot
// hold is refused before it is written.
func TestRecordWriterExtremes(t *testing.T) {
	record := func(change func(*flows.LabelledRecord)) *flows.LabelledRecord {
		r := &flows.LabelledRecord{Record: &flows.Record{
			Device: "02:00:00:00:00:0d", FirstSeen: 1, Remote: netip.IPv4Unspecified(), TotalBytes: math.MaxUint32, PacketCount: 1,
			Packets: []flows.RowPacket{{Size: math.MaxUint32, Sent: true}},
		}}
		change(r)
		return r
	}
	var file bytes.Buffer
	w := recordfile.NewWriter(&file, nil)
	if err := w.Write(record(func(*flows.LabelledRecord) {})); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readRecords(t, file.Bytes())
	if err != nil || got[0].Packets[0].Size != math.MaxUint32 || got[0].TotalBytes != math.MaxUint32 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*flows.LabelledRecord){
		"bytes":  func(r *flows.LabelledRecord) { r.TotalBytes = math.MaxUint64 },
		"offset": func(r *flows.LabelledRecord) { r.Packets[0].Offset = math.MaxInt32 + 1 },
		"label":  func(r *flows.LabelledRecord) { r.Label = "T\xfcr" },
	} {
		if err := recordfile.NewWriter(&file, nil).Write(record(change)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A file that could only be read wrongly is an error that says why.
func TestReadRecordsRefuses(t *testing.T) {
	p := newPublished()
	p.values["C_1"] = parquet.ValueOf(int32(300))
	var compressed bytes.Buffer
	w := parquet.NewGenericWriter[struct{ Device string }](&compressed, parquet.Compression(&parquet.Lz4Raw))
	if _, err := w.Write([]struct{ Device string }{{"x"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		file []byte
		says string
	}{
		{"no byte", p.file(t), "column C_001: row 0: 300"},
		{"compression", compressed.Bytes(), "LZ4"},
	} {
		if got, err := readRecords(t, tt.file); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %d records, error %v, want %q", tt.name, len(got), err, tt.says)
		}
	}
}

// A damaged file is an error that names it, or has lost nothing; never a panic.
func TestReadRecordsDamaged(t *testing.T) {
	var file bytes.Buffer
	w := recordfile.NewWriter(&file, nil)
	for i := range int64(20) {
		record := &flows.Record{
			Device: "02:00:00:00:00:0d", FirstSeen: i, Remote: netip.MustParseAddr("ff02::fb"), Proto: 17, DevPort: 5353, RemPort: 5353,
			Packets: []flows.RowPacket{{Size: 100, Sent: true, Payload: packet.Payload(int(10 * i))}},
		}
		if err := w.Write(&flows.LabelledRecord{Record: record}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	if records, err := readRecords(t, whole); len(records) != 20 || err != nil {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, cut := range []int{0, 3, 4, 100, len(whole) / 2, len(whole) - 9, len(whole) - 1} {
		if _, err := readRecords(t, whole[:cut]); err == nil {
			t.Errorf("cut at %d of %d bytes: no error", cut, len(whole))
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		damaged := slices.Clone(whole)
		for range 5 {
			damaged[random.IntN(len(damaged))] ^= byte(1 + random.IntN(255))
		}
		if records, err := readRecords(t, damaged); err == nil && len(records) != 20 {
			t.Errorf("%d records of 20, and no error", len(records))
		}
	}
	for name, text := range map[string]string{"a capture": "\xd4\xc3\xb2\xa1", "text": "PAR1 is how it would begin"} {
		if _, err := readRecords(t, []byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
