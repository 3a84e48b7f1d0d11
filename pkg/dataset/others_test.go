package dataset_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
)

// Machines that no line of a manifest names are found in its captures, beside the same
// records of those that it names; one that it names for another capture is none of them,
// nor is what is in a capture of which another part of the data has a device.
func TestOthers(t *testing.T) {
	dir := t.TempDir()
	if err := lab.WriteDataset(t.Context(), dir, 2, 1, 1); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "manifest.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	one, two := rows[1], rows[2] // capture, mac, ...
	// read is the machines of the first capture by their labels, and the listed one's records.
	read := func(others string, more string, data ...string) (map[string]string, int) {
		t.Helper()
		o := dataset.Options{Manifest: filepath.Join(dir, "some.csv"), Data: data, Others: others, Splits: []string{"a"}}
		if err := os.WriteFile(o.Manifest, fmt.Appendf(nil, "capture,mac,label,split\n%s,%s,x,a\n%s", one[0], one[1], more), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Capture.RecordSpec = flows.DefaultRecordSpec()
		set, err := dataset.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		found, listed := map[string]string{}, 0
		err = set.Records(t.Context(), func(r flows.LabelledRecord) error {
			if r.Capture == one[0] {
				found[r.Device] = r.Label
			}
			if r.Device == one[1] {
				listed++
			}
			return nil
		}, func(c dataset.CaptureSummary) error {
			if len(c.Devices) != 1 {
				t.Errorf("devices of the manifest: %v", c.Devices)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found, listed
	}
	alone, records := read("", "")
	all, same := read("stranger", "")
	if len(alone) != 1 || len(all) < 2 || records != same || all[one[1]] != "x" {
		t.Fatalf("%v of %d records; with others %v, %d", alone, records, all, same)
	}
	for name, label := range all {
		if name == one[1] {
			continue
		}
		if label != "stranger" {
			t.Errorf("%s has the label %q", name, label)
		}
		if got, _ := read("stranger", fmt.Sprintf("%s,%s,y,b\n", two[0], name)); got[name] != "" || len(got) != len(all)-1 {
			t.Errorf("%s is listed for another capture: %v", name, got)
		}
		if got, _ := read("stranger", fmt.Sprintf("%s,%s,y,a\n", two[0], name), filepath.Join(dir, one[0])); got[name] != "" || len(got) != len(all)-1 {
			t.Errorf("%s is listed for a capture that is not among the data: %v", name, got)
		}
	}
	if got, _ := read("stranger", fmt.Sprintf("%s,02:00:00:00:00:01,y,b\n", one[0])); len(got) != 1 {
		t.Errorf("another part has a device of the capture: %v", got)
	}
}
