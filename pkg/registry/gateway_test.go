package registry_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/registry"
)

// What serves the network is presumed to be nothing, nor is what has a window already.
func TestPresume(t *testing.T) {
	for _, tt := range []struct {
		name   string
		port   int32
		window bool
		state  v1.State
	}{
		{"a host", 40000, false, v1.Likely},
		{"a server of leases", 67, false, v1.Gathering},
		{"with a window", 40000, true, v1.Gathering},
	} {
		r := newRegistry(10, nil)
		rec := record("m", "10.0.0.1", 0, 1)
		rec.Proto, rec.DevPort, rec.Packets = 17, tt.port, []flows.RowPacket{{Sent: true}}
		r.Record(rec)
		if tt.window {
			probs := []float32{.4, .3, .3}
			r.Window(rec, &registry.Window{Window: join.Window{Probs: probs}, Network: probs})
		}
		r.Presume("m", "A", 0.7)
		r.Presume("never seen", "A", 0.7)
		v := r.Verdict("m")
		if v.State != tt.state || (v.Path != nil) != (tt.state == v1.Likely) || (v.Label == nil) == tt.window {
			t.Errorf("%s: %s", tt.name, jsonText(t, v))
		}
		if v.Path != nil && (*v.Path != "A" || *v.PathConfidence != 0.7 || v.Level != 1 || v.Known || !v.Time.IsZero()) {
			t.Errorf("%s: %s", tt.name, jsonText(t, v))
		}
		rec.DevPort = 67
		r.Record(rec)
		if v := r.Verdict("m"); v.Path != nil || v.State != v1.Gathering {
			t.Errorf("%s, which begins to serve: %s", tt.name, jsonText(t, v))
		}
	}
}

func TestGateway(t *testing.T) {
	flow := func(at int64, own string, port, remotePort int32, remote string, sent bool) *flows.Record {
		return &flows.Record{
			Device: "m", FirstSeen: at * second, LastSeen: at*second + 1, Proto: 17, DevPort: port, RemPort: remotePort,
			DeviceAddr: netip.MustParseAddr(own), Remote: netip.MustParseAddr(remote), Packets: []flows.RowPacket{{Sent: sent}},
		}
	}
	const home, lan, day = "0.0.0.0", "192.168.1.1", 24 * 60 * 60
	answer := func(at int64) *flows.Record { return flow(at, lan, 53, 40000, home, true) }
	lease := func(at int64) *flows.Record { return flow(at, lan, 67, 68, "255.255.255.255", true) }
	ask := func(at int64) *flows.Record { return flow(at, "0.0.0.0", 68, 67, "255.255.255.255", true) }
	var each []*flows.Record // each of many addresses, and none of them twice
	for i := range int64(registry.MaxAddresses + 1) {
		each = append(each, flow(i, fmt.Sprintf("10.0.0.%d", i+1), 40000, 443, "1.1.1.1", true))
	}
	turns := func(addresses, times int, sent bool) (list []*flows.Record) {
		for i := range addresses * times {
			list = append(list, flow(int64(i), fmt.Sprintf("10.0.%d.1", i%addresses), 40000, 443, "1.1.1.1", sent))
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		records []*flows.Record
		gateway bool
	}{
		{"answers names", []*flows.Record{answer(1), answer(2), answer(3)}, true},
		{"gives leases and names", []*flows.Record{lease(1), answer(2), lease(3)}, true},
		{"twice", []*flows.Record{lease(1), answer(2)}, false},
		{"asks for names itself", []*flows.Record{flow(1, lan, 40000, 53, home, true), flow(2, lan, 40001, 53, home, true), flow(3, lan, 40002, 53, home, true)}, false},
		{"is only asked", []*flows.Record{flow(1, lan, 53, 40000, home, false), flow(2, lan, 53, 40000, home, false), flow(3, lan, 53, 40000, home, false)}, false},
		{"port 53 to the world", []*flows.Record{flow(1, lan, 53, 53, "1.1.1.1", true), flow(2, lan, 53, 53, "1.1.1.1", true), flow(3, lan, 53, 53, "1.1.1.1", true)}, false},
		{"a network of its own, then the home's", []*flows.Record{lease(1), answer(2), answer(3), answer(4), ask(5)}, false},
		{"long ago", []*flows.Record{answer(1), answer(2), answer(3), flow(day+4, lan, 123, 123, "1.1.1.1", true)}, false},
		{"once a day", []*flows.Record{answer(1), answer(day + 2), answer(2*day + 3)}, false},
		{"addresses in turn", turns(3, 2, true), true},
		{"two in turn", turns(2, 20, true), false},
		{"that others send to", turns(5, 20, false), false},
		{"one after the other", turns(5, 1, true), false},
		{"more than are kept", each, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry(0, nil)
			var v v1.Verdict
			for _, rec := range tt.records {
				r.Record(rec)
				v = r.Window(rec, told([]float32{0, 1, 0}))
			}
			if got := v.State == v1.Gateway; got != tt.gateway {
				t.Errorf("state %s", v.State)
			}
			if named := v.Known || v.Level > 0 || v.Path != nil; named == tt.gateway || v.Label == nil {
				t.Errorf("known %v, level %d, label %v", v.Known, v.Level, v.Label)
			}
			if r.Knows("m") == tt.gateway {
				t.Error("kept as a device whose name is known, or not")
			}
		})
	}
}

// A level that is presumed takes no name from a device that the model before has given it.
func TestPresumeAfterAnotherModel(t *testing.T) {
	r := newRegistry(10, nil)
	rec := record("m", "10.0.0.1", 0, 1)
	r.Record(rec)
	for range 5 {
		probs := []float32{1, 0, 0}
		r.Window(rec, &registry.Window{Window: join.Window{Probs: probs}, Network: probs})
	}
	was := r.Verdict("m")
	if was.State != v1.Known {
		t.Fatalf("before: %s", jsonText(t, was))
	}
	r.SetModel(registry.Config{Labels: []string{"camera", "plug", "scale"}, Levels: alone(-1, 0.8)})
	r.Presume("m", "A", 0.7)
	if v := r.Verdict("m"); jsonText(t, v) != jsonText(t, was) {
		t.Errorf("said %s, not %s", jsonText(t, v), jsonText(t, was))
	}
}
