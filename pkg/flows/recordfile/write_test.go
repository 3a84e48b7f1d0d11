package recordfile_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
		cmpopts.IgnoreFields(flows.Record{}, "LastSeen", "DeviceAddr", "RemoteAddr"),
		cmpopts.EquateComparable(want[0].Remote),
		cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
}
