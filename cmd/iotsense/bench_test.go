package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/loader"
)

func TestPrintBench(t *testing.T) {
	cases := []loader.BenchCase{
		{Name: "empty", Hook: loader.HookTC, NSPerPacket: 14},
		{Name: "known", Hook: loader.HookTC, NSPerPacket: 64, OverReference: 2.5},
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
	for _, args := range [][]string{{"bench"}, {"bench", "nonsense"}, {"bench", "kernel", "nonsense"}} {
		if got := run(t.Context(), append([]string{"iotsense"}, args...)); got != exitUsage {
			t.Errorf("%v: status %d, want %d", args, got, exitUsage)
		}
	}
}
