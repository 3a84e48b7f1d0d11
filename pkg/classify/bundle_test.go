package classify_test

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
)

// services are the services of those names.
func services(t *testing.T, names ...string) []flows.Service {
	t.Helper()
	list, err := flows.ParseServices(names)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// sure is a model that always names the second of two classes.
func sure(t *testing.T, service string, labels ...string) *model.Model {
	t.Helper()
	m := &model.Model{
		Labels: labels, Record: model.DefaultRecordSpec(),
		Scaling:    model.Scaling{Bytes: model.Moments{Deviation: 1}, Packets: model.Moments{Deviation: 1}},
		Thresholds: model.Thresholds{Default: model.DefaultThreshold},
	}
	m.Record.Services = services(t, service)
	arch := cnn.DefaultArchitecture(5)
	d, err := arch.Dims(m.Record.Width(), 2)
	if err != nil {
		t.Fatal(err)
	}
	zeros := func(n int) []float32 { return make([]float32, n) }
	m.Net = &cnn.Net{Arch: arch, Weights: cnn.Weights{
		Conv1: zeros(40 * 2), Conv1Bias: zeros(2), Conv2: zeros(3 * 5 * 2 * 2), Conv2Bias: zeros(2),
		Dense1: zeros(d.Flat * 100), Dense1Bias: zeros(100), Dense2: zeros(100 * 2), Dense2Bias: []float32{0, 9},
	}}
	return m
}

// A specialised bundle: each flow goes to the model of its service, in a stream of
// its own; the others reach none. Both models' classes are one list.
func TestBundleRoutesFlows(t *testing.T) {
	bundle := model.Bundle{"tcp/80": sure(t, "tcp/80", "common", "web"), "udp/53": sure(t, "udp/53", "common", "names")}
	for _, m := range bundle {
		m.Record.Among = services(t, "tcp/80", "udp/53", "udp/123")
	}
	type row struct {
		number int
		label  string
	}
	var got []row
	labels := classify.Labels(bundle)
	if want := []string{"common", "names", "web"}; !slices.Equal(labels, want) {
		t.Fatalf("labels %v, want %v", labels, want)
	}
	k, err := classify.New(bundle, classify.Options{Ground: true, Judged: func(j classify.Judged) {
		got = append(got, row{j.Number, labels[join.Best(j.Probs)]})
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range []struct {
		proto            uint8
		devPort, remPort int32
	}{
		{6, 50000, 80}, {17, 50001, 53}, {6, 50002, 443}, {6, 80, 50003}, {17, 123, 123}, {17, 50004, 53}, {1, -1, -1},
		{17, 53, 123}, // to udp/123, that has no model here
	} {
		r := &flows.Record{Device: "02:00:00:00:00:01", FirstSeen: int64(i), Remote: netip.MustParseAddr("203.0.113.1"), Proto: f.proto, DevPort: f.devPort, RemPort: f.remPort}
		if err := k.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	if want := []row{{0, "web"}, {0, "names"}, {1, "web"}, {1, "names"}}; !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
	if g := k.Ground("02:00:00:00:00:01"); g.Service != services(t, "udp/53")[0] || g.Window != 3 || len(g.Rows) != 2 {
		t.Errorf("the newest verdict stands on %d rows of %v, window %d", len(g.Rows), g.Service, g.Window)
	}
	if k.Inferences() != 4 {
		t.Errorf("%d inferences, want 4", k.Inferences())
	}
}

// heardBundle is a model of two services that a device's facts tell little, where its network has so
// much more for what only that service's model knows.
func heardBundle(t *testing.T, more float32, common map[string]float32) model.Bundle {
	bundle := model.Bundle{"tcp/80": sure(t, "tcp/80", "common", "web"), "udp/53": sure(t, "udp/53", "common", "names")}
	for service, m := range bundle {
		m.Record.Among = services(t, "tcp/80", "udp/53")
		m.Net.(*cnn.Net).Weights.Dense2Bias[1] = more
		m.Facts = &linear.Model{
			Tokens: []string{"to:udp/7001"}, Groups: [][]int{{0}, {1}}, Telling: []int{-1}, Temperature: 1, Captures: 3,
			Weights: []float32{common[service], 0}, Bias: []float32{0, 0},
		}
	}
	return bundle
}

// eightFlows is the verdict on a device after as many flows, of the services in turn or of the
// first alone. Before one of them it says what the facts know, and before one it is to be judged anew.
func eightFlows(t *testing.T, bundle model.Bundle, inTurn bool, says, anew int) v1.Verdict {
	const device, flow = "02:00:00:00:00:01", 1_000_000
	known := facts.NewCollector(0)
	k, err := classify.New(bundle, classify.Options{Facts: known.Of})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		at := int64(i+1) * flow
		if i == says {
			known.Sample(device, true, at, &flows.Sample{Life: flows.Life{Key: flows.Key{Proto: 17, HasPorts: true, A: flows.End{Port: 40000}, B: flows.End{Port: 7001}}}, FromA: true, Payload: []byte("x")})
		}
		if i == anew {
			if err := errors.Join(k.Registry().Ignore(device, true, at), k.Registry().Ignore(device, false, at)); err != nil {
				t.Fatal(err)
			}
		}
		r := &flows.Record{
			Device: device, FirstSeen: at, LastSeen: at, Remote: netip.MustParseAddr("203.0.113.1"), Proto: 6, DevPort: 50000, RemPort: 80,
			TotalBytes: uint64(100 << i), PacketCount: 1, Packets: []flows.RowPacket{{Size: 100 << i, Sent: true, Payload: []byte{byte(i)}}},
		}
		if inTurn && i%2 == 1 {
			r.Proto, r.RemPort = 17, 53
		}
		if err := k.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	return k.Registry().Verdict(device)
}

// What a device says judges its earlier windows again, by each of the models that have judged
// some: its verdict is what it would be had it said so before. One that is judged anew has none.
func TestBundleJudgesEarlierWindowsAgain(t *testing.T) {
	bundle := heardBundle(t, 1, map[string]float32{"tcp/80": 3, "udp/53": 1})
	for _, anew := range []int{-1, 3} {
		first, later, never := eightFlows(t, bundle, true, 0, anew), eightFlows(t, bundle, true, 5, anew), eightFlows(t, bundle, true, -1, anew)
		if *later.Label != *first.Label || math.Abs(*later.Confidence-*first.Confidence) > 1e-6 {
			t.Errorf("%s with %v, want %s with %v", *later.Label, *later.Confidence, *first.Label, *first.Confidence)
		}
		if *never.Label == *first.Label || later.Windows != 8-max(0, anew) {
			t.Errorf("silent it is %s too, %d windows", *never.Label, later.Windows)
		}
	}
}

// A device that is judged anew is named by no flow of before.
func TestJudgedAnew(t *testing.T) {
	bundle := heardBundle(t, 10, nil)
	for anew, want := range map[int]v1.State{-1: v1.Known, 5: v1.Known, 6: v1.Gathering, 7: v1.Gathering} {
		if v := eightFlows(t, bundle, false, 0, anew); v.State != want || *v.Label != "web" {
			t.Errorf("anew before flow %d: %s, %s, want %s", anew, v.State, *v.Label, want)
		}
	}
}

// The next flow of a device that is judged anew begins its stream, and is like none of before.
func TestJudgedAnewBeginsAgain(t *testing.T) {
	const device = "02:00:00:00:00:01"
	var judged []classify.Judged
	k, err := classify.New(heardBundle(t, 1, nil), classify.Options{Judged: func(j classify.Judged) { judged = append(judged, j) }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(4) {
		if i == 2 {
			if err := errors.Join(k.Registry().Ignore(device, true, i), k.Registry().Ignore(device, false, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Record(&flows.Record{
			Device: device, FirstSeen: i + 1, LastSeen: i + 1, Remote: netip.MustParseAddr("203.0.113.1"), Proto: 6, DevPort: 50000, RemPort: 80,
			TotalBytes: 100, PacketCount: 1, Packets: []flows.RowPacket{{Size: 100, Sent: true, Payload: []byte{1}}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, j := range judged {
		if number := i % 2; j.Number != number || j.Since != int64(number) || j.Again != (number > 0) {
			t.Errorf("flow %d is number %d, %d us after another, like one of before: %v", i, j.Number, j.Since, j.Again)
		}
	}
	if len(judged) != 4 {
		t.Errorf("%d windows, want 4", len(judged))
	}
}
