package registry_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/registry"
)

const second = 1_000_000

func record(device, addr string, first, last int64) *flows.Record {
	return &flows.Record{
		Device: device, FirstSeen: first, LastSeen: last, PacketCount: 2, TotalBytes: 100,
		DeviceAddr: netip.MustParseAddr(addr),
	}
}

func newRegistry(most int, evicted func(string)) *registry.Registry {
	return registry.New(registry.Config{
		Labels: []string{"camera", "plug", "scale"}, Levels: alone(-1, 0.8),
		MaxDevices: most, Evicted: evicted, Noted: func(v1.Event) {},
	})
}

// alone are levels of camera, plug and scale, of which none is the one that is none of them.
func alone(none int, threshold float64) *join.Levels {
	return join.NewLevels([][]string{{"camera"}, {"plug"}, {"scale"}}, none, func(int) float64 { return threshold }, threshold)
}

func TestJoinedVerdict(t *testing.T) {
	for _, tt := range []struct {
		name       string
		probs      [][]float32
		label      string
		confidence float64
		state      v1.State
		votes      map[string]int
	}{
		{"one sure window", [][]float32{{.1, .85, .05}}, "plug", .85, v1.Known, map[string]int{"plug": 1}},
		{"one unsure window", [][]float32{{.3, .6, .1}}, "plug", .6, v1.Unknown, map[string]int{"plug": 1}},
		{"mean of windows", [][]float32{{.9, .1, 0}, {.2, .8, 0}, {1, 0, 0}}, "camera", .7, v1.Unknown, map[string]int{"camera": 2, "plug": 1}},
		// The second model lacks camera: its window has no say in camera's mean.
		// camera .9, plug (.1+.4)/2 = .25, scale (0+.6)/2 = .3, sum 1.45.
		// scale stands for none of them, of which the most is no verdict.
		{"none of them", [][]float32{{.2, .3, .5}}, "plug", .3, v1.Unknown, map[string]int{"scale": 1}},
		{"none of them in a window", [][]float32{{.1, 0, .9}, {.95, 0, .05}}, "camera", .525, v1.Known, map[string]int{"scale": 1, "camera": 1}},
		{"nothing but none of them", [][]float32{{0, 0, 1}}, "camera", 0, v1.Unknown, map[string]int{"scale": 1}},
		{"a class that one model lacks", [][]float32{{.9, .1, 0}, {join.Lacking, .4, .6}}, "camera", .9 / 1.45, v1.Unknown, map[string]int{"camera": 1, "scale": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := registry.Config{Labels: []string{"camera", "plug", "scale"}, Levels: alone(-1, 0.8)}
			if strings.Contains(tt.name, "none of them") {
				cfg.Levels = alone(2, 0.2)
			}
			r := registry.New(cfg)
			var v v1.Verdict
			for i, p := range tt.probs {
				rec := record("m", "10.0.0.1", int64(i)*second, int64(i)*second+7)
				r.Record(rec)
				v = r.Window(rec, told(p))
			}
			if *v.Label != tt.label || math.Abs(*v.Confidence-tt.confidence) > 1e-6 || v.State != tt.state || v.Known != (tt.state == v1.Known) {
				t.Errorf("%s %.6f %s, want %s %.6f %s", *v.Label, *v.Confidence, v.State, tt.label, tt.confidence, tt.state)
			}
			if got, want := jsonText(t, v.Votes), jsonText(t, tt.votes); got != want {
				t.Errorf("votes %s, want %s", got, want)
			}
			n := len(tt.probs)
			if v.Windows != n || v.Flows != uint64(n) || v.Packets != uint64(2*n) || v.Bytes != uint64(100*n) {
				t.Errorf("counters %+v", v)
			}
			if want := int64(n-1)*second + 7; v.Time.UnixMicro() != want {
				t.Errorf("time %d, want %d", v.Time.UnixMicro(), want)
			}
		})
	}
}

// A verdict says the deepest level that is safe, and news is when that is another. All of
// it is one piece of memory.
func TestLevels(t *testing.T) {
	paths := [][]string{{"A", "camera", "A1"}, {"A", "plug", "A2"}, {"A", "plug", "A3"}, {"B1"}, {"none"}}
	r := registry.New(registry.Config{
		Labels: []string{"A1", "A2", "A3", "B1", "none"},
		Levels: join.NewLevels(paths, 4, func(int) float64 { return 0.8 }, 0.7),
	})
	for _, tt := range []struct {
		name  string
		probs []float32
		path  string // "": null
		sum   float64
		level int
		state v1.State
	}{
		{"a class", []float32{.05, .9, .05, 0, 0}, "A/plug/A2", .9, 3, v1.Known},
		{"its twin as well", []float32{.05, .5, .45, 0, 0}, "A/plug", .95, 2, v1.Likely},
		{"its maker", []float32{.4, .3, .2, .1, 0}, "A", .9, 1, v1.Likely},
		{"none is safe", []float32{.2, .3, .15, .35, 0}, "", 0, 0, v1.Unknown},
		{"a class of one level", []float32{.1, 0, .05, .85, 0}, "B1", .85, 1, v1.Known},
		{"none of them has the rest", []float32{0, .4, .35, 0, .25}, "A/plug", .75, 2, v1.Likely},
		{"none of them has the most", []float32{0, .25, .2, 0, .55}, "", 0, 0, v1.Unknown},
	} {
		rec := record(tt.name, "10.0.0.1", 0, 1)
		r.Record(rec)
		v := r.Window(rec, told(tt.probs))
		if v.Level != tt.level || v.State != tt.state || v.Known != (tt.state == v1.Known) || !v.News {
			t.Errorf("%s: %+v, want level %d, %s", tt.name, v, tt.level, tt.state)
		}
		if (v.Path != nil) != (tt.path != "") || v.Path != nil && (*v.Path != tt.path || math.Abs(*v.PathConfidence-tt.sum) > 1e-6) {
			t.Errorf("%s: path %s %s, want %q %v", tt.name, jsonText(t, v.Path), jsonText(t, v.PathConfidence), tt.path, tt.sum)
		}
		if v = r.Window(rec, told(tt.probs)); v.News {
			t.Errorf("%s: the same is news", tt.name)
		}
	}
	rec := record("m", "10.0.0.1", 0, 1)
	if r.Window(rec, told([]float32{.05, .5, .45, 0, 0})); !r.Window(rec, told([]float32{.95, .05, 0, 0, 0})).News {
		t.Error("A instead of A/plug is no news")
	}
	probs := []float32{.05, .5, .45, 0, 0}
	const most = 3 // the verdict's piece, its votes and their bucket
	w := told(probs)
	if n := testing.AllocsPerRun(100, func() { r.Window(rec, w) }); n > most {
		t.Errorf("a verdict takes %v allocations, want at most %d", n, most)
	}
}

// Every key of the contract is there, and null where it has no value.
func TestVerdictKeys(t *testing.T) {
	r := newRegistry(0, nil)
	r.Record(record("50:c7:bf:00:fc:a3", "10.0.0.1", 0, 0))
	want := `{"time":null,"device":"50:c7:bf:00:fc:a3","capture":null,"label":null,"confidence":null,"known":false,` +
		`"state":"gathering","level":0,"path":null,"path_confidence":null,"user_label":null,"vendor":null,"facts":null,"distance":null,"provisional":false,"windows":0,"flows":1,"packets":2,"bytes":100,"votes":{},` +
		`"window_label":null,"window_confidence":null,"padding_fraction":null,"trusted":null}`
	if got := jsonText(t, r.Devices()[0].Verdict); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := jsonText(t, v1.UnixMicro(1472729032788901)); got != `"2016-09-01T11:23:52.788901Z"` {
		t.Errorf("time %s", got)
	}
}

func TestSharedMAC(t *testing.T) {
	type at struct {
		addr        string
		first, last int64
	}
	for _, tt := range []struct {
		name   string
		seen   []at
		shared bool
	}{
		{"one address", []at{{"10.0.0.1", 0, 5}, {"10.0.0.1", 30, 35}}, false},
		{"two within a minute", []at{{"10.0.0.1", 0, 5}, {"10.0.0.2", 40, 45}}, true},
		{"two a minute apart", []at{{"10.0.0.1", 0, 5}, {"10.0.0.2", 65, 70}}, false},
		{"while the first goes on", []at{{"10.0.0.1", 0, 59}, {"10.0.0.2", 30, 31}}, true},
		{"from no address to a lease", []at{{"0.0.0.0", 0, 1}, {"10.0.0.2", 2, 3}}, false},
		{"from link-local to a lease", []at{{"169.254.3.4", 0, 1}, {"10.0.0.2", 2, 3}}, false},
		{"IPv4 and IPv6", []at{{"fe80::1", 0, 1}, {"10.0.0.2", 2, 3}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry(0, nil)
			for _, s := range tt.seen {
				r.Record(record("m", s.addr, s.first*second, s.last*second))
			}
			if got := r.Devices()[0].SharedMAC; got != tt.shared {
				t.Errorf("shared %v", got)
			}
		})
	}
}

func TestRandomMAC(t *testing.T) {
	for name, random := range map[string]bool{
		"50:c7:bf:00:fc:a3": false, "da:a1:19:00:fc:a3": true, "02:00:00:00:00:0d": true, "ip:10.0.0.1": false,
	} {
		r := newRegistry(0, nil)
		r.Record(record(name, "10.0.0.1", 0, 0))
		if got := r.Devices()[0].RandomMAC; got != random {
			t.Errorf("%s: random %v", name, got)
		}
	}
}

func TestAddressesNewestFirst(t *testing.T) {
	r := newRegistry(0, nil)
	for i, a := range []string{"10.0.0.1", "fe80::1", "10.0.0.1", "0.0.0.0"} {
		r.Record(record("m", a, int64(i), int64(i)))
	}
	if got := r.Devices()[0].Addresses; !slices.Equal(got, []string{"10.0.0.1", "fe80::1"}) {
		t.Errorf("addresses %v", got)
	}
}

// A full registry drops the least recently active device without a known
// verdict, and a known one only when there is no other.
func TestEviction(t *testing.T) {
	var dropped []string
	r := newRegistry(3, func(d string) { dropped = append(dropped, d) })
	seen := func(device string, known bool) {
		rec := record(device, "10.0.0.1", 0, 0)
		r.Record(rec)
		if known {
			r.Window(rec, told([]float32{1, 0, 0}))
		}
	}
	seen("a", true)
	seen("b", false)
	seen("c", false)
	seen("b", false)
	seen("d", true) // c goes: b was active after it
	seen("e", true) // b goes
	seen("f", false)
	if want := []string{"c", "b", "a"}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v, want %v", dropped, want)
	}
	if r.Evicted() != 3 || len(r.Devices()) != 3 {
		t.Errorf("%d evicted, %d kept", r.Evicted(), len(r.Devices()))
	}
	if !r.Knows("d") || r.Knows("f") || r.Knows("a") {
		t.Errorf("knows %v, %v, %v of a known device, of another, of one dropped", r.Knows("d"), r.Knows("f"), r.Knows("a"))
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An ignored device is counted, and what was said of it is taken back.
func TestIgnored(t *testing.T) {
	gateway := netip.MustParseAddr("10.0.0.1")
	r := registry.New(registry.Config{
		Labels: []string{"camera", "plug", "scale"}, Levels: alone(-1, 0.8),
		Ignored: func(rec *flows.Record) bool { return rec.DeviceAddr == gateway }, MaxDevices: 2,
	})
	before := record("m", "169.254.0.9", 0, 1)
	if r.Record(before) {
		t.Error("ignored before it had the address")
	}
	r.Window(before, told([]float32{0, 1, 0}))
	if !r.Record(record("m", "10.0.0.1", 2, 3)) || !r.Record(record("m", "169.254.0.9", 4, 5)) {
		t.Error("not ignored from then on")
	}
	if v := r.Devices()[0]; v.State != v1.Ignored || v.Label != nil || v.Windows != 0 || v.Known || v.Flows != 3 {
		t.Errorf("%+v", v)
	}
	other := record("n", "10.0.0.2", 0, 1)
	r.Record(other)
	r.Window(other, told([]float32{0, 1, 0}))
	r.Record(record("m", "10.0.0.1", 6, 7))
	r.Record(record("o", "10.0.0.3", 8, 9))
	if left := r.Devices(); left[0].Device != "n" {
		t.Errorf("%s is kept, and a device whose name is known made room for it", left[0].Device)
	}
}

// News is another state or another name, not another guess about an unknown device.
func TestNews(t *testing.T) {
	r := newRegistry(0, nil)
	device := func(name string, probs ...float32) bool {
		rec := record(name, "10.0.0.1", 0, 0)
		r.Record(rec)
		return r.Window(rec, told(probs)).News
	}
	var got []bool
	for _, probs := range [][]float32{{.5, .4, .1}, {.2, .7, .1}, {0, .5, .5}} { // unknown: camera, plug, plug
		got = append(got, device("a", probs...))
	}
	for _, probs := range [][]float32{{.95, .05, 0}, {.9, .1, 0}, {.1, .8, .1}, {1, 0, 0}} { // known, known, unknown, unknown
		got = append(got, device("b", probs...))
	}
	if want := []bool{true, false, false, true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("news %v, want %v", got, want)
	}
}

// What was last said of a device is forgotten with it.
func TestNewsOfAForgottenDevice(t *testing.T) {
	r := newRegistry(1, nil)
	for i, device := range []string{"a", "b", "a"} {
		rec := record(device, "10.0.0.1", int64(i), int64(i))
		r.Record(rec)
		if v := r.Window(rec, told([]float32{.9, .1, 0})); !v.News {
			t.Errorf("%d: no news of %s", i, device)
		}
	}
}

// told is a window of a device that says what it is: it may be named at once.
func told(probs []float32) *registry.Window {
	return &registry.Window{Window: join.Window{Probs: probs, Named: slices.Repeat([]bool{true}, len(probs))}, Network: probs}
}

// A device's verdicts have what its newest explanation found, once there was one; only a
// known one is trusted, and only up to the paper's threshold.
func TestExplained(t *testing.T) {
	r := newRegistry(0, nil)
	window := func(device string, probs ...float32) v1.Verdict {
		rec := record(device, "10.0.0.1", second, second)
		r.Record(rec)
		return r.Window(rec, told(probs))
	}
	if v := window("m", .1, .85, .05); v.PaddingFraction != nil || v.Trusted != nil {
		t.Errorf("%v, %v before any explanation", v.PaddingFraction, v.Trusted)
	}
	r.Explained("never seen", "plug", 0)
	r.Explained("m", "scale", 0) // not what it is said to be
	if v := r.Devices()[0]; v.Trusted != nil {
		t.Error("trusted for what explains another label")
	}
	for _, tt := range []struct {
		probs   []float32
		padding float64
		trusted bool
	}{
		{[]float32{.1, .85, .05}, .011, false},
		{[]float32{.1, .85, .05}, .01, true},
		{[]float32{.8, .1, .1}, .01, false}, // not known any more
	} {
		r.Explained("m", "plug", tt.padding)
		v := window("m", tt.probs...)
		if v.PaddingFraction == nil || *v.PaddingFraction != tt.padding || *v.Trusted != tt.trusted || v.Known != (tt.trusted || tt.padding > .01) {
			t.Errorf("%s %v: padding %v, trusted %v, want %v, %v", *v.Label, v.Known, *v.PaddingFraction, *v.Trusted, tt.padding, tt.trusted)
		}
	}
	if v := window("another", .1, .85, .05); v.PaddingFraction != nil || v.Trusted != nil {
		t.Errorf("%v, %v of a device without", v.PaddingFraction, v.Trusted)
	}
	if list := r.Devices(); len(list) != 2 || *list[1].PaddingFraction != .01 || *list[1].Trusted {
		t.Errorf("listed as %+v", list)
	}
}
