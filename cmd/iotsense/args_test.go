package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

func TestFlagsFirst(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"extract a.pcap b.pcap -o out.parquet", "extract -o out.parquet -- a.pcap b.pcap"},
		{"extract -o out.parquet a.pcap", "extract -o out.parquet -- a.pcap"},
		{"extract a.pcap --json -o=out.parquet", "extract --json -o=out.parquet -- a.pcap"},
		{"extract a.pcap --offloaded b.pcap", "extract --offloaded -- a.pcap b.pcap"},
		{"classify - --json", "classify --json -- -"},
		{"classify --json -- -odd.pcap", "classify --json -- -odd.pcap"},
		{"devices 50:c7:bf:00:fc:a3 --socket /s", "devices --socket /s -- 50:c7:bf:00:fc:a3"},
		{"model info --model m --json", "model info --model m --json"},
		{"--help", "--help"},
		{"nonsense -x", "nonsense"},
		{"model nonsense -x", "model nonsense"},
		{"completion words -- run --hook tcx -i x", "completion words -- run --hook tcx -i x"},
	} {
		got := terminal.FlagsFirst(newApp(), append([]string{"iotsense"}, strings.Fields(tt.line)...))
		if want := append([]string{"iotsense"}, strings.Fields(tt.want)...); !slices.Equal(got, want) {
			t.Errorf("%s\n got %v\nwant %v", tt.line, got, want)
		}
	}
}
