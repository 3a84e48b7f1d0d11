package dataset_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/pcap"
)

// tomorrow gives every packet twice, a day later, of a device that ends in 0e.
type tomorrow struct{}

func (tomorrow) Device(name string) string { return strings.TrimSuffix(name, "0d") + "0e" }
func (tomorrow) Later() int64              { return (24 * time.Hour).Microseconds() }
func (tomorrow) Packet(p pcap.Packet, give func(pcap.Packet)) {
	data := []byte(strings.Replace(string(p.Data), "\x02\x00\x00\x00\x00\x0d", "\x02\x00\x00\x00\x00\x0e", 1))
	p.Data, p.Time = data, p.Time.Add(24*time.Hour)
	give(p)
	give(p)
}

// Changed packets make the records, under the devices' new names and old labels; the
// wanted days are those of the packets that there are.
func TestChange(t *testing.T) {
	at := time.Date(2016, 9, 23, 20, 0, 0, 0, time.UTC)
	path := captureAt(t, at, at.Add(time.Second))
	manifest := filepath.Join(filepath.Dir(path), "manifest.csv")
	if err := os.WriteFile(manifest, []byte("capture,mac,label,unit\ntimes.pcap,02:00:00:00:00:0d,plug,plug-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	period, err := dataset.ParsePeriod("2016-09-23")
	if err != nil {
		t.Fatal(err)
	}
	opts := dataset.Options{Manifest: manifest, Period: period}
	opts.Capture.RecordSpec = flows.RecordSpec{Packets: 10, Prefix: 10, Payload: 100, Lifetime: time.Minute}
	set, err := dataset.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	read := func() (r flows.LabelledRecord, c dataset.CaptureSummary) {
		t.Helper()
		err := set.Records(t.Context(), func(got flows.LabelledRecord) error { r = got; return nil }, func(s dataset.CaptureSummary) error { c = s; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return r, c
	}
	var asked []string
	if err := set.Change(func(name string, devices []string) capture.Changer {
		asked = append([]string{name}, devices...)
		return tomorrow{}
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it begins anew
		r, c := read()
		if r.Device != "02:00:00:00:00:0e" || r.Label != "plug" || r.Unit != "plug-1" || r.PacketCount != 4 || r.FirstSeen != at.Add(24*time.Hour).UnixMicro() {
			t.Errorf("%+v", r)
		}
		if len(c.Devices) != 1 || c.Devices[0].Name != r.Device || len(c.Unseen) != 0 || c.Records != 1 || c.Stats.Seen != 4 || c.Duration != time.Second {
			t.Errorf("%+v", c)
		}
	}
	if strings.Join(asked, " ") != "times.pcap 02:00:00:00:00:0d" {
		t.Errorf("a change of %v", asked)
	}
	steps := 0
	if _, err := set.Steps(t.Context(), flows.StreamSpec{}, func(e dataset.Example) error {
		if steps++; e.Name != "02:00:00:00:00:0d" || e.Record.Device != "02:00:00:00:00:0e" {
			t.Errorf("a row of %s, its record of %s", e.Name, e.Record.Device)
		}
		if e.Record.FirstSeen-e.Later != at.UnixMicro() {
			t.Errorf("a row of %d, %d later than it was: want %d", e.Record.FirstSeen, e.Later, at.UnixMicro())
		}
		return nil
	}); err != nil || steps != 1 {
		t.Errorf("%d rows, %v", steps, err)
	}
	if err := set.Change(nil); err != nil {
		t.Fatal(err)
	}
	if r, c := read(); r.Device != "02:00:00:00:00:0d" || r.PacketCount != 2 || c.Devices[0].Name != r.Device {
		t.Errorf("unchanged %+v", r)
	}
}

// Records hold no packets.
func TestChangeOfRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some.parquet")
	if err := os.WriteFile(path, []byte("PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(dataset.Options{Data: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	err = set.Change(func(string, []string) capture.Changer { return tomorrow{} })
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want an error that names %s", err, path)
	}
	if err := set.Change(nil); err != nil {
		t.Error(err)
	}
}
