package flows_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
)

func readRecords(t *testing.T, file []byte) ([]flows.LabelledRecord, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records.parquet")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	var records []flows.LabelledRecord
	err := flows.ReadRecords(context.Background(), path, nil, func(r flows.LabelledRecord) error {
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
	w := flows.NewRecordWriter(&file, nil)
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
