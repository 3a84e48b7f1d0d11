package registry_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/registry"
)

const (
	first = "50:c7:bf:00:00:00"
	other = "50:c7:bf:00:00:01"
)

// userLabel is what a device is labelled.
func userLabel(r *registry.Registry, name string) string {
	for _, d := range r.Devices() {
		if d.Device == name && d.UserLabel != nil {
			return *d.UserLabel
		}
	}
	return ""
}

// A label stays whatever is said of the device, of one not yet seen too, and makes it one
// that never makes room.
func TestLabel(t *testing.T) {
	r := modelled("m", 3)
	for name, label := range map[string]string{first: "TP-Link/plug/HS110", "50:c7:bf:00:00:ff": "Kettle"} {
		if err := r.Label(name, label, 5); err != nil {
			t.Fatal(err)
		}
	}
	if d := r.Devices()[1]; d.Windows != 0 || !d.FirstSeen.IsZero() || !d.LastSeen.IsZero() || d.ID == 0 {
		t.Errorf("never seen: %s", jsonText(t, d))
	}
	play(r, 0, 40)
	for i := range 9 {
		r.Record(record(fmt.Sprint("52:00:00:00:00:0", i), "10.0.0.7", 1, 2))
	}
	r.Look(1000*registry.KeepFor.Microseconds(), 0)
	if got := userLabel(r, first) + ", " + userLabel(r, "50:c7:bf:00:00:ff"); got != "TP-Link/plug/HS110, Kettle" || len(r.Devices()) != 2 {
		t.Errorf("labels %s of %d devices", got, len(r.Devices()))
	}
	changed, _ := r.Changed(9)
	again := modelled("m", 1)
	again.Restore(changed)
	if got := userLabel(again, first); got != "TP-Link/plug/HS110" {
		t.Errorf("restored: %q", got)
	}
	if err := r.Label(first, "", 6); err != nil || userLabel(r, first) != "" {
		t.Errorf("taken back: %v, %q", err, userLabel(r, first))
	}
	events := eventsAfter(r, 0)
	if !strings.Contains(events, first+" labelled ->TP-Link/plug/HS110") || !strings.Contains(events, first+" labelled TP-Link/plug/HS110>-") {
		t.Error(events)
	}
	for _, tt := range []struct{ name, label, says string }{
		{"50:C7:BF:00:00:00", "x", "neither a MAC nor"}, {"kettle", "x", "neither a MAC nor"}, {"ip:1.2.3", "x", "neither a MAC nor"},
		{first, "a//b", "a path of them"}, {first, "/a", "a path"}, {first, " a", "a path"}, {first, "a\x1b[31m", "label"},
		{first, strings.Repeat("a", registry.MaxLabel+1), "at most"}, {"50:c7:bf:00:0f:0f", "", "not known"},
	} {
		if err := r.Label(tt.name, tt.label, 7); !errors.Is(err, registry.ErrRefused) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s as %q: %v", tt.name, tt.label, err)
		}
	}
	full := modelled("m", 2)
	for i := range 3 {
		if err := full.Label(fmt.Sprint("ip:10.0.0.", i), "x", 1); (err != nil) != (i == 2) {
			t.Errorf("label %d: %v", i, err)
		}
	}
}

// What is merged is one device, with all that is known of both, until it is split.
func TestMergeAndSplit(t *testing.T) {
	r := modelled("m", 9)
	play(r, 0, 41)
	before := map[string]uint64{}
	windows, addresses := 0, map[string]bool{}
	for _, d := range r.Devices()[:2] {
		before[d.Device] = d.Packets
		windows += d.Windows
		for _, a := range d.Addresses {
			addresses[a] = true
		}
	}
	r.Changed(9)
	if err := errors.Join(r.Label(other, "Plug", 3), r.Merge(first, other)); err != nil {
		t.Fatal(err)
	}
	d := r.Devices()[0]
	if len(r.Devices()) != 3 || d.Packets != before[first]+before[other] || d.Windows != windows || !reflect.DeepEqual(d.MACs, []string{first, other}) ||
		*d.UserLabel != "Plug" || len(d.Addresses) != len(addresses) {
		t.Errorf("%s", jsonText(t, d))
	}
	changed, gone := r.Changed(9)
	if len(gone) != 1 || len(changed) != 1 || changed[0].Name != first {
		t.Errorf("%+v changed, %+v gone", changed, gone)
	}
	again := modelled("m", 9)
	again.Restore(changed)
	for what, r := range map[string]*registry.Registry{"merged": r, "restored": again} {
		r.Record(record(other, "10.0.0.8", 1<<40, 1<<40))
		if v := r.Verdict(other); v.Device != first || v.Packets != d.Packets+2 || v.Others[0] != other {
			t.Errorf("%s: %s", what, jsonText(t, v))
		}
		for name, err := range map[string]error{"merged": r.Merge(other, first), "itself": r.Split(first), "unknown": r.Split("ip:9.9.9.9")} {
			if !errors.Is(err, registry.ErrRefused) {
				t.Errorf("%s: %s: %v", what, name, err)
			}
		}
		if err := r.Split(other); err != nil {
			t.Fatal(err)
		}
		r.Record(record(other, "10.0.0.8", 2<<40, 2<<40))
		if v := r.Verdict(other); v.Device != other || v.Packets != 2 {
			t.Errorf("%s, then split: %s", what, jsonText(t, v))
		}
		if err := r.Split(other); !errors.Is(err, registry.ErrRefused) {
			t.Errorf("%s: split twice: %v", what, err)
		}
	}
}

// A device without a window takes over the newest of the one that is merged into it.
func TestMergeIntoOneNotSeen(t *testing.T) {
	r := modelled("m", 9)
	play(r, 0, 41)
	const unseen = "50:c7:bf:00:00:ff"
	for _, name := range []string{first, other} {
		before := r.Verdict(name)
		if err := errors.Join(r.Label(unseen, "Plug", 3), r.Merge(unseen, name)); err != nil {
			t.Fatal(err)
		}
		v := r.Verdict(name)
		if v.Device != unseen || *v.WindowLabel != *before.WindowLabel || *v.WindowConfidence != *before.WindowConfidence {
			t.Errorf("%s, before it was merged %s", jsonText(t, v), jsonText(t, before))
		}
		if _, err := r.Erase(unseen); err != nil {
			t.Fatal(err)
		}
	}
}

// No more MACs are merged into a device than an import takes of one.
func TestMergeIsBounded(t *testing.T) {
	r := modelled("m", 9)
	for i := range registry.MaxMACs + 2 {
		name := fmt.Sprintf("50:c7:bf:00:01:%02x", i)
		if err := r.Label(name, "Plug", 3); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue
		}
		err := r.Merge("50:c7:bf:00:01:00", name)
		if refused := errors.Is(err, registry.ErrRefused); refused != (i > registry.MaxMACs) {
			t.Fatalf("MAC %d: %v", i, err)
		}
	}
	if n := len(r.Devices()); n != 2 {
		t.Errorf("%d devices", n)
	}
}

// What is locked stays as it is until it is unlocked.
func TestLock(t *testing.T) {
	r := modelled("m", 9)
	play(r, 0, 8)
	if err := errors.Join(r.Label(first, "Eye", 3), r.Lock(first, true)); err != nil {
		t.Fatal(err)
	}
	_, erased := r.Erase(first)
	for what, err := range map[string]error{
		"label": r.Label(first, "x", 4), "merge": r.Merge(other, first), "split": r.Split(first), "erase": erased, "unknown": r.Lock("ip:9.9.9.9", true),
	} {
		if !errors.Is(err, registry.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if d := r.Devices()[0]; !d.Locked || *d.UserLabel != "Eye" {
		t.Error(jsonText(t, d))
	}
	if err := errors.Join(r.Lock(first, false), r.Label(first, "x", 4)); err != nil {
		t.Error(err)
	}
}

// A device that is ignored is counted and has no verdict, over a restart too, until that is
// taken back: then it is judged anew.
func TestIgnore(t *testing.T) {
	r := modelled("m", 9)
	play(r, 0, 8)
	judged := r.Verdict(first)
	if err := errors.Join(r.Ignore(first, true, 5), r.Ignore(first, true, 6)); err != nil {
		t.Fatal(err)
	}
	if v := r.Verdict(first); v.State != v1.Ignored || v.Known || v.Windows != 0 || v.Label != nil || !r.Settled(first, 0, time.Minute) {
		t.Error(jsonText(t, v))
	}
	if !r.Ignores(first) || r.Ignores("ip:9.9.9.9") || !r.Record(record(first, "10.0.0.1", 9*second, 9*second)) || r.Verdict(first).Flows != judged.Flows+1 {
		t.Error("it is not counted, or its windows are wanted")
	}
	events := r.Events(0, 99)
	if e := events[len(events)-1]; e.Event != string(v1.Ignored) || e.Time != v1.UnixMicro(5) || *e.New != string(v1.Ignored) {
		t.Errorf("last event %s", jsonText(t, e))
	}
	changed, _ := r.Changed(9)
	again := modelled("m", 9)
	again.Restore(changed)
	if again.Verdict(first).State != v1.Ignored || again.Ignore(first, false, 7) != nil || again.Verdict(first).State != v1.Gathering {
		t.Error(jsonText(t, again.Verdict(first)))
	}
	play(again, 8, 8)
	if v := again.Verdict(first); v.Windows != judged.Windows || v.State != judged.State {
		t.Errorf("judged anew: %s", jsonText(t, v))
	}
	for what, err := range map[string]error{
		"no name": r.Ignore("x", true, 1), "unknown": r.Ignore("ip:9.9.9.9", false, 1), "locked": errors.Join(r.Lock(first, true), r.Ignore(first, false, 1)),
	} {
		if !errors.Is(err, registry.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if names := r.Names(1); len(names) > 1 || r.Ignore("02:00:00:00:00:09", true, 1) != nil || r.Verdict("02:00:00:00:00:09").State != v1.Ignored {
		t.Errorf("names %q, or one that was not seen is not ignored", names)
	}
}

// What is merged into a device that is ignored is ignored with it, and has no verdict.
func TestMergeIntoIgnored(t *testing.T) {
	r := modelled("m", 9)
	play(r, 0, 40)
	const ignored, judged = "50:c7:bf:00:00:00", "50:c7:bf:00:00:02"
	flows := r.Verdict(ignored).Flows + r.Verdict(judged).Flows
	if err := errors.Join(r.Ignore(ignored, true, 5), r.Merge(ignored, judged)); err != nil {
		t.Fatal(err)
	}
	if v := r.Verdict(judged); v.State != v1.Ignored || v.Known || v.Windows != 0 || v.Label != nil || v.Flows != flows || !r.Ignores(judged) {
		t.Error(jsonText(t, v))
	}
}

// Who keeps windows of a device is told of each of its MACs that is to be judged without them.
func TestAnew(t *testing.T) {
	var told []string
	r := registry.New(registry.Config{Anew: func(device string) { told = append(told, device) }, Noted: func(v1.Event) {}})
	for _, device := range []string{first, other} {
		r.Record(record(device, "10.0.0.1", 1, 2))
	}
	for _, tt := range []struct {
		what string
		err  error
		want []string
	}{
		{"merged", r.Merge(first, other), nil},
		{"ignored", r.Ignore(first, true, 3), []string{first, other}},
		{"ignored twice", r.Ignore(first, true, 4), nil},
		{"split", r.Split(other), []string{other}},
	} {
		// they have all been said by now, in this order
		if tt.err != nil || len(told) < len(tt.want) || !slices.Equal(told[:len(tt.want)], tt.want) {
			t.Errorf("%s: %v, told of %v, want %v", tt.what, tt.err, told, tt.want)
			continue
		}
		told = told[len(tt.want):]
	}
	if len(told) > 0 {
		t.Errorf("told of %v too", told)
	}
}

// Of a device that is erased nothing is left, events neither; others stay.
func TestErase(t *testing.T) {
	var forgotten []string
	r := newRegistry(9, func(name string) { forgotten = append(forgotten, name) })
	for i, name := range []string{first, other, "50:c7:bf:00:00:02"} {
		r.Record(record(name, "10.0.0.1", int64(i)*second, int64(i+1)*second))
	}
	if err := errors.Join(r.Merge(first, other), r.Label(first, "x", 1)); err != nil {
		t.Fatal(err)
	}
	names, err := r.Erase(other)
	if err != nil || fmt.Sprint(names, forgotten) != fmt.Sprint([]string{first, other}, []string{first, other}) {
		t.Fatalf("%v, forgotten %v, %v", names, forgotten, err)
	}
	if list := r.Devices(); len(list) != 1 || strings.Contains(jsonText(t, r.Events(0, math.MaxInt)), first) {
		t.Errorf("left: %s, %s", jsonText(t, list), jsonText(t, r.Events(0, math.MaxInt)))
	}
	if names, err := r.Erase(first); !errors.Is(err, registry.ErrUnknown) || len(names) != 1 {
		t.Errorf("nothing is left to erase: %v, %v", names, err)
	}
	if names, err := r.Erase("x"); !errors.Is(err, registry.ErrRefused) || names != nil {
		t.Errorf("no name: %v, %v", names, err)
	}
	if _, gone := r.Changed(9); len(gone) != 2 || !gone[0].Said || len(gone[0].Names) != 2 {
		t.Errorf("gone %+v", gone)
	}
	r.Record(record(first, "10.0.0.1", 9*second, 9*second))
	if d := r.Devices()[0]; d.UserLabel != nil || d.Packets != 2 || len(d.MACs) != 1 {
		t.Errorf("seen again: %s", jsonText(t, d))
	}
}

// Of a device that had to make room what happened goes, if it is forgotten.
func TestEraseEvicted(t *testing.T) {
	r := newRegistry(1, nil)
	r.Record(record(first, "10.0.0.1", second, second))
	r.Record(record(other, "10.0.0.2", 2*second, 2*second))
	if text := jsonText(t, r.Events(0, math.MaxInt)); r.Evicted() != 1 || !strings.Contains(text, first) {
		t.Fatalf("%d evicted, %s", r.Evicted(), text)
	}
	names, err := r.Erase(first)
	if text := jsonText(t, r.Events(0, math.MaxInt)); err != nil || len(names) != 1 || strings.Contains(text, first) || !strings.Contains(text, other) {
		t.Errorf("%v, %v, %s", names, err, text)
	}
	if _, gone := r.Changed(9); len(gone) != 1 || !gone[0].Said {
		t.Errorf("gone %+v", gone)
	}
}
