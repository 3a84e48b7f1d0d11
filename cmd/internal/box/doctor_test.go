package box

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/doctor"
)

func TestReport(t *testing.T) {
	fine := doctor.Check{Name: "JIT", Status: doctor.OK, Found: "on"}
	slow := doctor.Check{Name: "eth0 offloads", Status: doctor.Warn, Found: "LRO", Advice: "ethtool -K eth0 lro off"}
	broken := doctor.Check{Name: "capabilities", Status: doctor.Fail, Found: "missing", Advice: "setcap"}
	for _, tt := range []struct {
		name   string
		checks []doctor.Check
		err    string
	}{
		{"fine", []doctor.Check{fine}, ""},
		{"a warning is no failure", []doctor.Check{fine, slow}, ""},
		{"a failure is named", []doctor.Check{fine, slow, broken}, "doctor: 1 of 3 checks failed: capabilities"},
	} {
		var out bytes.Buffer
		err := printFindings(&out, tt.checks, true)
		if got := errorText(err); got != tt.err {
			t.Errorf("%s: error %q, want %q", tt.name, got, tt.err)
		}
		var parsed struct {
			Checks []struct{ Name, Status, Found, Advice string }
		}
		if err := json.Unmarshal(out.Bytes(), &parsed); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if len(parsed.Checks) != len(tt.checks) || parsed.Checks[0].Status != "ok" || parsed.Checks[0].Found != "on" {
			t.Errorf("%s: JSON %s", tt.name, out.String())
		}
	}
}

func TestPrintChecksKeepsCommandsWhole(t *testing.T) {
	var out bytes.Buffer
	command := "setcap cap_bpf,cap_net_admin,cap_perfmon+ep " + strings.Repeat("/a-long-directory", 12) + "/iotsense"
	printChecks(&out, []doctor.Check{{Name: "capabilities", Status: doctor.Fail, Found: strings.Repeat("word ", 60), Advice: command}})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if got := lines[len(lines)-1]; !strings.HasSuffix(got, "-> "+command) {
		t.Errorf("advice was broken: %q", got)
	}
	for _, line := range lines[:len(lines)-1] {
		if len(line) > 125 || strings.HasSuffix(line, " ") {
			t.Errorf("line of %d characters: %q", len(line), line)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
