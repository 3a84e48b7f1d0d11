package object

import "testing"

func TestShareOf(t *testing.T) {
	for _, tt := range []struct {
		maxFlows int
		want     share
	}{
		{1, share{macFlows: 1, openFlows: 1, macs: 64, earlyFlows: 1, earlyMACs: 32}},
		{256, share{macFlows: 32, openFlows: 192, macs: 64, earlyFlows: 128, earlyMACs: 32}},
		{DefaultMaxFlows, share{macFlows: 8192, openFlows: 49152, macs: 8192, earlyFlows: 32768, earlyMACs: 4096}},
		{1 << 24, share{macFlows: 1 << 21, openFlows: 3 << 22, macs: 1 << 21, earlyFlows: 1 << 23, earlyMACs: 1 << 20}},
	} {
		if got := shareOf(tt.maxFlows); got != tt.want {
			t.Errorf("%d flows: %+v, want %+v", tt.maxFlows, got, tt.want)
		}
	}
}
