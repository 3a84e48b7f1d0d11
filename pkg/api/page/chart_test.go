package page

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// What is drawn of traffic is that of its minutes, with what open flows have had in the last.
func TestChart(t *testing.T) {
	for _, tt := range []struct {
		name           string
		sent, received []uint64
		open           [2]uint64
		want           chart
	}{
		{"nothing is known", nil, nil, [2]uint64{1, 2}, chart{}},
		{"nothing", []uint64{0, 0}, []uint64{0, 0}, [2]uint64{}, chart{Sent: "0 B", Received: "0 B", Most: "0 B"}},
		{"sent", []uint64{10, 0}, []uint64{0, 0}, [2]uint64{}, chart{"M0 32V0h1V32h1V32z", "M0 40V0h1V40h1V40z", "M0 40V40h2V40z", "10 B", "0 B", "10 B"}},
		{"open", []uint64{10, 0}, []uint64{0, 0}, [2]uint64{5, 15}, chart{"M0 32V16h1V0h1V32z", "M0 40V13h1V27h1V40z", "M0 40V40h1V80h1V40z", "15 B", "15 B", "20 B"}},
		{"hardly any", []uint64{1000, 1}, []uint64{0, 0}, [2]uint64{}, chart{"M0 32V0h1V31h1V32z", "M0 40V0h1V39h1V40z", "M0 40V40h2V40z", "1.0 kB", "0 B", "1.0 kB"}},
	} {
		if got := chartOf(v1.Traffic{Sent: tt.sent, Received: tt.received}, tt.open); got != tt.want {
			t.Errorf("%s: %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

// A device was there from when it came to when it went, within the day that is shown.
func TestPresence(t *testing.T) {
	end := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) v1.Time { return v1.Time{Time: end.Add(-time.Duration(minutes) * time.Minute)} }
	event := func(what string, minutes int) v1.Event { return v1.Event{Event: what, Time: ago(minutes)} }
	for _, tt := range []struct {
		name   string
		first  v1.Time
		last   v1.Time
		gone   bool
		events []v1.Event
		want   []span
	}{
		{"not seen", v1.Time{}, v1.Time{}, false, nil, nil},
		{"new", ago(60), ago(1), false, []v1.Event{event(v1.EventNew, 60)}, []span{{1380, 59}}},
		{"for long", ago(9999), ago(1), false, nil, []span{{0, 1439}}},
		{"gone and back", ago(9999), ago(0), false, []v1.Event{event(v1.EventGone, 1000), event("known", 990), event(v1.EventBack, 500)}, []span{{0, 440}, {940, 500}}},
		{"gone", ago(9999), ago(90), true, []v1.Event{event(v1.EventGone, 90)}, []span{{0, 1350}}},
		{"gone, which is not remembered", ago(9999), ago(90), true, nil, []span{{0, 1350}}},
		{"gone the day before", ago(9999), ago(2000), true, []v1.Event{event(v1.EventGone, 2000)}, nil},
		{"a moment", ago(30), ago(30), true, []v1.Event{event(v1.EventGone, 30)}, []span{{1410, 2}}},
	} {
		d := &v1.Device{DeviceVerdict: v1.DeviceVerdict{FirstSeen: tt.first, LastSeen: tt.last, Gone: tt.gone}, Events: tt.events, Traffic: v1.Traffic{Until: v1.Time{Time: end}}}
		if got, there := presence(d); !slices.Equal(got, tt.want) || there > presentFor {
			t.Errorf("%s: %v, there for %v, want %v", tt.name, got, there, tt.want)
		}
	}
}

// What happened is said with what was before.
func TestHistory(t *testing.T) {
	events := []v1.Event{
		{Event: v1.EventNew}, {Event: string(v1.Likely), New: ptr("TP-Link/plug"), Old: ptr("gathering")}, {Event: string(v1.Known), New: ptr("HS110"), Old: ptr("TP-Link/plug")},
		{Event: string(v1.Unknown), Old: ptr("HS110"), New: ptr("unknown")}, {Event: v1.EventLabelled, New: ptr("mine")}, {Event: v1.EventLabelled, Old: ptr("mine")}, {Event: v1.EventGone},
	}
	var got []string
	for _, h := range history(events) {
		got = append(got, h.What)
	}
	want := []string{"gone", "its label was taken back, before mine", "labelled mine", "unknown, before HS110", "known: HS110, before TP-Link/plug", "likely: TP-Link/plug, before gathering", "seen for the first time"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if n := len(history(make([]v1.Event, 999))); n != maxHappened {
		t.Errorf("%d lines", n)
	}
}

// explained is an explanation of two flows, the older one missing.
func explained() *v1.Explanation {
	x := &v1.Explanation{Label: "HS110", Phi: make([][]float64, 2)}
	for row := range x.Phi {
		x.Phi[row] = make([]float64, 3040)
	}
	add := func(row, column int, name string, raw float64, part v1.Part, phi float64) {
		f := v1.ExplainedField{Row: row, Column: column, Name: name, Raw: raw, Part: part, Phi: phi, Packet: ptr(1), Byte: ptr(3)}
		x.Phi[row][column] = phi
		x.Fields = append(x.Fields, f)
	}
	add(1, 8, "byte_count", 99, v1.Metadata, 4)
	add(1, 42, "payload_3", 'S', v1.Byte, -1)
	add(1, 43, "payload_4", '<', v1.Byte, 0)
	add(1, 5, "protocol", 6, v1.Metadata, 0)
	add(1, 7, "remote_port", 443, v1.Metadata, 0)
	add(1, 41, "payload_2", 7, v1.Byte, 0)
	add(0, 5, "protocol", -1, v1.Padding, 0)
	add(0, 3039, "payload_3000", -1, v1.Padding, 0)
	return x
}

// Each value has the colour of its share, and its byte only where that may be shown.
func TestHeat(t *testing.T) {
	h := heatOf(explained(), false)
	if h.Places != 4 || h.Packets != 10 || h.Bins() != 4 || h.Rows[0].Flow != "1 missing" || h.Rows[1].Flow != "2 tcp/443" || len(h.Rows[1].Groups) != 4 {
		t.Fatalf("%+v", h)
	}
	if got := h.Rows[1].Groups[0]; len(got) != 1 || got[0] != (shade{"for", "1.00", "M8 0h1v1h-1z"}) {
		t.Errorf("totals %+v", got)
	}
	if got := h.Rows[1].Payload; len(got) != 1 || got[0] != (shade{"against", "0.50", "M2 0h1v1h-1z"}) || h.Rows[0].Payload != nil || h.Rows[1].Bytes != nil {
		t.Errorf("payload %+v, bytes %+v", got, h.Rows[1].Bytes)
	}
	if got := heatOf(explained(), true).Rows[1].Bytes; !slices.Equal(got, []piece{{"", "."}, {"against", "S"}, {"", "<"}}) {
		t.Errorf("bytes %+v", got)
	}
	for _, payload := range []bool{false, true} {
		page, err := (&Device{Known: &v1.Device{}, Explanation: explained(), Payload: payload}).Page()
		if err != nil {
			t.Fatal(err)
		}
		if shown := strings.Contains(string(page), "&#39;S&#39;") || strings.Contains(string(page), ">S<"); shown != payload {
			t.Errorf("payload may be shown: %v, and is: %v", payload, shown)
		}
	}
	if heatOf(&v1.Explanation{Fields: []v1.ExplainedField{{Name: "payload_x", Phi: 1}}, Phi: [][]float64{{1}}}, true) != nil {
		t.Error("what has no such rows is drawn")
	}
	if n := len(bins(make([]float64, 3000))); n != maxBins {
		t.Errorf("%d bins", n)
	}
}

// A list is in the order that was chosen, and says how else it could be.
func TestSort(t *testing.T) {
	devices := []v1.DeviceVerdict{
		{Verdict: v1.Verdict{Device: "a", State: v1.Known, Bytes: 5}, LastSeen: v1.UnixMicro(3)},
		{Verdict: v1.Verdict{Device: "b", State: v1.Unknown, Label: ptr("x"), Confidence: ptr(0.3), Distance: ptr(2.0), Bytes: 7, Vendor: ptr("Zz")}, LastSeen: v1.UnixMicro(9)},
		{Verdict: v1.Verdict{Device: "c", State: v1.Known, Bytes: 6, Vendor: ptr("Aa")}, LastSeen: v1.UnixMicro(1), Name: ptr("0")},
	}
	for key, want := range map[string]string{"": "bac", "name": "cab", "traffic": "bca", "seen": "bac", "maker": "cba", "sure": "bac", "nonsense": "bac"} {
		page, err := (&List{Devices: devices}).Page(Filter{Sort: key})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, part := range strings.Split(string(page), `<tr id="d-`)[1:] {
			got += part[:1]
		}
		if got != want || strings.Count(string(page), "aria-sort") != 1 || !strings.Contains(string(page), `href="/?sort=traffic"`) {
			t.Errorf("by %q: %s, want %s", key, got, want)
		}
	}
}
