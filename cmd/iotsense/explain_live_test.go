package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
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
	one, unknown := 1, v1.Unknown
	return &v1.Explanation{
		Device: device, WindowIndex: 4, State: &unknown, Label: "plug", WhyNot: &q.WhyNot, Output: q.Output, Phi: [][]float64{{0.25, 0.5}},
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
	path := answer(t, explainer{})
	for _, tt := range []struct {
		args   string
		status int
		prints string
		says   string
	}{
		{"--device 02:00:00:00:00:0D --why-not hub", 0, "Unknown; its nearest guess: why plug and not hub: 02:00:00:00:00:0d, window 4, live\n", ""},
		{"--device 02:00:00:00:00:0D", 0, "says it is HS110 by DHCP", ""},
		{"--device 10.0.0.7 --json --on probability --top 1", 0, `"window_index":4,"state":"unknown","label":"plug","why_not":"","output":"probability"`, ""},
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

// A sensor explains a sample of its verdicts, which later ones tell, and the present state
// of a device, with what the same flows of a file rest on. Without --explain-rate it says
// what is missing.
func TestRunExplains(t *testing.T) {
	testenv.Root(t)
	const speed = 20
	recorded, err := lab.Generate("smart-plug", 0, 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	content, mac := labCapture(t)
	capture, device := write(t, "plug.pcap", content), mac.String()
	var frames []lab.Frame
	for _, f := range recorded.Frames {
		frames = append(frames, lab.Frame(f))
	}
	lines := filepath.Join(t.TempDir(), "verdicts")
	stdout, err := os.Create(lines)
	if err != nil {
		t.Fatal(err)
	}
	s := runLive(t, stdout, nil, "--model", box.LabModel, "--json", "--speed", "20", "--explain-rate", "6000")
	if _, err := s.n.Play(t.Context(), frames, replay.PlayOptions{Speed: speed}); err != nil {
		t.Fatal(err)
	}
	file := explanation(t, capture, "--device", device, "--model", "lab")
	s.until("all is judged and some explained", func(stats v1.Stats) bool {
		return stats.Flows.Open == 0 && stats.Inferences > uint64(file.WindowIndex) && stats.Explanations.Made > 0
	})
	live := explanation(t, "--socket", s.socket, "--device", device)
	compareExplanations(t, &live, &file)
	list, err := s.client.Devices(t.Context())
	i := slices.IndexFunc(list, func(d v1.DeviceVerdict) bool { return d.Device == device })
	if err != nil || i < 0 || list[i].PaddingFraction == nil || *list[i].PaddingFraction != live.PaddingFraction || !*list[i].Trusted {
		t.Errorf("%+v, %v", list, err)
	}
	if e := s.until("", func(v1.Stats) bool { return true }).Explanations; e.Devices != uint64(len(list)) || e.Bytes < 1000 || e.Forgotten != 0 {
		t.Errorf("%+v", e)
	}
	stop(t, s)
	if text, err := os.ReadFile(lines); err != nil || !bytes.Contains(text, []byte(`"padding_fraction":0`)) || !bytes.HasPrefix(text, []byte("{")) {
		t.Errorf("no verdict tells of its explanation (%v):\n%s", err, text)
	}

	s = runLiveOn(t, s.n, nil, nil, "--model", box.LabModel)
	_, stderr, status := command(t, "explain", "--socket", s.socket, "--device", device)
	if status != terminal.ExitFailed || !strings.Contains(stderr, "start `iotsense run` with --explain-rate N") {
		t.Errorf("status %d, %s", status, stderr)
	}
	stop(t, s)
}

func stop(t *testing.T, s *liveSensor) {
	t.Helper()
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// compareExplanations holds that of a sensor against that of the file it was played: times
// of packets are the sensor's own.
func compareExplanations(t *testing.T, live, file *v1.Explanation) {
	t.Helper()
	if live.Capture != nil || live.Device != file.Device || live.WindowIndex != file.WindowIndex || live.Label != file.Label || len(live.Phi) != len(file.Phi) {
		t.Errorf("live %s, window %d, %s, %d rows; of the file %s, %d, %s, %d", live.Device, live.WindowIndex, live.Label, len(live.Phi), file.Device, file.WindowIndex, file.Label, len(file.Phi))
	}
	if a, b := jsonOf(t, live.Facts), jsonOf(t, file.Facts); a != b {
		t.Errorf("facts\n%s\nof the file\n%s", a, b)
	}
	const tolerance = 0.2 // of some 18
	if live.AdditivityError > 1e-5 || math.Abs(live.Value-file.Value) > tolerance {
		t.Errorf("value %v, of the file %v; %g off", live.Value, file.Value, live.AdditivityError)
	}
	worst := 0.0
	for i, row := range live.Phi {
		for j, phi := range row {
			worst = max(worst, math.Abs(phi-file.Phi[i][j]))
		}
	}
	if worst > tolerance {
		t.Errorf("shares differ by up to %g", worst)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
