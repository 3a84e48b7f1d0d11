package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
)

func TestWritePCAPRoundTrip(t *testing.T) {
	c := generate(t, "hub", 0, 1)
	r, err := pcapgo.NewReader(bytes.NewReader(pcap(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	if r.LinkType() != layers.LinkTypeEthernet {
		t.Errorf("link type %v, want Ethernet", r.LinkType())
	}
	for i, f := range c.Frames {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if !bytes.Equal(data, f.Data) || !info.Timestamp.Equal(f.Time) {
			t.Fatalf("frame %d differs from what was written", i)
		}
	}
}

// full is a writer that takes some bytes and then no more.
type full int

var errFull = errors.New("no space left")

func (f *full) Write(b []byte) (int, error) {
	if *f -= full(len(b)); *f < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWritePCAPReportsErrors(t *testing.T) {
	c := generate(t, "smoke-alarm", 0, 1)
	for _, room := range []full{0, 24, 500} {
		if err := WritePCAP(&room, c); err == nil || !strings.Contains(err.Error(), errFull.Error()) { // pcapgo does not wrap
			t.Errorf("error %v, want one that says %q", err, errFull)
		}
	}
}

// TestWriteDataset reads the data set back as training does.
func TestWriteDataset(t *testing.T) {
	dir := t.TempDir()
	const units, captures = 2, 1
	if err := WriteDataset(t.Context(), dir, units, captures, 5); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "manifest.csv")
	list, err := dataset.ReadManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(Kinds()) * units * captures; len(list) != want {
		t.Errorf("%d captures in the manifest, want %d", len(list), want)
	}
	splitOf, labels := map[string]string{}, map[string]map[string]bool{}
	for _, c := range list {
		if len(c.Devices) != 1 {
			t.Fatalf("%s: %d devices, want 1", c.Name, len(c.Devices))
		}
		d := c.Devices[0]
		if other, ok := splitOf[d.Unit]; ok && other != d.Split {
			t.Errorf("unit %s is in the splits %s and %s", d.Unit, other, d.Split)
		}
		splitOf[d.Unit] = d.Split
		if labels[d.Label] == nil {
			labels[d.Label] = map[string]bool{}
		}
		labels[d.Label][d.Split] = true

		records := 0
		locals := flows.NewLocals(flows.DefaultLocal()).WithDevices(d.Name)
		stats, err := capture.Read(context.Background(), c.Path, capture.Config{Locals: locals}, func(r *flows.Record) {
			records++
			if r.Device != d.Name {
				t.Errorf("%s: record of %s, want %s only", c.Name, r.Device, d.Name)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if records < 8 || stats.Malformed+stats.Truncated+stats.Fragment != 0 {
			t.Errorf("%s: %d records, %d malformed, %d truncated, %d fragments; want at least 8 and 0", c.Name, records, stats.Malformed, stats.Truncated, stats.Fragment)
		}
	}
	for _, k := range Kinds() {
		if !labels[k]["train"] || !labels[k]["test"] {
			t.Errorf("%s is in the splits %v, want train and test", k, labels[k])
		}
	}
}

func TestWriteDatasetRefuses(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, dir       string
		units, captures int
		want            string
	}{
		{"one unit", t.TempDir(), 1, 1, "at least 2 units"},
		{"no capture", t.TempDir(), 2, 0, "1 capture"},
		{"a file in the way", occupied, 2, 1, occupied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := WriteDataset(t.Context(), tt.dir, tt.units, tt.captures, 1); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// TestWriteDays: all units live in one home at one time.
func TestWriteDays(t *testing.T) {
	dir := t.TempDir()
	if err := WriteDays(t.Context(), dir, 2, 1, 5, 4*time.Minute); err != nil {
		t.Fatal(err)
	}
	list, err := dataset.ReadManifest(filepath.Join(dir, "manifest.csv"))
	if err != nil || len(list) != 2*len(Kinds()) {
		t.Fatalf("%d captures, error %v", len(list), err)
	}
	routers, longest := map[flows.MAC]bool{}, time.Duration(0)
	for _, c := range list {
		f, err := os.Open(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		first, last := time.Time{}, time.Time{}
		for {
			data, info, err := r.ReadPacketData()
			if err != nil {
				break
			}
			if last = info.Timestamp; first.IsZero() {
				first = last
			}
			p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
			if u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && u.SrcPort == 67 {
				routers[flows.MAC(p.LinkLayer().(*layers.Ethernet).SrcMAC)] = true
			}
		}
		f.Close()
		longest = max(longest, last.Sub(first))
	}
	if len(routers) != 1 || longest < 3*time.Minute || longest > 4*time.Minute {
		t.Errorf("captures of up to %v with %d routers, want close to 4m0s and one home's", longest, len(routers))
	}
}
