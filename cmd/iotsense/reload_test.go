package main

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// A sensor takes over what its file says at SIGHUP, all of it or nothing, and goes on with
// the flows that are open.
func TestRunReloads(t *testing.T) {
	testenv.Root(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "config.yaml")
	const settings = "interfaces: [sensor0]\nmodel: lab\n"
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(settings)
	s := runLive(t, nil, w, "--config", path)
	s.play(datagrams(64, 6400))
	s.until("all are open", func(stats v1.Stats) bool { return stats.Packets.InOpen == 64 })
	const all = "local: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10, 192.0.2.0/24]\n"
	lines := bufio.NewScanner(r)
	for _, step := range []struct {
		name, text string
		says       []string // in lines of the log, in this order
	}{
		{"the same", settings, []string{"nothing has changed"}},
		{"no YAML", settings + "log: [\n", []string{path + ": line 3: did not find"}},
		{"no such setting", "\nlgo: json\n", []string{": line 2: there is no setting"}},
		{"refused", settings + "\nmax_devices: 0\n", []string{path + ": line 4: --max-devices 0: want at least 1"}},
		{"of the start alone", all + "ring_size: 1MiB\n" + settings, []string{path + ": line 2: ring_size: 1MiB, and the sensor runs with 8MiB: that takes a restart"}},
		{"the command line's", settings + "hook: xdp\n", []string{"nothing has changed"}},
		{"built in", settings + "local: [10.0.0.0/8]\nlog: json\n", []string{"line 3: local: the private ranges are built into"}},
		{"the first sink", settings + "sinks:\n  webhook: {url: http://192.0.2.9/}\n", []string{": line 4: sinks.webhook.url: the sensor is confined"}},
		{"the first collector", settings + "ipfix: 192.0.2.9\n", []string{": line 3: ipfix: the sensor is confined"}},
		{"a file for flows", settings + "flows_json: /var/lib/flows\n", []string{": line 3: flows_json: /var/lib/flows, and the sensor runs with the default: that takes a restart"}},
		{"a rule for sinks", settings + "sinks.digest: 5s\n", []string{"setting=sinks.digest now=5s before=1m0s"}},
		{"and its default", settings, []string{"setting=sinks.digest now=1m0s"}},
		{"taken over", settings + all + "log: json\n", []string{`"setting":"local","now":"[10.0.0.0/8`, `"setting":"log","now":"json","before":"auto"`}},
		{"no model", "interfaces: [sensor0]\nmodel: none\n", []string{": line 2: model: none: that takes"}},
		{"another model", "log: json\n", []string{`"another model judges`, `"setting":"local","now":"the default"`}},
		{"and back", settings, []string{"another model judges", "setting=log now=auto before=json"}},
		{"no such level", settings + "log_level: loud\n", []string{`: line 3: --log-level \"loud\": want info`}},
		{"less", "interfaces: [sensor0]\nlog_level: error\n", nil},
		{"an error all the same", "lgo: json\n", []string{": line 1: there is no setting"}},
		{"and all again", settings, []string{"another model judges", "setting=log_level now=info before=error"}},
	} {
		put(step.text)
		if err := syscall.Kill(s.pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if step.says == nil { // the model comes last
			s.until("another model", func(stats v1.Stats) bool { return stats.Model != nil && !strings.Contains(*stats.Model, "lab") })
		}
		for _, want := range step.says {
			for lines.Scan() && !strings.Contains(lines.Text(), "onfiguration: ") && !strings.Contains(lines.Text(), "another model") {
			}
			if !strings.Contains(lines.Text(), want) {
				t.Errorf("%s: %s\nwant %s", step.name, lines.Text(), want)
			}
		}
		if step.name == "taken over" {
			s.play(datagrams(1, 1))
			s.until("it is counted", func(stats v1.Stats) bool { return stats.Packets.InOpen == 65 })
			devices, err := s.client.Devices(t.Context())
			if err != nil || !slices.ContainsFunc(devices, func(d v1.DeviceVerdict) bool { return d.Device == net.HardwareAddr(packet.RouterMAC[:]).String() }) {
				t.Errorf("%d devices, none of them the one at 192.0.2.1 (%v)", len(devices), err)
			}
		}
	}
	stats := s.until("no packet is lost", func(stats v1.Stats) bool { return stats.Packets.Seen == 65 })
	if n := stats.Flows.Open + stats.Flows.Closed; n != 65 { // with the other end's MAC it is another
		t.Errorf("%d flows: %+v", n, stats.Flows)
	}
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.end(); status != 0 {
		t.Errorf("status %d", status)
	}
}
