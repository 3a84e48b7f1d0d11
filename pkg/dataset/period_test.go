package dataset_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

func TestPeriod(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	for _, tt := range []struct {
		dates, time string
		want        bool
	}{
		{"", "1970-01-01T00:00:00Z", true},
		{"2016-09-23..2016-09-29", "2016-09-22T23:59:59.999999Z", false},
		{"2016-09-23..2016-09-29", "2016-09-23T00:00:00Z", true},
		{"2016-09-23..2016-09-29", "2016-09-29T23:59:59.999999Z", true},
		{"2016-09-23..2016-09-29", "2016-09-30T00:00:00Z", false},
		{"2016-10-03", "2016-10-03T12:00:00Z", true},
		{"2016-10-03", "2016-10-04T00:00:00Z", false},
	} {
		p, err := dataset.ParsePeriod(tt.dates)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Contains(at(tt.time)); got != tt.want {
			t.Errorf("%q contains %s: %v, want %v", tt.dates, tt.time, got, tt.want)
		}
	}
	for _, bad := range []string{"23-09-2016", "2016-09-23..", "..2016-09-23", "2016-09-29..2016-09-23", "2016-09-23..2016-09-29..2016-10-01"} {
		if _, err := dataset.ParsePeriod(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestPeriodsOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"", "2016-09-23", true},
		{"2016-09-23..2016-09-29", "2016-09-29..2016-10-02", true},
		{"2016-09-23..2016-09-29", "2016-09-24", true},
		{"2016-09-23..2016-09-29", "2016-09-30..2016-10-02", false},
	} {
		a, errA := dataset.ParsePeriod(tt.a)
		b, errB := dataset.ParsePeriod(tt.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Overlaps(b) != tt.want || b.Overlaps(a) != tt.want {
			t.Errorf("%v overlaps %v: %v and %v, want %v", a, b, a.Overlaps(b), b.Overlaps(a), tt.want)
		}
	}
}

// A capture is as long as the part of it that lies in the period: what is scored is
// divided by these hours.
func TestDurationInPeriod(t *testing.T) {
	first := time.Date(2016, 9, 23, 20, 0, 0, 0, time.UTC)
	var stamps []time.Time
	for hour := range 13 { // to 8 in the morning
		stamps = append(stamps, first.Add(time.Duration(hour)*time.Hour))
	}
	path := captureAt(t, stamps...)
	for dates, want := range map[string]time.Duration{"": 12 * time.Hour, "2016-09-23": 4 * time.Hour, "2016-09-24": 8 * time.Hour, "2016-09-23..2016-09-24": 12 * time.Hour} {
		period, err := dataset.ParsePeriod(dates)
		if err != nil {
			t.Fatal(err)
		}
		set, err := dataset.Open(dataset.Options{Data: []string{path}, Period: period})
		if err != nil {
			t.Fatal(err)
		}
		captures, err := set.Steps(t.Context(), flows.StreamSpec{}, func(dataset.Example) error { return nil })
		if err != nil || len(captures) != 1 || captures[0].Duration != want {
			t.Errorf("%q: %+v, %v; want one capture of %v", dates, captures, err, want)
		}
	}
}

// captureAt is a capture file with one datagram at each time.
func captureAt(t *testing.T, stamps ...time.Time) string {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(40000, 53, packet.Payload(8))))
	for _, at := range stamps {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "times.pcap")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A capture whose clock was set back is as long as the time between its least and
// its greatest stamp; the records of both times are told apart.
func TestDurationOfClockSetBack(t *testing.T) {
	noon := time.Date(2023, 5, 5, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		stamps  []time.Time
		want    time.Duration
		records int
	}{
		{"by half an hour", []time.Time{noon, noon.Add(10 * time.Second), noon.Add(-30 * time.Minute), noon.Add(-29 * time.Minute)}, 30*time.Minute + 10*time.Second, 3},
		{"at the end", []time.Time{noon, noon.Add(-2 * time.Hour)}, 2 * time.Hour, 2},
		{"by a second", []time.Time{noon, noon.Add(-time.Second)}, time.Second, 1},
	} {
		set, err := dataset.Open(dataset.Options{Data: []string{captureAt(t, tt.stamps...)}})
		if err != nil {
			t.Fatal(err)
		}
		var got dataset.CaptureSummary
		err = set.Records(t.Context(), func(flows.LabelledRecord) error { return nil }, func(s dataset.CaptureSummary) error { got = s; return nil })
		if err != nil || got.Duration != tt.want || got.Records != tt.records {
			t.Errorf("%s: %v in %d records, %v; want %v in %d", tt.name, got.Duration, got.Records, err, tt.want, tt.records)
		}
	}
	if got := (dataset.Period{}).Within(-62_135_596_800e6, 253_402_300_799e6); got <= 0 {
		t.Errorf("between the years 1 and 9999: %v", got)
	}
}
