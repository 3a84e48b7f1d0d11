package registry_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/registry"
)

// told are the events behind a number, in short.
func eventsAfter(r *registry.Registry, after uint64) string {
	var list []string
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	for _, e := range r.Events(after, math.MaxInt) {
		list = append(list, fmt.Sprintf("%d %s %s %s>%s", e.Seq, text(e.Device), e.Event, text(e.Old), text(e.New)))
	}
	return strings.Join(list, "\n")
}

// Each thing that happens to a device is an event, once.
func TestEvents(t *testing.T) {
	r := newRegistry(10, nil)
	at := int64(0)
	window := func(probs ...float32) {
		at += 60 * second
		rec := record("m", "10.0.0.1", at, at+1)
		r.Record(rec)
		r.Window(rec, told(probs))
	}
	window(.1, .85, .05)
	window(.1, .85, .05)
	for range 9 {
		window(.5, .3, .2)
	}
	r.Look(at+registry.GoneAfter.Microseconds()-1, 0)
	r.Look(at+registry.GoneAfter.Microseconds()+2, 0)
	r.Look(at+2*registry.GoneAfter.Microseconds(), 0)
	at += 3600 * second
	window(.5, .3, .2)
	name := "samples.ring_full"
	r.Note(v1.Event{Event: v1.EventDropsBegan, New: &name})
	want := `1 m new ->-
2 m known ->plug
3 m unknown plug>unknown
4 m gone ->-
5 m back ->-
6 - drops_began ->samples.ring_full`
	if got := eventsAfter(r, 0); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := eventsAfter(r, 4); got != want[strings.Index(want, "5"):] {
		t.Errorf("behind the fourth: %s", got)
	}
	if e := r.Events(0, 1); len(e) != 1 || e[0].Seq != 6 {
		t.Errorf("the newest: %+v", e)
	}
}

// The newest events are remembered.
func TestEventsRemembered(t *testing.T) {
	r := newRegistry(10, nil)
	for range 3*registry.MaxEvents + 7 {
		r.Note(v1.Event{Event: v1.EventNew})
	}
	if e := r.Events(0, math.MaxInt); len(e) != registry.MaxEvents || e[len(e)-1].Seq != 3*registry.MaxEvents+7 || e[0].Seq != 2*registry.MaxEvents+8 {
		t.Errorf("%d events, %d to %d", len(e), e[0].Seq, e[len(e)-1].Seq)
	}
}

// Who leaves for the night comes back, each day; who wakes once in an hour for a moment is
// there all the time, once that is known.
func TestPresence(t *testing.T) {
	const minute, hour = 60 * second, 3600 * second
	for _, tt := range []struct {
		name   string
		active func(at int64) bool
		most   int // times that it goes in three days
		least  int
	}{
		{"a lamp that talks each minute", func(int64) bool { return true }, 0, 0},
		{"a phone that leaves from 8 to 18", func(at int64) bool { h := at / hour % 24; return h < 8 || h >= 18 }, 3, 3},
		{"a sensor that wakes each hour", func(at int64) bool { return at%hour == 0 }, 1, 1},
		{"one that leaves for good", func(at int64) bool { return at < hour }, 1, 1},
	} {
		r := newRegistry(10, nil)
		for at := int64(0); at < 72*hour; at += minute {
			if tt.active(at) {
				r.Record(record("m", "10.0.0.1", at, at+second))
			}
			r.Record(record("other", "10.0.0.2", at, at+second))
			r.Look(at, 0)
		}
		gone := strings.Count(eventsAfter(r, 0), " m gone ")
		if gone > tt.most || gone < tt.least {
			t.Errorf("%s: gone %d times, want %d to %d", tt.name, gone, tt.least, tt.most)
		}
	}
	r := newRegistry(10, nil)
	r.Record(record("m", "10.0.0.1", 0, second))
	r.Look(100*hour, 100*hour-minute) // a sensor that was off
	if got := eventsAfter(r, 1); got != "" {
		t.Errorf("after a minute of a new start: %s", got)
	}
}

// Who has not been seen for long is forgotten, random MACs first.
func TestRetention(t *testing.T) {
	var forgotten []string
	r := newRegistry(10, func(name string) { forgotten = append(forgotten, name) })
	for _, name := range []string{"50:c7:bf:00:00:01", "52:c7:bf:00:00:01"} {
		r.Record(record(name, "10.0.0.1", 0, second))
	}
	r.Changed(10)
	r.Look(registry.KeepRandom.Microseconds(), 0)
	if len(forgotten) > 0 {
		t.Errorf("too early: %v", forgotten)
	}
	r.Look(registry.KeepRandom.Microseconds()+2*second, 0)
	r.Look(registry.KeepFor.Microseconds()+2*second, 0)
	if _, gone := r.Changed(10); fmt.Sprint(forgotten) != "[52:c7:bf:00:00:01 50:c7:bf:00:00:01]" || fmt.Sprint(gone) != "[{2 [52:c7:bf:00:00:01] false} {1 [50:c7:bf:00:00:01] false}]" {
		t.Errorf("forgotten %v, gone %v", forgotten, gone)
	}
}
