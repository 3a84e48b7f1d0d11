package recordfile

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

// orderedFile writes a record a second, its packets' count the number of its row, for each
// device and time, as an application would.
func orderedFile(t *testing.T, application string, devices string, times ...int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &Writer{chunks: newChunkWriter(f, recordSchema(), application, nil)}
	for row, at := range times {
		r := &flows.Record{Device: "02:00:00:00:00:0" + devices[row:row+1], FirstSeen: at, Remote: netip.IPv4Unspecified(), PacketCount: uint64(row)}
		if err := w.Write(&flows.LabelledRecord{Record: r, Capture: "a.pcap"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// What another tool has shuffled comes in order of time; what is in order for each device,
// and what arrived that way, comes as it is.
func TestReadRecordsOrder(t *testing.T) {
	for _, tt := range []struct {
		name, application, devices string
		times                      []int64
		want                       []uint64 // rows
	}{
		{"in order", "other", "1111", []int64{5, 6, 6, 9}, []uint64{0, 1, 2, 3}},
		{"in order for each device", "other", "1122", []int64{5, 9, 4, 7}, []uint64{0, 1, 2, 3}},
		{"shuffled", "other", "1121", []int64{9, 4, 7, 6}, []uint64{1, 3, 2, 0}},
		{"equal times", "other", "1111", []int64{7, 3, 7, 3}, []uint64{1, 3, 0, 2}},
		{"a clock set back", recordsWriter, "1111", []int64{9, 4, 7, 6}, []uint64{0, 1, 2, 3}},
	} {
		path := orderedFile(t, tt.application, tt.devices, tt.times...)
		var got []uint64
		emit := func(r flows.LabelledRecord) error {
			got = append(got, r.PacketCount)
			return nil
		}
		if err := Read(t.Context(), path, nil, emit); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: rows %v, want %v", tt.name, got, tt.want)
		}
	}
}

// However few rows are kept at once, the order is the same.
func TestReadOrderedInParts(t *testing.T) {
	path := orderedFile(t, "other", "11111", 9, 1, 5, 3, 7)
	for _, most := range []int{1, 2, 3, 5, 6} {
		var got []uint64
		err := openRecords(path, func(f *recordsFile) error {
			ranks, err := f.ranks(context.Background())
			if err != nil {
				return err
			}
			return f.readOrdered(context.Background(), ranks, most, func(r flows.LabelledRecord) error {
				got = append(got, r.PacketCount)
				return nil
			})
		})
		if err != nil || !slices.Equal(got, []uint64{1, 3, 2, 4, 0}) {
			t.Errorf("%d at once: rows %v, %v", most, got, err)
		}
	}
}
