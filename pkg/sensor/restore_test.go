package sensor

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
	"github.com/iotsense/iotsense/pkg/store"
)

// What a device said by a MAC that was merged into it is known again after a restart.
func TestFactsOfMergedMACsAreKept(t *testing.T) {
	const device, merged = "00:1d:aa:01:02:03", "00:1d:aa:01:02:04"
	path := filepath.Join(t.TempDir(), "r.db")
	file, _, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	fact := func(value string) []facts.Fact {
		return []facts.Fact{
			{Kind: facts.DHCPHost, Source: facts.Sent, Value: value, Count: 1, First: 1, Last: 2},
			{Kind: facts.PeerKind, Source: facts.Sent, Value: "4 6/443 device " + value + ".example", Count: 1, First: 1, Last: 2},
		}
	}
	err = file.Write(&store.Change{
		Devices: []registry.Saved{{ID: 1, Name: device, MACs: []string{merged}, First: 1, Last: 2, Flows: 1}},
		Facts:   map[string][]facts.Fact{device: fact("plug"), merged: fact("plug-5g")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	s := &Sensor{cfg: Config{State: path, Log: slog.New(slog.DiscardHandler)}}
	if err := s.openClassifier(); err != nil {
		t.Fatal(err)
	}
	if s.kept, err = s.keep(); err != nil {
		t.Fatal(err)
	}
	defer s.kept.close()
	if lines, err := s.Facts(device); err != nil || len(lines) != 2 {
		t.Errorf("%+v, %v", lines, err)
	}
	if p, err := s.Peers(device); err != nil || len(p.Peers) != 2 || p.Peers[0].Peer != "plug-5g.example" {
		t.Errorf("%+v, %v", p, err)
	}
	if changes, list := s.factsToKeep(device); changes == 0 || len(list) != 2 {
		t.Errorf("%d, %+v", changes, list)
	}
}
