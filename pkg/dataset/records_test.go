package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
	"github.com/iotsense/iotsense/pkg/lab"
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
	w := recordfile.NewWriter(f, metadata)
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
		return recordsFile(t, map[string]string{recordfile.SpecKey: `{"direction":"` + direction + `"}`}, 1)
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
	uni := map[string]string{recordfile.SpecKey: `{"direction":"uni"}`}
	for _, tt := range []struct {
		name      string
		metadata  map[string]string
		direction flows.Direction
		any       bool
		dates     string
		says      string // empty: the record is given
	}{
		{"no direction in the file", nil, flows.Bi, false, "", ""},
		{"other metadata", map[string]string{recordfile.SpecKey: "{"}, flows.Bi, false, "", ""},
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
			Capture: capture.Config{RecordSpec: flows.RecordSpec{Direction: tt.direction}},
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

// daysFile is a records file of some records of a capture, at these hours of a day.
func daysFile(t *testing.T, dir, name, capture string, hours ...int) string {
	t.Helper()
	file := filepath.Join(dir, name)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := recordfile.NewWriter(f, nil)
	for _, h := range hours {
		r := &flows.Record{Device: "02:00:00:00:00:07", FirstSeen: time.Date(2016, 9, 23, h, 0, 0, 0, time.UTC).UnixMicro(), Remote: netip.IPv4Unspecified(), PacketCount: uint64(h)}
		if err := w.Write(&flows.LabelledRecord{Record: r, Label: "plug", Capture: capture}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// read gives the hours of the records that Records gives.
func read(t *testing.T, data ...string) (hours []uint64, captures int, err error) {
	t.Helper()
	set, err := Open(Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	err = set.Records(t.Context(), func(r flows.LabelledRecord) error {
		hours = append(hours, r.PacketCount)
		return nil
	}, func(CaptureSummary) error {
		captures++
		return nil
	})
	return hours, captures, err
}

// Days come in order of time in whichever order they are named; records that would not
// follow each other are refused.
func TestRecordsFilesInOrder(t *testing.T) {
	dir := t.TempDir()
	first, second, third := daysFile(t, dir, "c", "", 1, 2), daysFile(t, dir, "b", "", 5, 6), daysFile(t, dir, "a", "", 8)
	within := daysFile(t, dir, "d", "", 4, 9)
	one, more, again := daysFile(t, dir, "e", "a.pcap", 1, 5), daysFile(t, dir, "f", "a.pcap", 6, 7), daysFile(t, dir, "g", "a.pcap", 3)
	for _, f := range []*string{&first, &second, &third, &within, &one, &more, &again} {
		if err := os.Rename(*f, *f+".parquet"); err != nil {
			t.Fatal(err)
		}
		*f += ".parquet"
	}
	for _, tt := range []struct {
		name  string
		data  []string
		hours []uint64
		says  string
	}{
		{"in order", []string{first, second, third}, []uint64{1, 2, 5, 6, 8}, ""},
		{"in another", []string{third, first, second}, []uint64{1, 2, 5, 6, 8}, ""},
		{"by their names", []string{dir}, nil, "put its records into one file"},
		{"one within another", []string{within, second}, nil, "before the last of"},
		{"one twice", []string{first, first}, []uint64{1, 2}, ""},
		{"a capture in two", []string{one, more}, []uint64{1, 5, 6, 7}, ""},
		{"a capture in two, the later first", []string{more, one}, nil, "02:00:00:00:00:07"},
		{"a capture in two, one within", []string{one, again}, nil, "of capture \"a.pcap\""},
	} {
		hours, _, err := read(t, tt.data...)
		switch {
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.says)
		case tt.says == "" && (err != nil || !slices.Equal(hours, tt.hours)):
			t.Errorf("%s: hours %v, %v; want %v", tt.name, hours, err, tt.hours)
		}
	}
}

// A records file that is damaged neither hides damage of others nor keeps them from
// being read.
func TestDamagedRecordsFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.pcap": "no capture", "b.parquet": "no records"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	daysFile(t, dir, "c.parquet", "x.pcap", 3, 4)
	hours, captures, err := read(t, filepath.Join(dir, "a.pcap"), filepath.Join(dir, "b.parquet"), filepath.Join(dir, "c.parquet"))
	if !slices.Equal(hours, []uint64{3, 4}) || captures != 1 {
		t.Errorf("hours %v of %d captures", hours, captures)
	}
	for _, name := range []string{"a.pcap", "b.parquet"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
	if err != nil && OnlyPartial(err) {
		t.Errorf("%v is of files of which nothing was read", err)
	}
	if hours, captures, err := read(t, daysFile(t, dir, "d.parquet", "")); len(hours) != 0 || captures != 1 || err != nil {
		t.Errorf("a file without a record: hours %v of %d captures, %v; want one to tell of", hours, captures, err)
	}
}

// The records of a capture that is read itself would count twice: by its name, whatever
// directory it was named from, and its time.
func TestRecordsOfCaptureReadToo(t *testing.T) {
	dir := t.TempDir()
	capture := filepath.Join(dir, "x.pcap")
	var c lab.Recording
	for _, h := range []int{2, 6} {
		frame := packet.Ethernet(0x0800, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(40000, 53, []byte("q"))))
		c.Frames = append(c.Frames, lab.Frame{Time: time.Date(2016, 9, 23, h, 0, 0, 0, time.UTC), Data: frame})
	}
	var text bytes.Buffer
	if err := lab.WritePCAP(&text, c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(capture, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, of string
		hours    []int
		twice    bool
	}{
		{"the same", capture, []int{3}, true},
		{"from there", "x.pcap", []int{3}, true},
		{"from elsewhere", "./" + filepath.Base(dir) + "/x.pcap", []int{3}, true},
		{"another directory's", "other/x.pcap", []int{3}, false},
		{"another time", "x.pcap", []int{7}, false},
		{"another name", "y.pcap", []int{3}, false},
	} {
		_, _, err := read(t, capture, daysFile(t, t.TempDir(), "r.parquet", tt.of, tt.hours...))
		if got := err != nil && strings.Contains(err.Error(), "is read too"); got != tt.twice || !tt.twice && err != nil {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}

// The work for a device does not grow with the number of devices: look at ns/device.
func BenchmarkDevices(b *testing.B) {
	for _, devices := range []int{1000, 16000} {
		var manifest strings.Builder
		manifest.WriteString("capture,mac,label\n")
		for i := range devices {
			fmt.Fprintf(&manifest, "a.pcap,02:00:00:00:%02x:%02x,plug\n", i>>8, i&255)
		}
		b.Run(fmt.Sprintf("%d", devices), func(b *testing.B) {
			for b.Loop() {
				captures, err := readManifest(strings.NewReader(manifest.String()), "/")
				if err != nil {
					b.Fatal(err)
				}
				s := newSpans()
				for _, d := range captures[0].Devices {
					s.add(flows.LabelledRecord{Record: &flows.Record{Device: d.Name}, Label: d.Label, Capture: "a.pcap"})
				}
				if len(s.order[0].summary.Devices) != devices {
					b.Fatal("devices are missing")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(devices), "ns/device")
		})
	}
}

// What is interrupted while it closes the flows of a capture gives out no more of
// them: there may be a hundred thousand.
func TestRecordsStopWithTheirContext(t *testing.T) {
	dir := t.TempDir()
	if err := lab.WriteDataset(t.Context(), dir, 2, 1, 1); err != nil {
		t.Fatal(err)
	}
	set, err := Open(Options{Manifest: filepath.Join(dir, "manifest.csv")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	given := 0
	err = set.Records(ctx, func(flows.LabelledRecord) error {
		given++
		stop()
		return nil
	}, func(CaptureSummary) error { return nil })
	if !errors.Is(err, context.Canceled) || given != 1 {
		t.Errorf("%d records given, %v: want 1 and the context's error", given, err)
	}
}
