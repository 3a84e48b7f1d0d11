package analyze

import (
	"fmt"
	"slices"
	"testing"
)

func TestServiceOf(t *testing.T) {
	for _, tt := range []struct {
		proto    uint8
		dev, rem int32
		want     string
	}{
		{tcp, 50000, 443, "tcp/443"},
		{tcp, 80, 51000, "tcp/80"},       // the device serves
		{tcp, 49153, 51000, "tcp/51000"}, // nothing tells
		{udp, 68, 67, "udp/67"},
		{udp, 5353, 5353, "udp/5353"},
		{udp, 1900, 50123, "udp/1900"},
		{udp, 40000, 33434, "udp/33434"},
		{udp, 1025, 8080, "udp/8080"}, // both registered: the remote's
		{udp, 9999, 53, "udp/53"},
		{tcp, 0, 50000, "tcp/0"}, // port 0 is a port
		{1, -1, -1, "icmp"},
		{2, -1, -1, "igmp"},
		{47, -1, -1, "proto/47"},
		{udp, -1, -1, "udp"}, // a later fragment
	} {
		r := made{proto: tt.proto, dev: tt.dev, rem: tt.rem}.record()
		if got := serviceOf(r.Record).String(); got != tt.want {
			t.Errorf("proto %d, ports %d and %d: %s, want %s", tt.proto, tt.dev, tt.rem, got, tt.want)
		}
	}
}

// visits makes one record after the other, of one device and capture.
func visits(capture string, ports ...int32) []made {
	var records []made
	for i, port := range ports {
		records = append(records, made{label: "A", capture: capture, device: "02:00:00:00:00:01", at: int64(i), proto: udp, dev: 50000, rem: port})
	}
	return records
}

func TestTransitions(t *testing.T) {
	// 53>80 twice, 80>53 once, 80>123 once, 53>53 once; the end of c1 leads nowhere.
	records := slices.Concat(visits("c1", 53, 80, 53, 53, 80, 123), visits("c2", 123))
	g := analyzeMade(Config{}, records).Classes[0].Services
	var got []string
	for _, tr := range g.Transitions {
		got = append(got, fmt.Sprintf("%s>%s %d %.4f %v", tr.From, tr.To, tr.Count, tr.Probability, tr.Weak))
	}
	want := []string{
		"udp/53>udp/53 1 0.3333 false", "udp/53>udp/80 2 0.6667 false",
		"udp/80>udp/53 1 0.5000 false", "udp/80>udp/123 1 0.5000 false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("transitions\n got %v\nwant %v", got, want)
	}
	if g.Seen != 3 || g.Total != 5 || g.Cutoff != leastShare {
		t.Errorf("%d services, %d transitions, cut-off %v", g.Seen, g.Total, g.Cutoff)
	}
	var states []string
	for _, s := range g.States {
		states = append(states, fmt.Sprintf("%s %d %d %s", s.Service, s.Records, s.InLinks, s.Colour))
	}
	// By records, then by port. One of two others leads to each: not yet "many".
	if want := []string{"udp/53 3 1 blue", "udp/80 2 1 blue", "udp/123 2 1 blue"}; !slices.Equal(states, want) {
		t.Errorf("states\n got %v\nwant %v", states, want)
	}
}

func TestTransitionsOfDevicesKeepApart(t *testing.T) {
	records := visits("c1", 53, 80)
	records[1].device = "02:00:00:00:00:02"
	if g := analyzeMade(Config{}, records).Classes[0].Services; g.Total != 0 {
		t.Errorf("%d transitions between two devices", g.Total)
	}
}

func TestCutoffs(t *testing.T) {
	g := newServices()
	common := func(port int32) service { return service{udp, port} }
	for port := range int32(maxStates + 3) { // all equally frequent, and one rare
		for range 300 {
			g.add(common(port))
		}
	}
	g.add(common(9999))
	for range 96 {
		g.transition(common(0), common(1))
	}
	for range 4 { // 4 %: below 5
		g.transition(common(0), common(2))
	}
	got := g.result()
	if got.Seen != maxStates+4 || len(got.States) != maxStates || got.Cutoff != complexLeast {
		t.Errorf("%d services seen, %d shown, cut-off %v", got.Seen, len(got.States), got.Cutoff)
	}
	if len(got.Transitions) != 1 || got.Transitions[0].Probability != 0.96 || got.Total != 100 {
		t.Errorf("transitions %+v of %d", got.Transitions, got.Total)
	}
}

func TestServicesLimit(t *testing.T) {
	g := newServices()
	for port := range int32(maxServices) {
		g.add(service{tcp, port})
	}
	if got := g.add(service{tcp, 60000}); got != otherService || g.records[otherService] != 1 {
		t.Errorf("service beyond the limit is counted as %v", got)
	}
	if got := g.add(service{tcp, 80}); got != (service{tcp, 80}) {
		t.Errorf("a known service is counted as %v", got)
	}
}

func TestColour(t *testing.T) {
	for _, tt := range []struct {
		inLinks, others int
		want            string
	}{
		{0, 0, Insignificant},
		{1, 1, Ordinary}, // red needs two
		{2, 2, Significant},
		{4, 4, Significant},
		{0, 4, Insignificant},
		{1, 4, Ordinary},
		{2, 4, Significant},
		{1, 10, Insignificant},
		{2, 11, Ordinary},
		{5, 11, Ordinary},
		{6, 11, Significant},
	} {
		if got := colour(tt.inLinks, tt.others); got != tt.want {
			t.Errorf("%d of %d others: %s, want %s", tt.inLinks, tt.others, got, tt.want)
		}
	}
}
