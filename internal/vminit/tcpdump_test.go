package main

import (
	"slices"
	"testing"

	"github.com/gopacket/gopacket"

	"github.com/iotsense/iotsense/internal/packet"
)

// A tag that the kernel took off is put back where it was.
func TestWithTag(t *testing.T) {
	inner := packet.Payload(30)
	plain := packet.Ethernet(packet.IPv4Type, inner)
	tagged := packet.Ethernet(packet.VLANType, packet.VLAN(7, packet.IPv4Type, inner))
	for _, tt := range []struct {
		name string
		aux  []any
		want []byte
	}{
		{"no tag", nil, plain},
		{"tag 7", []any{7}, tagged},
	} {
		if got := withTag(slices.Clone(plain), gopacket.CaptureInfo{AncillaryData: tt.aux}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %x, want %x", tt.name, got, tt.want)
		}
	}
}
