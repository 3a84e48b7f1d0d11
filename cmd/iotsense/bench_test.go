package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/measure"
)

func TestPrintBench(t *testing.T) {
	cases := []measure.Case{
		{Name: "empty", Hook: attach.HookTC, NSPerPacket: 14},
		{Name: "known", Hook: attach.HookTC, NSPerPacket: 64, OverReference: 2.5},
	}
	var out bytes.Buffer
	if err := printBench(&out, cases, true); err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Cases []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &parsed); err != nil {
		t.Fatal(err)
	}
	known := parsed.Cases[1]
	if len(known) != 4 || known["name"] != "known" || known["hook"] != "tc" || known["ns_per_packet"] != 64.0 || known["over_reference"] != 2.5 {
		t.Errorf("JSON %s", out.String())
	}
	out.Reset()
	if err := printBench(&out, cases, false); err != nil {
		t.Fatal(err)
	}
	if fields := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(fields, "tc known 64 50 2.50") {
		t.Errorf("table:\n%s", out.String())
	}
}

func TestBenchUsage(t *testing.T) {
	for _, args := range [][]string{{"bench"}, {"bench", "nonsense"}, {"bench", "kernel", "nonsense"},
		{"bench", "samples", "nonsense"}, {"bench", "samples", "--rate", "0"}, {"bench", "samples", "--time", "1ms"}, {"bench", "samples", "--hook", "x"},
	} {
		if got := run(t.Context(), append([]string{"iotsense"}, args...)); got != terminal.ExitUsage {
			t.Errorf("%v: status %d, want %d", args, got, terminal.ExitUsage)
		}
	}
}

// Each packet of bench samples is a sample: no flow has more than ten.
func TestSampledFrames(t *testing.T) {
	const n, macs = 5120, 256
	perFlow, sources := map[string]int{}, map[string]bool{}
	frames := sampledFrames(n, 1000, macs, medianPayload)
	for _, f := range frames {
		perFlow[string(f.Data)]++
		sources[string(f.Data[6:12])] = true
	}
	if len(frames) != n || len(sources) != macs || len(perFlow) != n/flows.RowPackets {
		t.Errorf("%d frames of %d flows from %d MACs", len(frames), len(perFlow), len(sources))
	}
	for _, packets := range perFlow {
		if packets != flows.RowPackets {
			t.Fatalf("a flow of %d packets, want %d", packets, flows.RowPackets)
		}
	}
	if took := frames[n-1].Time.Sub(frames[0].Time); took != (n-1)*time.Millisecond {
		t.Errorf("sent within %v", took)
	}
}

// What the sensor cannot account for is an error, not a figure.
func TestSampleFiguresAddUp(t *testing.T) {
	var before, after v1.Stats
	after.Packets.Seen, after.Packets.TableFull, after.Samples.Sent, after.Samples.RingFull = 100, 10, 85, 5
	f := sampleFigures{Packets: 100, Seconds: 2}
	after.UserCPUS = 0.5
	if err := f.count(&before, &after); err != nil || f.UserCore != 25 || f.Unseen != 0 {
		t.Errorf("%+v, %v", f, err)
	}
	after.Samples.RingFull--
	if err := f.count(&before, &after); err == nil {
		t.Error("a packet that is nowhere was not missed")
	}
}
