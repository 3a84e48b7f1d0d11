package store

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
)

// What is exported and imported is the same again, in an empty registry; in another that
// knows a device, it is told what that is called, and nothing else.
func TestExchange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	made(t, path, 5)
	want, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want.Devices[1].Label, want.Devices[1].Labelled, want.Devices[1].Locked, want.Devices[1].Ignored = "TP-Link/plug, \"mine\"", 7, true, true
	want.Devices[2].MACs = []string{"50:c7:bf:0f:00:01", "ip:10.0.0.1"}
	var text, table bytes.Buffer
	if err := want.Export(&text); err != nil {
		t.Fatal(err)
	}
	got, err := Import(&text)
	if err != nil {
		t.Fatal(err)
	}
	change := (&Content{}).Merge(got)
	for i := range change.Devices {
		if len(change.Devices[i].MACs) == 0 {
			change.Devices[i].MACs = nil
		}
	}
	if !reflect.DeepEqual(change.Devices, want.Devices) || !reflect.DeepEqual(change.Facts, want.Facts) {
		t.Errorf("%+v\nwant %+v", change.Devices, want.Devices)
	}
	if err := want.ExportCSV(&table); err != nil {
		t.Fatal(err)
	}
	if got, err = Import(&table); err != nil {
		t.Fatal(err)
	}
	here := &Content{Devices: []registry.Saved{saved(9, 3), saved(2, 3)}}
	change = here.Merge(got)
	told := saved(2, 3)
	told.Label, told.Locked, told.Ignored = want.Devices[1].Label, true, true
	if len(change.Devices) != 5 || !reflect.DeepEqual(change.Devices[0], told) || change.Devices[4].ID != 13 || len(change.Devices[2].MACs) != 2 {
		t.Errorf("from a table: %+v", change.Devices)
	}
	if err := errorsOf(path, change); err != nil {
		t.Error(err)
	}
}

// errorsOf writes a change to a file that is there.
func errorsOf(path string, c *Change) error {
	s, _, err := Open(path)
	if err != nil {
		return err
	}
	if err := s.Write(c); err != nil {
		return err
	}
	return s.Close()
}

// A device's own name among its MACs, and one that is there twice, is none that can be split
// off: a registry would lose the device by it.
func TestImportTakesEachMACOnce(t *testing.T) {
	in, err := Import(strings.NewReader("device,macs\n50:c7:bf:00:00:01,50:c7:bf:00:00:01 50:c7:bf:00:00:02 50:c7:bf:00:00:02\n"))
	if err != nil {
		t.Fatal(err)
	}
	if macs := in.Devices[0].MACs; !reflect.DeepEqual(macs, []string{"50:c7:bf:00:00:02"}) {
		t.Errorf("%q", macs)
	}
	r := registry.New(registry.Config{})
	r.Restore((&Content{}).Merge(in).Devices)
	if err := r.Split("50:c7:bf:00:00:01"); err == nil {
		t.Error("a device was split off itself")
	}
	if v := r.Verdict("50:c7:bf:00:00:01"); len(v.Others) != 1 {
		t.Errorf("it has other MACs %q", v.Others)
	}
}

func TestImportRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                   "empty",
		"{\"device\":\"x\"}": "line 1: device \"x\"",
		"{\"device\":\"50:c7:bf:00:00:01\"}\n{\"devise\":1}":                               "line 2: ",
		"{\"device\":\"50:c7:bf:00:00:01\",\"user_label\":\"a//b\"}":                       "line 1: label",
		"{\"device\":\"50:c7:bf:00:00:01\",\"facts\":[{\"kind\":\"shoe\"}]}":               "shoe",
		"{\"device\":\"50:c7:bf:00:00:01\",\"addresses\":[{\"address\":\"\"}]}":            "address",
		"{\"device\":\"50:c7:bf:00:00:01\",\"addresses\":[{\"address\":\"fe80::1%a b\"}]}": "address",
		"device\nip:fe80::1%a b\n": "line 2: device",
		"{\"device\":\"50:c7:bf:00:00:01\",\"first_seen\":9000000000000000000}":                               "line 1: time 9",
		"{\"device\":\"50:c7:bf:00:00:01\",\"facts\":[{\"kind\":\"maker\",\"source\":\"sent\",\"last\":-1}]}": "line 1: time -1",
		"mac,label\n1,2\n":                     "no column device",
		"device\n50:c7:bf:00:00:01\n5\n":       "line 3: device",
		"device,locked\nip:10.0.0.1,perhaps\n": "line 2: ",
		"device\n\"":                           "line 2",
	} {
		if _, err := Import(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// Whatever is imported, it can be written, exported and imported again.
func FuzzImport(f *testing.F) {
	c := &Content{Facts: map[string][]facts.Fact{saved(1, 1).Name: spoken(1, 1)}}
	c.Devices = append(c.Devices, saved(1, 1), saved(2, 1))
	for _, export := range []func(*bytes.Buffer) error{func(b *bytes.Buffer) error { return c.Export(b) }, func(b *bytes.Buffer) error { return c.ExportCSV(b) }} {
		var b bytes.Buffer
		if err := export(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Import(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := in.Export(&b); err != nil {
			t.Fatal(err)
		}
		again, err := Import(&b)
		if err != nil && len(in.Devices) > 0 {
			t.Fatalf("%v: %s", err, b.Bytes())
		}
		for i := range in.Devices {
			if _, err := deviceRow(&in.Devices[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil && len(again.Devices) != len(in.Devices) {
			t.Errorf("%d devices, of %d", len(again.Devices), len(in.Devices))
		}
	})
}
