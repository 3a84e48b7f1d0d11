package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
)

// writeCaptures writes lab captures and a manifest of the rows given by unit,
// split and the number of the lab unit whose traffic and MAC it has.
func writeCaptures(t *testing.T, rows ...[3]any) string {
	t.Helper()
	dir := t.TempDir()
	manifest := [][]string{{"capture", "mac", "label", "unit", "split"}}
	for i, row := range rows {
		c, err := lab.Generate("smart-plug", row[2].(int), 1, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := lab.WritePCAP(&file, c); err != nil {
			t.Fatal(err)
		}
		name := string(rune('a'+i)) + ".pcap"
		if err := os.WriteFile(filepath.Join(dir, name), file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		manifest = append(manifest, []string{name, c.Device.String(), "label of " + name, row[0].(string), row[1].(string)})
	}
	var text bytes.Buffer
	if err := csv.NewWriter(&text).WriteAll(manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.csv"), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCaptureTraffic(t *testing.T) {
	tests := []struct {
		name   string
		rows   [][3]any
		labels string
		data   string
	}{
		{
			"one of each unit of the test split",
			[][3]any{{"u0", "train", 0}, {"u0", "test", 0}, {"u0", "test", 0}, {"u1", "test", 1}},
			"label of b.pcap label of d.pcap",
			"2 of 3 real captures (split=test), one of each unit",
		},
		{
			"no two captures of one MAC",
			[][3]any{{"u0", "test", 0}, {"u1", "test", 0}, {"u2", "test", 2}},
			"label of a.pcap label of c.pcap",
			"2 of 3 real captures (split=test), one of each unit; 1 more units left out, as their MAC is one of a unit that plays",
		},
		{
			"no such split, no units",
			[][3]any{{"", "", 0}, {"", "", 1}},
			"label of a.pcap label of b.pcap",
			"2 of 2 real captures (the manifest has no split=test), one of each unit",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			traffic, err := captureTraffic(writeCaptures(t, tt.rows...))
			if err != nil {
				t.Fatal(err)
			}
			if len(traffic.truth) != len(strings.Fields(tt.labels))/3 {
				t.Errorf("truth %v, want %s", traffic.truth, tt.labels)
			}
			for _, label := range traffic.truth {
				if !strings.Contains(tt.labels, label) {
					t.Errorf("plays %s, want %s", label, tt.labels)
				}
			}
			if traffic.data != tt.data {
				t.Errorf("says %q\nwant %q", traffic.data, tt.data)
			}
			sent := 0
			for _, f := range traffic.frames {
				if f.FromDevice {
					sent++
				}
			}
			if sent == 0 || sent == len(traffic.frames) {
				t.Errorf("%d of %d frames are from devices", sent, len(traffic.frames))
			}
		})
	}
}

func TestCaptureTrafficErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := captureTraffic(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("no manifest: error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.csv"), []byte("capture,mac,label\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := captureTraffic(dir); err == nil || !strings.Contains(err.Error(), "lists no capture") {
		t.Errorf("empty manifest: error %v", err)
	}
}

func TestLabTraffic(t *testing.T) {
	traffic, err := labTraffic(1)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(lab.Kinds()) * labUnits; len(traffic.truth) != want {
		t.Errorf("%d devices, want %d", len(traffic.truth), want)
	}
	whole := time.Duration(float64(traffic.length()+time.Minute) / traffic.speed())
	if whole > demoTarget || whole < demoTarget/3 {
		t.Errorf("lasts %v at speed %v, want at most %v", whole, traffic.speed(), demoTarget)
	}
}

// TestDemo runs the whole demo, to its end and interrupted.
func TestDemo(t *testing.T) {
	testenv.Root(t)
	for _, tt := range []struct {
		name      string
		interrupt bool // at its first verdict
		hook      string
	}{
		{"to its end", false, "auto"},
		{"to its end, ingress only", false, "xdp"},
		{"interrupted", true, "auto"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), os.Args[0], "demo", "--json", "--speed", "40", "--hook", tt.hook)
			c.Env = append(os.Environ(), asCommand+"=1")
			var errs bytes.Buffer
			c.Stderr = &errs
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for in := bufio.NewScanner(out); in.Scan(); {
				lines = append(lines, in.Text())
				if tt.interrupt && len(lines) == 1 {
					if err := c.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			if err := c.Wait(); err != nil {
				t.Fatalf("%v: %s", err, &errs)
			}
			var last map[string]demoSummary
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Fatal(err)
			}
			s := last["summary"]
			p := s.Stats.Packets
			if s.Devices != len(lab.Kinds())*labUnits || s.Right+s.Wrong+s.Refused+s.NoWindow != s.Devices {
				t.Errorf("devices of the summary do not add up: %+v", s)
			}
			if p.Seen != s.Played || p.Duplicate != 0 {
				t.Errorf("%d frames played, %d packets seen, %d duplicates", s.Played, p.Seen, p.Duplicate)
			}
			if !tt.interrupt && (s.NoWindow != 0 || p.InOpen != 0 || s.Stats.IncompleteRecords != 0) {
				t.Errorf("the demo ended before every flow and device was judged: %+v", s)
			}
			if !tt.interrupt && s.Right < s.Devices*3/4 {
				t.Errorf("%d of %d devices named rightly: is the embedded model trained on these kinds?", s.Right, s.Devices)
			}
			left, err := filepath.Glob(fmt.Sprintf("/run/iotsense-*-%d", c.Process.Pid))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func verdict(device, label string, confidence float64, known bool) v1.Verdict {
	return v1.Verdict{Device: device, Label: &label, Confidence: &confidence, Known: known, Windows: 1}
}

// The page of a demo is that of its sensor, for who has the token that is printed, until it is shut.
func TestDemoPage(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	sensor := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, " ", r.URL) })}
	go sensor.Serve(l)
	defer sensor.Close()
	var said bytes.Buffer
	app := newApp()
	app.ErrWriter = &said
	shut, err := openPage(cli.NewContext(app, nil, nil), t.TempDir(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer shut()
	var address, token string
	if _, err := fmt.Sscanf(said.String(), "page %s its token is %s open until Ctrl-C", &address, &token); err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	address, token = strings.TrimSuffix(address, ","), strings.TrimSuffix(token, ";")
	ask := func(token string) (int, string) {
		r, err := http.NewRequest("POST", address+"/v1/x?y", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer answer.Body.Close()
		b, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(b)
	}
	if status, body := ask(token); status != http.StatusOK || body != "POST /v1/x?y" {
		t.Errorf("%d: %s", status, body)
	}
	if status, body := ask(token + "x"); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d: %s", status, body)
	}
	shut()
	if status, body := ask(token); status != 0 {
		t.Errorf("after it was shut: %d: %s", status, body)
	}
}

// After a long verdict, of which a question mark may stand out, shorter ones have its columns.
func TestBoardColumns(t *testing.T) {
	var b bytes.Buffer
	show := newBoard(&b, false, map[string]string{"a": "Cam", "b": "Cam"}, []string{"Cam"})
	path, sum := "Cameras of some maker/camera", 0.97
	long := verdict("a", "Cam", 0.5, false)
	long.Path, long.PathConfidence = &path, &sum
	for _, v := range []v1.Verdict{long, verdict("b", "Cam", 0.97, true)} {
		if err := show.show(v); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(b.String(), "\n")
	if first, second := strings.Index(lines[0], "0.970"), strings.Index(lines[1], "0.970"); first < 0 || first-1 != second {
		t.Errorf("the question mark apart columns are not below each other:\n%s", &b)
	}
}

func TestBoard(t *testing.T) {
	truth := map[string]string{"a": "Cam", "b": "Plug", "c": "Lamp", "d": "Kettle"}
	early, late, caught := verdict("a", "Cam", 0.96, true), verdict("a", "Plug", 0.4, false), verdict("a", "Cam", 0.95, true)
	early.Provisional, early.Windows, late.Windows, caught.Windows = true, 3, 2, 3
	verdicts := []v1.Verdict{
		verdict("a", "Plug", 0.4, false),
		verdict("a", "Cam", 0.9, true),
		verdict("a", "Cam", 0.95, true), // nothing new
		early, late, caught,             // nothing new: the second rests on less
		verdict("b", "Cam", 0.9, true),
		verdict("c", "Lamp", 0.5, false),
		verdict("router", "Cam", 0.9, true),
		verdict("phone", "Cam", 0.3, false),
	}
	var text, lines bytes.Buffer
	show := newBoard(&text, false, truth, []string{"Cam", "Kettle"})
	asJSON := newBoard(&lines, true, truth, nil)
	for _, b := range []*board{show, asJSON} {
		b.header()
		for _, v := range verdicts {
			if err := b.show(v); err != nil {
				t.Fatal(err)
			}
		}
		var s demoSummary
		b.score(&s)
		want := demoSummary{Devices: 4, Right: 1, Wrong: 1, Refused: 1, RefusedRight: 1, NoWindow: 1, Others: 2, OthersNamed: 1}
		if s.Devices != want.Devices || s.Right != want.Right || s.Wrong != want.Wrong || s.Refused != want.Refused || s.RefusedRight != want.RefusedRight ||
			s.NoWindow != want.NoWindow || s.Others != want.Others || s.OthersNamed != want.OthersNamed {
			t.Errorf("scored %+v\nwant %+v", s, want)
		}
		if err := b.summary(s); err != nil {
			t.Fatal(err)
		}
	}
	live, _, _ := strings.Cut(strings.TrimSpace(text.String()), "\n\n") // header and changes, before the final table
	if got := strings.Split(strings.TrimSpace(live), "\n")[1:]; len(got) != 4 ||
		!strings.Contains(got[0], "Plug?") || !strings.HasSuffix(got[0], "unknown") ||
		!strings.HasSuffix(got[1], "right") || !strings.HasSuffix(got[2], "WRONG") || !strings.HasSuffix(got[3], "unknown") {
		t.Errorf("live lines:\n%s", live)
	}
	decoder := json.NewDecoder(&lines)
	for i, v := range verdicts {
		var l demoLine
		if err := decoder.Decode(&l); err != nil {
			t.Fatal(err)
		}
		_, labelled := truth[v.Device]
		if l.Device != v.Device || (l.Truth != nil) != labelled || (l.Outcome != nil) != labelled {
			t.Errorf("line %d: device %s, truth %v, outcome %v", i, l.Device, l.Truth, l.Outcome)
		}
	}
	var last map[string]demoSummary
	if err := decoder.Decode(&last); err != nil || last["summary"].Devices != 4 {
		t.Errorf("last line %v, error %v: want the summary", last, err)
	}
}
