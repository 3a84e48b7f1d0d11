package recordfile_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// publishedRecord is a record as published.py prints it.
type publishedRecord struct {
	Device                     string
	FirstSeen                  int64
	RemIP                      string
	Proto                      uint8
	DevPort, RemPort           int32
	TotalFlowSize, PacketCount uint64
	Packets                    []struct {
		TO      int64
		PS      uint32
		D       int
		Payload []int
	}
}

// record is what reading should give; oneWay: of the unidirectional file.
func (p publishedRecord) record(oneWay bool) flows.LabelledRecord {
	r := &flows.Record{
		Device: p.Device, FirstSeen: p.FirstSeen, Remote: netip.MustParseAddr(p.RemIP),
		Proto: p.Proto, DevPort: p.DevPort, RemPort: p.RemPort,
	}
	for _, x := range p.Packets {
		if oneWay && x.D != 1 {
			continue
		}
		packet := flows.RowPacket{Offset: x.TO, Size: x.PS, Sent: x.D == 1}
		for _, b := range x.Payload {
			packet.Payload = append(packet.Payload, byte(b))
		}
		r.Packets = append(r.Packets, packet)
		r.TotalBytes += uint64(x.PS)
		r.PacketCount++
	}
	return flows.LabelledRecord{Record: r, Label: p.Device}
}

// Files that pandas and pyarrow write in the layout of the published data set
// hold what was written: integers or floats with NaN, names with more zeros.
func TestReadRecordsOfPandas(t *testing.T) {
	python := testenv.Python(t)
	for _, layout := range []string{"int", "float", "wide"} {
		t.Run(layout, func(t *testing.T) {
			dir := t.TempDir()
			c := exec.Command(python, "testdata/published.py", dir, layout, "5", "2016-09-23", "2016-09-24")
			c.Stderr = os.Stderr
			out, err := c.Output()
			if err != nil {
				t.Fatal(err)
			}
			var made []publishedRecord
			if err := json.Unmarshal(out, &made); err != nil {
				t.Fatal(err)
			}
			for name, oneWay := range map[string]bool{"bidirectional": false, "unidirectional": true} {
				files, err := filepath.Glob(filepath.Join(dir, name, "*.parquet"))
				if err != nil || len(files) != 2 {
					t.Fatalf("files %v, %v", files, err)
				}
				var got, want []flows.LabelledRecord
				for _, path := range files {
					if err := recordfile.Read(context.Background(), path, nil, func(r flows.LabelledRecord) error {
						got = append(got, r)
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				for _, p := range made {
					want = append(want, p.record(oneWay))
				}
				same := cmp.Options{
					cmpopts.IgnoreFields(flows.Record{}, "LastSeen"), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}),
				}
				if diff := cmp.Diff(want, got, same); diff != "" {
					t.Errorf("%s: %.2000s", name, diff)
				}
			}
		})
	}
}
