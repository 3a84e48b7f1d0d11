package registry_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/registry"
)

// told windows of camera, twin of a camera, plug and none of them.
var (
	camera = []float32{.9, .05, .05, 0}
	twin   = []float32{.05, .9, .05, 0}
	plug   = []float32{.05, 0, .95, 0}
	vague  = []float32{.2, .1, .4, .3}
	none   = []float32{0, 0, .05, .95}
)

// twins makes a registry of these classes.
var twins = registry.Config{
	Labels: []string{"camera", "cameraTwo", "plug", "none"},
	Levels: join.NewLevels([][]string{{"A", "camera", "camera"}, {"A", "camera", "cameraTwo"}, {"B", "plug", "plug"}, {"none"}}, 3, func(int) float64 { return .8 }, .8),
}

// withTwins is such a registry.
func withTwins() *registry.Registry { return registry.New(twins) }

// stretch is windows alike, a minute apart unless they say otherwise.
type stretch struct {
	windows        int
	network, facts []float32
	again          bool // after the first
	apart          time.Duration
}

// states are those of a device of the registry after each stretch.
func states(t *testing.T, r *registry.Registry, stretches ...stretch) (list []v1.State) {
	t.Helper()
	now := time.Unix(1_500_000_000, 0)
	for _, s := range stretches {
		var v v1.Verdict
		for i := range s.windows {
			if s.apart == 0 {
				s.apart = time.Minute
			}
			now = now.Add(s.apart)
			rec := record(first, "10.0.0.1", now.UnixMicro(), now.UnixMicro())
			r.Record(rec)
			w := &registry.Window{Window: join.Window{Probs: camera, Again: s.again && i > 0}, Network: s.network, Facts: s.facts}
			v = r.Window(rec, w)
			nameless := v.State == v1.Changed || v.State == v1.Conflict
			if nameless != (w.Held == 1) || nameless && (v.Known || v.Level != 0 || v.Path != nil) {
				t.Errorf("state %s, held from %d: %+v", v.State, w.Held, v)
			}
		}
		list = append(list, v.State)
	}
	return list
}

// life is what a device does, and its state after each stretch.
type life struct {
	name   string
	is     []stretch
	states []v1.State
}

func (l life) test(t *testing.T) {
	if got := states(t, withTwins(), l.is...); !slices.Equal(got, l.states) {
		t.Errorf("%v, want %v", got, l.states)
	}
}

func TestChanged(t *testing.T) {
	const known, changed = v1.Known, v1.Changed
	for _, tt := range []life{
		{"another's traffic, then its own", []stretch{{61, camera, nil, false, 0}, {5, plug, nil, false, 0}, {6, plug, nil, false, 0}, {4, camera, nil, false, 0}, {1, camera, nil, false, 0}}, []v1.State{known, known, changed, changed, known}},
		{"that of none of them", []stretch{{61, camera, nil, false, 0}, {11, none, nil, false, 0}}, []v1.State{known, changed}},
		{"that says little", []stretch{{61, camera, nil, false, 0}, {50, vague, nil, false, 0}}, []v1.State{known, known}},
		{"its twin's", []stretch{{61, camera, nil, false, 0}, {50, twin, nil, false, 0}}, []v1.State{known, known}},
		{"one odd moment", []stretch{{61, camera, nil, false, 0}, {50, plug, nil, false, time.Second}, {5, camera, nil, false, 0}}, []v1.State{known, known, known}},
		{"one flow again and again", []stretch{{61, camera, nil, false, 0}, {50, plug, nil, true, 0}}, []v1.State{known, known}},
		{"after its set-up alone", []stretch{{60, camera, nil, false, 0}, {50, plug, nil, false, 0}}, []v1.State{known, known}},
		{"a past of one flow", []stretch{{61, camera, nil, true, 0}, {50, plug, nil, false, 0}}, []v1.State{v1.Gathering, known}},
		{"a past that was never sure", []stretch{{61, vague, nil, false, 0}, {50, plug, nil, false, 0}}, []v1.State{known, known}},
		{"other facts", []stretch{{61, vague, camera, false, 0}, {11, vague, plug, false, 0}}, []v1.State{known, changed}},
		{"other traffic, the same facts", []stretch{{61, camera, camera, false, 0}, {11, none, camera, false, 0}}, []v1.State{known, changed}},
	} {
		t.Run(tt.name, tt.test)
	}
}

// A network to which flows like old ones are none of them as well is lost: as many of these
// as of new ones, each kind once, and the device has not changed.
func TestChangedByFamiliarFlows(t *testing.T) {
	begin := time.Unix(1_500_000_000, 0)
	at := func(d time.Duration) int64 { return begin.Add(d).UnixMicro() }
	const spell = 61 * time.Minute
	old := join.Like{First: at(time.Second), Last: at(time.Hour)}
	for name, tt := range map[string]struct {
		like           join.Like // of every other window, which is no new kind
		network, facts []float32
		want           v1.State
	}{
		"old flows":                    {old, none, nil, v1.Known},
		"old flows, facts of before":   {old, none, camera, v1.Known},
		"old flows of another's kind":  {old, plug, nil, v1.Changed},
		"old flows, facts of another":  {old, none, plug, v1.Changed},
		"one old flow again and again": {join.Like{First: at(time.Second), Last: at(spell + time.Minute)}, none, nil, v1.Changed},
		"flows of the last minutes":    {join.Like{First: at(spell - 30*time.Minute), Last: at(time.Hour)}, none, nil, v1.Changed},
	} {
		r := withTwins()
		window := func(now int64, w registry.Window) v1.State {
			rec := record(first, "10.0.0.1", now, now)
			r.Record(rec)
			w.Probs = camera
			return r.Window(rec, &w).State
		}
		for i := range 61 {
			facts := tt.facts
			if facts != nil {
				facts = camera
			}
			window(at(time.Duration(i)*time.Minute), registry.Window{Network: camera, Facts: facts})
		}
		var got v1.State
		for i := range 40 {
			w := registry.Window{Network: tt.network, Facts: tt.facts}
			if w.Again = i%2 == 1; w.Again {
				w.Like = tt.like
			}
			got = window(at(spell+time.Duration(i)*30*time.Second), w)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestConflict(t *testing.T) {
	const known, conflict = v1.Known, v1.Conflict
	for _, tt := range []life{
		{"from the first on", []stretch{{4, plug, camera, false, 0}, {1, plug, camera, false, 0}, {4, camera, camera, false, 0}, {1, camera, camera, false, 0}}, []v1.State{known, conflict, conflict, known}},
		{"facts that become others", []stretch{{5, plug, camera, false, 0}, {5, plug, plug, false, 0}}, []v1.State{conflict, known}},
		{"one flow again and again", []stretch{{50, plug, camera, true, 0}}, []v1.State{v1.Gathering}},
		{"twins", []stretch{{50, camera, twin, false, 0}}, []v1.State{known}},
		{"no facts", []stretch{{50, plug, nil, false, 0}}, []v1.State{known}},
		{"traffic of none of them", []stretch{{50, none, camera, false, 0}}, []v1.State{known}},
		{"facts of none of them", []stretch{{50, plug, none, false, 0}}, []v1.State{known}},
		{"unsure traffic", []stretch{{50, vague, camera, false, 0}}, []v1.State{known}},
		{"unsure facts", []stretch{{50, plug, vague, false, 0}}, []v1.State{known}},
	} {
		for i := range tt.is {
			tt.is[i].apart = time.Second
		}
		t.Run(tt.name, tt.test)
	}
}

// Who is ignored, by the operator's word or by a flow, has no past once it is heeded again: it is
// gathering, not changed nor in conflict.
func TestHeededHasNoPast(t *testing.T) {
	long := stretch{windows: 10, network: camera, apart: 10 * time.Minute}
	for state, of := range map[v1.State][]stretch{
		v1.Conflict: {{windows: registry.Windows, network: camera, facts: plug}},
		v1.Changed:  {long, {windows: 20, network: plug}},
	} {
		r := withTwins()
		if got := states(t, r, of...); got[len(got)-1] != state {
			t.Fatalf("%s before, want %s", got, state)
		}
		r.Explained(first, "camera", .5)
		if err := errors.Join(r.Ignore(first, true, 1), r.Ignore(first, false, 2)); err != nil {
			t.Fatal(err)
		}
		if v := r.Verdict(first); v.State != v1.Gathering {
			t.Errorf("%s: heeded again it is %s of %d windows", state, v.State, v.Windows)
		}
		if again := states(t, r, stretch{windows: 1, network: plug}); again[0] == state {
			t.Errorf("%s again by one window", state)
		}
		if v := r.Verdict(first); v.PaddingFraction != nil {
			t.Errorf("%s: an explanation of before is told", state)
		}

		cfg := twins
		cfg.Ignored = func(rec *flows.Record) bool { return rec.RemPort == 7 }
		r = registry.New(cfg)
		states(t, r, of...)
		rec := record(first, "10.0.0.1", second, 2*second)
		if rec.RemPort = 7; !r.Record(rec) {
			t.Fatal("it is not ignored")
		}
		saved, _ := r.Changed(9)
		r = withTwins() // a sensor that is started again without --ignore
		if r.Restore(saved); r.Verdict(first).State != v1.Gathering {
			t.Errorf("%s: started again it is %s", state, r.Verdict(first).State)
		}
	}
}
