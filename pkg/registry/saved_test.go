package registry_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/registry"
)

// modelled is a registry of a model of that name, with room for so many devices.
func modelled(model string, most int) *registry.Registry {
	return registry.New(registry.Config{
		Labels: []string{"camera", "plug", "scale"}, Model: model, MaxDevices: most, Noted: func(v1.Event) {},
		Levels: join.NewLevels([][]string{{"A", "eye", "camera"}, {"A", "plug"}, {"B", "scale"}}, -1, func(int) float64 { return 0.6 }, 0.7),
	})
}

// play gives a registry n windows of some devices from the one of that number on, and
// returns the verdicts.
func play(r *registry.Registry, from, n int) (said []v1.Verdict) {
	for i := from; i < from+n; i++ {
		random := rand.New(rand.NewPCG(3, uint64(i)))
		rec := record(fmt.Sprintf("50:c7:bf:00:00:%02x", i%4), fmt.Sprint("10.0.0.", 1+i%3), int64(i)*600*second, int64(i)*600*second+7)
		if i%4 == 2 && i%7 == 3 {
			rec.Proto, rec.DevPort, rec.RemPort = 17, 67, 68
			rec.Packets = []flows.RowPacket{{Sent: true}}
		}
		r.Record(rec)
		probs := []float32{.05, .05, .05}
		kind := (i%4 + i/150) % 3 // a device becomes another
		probs[kind] = .85 + .05*random.Float32()
		if i%4 == 3 && i < 100 { // it is not told apart
			probs = []float32{.4, .2, .4 + .01*random.Float32()}
		}
		w := told(probs)
		w.Again = random.IntN(4) == 0
		if i%4 == 1 { // says that it is another
			w.Facts = []float32{.02, .02, .02}
			w.Facts[(kind+1)%3] = .96
		}
		if i%5 == 0 {
			w.Named = []bool{true, i%2 == 0, true}
		}
		w.Distance, w.Measured = random.Float64(), i%3 > 0
		said = append(said, r.Window(rec, w))
	}
	return said
}

// What is restored says what was said, and goes on as if there had been no end.
func TestRestoredGoesOn(t *testing.T) {
	states := map[v1.State]bool{}
	for _, cut := range []int{0, 1, 17, 160, 330} {
		r := modelled("m", 10)
		play(r, 0, cut)
		changed, gone := r.Changed(10)
		if len(changed) != min(cut, 4) || len(gone) > 0 {
			t.Fatalf("%d devices changed, %v gone", len(changed), gone)
		}
		again := modelled("m", 10)
		if n := again.Restore(changed); n > 0 {
			t.Errorf("%d began anew", n)
		}
		again.RestoreEvents(r.Events(0, math.MaxInt))
		compare := func(what string, got, want []v1.Verdict) {
			t.Helper()
			for i := range want {
				a, b := got[i], want[i]
				near(&a, &b)
				if states[b.State] = true; !reflect.DeepEqual(a, b) {
					t.Fatalf("cut at %d, %s %d:\n%s, want\n%s", cut, what, i, jsonText(t, a), jsonText(t, b))
				}
			}
		}
		compare("devices", verdicts(again), verdicts(r))
		compare("windows", play(again, cut, 300), play(r, cut, 300))
		if got, want := jsonText(t, again.Events(0, math.MaxInt)), jsonText(t, r.Events(0, math.MaxInt)); got != want {
			t.Errorf("cut at %d: events\n%s, want\n%s", cut, got, want)
		}
	}
	for _, s := range []v1.State{v1.Known, v1.Likely, v1.Unknown, v1.Changed, v1.Conflict, v1.Gathering, v1.Gateway} {
		if !states[s] {
			t.Errorf("no device was ever %s", s)
		}
	}
}

// near makes probabilities equal that are so to six digits.
func near(a, b *v1.Verdict) {
	for _, p := range [][2]**float64{{&a.Confidence, &b.Confidence}, {&a.PathConfidence, &b.PathConfidence}, {&a.WindowConfidence, &b.WindowConfidence}, {&a.Distance, &b.Distance}} {
		if *p[0] != nil && *p[1] != nil && math.Abs(**p[0]-**p[1]) < 1e-6 {
			*p[0] = *p[1]
		}
	}
}

func verdicts(r *registry.Registry) (list []v1.Verdict) {
	for _, d := range r.Devices() {
		list = append(list, d.Verdict)
	}
	return list
}

// By another model what a device was judged is void: what it was said to be last, its
// counters and addresses stay.
func TestRestoreByAnotherModel(t *testing.T) {
	r := modelled("m", 10)
	play(r, 0, 20)
	changed, _ := r.Changed(10)
	other := modelled("n", 10)
	if n := other.Restore(changed); n != 4 {
		t.Errorf("%d began anew", n)
	}
	for i, d := range other.Devices() {
		was := r.Devices()[i]
		if d.Windows != 0 || d.State != v1.Gathering || d.Flows != was.Flows || d.Bytes != was.Bytes || !slices.Equal(d.Addresses, was.Addresses) || d.FirstSeen != was.FirstSeen {
			t.Errorf("%s, was %s", jsonText(t, d), jsonText(t, was))
		}
	}
	for i := range changed {
		changed[i].Judged = changed[i].Judged[:len(changed[i].Judged)-1]
	}
	if n := modelled("m", 10).Restore(changed); n != 4 {
		t.Errorf("cut: %d began anew", n)
	}
}

// Only what has changed is given, and what was given and is no more is named; who could not
// keep it gets it again.
func TestChangedDevicesAreGiven(t *testing.T) {
	r := modelled("m", 4)
	play(r, 0, 4)
	all, _ := r.Changed(3)
	rest, _ := r.Changed(3)
	if none, _ := r.Changed(3); len(all) != 3 || len(rest) != 1 || len(none) != 0 {
		t.Fatalf("%d, %d and %d changed", len(all), len(rest), len(none))
	}
	play(r, 4, 1)
	if changed, _ := r.Changed(9); len(changed) != 1 || changed[0].Name != "50:c7:bf:00:00:00" || changed[0].Flows != 2 {
		t.Errorf("%+v", changed)
	}
	for i := range 5 { // never given
		r.Record(record(fmt.Sprint("new", i), "10.0.0.9", int64(900_000+i)*second, int64(900_001+i)*second))
	}
	changed, gone := r.Changed(9)
	if len(changed) == 0 || len(gone) != len(changed) { // known devices stay; each of the others made room for a new one
		t.Errorf("%d changed, %d gone", len(changed), len(gone))
	}
	for _, d := range changed {
		if slices.ContainsFunc(gone, func(g registry.Gone) bool { return g.ID == d.ID }) {
			t.Errorf("number %d is gone and there", d.ID)
		}
	}
	r.Unsaved(changed, gone)
	again, gone2 := r.Changed(9)
	if jsonText(t, again) != jsonText(t, changed) || jsonText(t, gone2) != jsonText(t, gone) {
		t.Errorf("once more %+v, %v", again, gone2)
	}
	r.Resave()
	if n, _ := r.Changed(9); len(n) != 4 {
		t.Errorf("all anew: %d", len(n))
	}
}

// A registry that is smaller than what it restores takes the most recently active.
func TestRestoreMore(t *testing.T) {
	r := modelled("m", 10)
	play(r, 0, 4)
	changed, _ := r.Changed(10)
	small := modelled("m", 2)
	small.Restore(changed)
	if list := small.Devices(); len(list) != 2 || list[1].Device != "50:c7:bf:00:00:03" {
		t.Errorf("%+v", list)
	}
	if _, gone := small.Changed(0); len(gone) != 2 {
		t.Errorf("gone %v", gone)
	}
}

// Whatever the bytes, a device that is restored can be judged on.
func FuzzRestore(f *testing.F) {
	r := modelled("m", 10)
	for i := range 40 {
		play(r, i*9, 9)
		changed, _ := r.Changed(10)
		for _, d := range changed {
			f.Add(d.Judged)
		}
	}
	f.Fuzz(func(t *testing.T, judged []byte) {
		r := modelled("m", 10)
		anew := r.Restore([]registry.Saved{{ID: 1, Name: "50:c7:bf:00:00:01", Model: "m", Judged: judged}})
		r.Resave()
		if kept, _ := r.Changed(1); anew == 0 && len(kept) == 1 {
			other := modelled("m", 10)
			if other.Restore(kept) > 0 {
				t.Errorf("%x comes out as %x, which is refused", judged, kept[0].Judged)
			}
			other.Resave()
			if again, _ := other.Changed(1); !bytes.Equal(again[0].Judged, kept[0].Judged) {
				t.Errorf("%x, then %x", kept[0].Judged, again[0].Judged)
			}
		}
		r.Devices()
		play(r, 1, 9)
	})
}
