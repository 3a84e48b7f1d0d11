package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/capturebench"
)

func captured() *capturebench.Result {
	fixed := func(v float64) *capturebench.Range { return &capturebench.Range{Median: v, Low: v, High: v} }
	r := &capturebench.Result{
		Machine: capturebench.Machine{CPUs: 2, Model: "A <CPU>", LoadBefore: 9}, Repetitions: 3, Seed: 1, DurationS: 10,
		Scenarios: []capturebench.Scenario{
			{Name: "veth-udp-10", Title: "UDP 10 Mb/s", Group: "veth", Limited: true}, {Name: "veth-udp-max", Title: "UDP unlimited", Group: "veth"},
			{Name: "length-1000-148", Title: "1000 packets", Group: "length", Limited: true},
		},
	}
	for _, name := range []string{capturebench.None, capturebench.Counter, capturebench.Pypcap} {
		r.Tools = append(r.Tools, capturebench.About{Tool: capturebench.Tool{Name: name, Does: "counts"}, Version: "1.0"})
	}
	r.Tools = append(r.Tools, capturebench.About{Tool: capturebench.Tool{Name: "pyshark"}, Missing: "tshark is not in PATH"})
	for _, s := range r.Scenarios {
		r.Rows = append(r.Rows,
			capturebench.Row{Scenario: s.Name, Tool: capturebench.None, Packets: fixed(8650)},
			capturebench.Row{
				Scenario: s.Name, Tool: capturebench.Counter, Packets: fixed(8650), Counted: fixed(8650), LossPercent: fixed(0),
				CPUPercent: fixed(0.31), PeakRSSMB: fixed(37), PerPacketUS: fixed(2.75), OthersUS: fixed(-0.5),
			},
			capturebench.Row{
				Scenario: s.Name, Tool: capturebench.Pypcap, Packets: fixed(8650), Counted: &capturebench.Range{Median: 8000, Low: 7000, High: 8650},
				LossPercent: &capturebench.Range{Median: 7.5, High: 19}, CPUPercent: fixed(3.5), PeakRSSMB: fixed(20), PerPacketUS: fixed(41),
			})
	}
	return r
}

// The page needs nothing else, has the paper's figures, every row, and what was not
// measured; nothing in it is taken for markup.
func TestCaptureReport(t *testing.T) {
	r, err := CaptureReport(captured())
	if err != nil {
		t.Fatal(err)
	}
	page := string(r.HTML)
	for _, want := range []string{
		"Figure 1.", "Figure 2.", "Figure 3.", "Figure 4.", "Figure 5.", "Figure 6.", "Figure 7.", "not measured: tshark is not in PATH",
		"8,000 (7,000-8,650)", "<td>2.75", "<td>-0.50", "A &lt;CPU&gt;", "the\nmachine was busy", "data:image/png;base64,",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, other := range []string{"<script", "http://", "https://", "ZgotmplZ", "A <CPU>"} {
		if strings.Contains(page, other) {
			t.Errorf("the page has %q", other)
		}
	}
	names := ""
	for _, p := range r.Pictures {
		names += p.Name + " "
	}
	if want := "figure-1.png figure-2.png figure-3.png figure-4.png figure-5.png figure-6.png figure-7.png "; names != want {
		t.Errorf("pictures %s, want %s", names, want)
	}
	again, err := CaptureReport(captured())
	if err != nil || !bytes.Equal(again.HTML, r.HTML) {
		t.Errorf("not the same bytes again, %v", err)
	}
}

// Scenarios that were not measured have no picture; a figure of limited rates has none
// of the others.
func TestCaptureReportOfOne(t *testing.T) {
	result := captured()
	result.Scenarios = result.Scenarios[1:2]
	r, err := CaptureReport(result)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Pictures) != 3 || strings.Contains(string(r.HTML), "Figure 4.") {
		t.Errorf("%d pictures of one scenario without limit, want 3", len(r.Pictures))
	}
}
