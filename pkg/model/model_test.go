package model

import (
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

// A model that was trained on scrubbed payloads never sees others.
func TestStreamScrubs(t *testing.T) {
	const mac = "02:1f:3c:4d:5e:6f"
	for _, scrub := range []bool{false, true} {
		spec := DefaultRecordSpec()
		spec.Scrub = scrub
		r := &flows.Record{Device: mac, Remote: netip.IPv4Unspecified(), Packets: []flows.RowPacket{{Payload: []byte("I am " + mac)}}}
		step, ok := flows.NewStreams(spec.Stream()).Add(r)
		if !ok {
			t.Fatal("no row")
		}
		if got := string(step.Packets[0].Payload); (got == "I am "+mac) == scrub {
			t.Errorf("scrub %v: payload %q", scrub, got)
		}
	}
}
