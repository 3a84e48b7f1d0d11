package api

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// measured is a source with a figure in each counter, and names that want quoting.
type measured struct{ answers }

func (measured) Stats() (v1.Stats, error) {
	model, ns, runs := `a "model"`+"\nof \\two lines, \xff", uint64(2_500_000_000), uint64(9)
	return v1.Stats{
		Sensor: "5e5e", Model: &model, UptimeS: 1.5, UserCPUS: 0.25, KernelNSTotal: &ns, KernelRuns: &runs,
		Packets: v1.PacketStats{Seen: 1 << 60, Counted: 5, TableFull: 7, Truncated: 2, InOpen: 3}, Samples: v1.SampleStats{RingFull: 4},
		Flows: v1.FlowStats{Open: 6}, Ring: v1.RingStats{SizeBytes: 4096}, MapsBytes: 77,
		Interfaces: []v1.Interface{{Name: "eth0", Hook: "tcx", Attached: true, Gaps: 1, GapS: 0.5}, {Name: `we"ird`, Hook: "xdp"}},
	}, nil
}

func (measured) Devices() ([]v1.DeviceVerdict, error) {
	list := make([]v1.DeviceVerdict, 3)
	list[0].State, list[1].State, list[2].State = v1.Known, v1.Unknown, v1.Known
	return list, nil
}

// get asks the socket at path; the answer is its body and what its content is.
func get(t *testing.T, path, at string) (body []byte, kind string) {
	t.Helper()
	answer, err := plainAt(path).Get("http://iotsense" + at)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", at, answer.Status, err, body)
	}
	return body, answer.Header.Get("Content-Type")
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

func labelled(m *dto.Metric) string {
	var text []string
	for _, l := range m.GetLabel() {
		text = append(text, l.GetName()+"="+l.GetValue())
	}
	return strings.Join(text, ",")
}

func TestMetrics(t *testing.T) {
	body, kind := get(t, serve(t, measured{}), v1.MetricsPath)
	if kind != metricsContent {
		t.Errorf("content %q", kind)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v:\n%s", err, body)
	}
	got := map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" || f.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s: help %q, type %v", name, f.GetHelp(), f.GetType())
		}
		for _, m := range f.GetMetric() {
			got[name+" "+labelled(m)] = value(m)
		}
	}
	for series, want := range map[string]float64{
		"iotsense_uptime_seconds ": 1.5, "iotsense_user_cpu_seconds_total ": 0.25,
		"iotsense_kernel_seconds_total ": 2.5, "iotsense_kernel_runs_total ": 9,
		"iotsense_packets_seen_total ": 1 << 60, "iotsense_packets_total outcome=counted": 5, "iotsense_packets_total outcome=table_full": 7,
		"iotsense_packets_total outcome=not_ip": 0, "iotsense_packets_truncated_total ": 2, "iotsense_packets_in_open ": 3,
		"iotsense_samples_total outcome=ring_full": 4, "iotsense_flows_open ": 6, "iotsense_ring_size_bytes ": 4096, "iotsense_maps_bytes ": 77,
		"iotsense_interface_attached interface=eth0": 1, `iotsense_interface_attached interface=we"ird`: 0,
		"iotsense_interface_gaps_total interface=eth0": 1, "iotsense_interface_gap_seconds_total interface=eth0": 0.5,
		"iotsense_interface_info interface=eth0,hook=tcx":                            1,
		"iotsense_sensor_info sensor=5e5e,model=a \"model\"\nof \\two lines, \ufffd": 1,
		"iotsense_devices state=known":                                               2, "iotsense_devices state=unknown": 1, "iotsense_devices state=gateway": 0,
	} {
		if n, ok := got[series]; !ok || n != want {
			t.Errorf("%s is %v (%v), want %v", series, n, ok, want)
		}
	}
	if t.Failed() {
		t.Log(slices.Sorted(maps.Keys(got)))
	}
}

// Each figure that stats has is a metric: a new one is without further ado.
func TestMetricsAreAll(t *testing.T) {
	body, _ := get(t, serve(t, measured{}), v1.MetricsPath)
	stats, _ := measured{}.Stats()
	for _, c := range v1.Counters(stats) {
		if _, counts := number(c.Value, 1); !counts {
			continue
		}
		if !bytes.Contains(body, []byte(c.Meaning()+"\n")) && !bytes.Contains(body, []byte(`"`+c.Key[strings.LastIndex(c.Key, ".")+1:]+`"`)) {
			t.Errorf("%s is not among the metrics", c.Key)
		}
	}
}

// Without a model, and with the kernel's time not measured, there is nothing that looks like it.
func TestMetricsWithout(t *testing.T) {
	body, _ := get(t, serve(t, answers{}), v1.MetricsPath)
	if bytes.Contains(body, []byte("iotsense_kernel_")) {
		t.Errorf("%s", body)
	}
}

// crowd is a source with more devices than have series.
type crowd struct{ answers }

func (crowd) Devices() (list []v1.DeviceVerdict, err error) {
	for i := range maxSeries + 9 {
		name := fmt.Sprintf(`plug "%d"`, i)
		d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256), State: v1.Unknown, Bytes: uint64(i)}, Name: &name}
		d.LastSeen = v1.UnixMicro(int64(i) * 1e6)
		list = append(list, d)
	}
	return list, nil
}

// Devices have series where that is asked for: so many, those seen last.
func TestMetricsOfDevices(t *testing.T) {
	at := serve(t, crowd{})
	if body, _ := get(t, at, v1.MetricsPath); bytes.Contains(body, []byte("device=")) {
		t.Errorf("nobody asked for devices:\n%s", body)
	}
	body, _ := get(t, at, v1.MetricsPath+"?"+v1.EachDevice)
	if n := bytes.Count(body, []byte("iotsense_device_bytes{")); n != maxSeries {
		t.Errorf("%d devices", n)
	}
	for _, want := range []string{
		`iotsense_device_info{device="02:00:00:00:01:08",name="plug \"264\"",label="",state="unknown"} 1`,
		`iotsense_device_bytes{device="02:00:00:00:00:09"} 9`, `iotsense_device_last_seen_seconds{device="02:00:00:00:00:09"} 9`,
	} {
		if !bytes.Contains(body, []byte(want+"\n")) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}

func TestMetricsByPromtool(t *testing.T) {
	promtool := testenv.Tool(t, "promtool")
	for name, src := range map[string]Source{"figures": measured{}, "none": answers{}} {
		body, _ := get(t, serve(t, src), v1.MetricsPath+"?"+v1.EachDevice)
		check := exec.Command(promtool, "check", "metrics")
		check.Stdin = bytes.NewReader(body)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s\n%s", name, err, out, body)
		}
	}
}
