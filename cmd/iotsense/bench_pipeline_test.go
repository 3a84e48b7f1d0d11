package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// steps runs a command with --json and returns the steps that it prints.
func steps(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	out, errs, status := command(t, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("%v: status %d: %s", args, status, errs)
	}
	var report struct{ Steps []map[string]any }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %v in %s", args, err, out)
	}
	return report.Steps
}

func TestBenchPipeline(t *testing.T) {
	got := steps(t, "bench", "pipeline", "--model", "lab", "--devices", "2,96")
	if len(got) != 2 {
		t.Fatalf("%d steps, want 2", len(got))
	}
	for i, devices := range []float64{2, 96} {
		s := got[i]
		if s["devices"] != devices || s["verdicts"] != devices || s["lost"] != 0.0 || s["packets_per_second"].(float64) <= 0 {
			t.Errorf("step %d: %v, want verdicts for %v devices and nothing lost", i, s, devices)
		}
	}
}

func TestBenchPipelineUsage(t *testing.T) {
	for _, args := range [][]string{
		{"pipeline", "--devices", "0"}, {"pipeline", "--devices", "1,x"}, {"pipeline", "argument"},
		{"live", "--speed", "0"}, {"live", "--devices", "0"}, {"live", "--hook", "nonsense"}, {"live", "argument"},
	} {
		if got := run(t.Context(), append([]string{"iotsense", "bench"}, args...)); got != terminal.ExitUsage {
			t.Errorf("%v: status %d, want %d", args, got, terminal.ExitUsage)
		}
	}
	if got := run(t.Context(), []string{"iotsense", "bench", "pipeline", "--devices", "1000000"}); got != terminal.ExitFailed {
		t.Errorf("more devices than there are addresses for: status %d, want %d", got, terminal.ExitFailed)
	}
}

// What the sensor did not see, refused or lost is lost, each for itself.
func TestLiveLost(t *testing.T) {
	stats := func(seen, full, ring, incomplete uint64) *v1.Stats {
		s := &v1.Stats{IncompleteRecords: incomplete}
		s.Packets.Seen, s.Packets.TableFull, s.Samples.RingFull = seen, full, ring
		return s
	}
	for _, c := range []struct {
		name  string
		stats *v1.Stats
		want  uint64
	}{
		{"nothing", stats(10, 0, 0, 0), 0},
		{"unseen", stats(7, 0, 0, 0), 3},
		{"refused", stats(10, 2, 0, 0), 2},
		{"ring full", stats(10, 0, 4, 1), 5},
	} {
		f := liveFigures{Packets: 10, Seconds: 1}
		f.count(c.stats)
		if got := f.lost(); got != c.want {
			t.Errorf("%s: %d lost, want %d", c.name, got, c.want)
		}
	}
}

func TestCPUSeconds(t *testing.T) {
	if _, err := cpuSeconds(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, err := cpuSeconds(-1); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}

func TestBenchLive(t *testing.T) {
	testenv.Root(t)
	got := steps(t, "bench", "live", "--model", "lab", "--devices", "4", "--speed", "60,120", "--time", "1s")
	if len(got) != 2 {
		t.Fatalf("%d steps, want 2: %v", len(got), got)
	}
	for _, s := range got {
		if s["packets"].(float64) == 0 || s["inferences_per_second"].(float64) <= 0 || s["unseen"] != 0.0 || s["ring_full"] != 0.0 {
			t.Errorf("step %v: want packets, verdicts and no loss", s)
		}
	}
}
