package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// A line for each fact, in JSON with its keys, as a table, of one device alone; a capture
// without any says why on stderr.
func TestFacts(t *testing.T) {
	readHere(t)
	stdout, stderr, status := command(t, "facts", "--json", "d/a.pcap")
	if status != 0 || !strings.Contains(stderr, "1 of 1 payloads of dns") {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var got []string
	for line := range strings.Lines(stdout) {
		var f v1.Fact
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		if f.Capture == nil || *f.Capture != "d/a.pcap" || f.Count != 1 || f.First != f.Last || f.First.Unix() != 1_600_000_000 {
			t.Errorf("line %s", line)
		}
		got = append(got, strings.Join([]string{f.Device, f.Kind, f.Value, f.Source}, " "))
	}
	want := []string{"02:00:00:00:00:0d mac random mac", "02:00:00:00:00:0d port_to udp/53 sent"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	stdout, _, _ = command(t, "facts", "d/a.pcap", "--device", "02:00:00:00:00:0D")
	if !strings.Contains(stdout, "udp/53") {
		t.Errorf("printed\n%s", stdout)
	}
	if stdout, _, _ = command(t, "facts", "d/a.pcap", "--device", "02:00:00:00:00:0e"); stdout != "" {
		t.Errorf("of another device\n%s", stdout)
	}
	stdout, stderr, status = command(t, "facts", "d/a.pcap", "--local", "203.0.113.0/24")
	if status != 0 || stdout != "" || !strings.Contains(stderr, "local") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	for _, args := range [][]string{{"facts"}, {"facts", "d/a.pcap", "--device", "plug"}, {"facts", "d/a.pcap", "--local", "x"}} {
		if _, _, status := command(t, args...); status != terminal.ExitUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
}
