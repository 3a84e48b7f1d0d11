package dataset

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
)

// recordsFile writes a file with the given metadata and a record of each of so many
// days from 2016-09-23 on, in captures day-0, day-1, ...
func recordsFile(t *testing.T, metadata map[string]string, days int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := flows.NewRecordWriter(f, metadata)
	for day := range days {
		r := &flows.Record{Device: "plug", FirstSeen: time.Date(2016, 9, 23+day, 12, 0, 0, 0, time.UTC).UnixMicro(), Remote: netip.IPv4Unspecified(), Proto: 17}
		if err := w.Write(&flows.LabelledRecord{Record: r, Label: "plug", Capture: fmt.Sprintf("day-%d", day)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A records file holds one direction; captures give both.
func TestDirections(t *testing.T) {
	of := func(direction string) string {
		return recordsFile(t, map[string]string{flows.RecordsKey: `{"direction":"` + direction + `"}`}, 1)
	}
	capture := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(capture, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cut := of("bi")
	if err := os.Truncate(cut, 100); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		data []string
		want []flows.Direction
		says string // the error
	}{
		{"captures", []string{capture}, []flows.Direction{flows.Bi, flows.Uni}, ""},
		{"bi", []string{of("bi"), of("bi")}, []flows.Direction{flows.Bi}, ""},
		{"uni", []string{of("uni")}, []flows.Direction{flows.Uni}, ""},
		{"one of each", []string{of("uni"), of("bi")}, nil, "of direction bi, those of the files before it uni"},
		{"unsaid", []string{recordsFile(t, nil, 1)}, nil, "--direction"},
		{"cut", []string{cut}, nil, "not a readable parquet file"},
	} {
		set, err := Open(Options{Data: tt.data})
		if err != nil {
			t.Fatal(err)
		}
		got, err := set.Directions(context.Background())
		if !slices.Equal(got, tt.want) || (tt.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, %v; want %v, %q", tt.name, got, err, tt.want, tt.says)
		}
	}
}

// Records of the other direction are refused where the file says of which it is, and
// days on which nothing begins are no data set of nothing.
func TestRecordsRefuses(t *testing.T) {
	uni := map[string]string{flows.RecordsKey: `{"direction":"uni"}`}
	for _, tt := range []struct {
		name      string
		metadata  map[string]string
		direction flows.Direction
		any       bool
		dates     string
		says      string // empty: the record is given
	}{
		{"no direction in the file", nil, flows.Bi, false, "", ""},
		{"other metadata", map[string]string{flows.RecordsKey: "{"}, flows.Bi, false, "", ""},
		{"same direction", uni, flows.Uni, false, "", ""},
		{"other direction", uni, flows.Bi, false, "", "of direction uni, not bi"},
		{"any direction", uni, flows.Bi, true, "", ""},
		{"its day", nil, flows.Bi, false, "2016-09-22..2016-09-23", ""},
		{"another day", nil, flows.Bi, false, "2016-09-24", "no record begins on the days 2016-09-24..2016-09-24"},
	} {
		period, err := ParsePeriod(tt.dates)
		if err != nil {
			t.Fatal(err)
		}
		path := recordsFile(t, tt.metadata, 1)
		set, err := Open(Options{
			Data: []string{path}, Period: period, AnyDirection: tt.any,
			Capture: flows.CaptureConfig{RecordSpec: flows.RecordSpec{Direction: tt.direction}},
		})
		if err != nil {
			t.Fatal(err)
		}
		records := 0
		err = set.Records(context.Background(), func(flows.LabelledRecord) error {
			records++
			return nil
		}, func(CaptureSummary) error { return nil })
		switch {
		case tt.says == "" && (err != nil || records != 1):
			t.Errorf("%s: %d records, %v", tt.name, records, err)
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || records != 0):
			t.Errorf("%s: %d records, error %v, want %q", tt.name, records, err, tt.says)
		}
	}
}
