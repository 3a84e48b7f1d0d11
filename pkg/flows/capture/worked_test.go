package capture_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
)

// readCapture returns the records of one device of a capture.
func readCapture(t *testing.T, path, device string, dir flows.Direction) []*flows.Record {
	t.Helper()
	var records []*flows.Record
	cfg := capture.Config{
		RecordSpec: flows.RecordSpec{Direction: dir},
		Locals:     flows.NewLocals(nil).WithDevices(device),
	}
	_, err := capture.Read(context.Background(), path, cfg, func(r *flows.Record) { records = append(records, r) })
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// The worked record: five successive records of a real capture, value by value.
func TestWorkedRecord(t *testing.T) {
	type row struct {
		firstSeen, since int64
		remote           string
		proto            uint8
		devPort, remPort int32
		bytes, packets   uint64
		offsets          []int64
		sizes            []uint32
		sent             []bool
		payload          []int16
	}
	want := []row{
		{1472729032788901, 0, "255.255.255.255", 17, 68, 67, 1728, 3, []int64{0, 1924858, 2409421}, []uint32{576, 576, 576}, []bool{true, true, true}, []int16{-4, 1, 1, 6, 0, 3, 62, 49, 44}},
		{1472729035042057, 2253156, "0.0.0.0", 1, -1, -1, 48, 1, []int64{0}, []uint32{48}, []bool{false}, []int16{-4, -8}},
		{1472729035042110, 53, "0.0.0.0", 17, 68, 67, 984, 3, []int64{0, 62, 228135}, []uint32{328, 328, 328}, []bool{false, false, false}, []int16{-4, 2, 1, 6, 0, 3, 62, 49, 44}},
		{1472729035592527, 550417, "0.0.0.0", 17, 52846, 53, 592, 2, []int64{0, 1600}, []uint32{61, 531}, []bool{true, false}, []int16{-4, 0, 2, 1, 0, 0, 1}},
		{1472729035690571, 98044, "144.76.172.53", 17, 50403, 123, 152, 2, []int64{0, 6440}, []uint32{76, 76}, []bool{true, false}, []int16{-4, 27, 0, 4, 250}},
	}
	const device = "50:c7:bf:00:fc:a3"
	path := filepath.Join(testenv.Data(t), "TP-LinkPlugHS100", "Setup-A-1-STA.pcap")
	records := readCapture(t, path, device, flows.Bi)
	if len(records) < len(want) {
		t.Fatalf("%d records, want at least %d", len(records), len(want))
	}
	streams := flows.NewStreams(flows.StreamSpec{})
	for i, w := range want {
		r, ok := streams.Add(records[i])
		if !ok || r.Number != i {
			t.Fatalf("record %d: row %d of the stream, %v", i, r.Number, ok)
		}
		got := row{r.FirstSeen, r.Since, r.Remote.String(), r.Proto, r.DevPort, r.RemPort, r.TotalBytes, r.PacketCount, nil, nil, nil, nil}
		for _, p := range r.Packets {
			got.offsets = append(got.offsets, p.Offset)
			got.sizes = append(got.sizes, p.Size)
			got.sent = append(got.sent, p.Sent)
		}
		got.payload = r.Tokens(nil, flows.PayloadTokens)
		if len(got.payload) > len(w.payload) {
			got.payload = got.payload[:len(w.payload)]
		}
		if diff := cmp.Diff(w, got, cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
		if r.Device != device {
			t.Errorf("record %d: device %s", i, r.Device)
		}
	}
}
