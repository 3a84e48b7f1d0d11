package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// explainer is a sensor that explains one device.
type explainer struct{ knowing }

func (explainer) Devices() ([]v1.DeviceVerdict, error) {
	return []v1.DeviceVerdict{{Verdict: v1.Verdict{Device: "02:00:00:00:00:0d"}, Addresses: []string{"10.0.0.7"}}}, nil
}

func (explainer) Explanation(_ context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error) {
	if device != "02:00:00:00:00:0d" {
		return nil, errors.New("no window of it has been judged")
	}
	one := 1
	return &v1.Explanation{
		Device: device, WindowIndex: 4, Label: "plug", WhyNot: &q.WhyNot, Output: q.Output, Phi: [][]float64{{0.25, 0.5}},
		Fields: []v1.ExplainedField{
			{Name: "remote_port", Raw: 56700, Part: v1.Metadata, Phi: 0.5},
			{Row: 2, Name: "payload_2", Raw: 'M', Part: v1.Byte, Packet: &one, Byte: &one, Phi: 0.25},
		},
		Facts: []v1.ExplainedFact{{Kind: "dhcp_host", Value: "HS110", Phi: 2.1}},
	}, nil
}

// A running sensor is asked what a device's present state rests on; what is for files alone
// is refused by name.
func TestLiveExplain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() { api.Serve(ctx, l, explainer{}, slog.New(slog.DiscardHandler)); close(done) }()
	defer func() { stop(); <-done }()
	for _, tt := range []struct {
		args   string
		status int
		prints string
		says   string
	}{
		{"--device 02:00:00:00:00:0D --why-not hub", 0, "plug and not hub: 02:00:00:00:00:0d, window 4, live\n", ""},
		{"--device 02:00:00:00:00:0D", 0, "says it is HS110 by DHCP", ""},
		{"--device 10.0.0.7 --json --on probability --top 1", 0, `"window_index":4,"label":"plug","why_not":"","output":"probability"`, ""},
		{"--device 02:00:00:00:00:0e", terminal.ExitFailed, "", "no window of it has been judged"},
		{"--device 10.0.0.8", terminal.ExitFailed, "", "the sensor has not seen it"},
		{"--device 02:00:00:00:00:0d --socket " + path + "x", terminal.ExitFailed, "", "start `iotsense run`"},
		{"--device 02:00:00:00:00:0d --window-index 3", terminal.ExitUsage, "", "--window-index: is for files"},
		{"--device 02:00:00:00:00:0d --model lab", terminal.ExitUsage, "", "--model: is for files"},
		{"--device 02:00:00:00:00:0d --on heat", terminal.ExitUsage, "", "--on: output"},
		{"--device plug", terminal.ExitUsage, "", "want a MAC"},
		{"a.pcap --device 02:00:00:00:00:0d", terminal.ExitUsage, "", "--socket: a running sensor is asked"},
	} {
		args := append([]string{"explain", "--socket", path}, strings.Fields(tt.args)...)
		stdout, stderr, status := command(t, args...)
		if status != tt.status || !strings.Contains(stdout, tt.prints) || !strings.Contains(stderr, tt.says) || status != 0 && strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, stdout %q, stderr %q", tt.args, status, stdout, stderr)
		}
	}
}
