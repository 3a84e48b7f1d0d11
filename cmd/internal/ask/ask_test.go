package ask

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// deviceOf is a device with a verdict of the confidence; 0: none.
func deviceOf(name, label string, confidence float64, addresses ...string) v1.DeviceVerdict {
	d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: name, State: v1.Gathering}, Addresses: addresses}
	d.LastSeen = v1.Time{Time: time.Date(2026, 3, 4, 12, 30, 1, 0, time.Local)}
	if confidence > 0 {
		d.Label, d.Confidence, d.Windows, d.State, d.Known = &label, &confidence, 3, v1.Known, confidence > 0.8
		if !d.Known {
			d.State = v1.Unknown
		}
	}
	return d
}

// The list of devices is for a terminal, an unsure label has its question mark.
func TestPrintDevices(t *testing.T) {
	model := "the model of this test"
	now := time.Date(2026, 3, 4, 13, 0, 0, 0, time.Local)
	long := strings.Repeat("Outdoor Camera ", 4)
	shared := deviceOf("00:17:88:0a:0b:0c", long, 0.9, "fe80::217:88ff:fe0a:b0c", "192.168.178.200", "192.168.178.201", "2001:db8::1")
	shared.SharedMAC = true
	twin := deviceOf("00:17:88:0a:0b:0e", "Plug Two", 0.5, "10.0.0.9")
	path, sum := "Plugs/plug", 0.99
	twin.State, twin.Level, twin.Path, twin.PathConfidence = v1.Likely, 2, &path, &sum
	router := deviceOf("00:17:88:0a:0b:0f", "Plug Three", 0.6, "10.0.0.1")
	router.State = v1.Gateway
	joins := deviceOf("00:17:88:0a:0b:0b", "", 0)
	joins.State, joins.Level, joins.Path, joins.PathConfidence = v1.Likely, 1, &path, &sum
	early := deviceOf("00:17:88:0a:0b:0c", "Plug", 0.9, "192.168.178.201")
	early.Provisional = true
	yesterday := deviceOf("00:17:88:0a:0b:0d", "Plug", 0.5, "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
	yesterday.LastSeen.Time = now.Add(-20 * time.Hour)
	named := deviceOf("00:17:88:0a:0b:0c", "Plug Four", 0.5, "10.0.0.4")
	says, maker := "plug-of-the-hall", "Plugs & Co"
	named.Facts, named.Vendor = v1.Facts{"mdns_host": says}, &maker
	named.Call()
	own := named
	called := "heater"
	own.UserLabel = &called
	own.Call()
	own.Device = "00:17:88:0a:0b:0d"
	never := deviceOf("00:17:88:0a:0b:0d", "", 0)
	never.LastSeen = v1.Time{}
	for _, tt := range []struct {
		name    string
		list    []v1.DeviceVerdict
		stats   v1.Stats
		says    []string
		without []string
	}{
		{"known and unknown", []v1.DeviceVerdict{shared, yesterday}, v1.Stats{UptimeS: 9, Model: &model},
			[]string{"shared MAC", "192.168.178.200 +3", "12:30:01", "03 Mar", "Plug?", "unknown", "0.500"}, []string{"Camera?", "gathering", "fe80"}},
		{"likely", []v1.DeviceVerdict{twin, shared}, v1.Stats{UptimeS: 9, Model: &model}, []string{"Plugs/plug: Plug Two?", "0.990", "likely"}, []string{"0.500"}},
		{"names", []v1.DeviceVerdict{named, own}, v1.Stats{UptimeS: 9, Model: &model}, []string{says + "  Plug Four?", "heater            Plug Four?", "12:30:01   " + maker}, []string{"heater ("}},
		{"no window, but a maker", []v1.DeviceVerdict{joins, shared}, v1.Stats{UptimeS: 9, Model: &model}, []string{"Plugs/plug  ", "0.990", "likely"}, []string{"Plugs/plug:"}},
		{"gateway", []v1.DeviceVerdict{router}, v1.Stats{UptimeS: 9, Model: &model}, []string{"gateway"}, []string{"Plug", "0.600"}},
		{"no MAC", []v1.DeviceVerdict{deviceOf("ip:192.168.100.200", "Weather Station of the Garden", 0.9, "192.168.100.200")}, v1.Stats{UptimeS: 200, Model: &model},
			[]string{"ip:192.168.100.200", "Weather Station of the Garden"}, nil},
		{"gathering", []v1.DeviceVerdict{deviceOf("00:17:88:0a:0b:0c", "", 0)}, v1.Stats{UptimeS: 20, Model: &model},
			[]string{"gathering for 20s", model, "seconds after"}, nil},
		{"labelled before it was seen", []v1.DeviceVerdict{never}, v1.Stats{UptimeS: 300, Model: &model}, []string{never.Device}, []string{"Jan"}},
		{"provisional", []v1.DeviceVerdict{early}, v1.Stats{UptimeS: 9, Model: &model}, []string{"provisional", "Plug"}, []string{"gathering"}},
		{"nothing yet", nil, v1.Stats{UptimeS: 20, Model: &model}, []string{"gathering for 20s", model}, []string{"DEVICE"}},
		{"records only", []v1.DeviceVerdict{deviceOf("00:17:88:0a:0b:0c", "", 0)}, v1.Stats{UptimeS: 20}, []string{"--model none"}, nil},
		{"counting only", nil, v1.Stats{UptimeS: 300, Packets: flows.PacketStats{Seen: 9, Counted: 9, WithDevice: 8}}, []string{"counted only", "--packets 0"}, []string{"no device seen", "WAN"}},
		{"the wrong side", nil, v1.Stats{UptimeS: 300, Model: &model, Packets: flows.PacketStats{Seen: 9, Counted: 8, NoDevice: 8}}, []string{"no device seen in 5m0s", "WAN", "--local"}, []string{"gathering"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			printDevices(&b, tt.list, tt.stats, now)
			if rows := strings.Count(b.String(), "00:17:88:0a:0b:0") + strings.Count(b.String(), " ip:"); rows != len(tt.list) || rows > 0 && strings.Count(b.String(), "\n ") != rows {
				t.Errorf("not each of %d devices in a line of its own:\n%s", len(tt.list), &b)
			}
			for _, s := range tt.says {
				if !strings.Contains(b.String(), s) {
					t.Errorf("%q is not in\n%s", s, &b)
				}
			}
			for _, s := range tt.without {
				if strings.Contains(b.String(), s) {
					t.Errorf("%q is in\n%s", s, &b)
				}
			}
		})
	}
	var b bytes.Buffer
	printDevice(&b, &twin, nil)
	if strings.Contains(b.String(), "trusted") {
		t.Errorf("trusted or not, and nobody asked for an explanation:\n%s", &b)
	}
	for _, why := range []string{page.Sentence(&twin.Verdict), page.Needs(&twin.Verdict)} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), why) {
			t.Errorf("%q is not in\n%s", why, &b)
		}
	}
	twin.Explained(0.25)
	b.Reset()
	printDevice(&b, &twin, nil)
	if !strings.Contains(b.String(), "false: padding fraction 0.250") {
		t.Errorf("not told that it is not trusted:\n%s", &b)
	}
	if !strings.Contains(b.String(), "Plugs/plug 0.990") {
		t.Errorf("no safe level in\n%s", &b)
	}
	b.Reset()
	printDevice(&b, &shared, nil)
	fits(t, b.String())
	for _, a := range shared.Addresses {
		if !strings.Contains(b.String(), a) {
			t.Errorf("%s is not in\n%s", a, &b)
		}
	}
}

// A device that may be another one says which, and by what.
func TestMayBe(t *testing.T) {
	now, before := deviceOf("02:00:00:00:00:01", "", 0), deviceOf("02:00:00:00:00:02", "", 0)
	now.SameAs, now.Facts, before.Facts = []string{before.Device}, v1.Facts{"dhcp_client_id": "ff00000001aabb"}, v1.Facts{"dhcp6_client_id": "aabb"}
	var b bytes.Buffer
	printDevice(&b, &now, []v1.DeviceVerdict{before, now})
	if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, "02:00:00:00:00:02 (the same DHCP client identifier), never") {
		t.Error(text)
	}
}

// A device goes by its MAC, in any spelling, and by each of its addresses.
func TestDeviceNames(t *testing.T) {
	lamp := deviceOf("00:17:88:0a:0b:0c", "", 0, "10.0.0.5", "fe80::5")
	tunnel := deviceOf("ip:10.0.0.6", "", 0)
	for _, tt := range []struct {
		asked       string
		lamp, other bool
	}{
		{"00:17:88:0A:0B:0C", true, false},
		{"10.0.0.5", true, false},
		{"fe80:0::5", true, false},
		{"ip:10.0.0.5", false, false},
		{"10.0.0.6", false, true},
		{"ip:10.0.0.6", false, true},
		{"10.0.0.50", false, false},
	} {
		n, err := ParseDeviceName(tt.asked)
		if err != nil || n.is(&lamp) != tt.lamp || n.is(&tunnel) != tt.other {
			t.Errorf("%s: %v, %v, %v", tt.asked, n.is(&lamp), n.is(&tunnel), err)
		}
	}
}

// An event says from what to what, where there is both.
func TestPrintEvent(t *testing.T) {
	device, label, path, unknown := "00:17:88:0a:0b:0c", "Plug Two", "Plugs/plug", "unknown"
	for _, tt := range []struct {
		e    v1.Event
		want string
	}{
		{v1.Event{Event: v1.EventNew}, "new"},
		{v1.Event{Event: "unknown", New: &unknown}, "unknown"},
		{v1.Event{Event: "known", New: &label}, "known        Plug Two"},
		{v1.Event{Event: "known", Old: &path, New: &label}, "known        Plugs/plug -> Plug Two"},
		{v1.Event{Event: v1.EventLabelled, Old: &label}, "labelled     Plug Two -> -"},
	} {
		var b bytes.Buffer
		tt.e.Device = &device
		if err := printEvent(&b, &tt.e, false); err != nil || !strings.HasSuffix(b.String(), device+"  "+tt.want+"\n") {
			t.Errorf("%q, want %q: %v", &b, tt.want, err)
		}
	}
}

// Open flows in the order of their beginnings, protocols by name, for a terminal.
func TestPrintFlows(t *testing.T) {
	device := "00:17:88:0a:0b:0c"
	line := v1.Flow{Device: &device, Remote: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", Proto: 6, DevPort: 50000, RemPort: 50001, Packets: 9_999_999, Bytes: 1e9, Interface: "enp0s31f6"}
	var list []v1.Flow
	for _, proto := range []uint8{6, 17, 1, 58, 200} {
		line.Proto = proto
		list = append(list, line)
	}
	list[2].DevPort, list[2].RemPort, list[2].Device = flows.Missing, flows.Missing, nil
	var b bytes.Buffer
	printFlows(&b, list)
	if lines := strings.Count(b.String(), "\n"); lines != 1+len(list) {
		t.Errorf("%d lines for %d flows:\n%s", lines, len(list), &b)
	}
	if !regexp.MustCompile(`(?s) tcp .* udp .* icmp .* icmpv6 .* 200 `).MatchString(b.String()) {
		t.Errorf("protocols:\n%s", &b)
	}
	b.Reset()
	printFlows(&b, []v1.Flow{{Device: &device, Remote: "2001:db8::cccc:dddd:eeee:ffff", Proto: 6, DevPort: 80, RemPort: 1, Packets: 1, Bytes: 52, Interface: "lan"}})
	if !strings.Contains(b.String(), "2001:db8::cccc:dddd:eeee:ffff") {
		t.Errorf("broken where there is room:\n%s", &b)
	}
}

// Every counter of the sensor is in its text.
func TestPrintStatsShowsAll(t *testing.T) {
	s := v1.Stats{Interfaces: []v1.Interface{{Name: "lan0"}}, KernelRuns: new(uint64), KernelNSTotal: new(uint64)}
	n := 70_000
	var names []string
	var fill func(path string, v reflect.Value)
	fill = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Pointer:
			if !v.IsNil() {
				fill(path, v.Elem())
			}
		case reflect.Slice:
			fill(path, v.Index(0))
		case reflect.Uint64:
			n++
			v.SetUint(uint64(n))
			names = append(names, path)
		case reflect.Float64:
			n++
			v.SetFloat(float64(n))
			names = append(names, path)
		}
	}
	fill("stats", reflect.ValueOf(&s).Elem())
	var b bytes.Buffer
	printStats(&b, s)
	fits(t, b.String())
	for i, name := range names {
		if want := fmt.Sprint(70_001 + i); !strings.Contains(b.String(), want) {
			t.Errorf("%s is not shown", name)
		}
	}
}

func TestInterfaceText(t *testing.T) {
	for _, tt := range []struct {
		i    v1.Interface
		want string
	}{
		{v1.Interface{Attached: true}, "attached"},
		{v1.Interface{Attached: true, Gaps: 2, GapS: 1.26}, "attached, blind 2 times, 1.3 s"},
		{v1.Interface{Gaps: 1, GapS: 9}, "not attached: see the log, blind 1 times, 9.0 s"},
	} {
		if got := interfaceText(tt.i); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.i, got, tt.want)
		}
	}
}

// fits checks that text is read in a terminal of 100 columns.
func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > 100 || strings.HasSuffix(line, " ") {
			t.Errorf("%d columns, or blanks at the end: %q", n, line)
		}
	}
}
