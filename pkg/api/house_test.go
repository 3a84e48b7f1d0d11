package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// house is a source with the devices of a home, some of which wish the reader ill.
type house struct {
	answers
	mu      sync.Mutex
	devices []v1.DeviceVerdict
	stats   v1.Stats
	asked   int
	gone    bool
}

// attack is what a device calls itself.
const attack = `<script>window.attacked=1</script><img src=x onerror="window.attacked=1">"'><b>`

func ptr[T any](v T) *T { return &v }

func newHouse() *house {
	h := &house{stats: v1.Stats{
		Sensor: "5e5e", UptimeS: 7384, Model: ptr("the embedded default model: 27 types of real device"),
		Packets: v1.PacketStats{Seen: 1_284_031, Counted: 1_280_000, TableFull: 12}, Samples: v1.SampleStats{Sent: 90_000},
		Flows: v1.FlowStats{Open: 84}, Ring: v1.RingStats{SizeBytes: 8 << 20, MostBytes: 700_000}, UserCPUS: 31,
		Interfaces: []v1.Interface{{Name: "eth0", Hook: "tcx", Attached: true}, {Name: "wlan0", Hook: "xdp", Gaps: 2}},
	}}
	h.add("50:c7:bf:00:fc:a3", v1.Known, "TP-LinkPlugHS110", 0.998, ptr("TP-Link/plug/TP-LinkPlugHS110"), "TP-Link", v1.Facts{"dhcp_host": "HS110", "tplink": "model: HS110(EU)"})
	h.add("d0:52:a8:a3:60:0f", v1.Known, "SmartThings", 0.94, ptr("SmartThings/hub/SmartThings"), "SmartThings", v1.Facts{"dhcp_class": "udhcp 1.20.2"})
	h.add("ec:1a:59:79:f4:89", v1.Likely, "WeMoSwitch", 0.61, ptr("Belkin/WeMo"), "Belkin International Inc.", v1.Facts{"upnp": "modelName: Socket", "mdns_host": "wemo-kitchen"})
	h.add("f4:f5:d8:8f:0a:3c", v1.Unknown, "none of them", 0.88, nil, "Google, Inc.", v1.Facts{"cast": "Chromecast", "dhcp_host": "Chromecast", "mdns_offers": "_googlecast._tcp", "dns": "clients3.google.com"})
	h.add("02:1a:11:f0:9c:02", v1.Unknown, "EdnetGateway", 0.34, nil, "", v1.Facts{"dhcp_host": attack, "mdns_name": "<i>hall</i>", "dns": "a.example"})
	h.add("b0:c5:54:25:5b:0e", v1.Conflict, "D-LinkCam", 0.9, nil, "D-Link International", v1.Facts{"dhcp_host": "LIFX Bulb", "upnp": "modelName: DCS-930L"})
	h.add("00:17:88:24:76:ff", v1.Gathering, "HueBridge", 0.71, nil, "Philips Lighting BV", v1.Facts{"upnp": "modelName: Philips hue bridge 2015"})
	h.add("00:0c:29:11:22:33", v1.Gateway, "Withings", 0.4, nil, "VMware, Inc.", nil)
	for i := range 9 {
		h.add(fmt.Sprintf("a4:cf:12:00:00:%02x", i), v1.Known, "ESPSocket", 0.97, ptr("Espressif/plug/ESPSocket"), "Espressif Inc.", v1.Facts{"dhcp_host": fmt.Sprintf("socket-%d", i+1)})
	}
	return h
}

// add adds a device that has come now.
func (h *house) add(mac string, state v1.State, label string, sure float64, path *string, vendor string, facts v1.Facts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.devices) + 1
	d := v1.DeviceVerdict{
		Verdict: v1.Verdict{
			Time: v1.Time{Time: time.Now()}, Device: mac, State: state, Label: &label, Confidence: &sure, Known: state == v1.Known, Path: path, PathConfidence: path2(path, sure),
			Facts: facts, Windows: 40 * n, Flows: uint64(52 * n), Packets: uint64(900 * n), Bytes: uint64(400_123 * n * n), Votes: map[string]int{label: 38 * n, "none of them": 2 * n},
			Distance: ptr(0.4), Provisional: state == v1.Gathering,
		},
		Addresses: []string{fmt.Sprintf("192.168.1.%d", 20+n), "fe80::1:" + mac[15:]}, RandomMAC: mac[:2] == "02",
		FirstSeen: v1.Time{Time: time.Now().Add(-time.Duration(n*n) * time.Minute)}, LastSeen: v1.Time{Time: time.Now().Add(-time.Duration(n) * 3 * time.Second)},
	}
	if vendor != "" {
		d.Vendor = &vendor
	}
	if state == v1.Known {
		d.Level = 3
	}
	d.Call()
	h.devices = append(h.devices, d)
}

func path2(path *string, sure float64) *float64 {
	if path == nil {
		return nil
	}
	return ptr(min(1, sure+0.3))
}

// Traffic has a device busier the later it came.
func (h *house) Traffic(device string) v1.Traffic {
	t := v1.Traffic{Until: v1.Time{Time: time.Now().Truncate(time.Minute).Add(time.Minute)}}
	for i := range 60 {
		n := uint64(device[len(device)-1]) * uint64(i%7+i%11) * 100
		if i%13 > 9 {
			n = 0
		}
		t.Sent, t.Received = append(t.Sent, n), append(t.Received, n*uint64(i%5))
	}
	return t
}

func (h *house) Events(uint64) (list []v1.Event, err error) {
	ago := func(d time.Duration) v1.Time { return v1.Time{Time: time.Now().Add(-d)} }
	for _, e := range []v1.Event{
		{Time: ago(20 * time.Hour), Event: v1.EventGone}, {Time: ago(9 * time.Hour), Event: v1.EventBack}, {Time: ago(8 * time.Hour), Event: string(v1.Likely), Old: ptr("gathering"), New: ptr("TP-Link/plug")},
		{Time: ago(3 * time.Hour), Event: v1.EventGone}, {Time: ago(2 * time.Hour), Event: v1.EventBack}, {Time: ago(time.Hour), Event: string(v1.Known), Old: ptr("TP-Link/plug"), New: ptr("TP-LinkPlugHS110")},
	} {
		e.Device = ptr("50:c7:bf:00:fc:a3")
		list = append(list, e)
	}
	return list, nil
}

func (h *house) ID() string { return h.stats.Sensor }

var errGone = errors.New("the table is gone")

func (h *house) Stats() (v1.Stats, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	h.stats.UptimeS += 2
	h.stats.Packets.Seen += 812
	h.stats.UserCPUS += 0.031
	return h.stats, nil
}

func (h *house) Devices() ([]v1.DeviceVerdict, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return nil, errGone
	}
	return append([]v1.DeviceVerdict{}, h.devices...), nil
}

func (h *house) Flows(int) ([]v1.Flow, int, error) {
	var list []v1.Flow
	for i := range 14 {
		list = append(list, v1.Flow{
			Device: ptr("50:c7:bf:00:fc:a3"), Remote: fmt.Sprintf("203.0.113.%d", i/3), Proto: []uint8{6, 17, 58}[i%3], DevPort: int32(50000 + i), RemPort: []int32{443, 53, -1}[i%3],
			FirstSeen: v1.Time{Time: time.Now().Add(-time.Duration(i) * 4 * time.Second)}, Packets: uint64(9 * i), Bytes: uint64(1234 * i * i), BytesSent: uint64(400 * i * i), Interface: "eth0",
		})
	}
	return list, 0, nil
}

func (h *house) Peers(device string) (v1.Peers, error) { return v1.Peers{Device: device}, nil }

func (h *house) Facts(device string) ([]v1.Fact, error) {
	devices, err := h.Devices()
	var list []v1.Fact
	for _, d := range devices {
		for kind, value := range d.Facts {
			if d.Device == device {
				list = append(list, v1.Fact{Device: device, Kind: kind, Value: value, Source: "sent", First: d.FirstSeen, Last: d.LastSeen, Count: 17})
			}
		}
	}
	return list, err
}

func (h *house) Explanation(_ context.Context, device string, _ v1.ExplanationRequest) (*v1.Explanation, error) {
	if device == "00:0c:29:11:22:33" {
		return nil, errors.New("nothing is kept of it: <script>")
	}
	x := &v1.Explanation{
		Device: device, Label: "TP-LinkPlugHS110", Output: "logit", PaddingFraction: 0.004, Phi: make([][]float64, 20),
		Facts: []v1.ExplainedFact{{Kind: "dhcp_host", Value: "HS110", Phi: 2.4}},
	}
	add := func(row, column int, f v1.ExplainedField) {
		f.Row, f.Column = row, column
		x.Phi[row][column] = f.Phi
		x.Fields = append(x.Fields, f)
	}
	for row := range x.Phi {
		x.Phi[row] = make([]float64, 3040)
		add(row, 5, v1.ExplainedField{Name: "protocol", Raw: []float64{6, 17}[row%2], Part: v1.Metadata, Phi: 0.01 * float64(row)})
		add(row, 7, v1.ExplainedField{Name: "remote_port", Raw: []float64{50443, 53}[row%2], Part: v1.Metadata, Phi: 1.31 / float64(20-row)})
		for p := range 10 {
			add(row, 20+p, v1.ExplainedField{Name: fmt.Sprint("size_", p+1), Raw: 243, Part: v1.Metadata, Packet: ptr(p + 1), Phi: 0.05 * float64((row*p)%7-3)})
		}
		for i := range 30 * row {
			add(row, 40+i, v1.ExplainedField{Name: fmt.Sprint("payload_", i+1), Raw: float64('a' + i%26), Part: v1.Byte, Packet: ptr(2), Byte: ptr(i + 1), Phi: 0.002 * float64((i*row)%31-15)})
		}
	}
	slices.SortStableFunc(x.Fields, func(a, b v1.ExplainedField) int { return cmp.Compare(math.Abs(b.Phi), math.Abs(a.Phi)) })
	return x, nil
}

func (h *house) Correct(_ context.Context, device, do string, c v1.Correction) (v1.Corrected, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.IndexFunc(h.devices, func(d v1.DeviceVerdict) bool { return d.Device == device })
	if at < 0 || c.Label == "bad" {
		return v1.Corrected{}, &RefusedError{errors.New("no such label, or device: <script>")}
	}
	switch d := &h.devices[at]; do {
	case v1.DoLabel:
		d.UserLabel = &c.Label
		if c.Label == "" {
			d.UserLabel = nil
		}
		d.Call()
	case v1.DoForget:
		h.devices = slices.Delete(h.devices, at, at+1)
	case v1.DoIgnore:
		d.State = v1.Ignored
	case v1.DoHeed:
		d.State = v1.Gathering
	}
	return v1.Corrected{Device: device, Kept: true}, nil
}
