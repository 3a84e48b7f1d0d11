package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/registry"
)

// A clock that is set makes nobody gone, lets nobody be forgotten, and hides nobody's silence: who
// was there a minute ago still was.
func TestClockSet(t *testing.T) {
	const minute = 60 * second
	for _, by := range []time.Duration{time.Hour, -time.Hour, 56 * 365 * 24 * time.Hour, -400 * 24 * time.Hour, time.Second} {
		var forgotten []string
		r := newRegistry(10, func(name string) { forgotten = append(forgotten, name) })
		start := (100 * 365 * 24 * time.Hour).Microseconds()
		r.Record(record("before", "10.0.0.3", start-minute, start-minute)) // of a run before
		r.Record(record("here", "10.0.0.1", start+minute, start+minute))
		r.Record(record("silent", "10.0.0.2", start, start))
		now := start + 2*minute
		r.Look(now, start)
		r.ClockSet(start, now, by)
		start, now = start+by.Microseconds(), now+by.Microseconds()
		r.Look(now, start)
		if got := eventsAfter(r, 3); got != "" || forgotten != nil {
			t.Errorf("set by %v: %s, forgotten %v", by, got, forgotten)
		}
		saved, _ := r.Changed(10)
		for _, s := range saved {
			want := now - map[string]int64{"here": 1, "silent": 2}[s.Name]*minute
			if s.Name != "before" && (s.First != want || s.Last != want || s.Addresses[0].Last != want) {
				t.Errorf("set by %v: %+v, want times of %d", by, s, want)
			}
			if s.Name == "before" && s.Last != start-by.Microseconds()-minute {
				t.Errorf("set by %v: what another has seen is moved: %+v", by, s)
			}
		}
		for at := now; at < now+20*minute; at += minute {
			r.Record(record("here", "10.0.0.1", at, at))
			r.Look(at, start)
		}
		if got := eventsAfter(r, 3); !strings.Contains(got, " silent gone ") || strings.Contains(got, " here ") {
			t.Errorf("set by %v, and twenty minutes later: %s", by, got)
		}
	}
}

// A clock that is years ahead at the start is set before anybody is forgotten.
func TestClockAhead(t *testing.T) {
	forgotten := ""
	r := newRegistry(10, func(name string) { forgotten = name })
	r.Record(record("m", "10.0.0.1", 0, second))
	ahead := 10 * registry.KeepFor.Microseconds()
	r.Look(ahead+registry.GoneMost.Microseconds(), ahead)
	if forgotten != "" {
		t.Errorf("%s is forgotten", forgotten)
	}
	r.Look(ahead+registry.GoneMost.Microseconds()+1, ahead)
	if forgotten != "m" {
		t.Error("it is never forgotten")
	}
}
