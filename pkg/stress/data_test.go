package stress_test

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/identifiers"
	"github.com/iotsense/iotsense/pkg/stress"
)

// In another home no payload of the labelled captures has the MAC that a device had, nor
// an address that it used; there are as many records of it, of the same sizes.
func TestNoUnitGoesAlong(t *testing.T) {
	opts := dataset.Options{Manifest: filepath.Join(testenv.Data(t), "manifest.csv"), Splits: []string{"test"}, WholePayloads: true}
	opts.Capture.RecordSpec = flows.RecordSpec{Direction: flows.Bi, Packets: 10, Prefix: 1000, Payload: 3000, Lifetime: time.Minute}
	set, err := dataset.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	var was []flows.LabelledRecord
	addresses := map[string]map[netip.Addr]bool{} // by capture
	err = set.Records(t.Context(), func(r flows.LabelledRecord) error {
		was = append(was, r)
		if addresses[r.Capture] == nil {
			addresses[r.Capture] = map[netip.Addr]bool{}
		}
		if r.DeviceAddr.Is4() && r.DeviceAddr.IsPrivate() {
			addresses[r.Capture][r.DeviceAddr] = true
		}
		return nil
	}, func(dataset.CaptureSummary) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	change := stress.Changes()[len(stress.Changes())-1]
	if err := set.Change(func(name string, devices []string) capture.Changer { return change.Begin(1, name, devices) }); err != nil {
		t.Fatal(err)
	}
	n := 0
	var before, after [identifiers.KindCount]int
	err = set.Records(t.Context(), func(r flows.LabelledRecord) error {
		o := was[n]
		n++
		if r.Label != o.Label || r.Capture != o.Capture || r.Device == o.Device || r.TotalBytes != o.TotalBytes || r.PacketCount != o.PacketCount {
			t.Fatalf("%s: record %d, %s of %s, %d packets, is %s of %s, %d", r.Capture, n, o.Device, o.Label, o.PacketCount, r.Device, r.Label, r.PacketCount)
		}
		var own []netip.Addr
		for a := range addresses[r.Capture] {
			own = append(own, a)
		}
		finder := identifiers.NewFinder(o.Device, own, nil)
		for i, p := range r.Packets {
			finder.Find(o.Packets[i].Payload, func(kind identifiers.Kind, _, _ int) { before[kind]++ })
			finder.Find(p.Payload, func(kind identifiers.Kind, _, _ int) { after[kind]++ })
		}
		return nil
	}, func(dataset.CaptureSummary) error { return nil })
	if err != nil || n != len(was) {
		t.Fatalf("%v, %d records of %d", err, n, len(was))
	}
	for kind := range identifiers.LocalAddressBinary {
		if before[kind] == 0 || after[kind] > 0 {
			t.Errorf("%s: %d before, %d in another home", identifiers.Infos[kind].Key, before[kind], after[kind])
		}
	}
}
