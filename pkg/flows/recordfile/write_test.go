package recordfile_test

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// What is written is read back, but for what a file does not hold: the last
// packet's time and the addresses before obfuscation.
func TestRecordsRoundTrip(t *testing.T) {
	data := testenv.Data(t)
	var want []flows.LabelledRecord
	for _, name := range []string{"Aria/Setup-A-1-STA.pcap", "TP-LinkPlugHS100/Setup-A-1-STA.pcap"} {
		cfg := capture.Config{Locals: flows.NewLocals(nil)}
		_, err := capture.Read(context.Background(), filepath.Join(data, name), cfg, func(r *flows.Record) {
			want = append(want, flows.LabelledRecord{Record: r, Label: "L", Unit: "U", Capture: name, Split: "train"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want[3].Incomplete = true

	path := filepath.Join(t.TempDir(), "records.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := recordfile.NewWriter(f, map[string]string{"iotsense.direction": "bi"})
	for i := range want {
		if err := w.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var got []flows.LabelledRecord
	var metadata map[string]string
	err = recordfile.Read(context.Background(), path, func(m map[string]string) error {
		metadata = m
		return nil
	}, func(r flows.LabelledRecord) error {
		got = append(got, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if metadata["iotsense.direction"] != "bi" {
		t.Errorf("metadata %v", metadata)
	}
	same := cmp.Options{
		cmpopts.IgnoreFields(flows.Record{}, "LastSeen", "DeviceAddr", "RemoteAddr", "SentBytes", "SentPackets", "Interface"),
		cmpopts.EquateComparable(want[0].Remote),
		cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
}

// Another reader finds the same values, in columns of the same types.
func TestWriterForOthers(t *testing.T) {
	const rows = 1100 // more than a page
	var file bytes.Buffer
	w := recordfile.NewWriter(&file, map[string]string{"b": "2", "a": "1"})
	r := flows.LabelledRecord{Record: &flows.Record{Device: "02:00:00:00:00:01", Remote: netip.MustParseAddr("192.0.2.1"), Proto: 17, DevPort: flows.Missing}, Label: "L"}
	for i := range rows {
		r.FirstSeen, r.RemPort, r.Incomplete = int64(i), int32(i%1000), i%3 == 0
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := f.Lookup("a"); f.NumRows() != rows || len(f.RowGroups()) != 1 || a != "1" {
		t.Fatalf("%d rows in %d groups, metadata a %q", f.NumRows(), len(f.RowGroups()), a)
	}
	for name, want := range map[string]string{"Device": "STRING", "FirstSeen": "INT(64,true)", "Proto": "INT(32,true)", "C_000": "INT(16,true)", "P00_PS": "INT(64,true)", "Incomplete": "BOOLEAN"} {
		if leaf, ok := f.Schema().Lookup(name); !ok || leaf.Node.Type().String() != want || !leaf.Node.Required() {
			t.Errorf("column %s: %v, want %s", name, leaf.Node, want)
		}
	}
	type row struct {
		Device     string `parquet:"Device"`
		FirstSeen  int64  `parquet:"FirstSeen"`
		RemPort    int32  `parquet:"RemPort"`
		Payload    int32  `parquet:"C_000"`
		Label      string `parquet:"Label"`
		Incomplete bool   `parquet:"Incomplete"`
	}
	read, err := parquet.Read[row](bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range read {
		if want := (row{"02:00:00:00:00:01", int64(i), int32(i % 1000), flows.PayloadPadding, "L", i%3 == 0}); got != want {
			t.Fatalf("row %d: %+v, want %+v", i, got, want)
		}
	}
}
