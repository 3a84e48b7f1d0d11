// Package testpackets gives tests the packets of captures, for what they look up beside the
// program's own reading.
package testpackets

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/pcap"
)

// Each gives each packet of a capture file, parsed and valid during the call. Packets that
// cannot be read are passed over; what is truncated ends where it does.
func Each(t testing.TB, path string, take func(*flows.Packet)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcap.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var parsed flows.Packet
	for {
		p, err := r.Next()
		if errors.As(err, new(*pcap.PacketError)) {
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "truncated") {
				t.Fatalf("%s: %v", path, err)
			}
			return
		}
		flows.Parse(&parsed, flows.Link(p.Link), p.Data, p.Length)
		take(&parsed)
	}
}
