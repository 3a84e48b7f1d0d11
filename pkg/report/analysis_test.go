package report

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/analyze"
	"github.com/iotsense/iotsense/pkg/flows"
)

// hostile is a label, and a payload, that must not become markup.
const hostile = `<script>alert("x")</script>`

func result() *analyze.Result {
	a := analyze.New(analyze.Config{Leaks: true})
	add := func(label, capture string, port int32, payloads ...string) {
		r := &flows.Record{Device: "02:00:00:00:a1:b2", Remote: netip.MustParseAddr("203.0.113.1"), RemoteAddr: netip.MustParseAddr("203.0.113.1"),
			Proto: 17, DevPort: 40000, RemPort: port, PacketCount: uint64(len(payloads))}
		for _, p := range payloads {
			r.Packets = append(r.Packets, flows.RowPacket{Size: uint32(28 + len(p)), Sent: true, Payload: []byte(p)})
		}
		a.Add(flows.LabelledRecord{Record: r, Label: label, Capture: capture, Split: capture})
	}
	add(hostile, "one", 53, hostile, "", "", "", strings.Repeat("fifth packet ", 10))
	add(hostile, "one", 80, hostile)
	add(hostile, "one", 53, hostile)
	add(hostile, "two", 53, hostile)
	add("empty", "three", 123, "") // neither payload nor a transition
	return a.Result()
}

func pageOf(t *testing.T) string {
	t.Helper()
	r, err := Analysis(result())
	if err != nil {
		t.Fatal(err)
	}
	return string(r.HTML)
}

func TestAnalysisIsSelfContained(t *testing.T) { selfContained(t, pageOf(t)) }

func TestContents(t *testing.T) {
	html := pageOf(t)
	for what, want := range map[string]int{
		"(Table III)":              1,
		"Amazon Echo":              1,
		"another data set":         1,
		"92.0 %":                   1, // the paper's short flows
		"<svg class=\"graph\"":     2,
		"No packet has payload.":   1,
		"No fifth packet":          1,
		`alt="entropy of payload`:  1,
		`alt="mean and deviation,`: 1,
		"mac_binary":               1,
	} {
		if got := strings.Count(html, what); got != want {
			t.Errorf("%q occurs %d times, want %d", what, got, want)
		}
	}
}

func TestStoredRecordsAreTold(t *testing.T) {
	res := result()
	for stored, want := range map[uint64]bool{0: false, 1234: true} {
		res.Stored = stored
		page, err := Analysis(res)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(page.HTML), "1,234 are of records files, which"); got != want {
			t.Errorf("of %d stored records: told %v", stored, got)
		}
	}
}

func TestSameBytes(t *testing.T) {
	first := pageOf(t)
	if again := pageOf(t); again != first {
		t.Error("the same result gives another page")
	}
}

func TestEmptyResult(t *testing.T) {
	r, err := Analysis(analyze.New(analyze.Config{}).Result())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(r.HTML), "Leaks") {
		t.Error("leaks that nobody asked for")
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 5900000: "5,900,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestShade(t *testing.T) {
	for v, want := range map[float64]string{-1: "#fffcf0", 0: "#fffcf0", 8: "#d95f0e", 100: "#d95f0e", math.Inf(1): "#d95f0e"} {
		if got := hex(shade(v, 8)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// Two services that lead to each other have two arrows and two numbers.
func TestGraph(t *testing.T) {
	g := graph(&analyze.ServiceGraph{
		States: []analyze.ServiceState{{Service: "udp/53", Colour: analyze.Ordinary}, {Service: "tcp/80", Colour: analyze.Significant}},
		Transitions: []analyze.Transition{
			{From: "udp/53", To: "tcp/80", Probability: 0.9}, {From: "tcp/80", To: "udp/53", Probability: 0.1, Weak: true}, {From: "tcp/80", To: "tcp/80", Probability: 0.7},
		},
	})
	for what, want := range map[string]int{
		"90 %": 1, "10 %": 1, "70 %": 1, "stroke-dasharray": 1, `fill="none"`: 3, fills[analyze.Significant]: 1, fills[analyze.Ordinary]: 1, "NaN": 0,
	} {
		if got := strings.Count(string(g), what); got != want {
			t.Errorf("%q occurs %d times, want %d", what, got, want)
		}
	}
	if g := graph(&analyze.ServiceGraph{}); g != "" {
		t.Errorf("a graph of nothing: %s", g)
	}
}
