package classify_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// What is published of a gateway is what is said live: it may be known as no class.
func TestGatewayIsNameless(t *testing.T) {
	var held []int
	var states []v1.State
	c, err := classify.New(model.Bundle{"udp/53": sure(t, "udp/53", "camera", "plug")}, classify.Options{
		Judged:  func(j classify.Judged) { held = append(held, j.Held) },
		Verdict: func(v v1.Verdict) { states = append(states, v.State) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(12) {
		err := c.Record(&flows.Record{
			Device: "02:00:00:00:00:01", FirstSeen: i, LastSeen: i, Proto: 17, DevPort: 53, RemPort: 4000,
			Remote: netip.IPv4Unspecified(), DeviceAddr: netip.MustParseAddr("10.0.0.1"), Packets: []flows.RowPacket{{Size: uint32(100 * i), Sent: i >= 6}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	last := len(states) - 1
	if states[3] != v1.Known || held[3] != 0 || states[last] != v1.Gateway || held[last] != 1 {
		t.Errorf("states %v, held %v", states, held)
	}
}

// None of the data set's devices is called a gateway, but the machine that most captures
// have one behind.
func TestGatewaysOfCaptures(t *testing.T) {
	manifest := filepath.Join(testenv.Data(t), "manifest.csv")
	listed := map[string]bool{}
	captures, err := dataset.ReadManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range captures {
		for _, d := range c.Devices {
			listed[d.Name] = true
		}
	}
	set, err := dataset.Open(dataset.Options{Manifest: manifest, Others: "other"})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = classify.Captures(t.Context(), set, nil, classify.Options{NoFacts: true}, nil, func(s dataset.CaptureSummary, k *classify.Classifier) error {
		for _, d := range k.Registry().Devices() {
			switch {
			case d.State != v1.Gateway:
			case listed[d.Device]:
				t.Errorf("%s: %s is a gateway", s.Name, d.Device)
			default:
				found++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d gateways in %d captures", found, len(captures)); found < len(captures)/3 {
		t.Errorf("%d gateways in %d captures", found, len(captures))
	}
}
