package analyze

import (
	"strings"
	"testing"
)

func TestShares(t *testing.T) {
	var s shares
	for _, m := range []made{
		{proto: tcp, dev: 50000, rem: 443, remote: "203.0.113.9", payloads: []string{"", "abcd"}, packets: 11},
		{proto: udp, dev: 50001, rem: 53, payloads: []string{"ab"}, packets: 1},
		{proto: udp, dev: 5353, rem: 5353, remote: "224.0.0.251", payloads: []string{strings.Repeat("x", 1000)}, packets: 10},
	} {
		r := m.record()
		s.add(r.Record)
	}
	incomplete := made{proto: udp, dev: 1, rem: 2, payloads: []string{""}}.record()
	incomplete.Incomplete = true // a flow, but its packets are not all there
	s.add(incomplete.Record)

	got := s.result()
	for _, tt := range []struct {
		name      string
		got       Ratio
		count, of uint64
	}{
		{"short flows", got.ShortFlows, 3, 4},
		{"local flows", got.LocalFlows, 2, 4},
		{"service flows", got.ServiceFlows, 2, 4},
		{"empty packets", got.EmptyPackets, 1, 4},
		{"small packets", got.SmallPackets, 3, 4},
		{"sent packets", got.SentPackets, 3, 4},
		{"full rows", got.FullRows, 0, 3},
	} {
		if tt.got.Count != tt.count || tt.got.Of != tt.of || *tt.got.Share != float64(tt.count)/float64(tt.of) {
			t.Errorf("%s: %d of %d, %v; want %d of %d", tt.name, tt.got.Count, tt.got.Of, *tt.got.Share, tt.count, tt.of)
		}
	}
	if want := round((4 + 2 + 1000) / 3.0); *got.MeanPayload != want {
		t.Errorf("mean payload %v, want %v", *got.MeanPayload, want)
	}
	// Rows use 2+6, 4 and 1002 values.
	if want := round((8 + 4 + 1002) / 3.0); *got.MeanRowValues != want || *got.MidRowValues != 8 {
		t.Errorf("row values: mean %v, median %v; want %v, 8", *got.MeanRowValues, *got.MidRowValues, want)
	}
}

func TestSharesOfNothing(t *testing.T) {
	got := (&shares{}).result()
	if got.ShortFlows.Share != nil || got.MeanPayload != nil || got.MidRowValues != nil {
		t.Errorf("shares of nothing: %+v", got)
	}
	for _, l := range got.Lines() {
		if l.Text(l.Value) != "-" {
			t.Errorf("%s of nothing reads %q", l.Key, l.Text(l.Value))
		}
	}
}

// The paper's figures are looked up by the keys of Shares.
func TestPaperSharesAreShown(t *testing.T) {
	shown := 0
	for _, l := range (Shares{}).Lines() {
		if l.Paper != nil {
			shown++
		}
	}
	if shown != len(PaperShares) {
		t.Errorf("%d of the paper's %d shares are shown", shown, len(PaperShares))
	}
}
