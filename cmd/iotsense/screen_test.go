package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// house is a sensor that knows some devices.
type house struct {
	api.Source
	devices []v1.DeviceVerdict
	stats   v1.Stats
}

func (h *house) ID() string                           { return "5e" }
func (h *house) Stats() (v1.Stats, error)             { return h.stats, nil }
func (h *house) Devices() ([]v1.DeviceVerdict, error) { return h.devices, nil }
func (h *house) Events(uint64) ([]v1.Event, error)    { return nil, nil }
func (h *house) Flows(int) (list []v1.Flow, n int, e error) {
	for i := range h.devices {
		list = append(list, v1.Flow{Device: &h.devices[i].Device, Remote: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1", Proto: 6, DevPort: 49152, RemPort: 8883,
			FirstSeen: h.devices[i].FirstSeen, Packets: 1234, Bytes: 5_678_901, Interface: "eth0"})
	}
	return list, 0, nil
}

func (h *house) Facts(device string) ([]v1.Fact, error) {
	return []v1.Fact{{Device: device, Kind: "dhcp_host", Value: "plug\x1b[2J of the hall", Source: "sent", Count: 2}}, nil
}

func (h *house) Explanation(_ context.Context, device string, _ v1.ExplanationRequest) (*v1.Explanation, error) {
	return &v1.Explanation{Device: device, Label: "TP-LinkPlugHS110", JoinedProbability: 0.97, Facts: []v1.ExplainedFact{{Kind: "dhcp_host", Value: "HS110", Phi: 2.1}}}, nil
}

// newHouse has so many plugs.
func newHouse(n int) *house {
	model := "stream network of 27 types"
	h := &house{stats: v1.Stats{Sensor: "5e", Model: &model, UptimeS: 99, Interfaces: []v1.Interface{{Name: "eth0", Hook: "tcx", Attached: true}}}}
	for i := range n {
		label, path, sure, vendor := "TP-LinkPlugHS110", "TP-Link/plug", 0.97, "TP-Link"
		d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: fmt.Sprintf("50:c7:bf:00:fc:%02x", i), Label: &label, Confidence: &sure, State: v1.Likely, Level: 2,
			Path: &path, PathConfidence: &sure, Vendor: &vendor, Windows: 7, Flows: 9, Packets: 1000, Bytes: 345_678}}
		d.MACs, d.Addresses = []string{d.Device}, []string{netip.AddrFrom4([4]byte{192, 168, 178, byte(20 + i)}).String(), "fe80::52c7:bfff:fe00:fca3"}
		d.FirstSeen, d.LastSeen = v1.Time{Time: time.Now().Add(-time.Hour)}, v1.Time{Time: time.Now()}
		h.devices = append(h.devices, d)
	}
	return h
}

// inTerminal runs iotsense in a terminal of so many columns, and gives what it wrote.
func inTerminal(t *testing.T, columns uint16, args ...string) (written string, status int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), asCommand+"=1")
	master, err := pty.StartWithSize(c, &pty.Winsize{Cols: columns, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	var out bytes.Buffer
	_, _ = io.Copy(&out, master) // its end is an error
	_ = c.Wait()                 // its status is looked at
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), c.ProcessState.ExitCode()
}

// Whatever prints a table fits the terminal, and says the same in it.
func TestTablesFitTheTerminal(t *testing.T) {
	h := newHouse(3)
	h.devices[1].Facts = v1.Facts{"dhcp_host": "plug-of-the-hall"}
	h.devices[1].Call()
	socket := answer(t, h)
	for _, tt := range []struct {
		args []string
		says []string // each in a line of its own
	}{
		{[]string{"devices", "--socket", socket}, []string{"50:c7:bf:00:fc:00", "likely", "plug-of-the-hall"}},
		{[]string{"explain", "--device", "50:c7:bf:00:fc:01", "--socket", socket}, []string{"says it is HS110 by DHCP"}},
		{[]string{"label", "--help"}, []string{"MAC NAME"}},
		{[]string{"devices", "50:c7:bf:00:fc:01", "--socket", socket}, []string{"50:c7:bf:00:fc:01", "346 kB"}},
		{[]string{"flows", "--socket", socket}, []string{"8883", "5.7 MB"}},
		{[]string{"stats", "--socket", socket}, []string{"packets.seen", "samples.ring_full"}},
		{[]string{"facts", "50:c7:bf:00:fc:01", "--socket", socket}, []string{"dhcp_host"}},
		{[]string{"model", "info"}, []string{"parameters"}},
		{[]string{"doctor", "-i", "lo"}, []string{"kernel"}},
		{[]string{"run", "--help"}, []string{"--hook"}},
		{[]string{"--help"}, []string{"devices"}},
	} {
		widths := []uint16{40, 200}
		if tt.args[0] == "devices" {
			widths = append(widths, 80, 120)
		}
		for _, columns := range widths {
			written, _ := inTerminal(t, columns, tt.args...) // doctor's status is the machine's
			for line := range strings.Lines(written) {
				line = strings.TrimRight(line, "\n")
				copied := strings.Contains(line, "-> ") || strings.HasPrefix(line, "   iotsense ") // advice, examples
				if n := text.StringWidth(line); n > int(columns) && !copied {
					t.Errorf("%q, %d columns: %d in %q", tt.args, columns, n, line)
				}
			}
			for _, want := range tt.says {
				if !strings.Contains(written, want) {
					t.Errorf("%q, %d columns: no %q in\n%s", tt.args, columns, want, written)
				}
			}
		}
	}
}

// A word that nobody knows is answered with what it may have been.
func TestDidYouMean(t *testing.T) {
	socket := answer(t, newHouse(2))
	for _, tt := range []struct {
		line   string
		status int
		says   string
	}{
		{"devcies", terminal.ExitUsage, `no command "devcies": did you mean devices? See iotsense --help`},
		{"lable 50:c7:bf:00:fc:00 --off", terminal.ExitUsage, "did you mean label?"},
		{"regis", terminal.ExitUsage, "did you mean registry?"},
		{"model inof", terminal.ExitUsage, "did you mean info? See iotsense model --help"},
		{"registry nonsense", terminal.ExitUsage, `no command "nonsense": see iotsense registry --help`},
		{"run --hok tc", terminal.ExitUsage, "not defined: -hok: did you mean --hook?"},
		{"run --nonsense", terminal.ExitUsage, "not defined: -nonsense\n"},
		{"devices 50:c7:bf:00:cf:01 --socket " + socket, terminal.ExitFailed, "has not seen it: did you mean 50:c7:bf:00:fc:01?"},
		{"devices 50:c7:bf:99:99:99 --socket " + socket, terminal.ExitFailed, "has not seen it\n"},
	} {
		if _, stderr, status := command(t, strings.Fields(tt.line)...); status != tt.status || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s: status %d, %q, want %q", tt.line, status, stderr, tt.says)
		}
	}
}
