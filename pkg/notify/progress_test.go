package notify

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// listenIn makes a notifier that keeps what it must in dir, with an ear in place of a webhook.
func listenIn(t *testing.T, dir string, hold time.Duration, h *house) (*Notifier, *ear) {
	t.Helper()
	n, err := New(dir, Config{Hold: hold, Digest: DefaultDigest, Webhook: HTTP{URL: "http://127.0.0.1:1"}}, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := &ear{begun: time.Now()}
	s := n.sinks[webhookKind]
	s.halt()
	s.out = e
	s.start()
	return n, e
}

// What a process that is killed has not told of is told by the next one, and nothing twice.
func TestKilledWhileItHolds(t *testing.T) {
	const second, minute = time.Second, time.Minute
	type at struct {
		after        time.Duration
		device, what string
	}
	for _, tt := range []struct {
		name   string
		hold   time.Duration
		events []at
		kill   time.Duration // behind the last event
		down   time.Duration
		change func(*house)
		told   []string // before
		want   []string // behind the next start
	}{
		{"a stranger who has just come", 10 * minute, []at{{0, plug, "new"}}, second, minute, nil, nil, []string{"8m59s: 1 plug new"}},
		{"one that waits behind another's message", 10 * minute, []at{{0, plug, "new"}, {minute, phone, "known"}}, second, minute, nil,
			[]string{"1m0s: 1 phone known"}, []string{"7m59s: 1 plug new"}},
		{"one whose time came meanwhile", 10 * minute, []at{{0, plug, "new"}}, second, time.Hour, nil, nil, []string{"0s: 1 plug new"}},
		{"one that was told of in its time", 10 * minute, []at{{0, plug, "new"}}, 11 * minute, minute, nil, []string{"10m0s: 1 plug new"}, nil},
		{"one that was told of by its name", 10 * minute, []at{{0, plug, "new"}, {minute, plug, "known"}}, 0, minute, nil, []string{"1m0s: 2 plug new, plug known"}, nil},
		{"one that was told of at once", 0, []at{{0, plug, "new"}}, 0, minute, nil, []string{"0s: 1 plug new"}, nil},
		{"one that nobody was to be told of then", 10 * minute, []at{{0, phone, "new"}}, 11 * minute, minute, func(h *house) { h.put(phone, nil) }, nil, nil},
		{"one that is forgotten", 10 * minute, []at{{0, plug, "new"}}, second, minute, func(h *house) { h.events = nil }, nil, nil},
		{"one of which the registry has lost word", 10 * minute, []at{{0, plug, "known"}, {0, plug, "new"}}, 11 * second, minute, func(h *house) { h.events = h.events[:1] },
			[]string{"0s: 1 plug known"}, nil},
		{"what waits for a digest", 10 * minute, []at{{0, plug, "known"}, {0, plug, "changed"}}, 11 * second, minute, nil,
			[]string{"0s: 1 plug known"}, []string{"0s: 1 plug changed"}},
		{"two of these", 10 * minute, []at{{0, plug, "known"}, {0, plug, "changed"}, {11 * second, phone, "conflict"}}, 11 * second, minute, nil,
			[]string{"0s: 1 plug known"}, []string{"0s: 2 plug changed, phone conflict"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, left := filepath.Join(t.TempDir(), "sinks"), filepath.Join(t.TempDir(), "left")
				h := &house{}
				h.put(plug, nil)
				h.put(phone, nil)
				if tt.told == nil && tt.want == nil { // it is one that was there
					h.put(phone, func(d *v1.DeviceVerdict) { d.SameAs, d.FirstSeen = []string{plug}, v1.UnixMicro(9e6) })
				}
				n, e := listenIn(t, dir, tt.hold, h)
				for i, in := range tt.events {
					time.Sleep(in.after)
					one := v1.Event{Seq: uint64(i + 1), Time: v1.Time{Time: time.Now()}, Event: in.what, Device: &in.device}
					h.events = append(h.events, one)
					n.Event(one)
					synctest.Wait()
				}
				time.Sleep(tt.kill)
				synctest.Wait()
				if err := os.CopyFS(left, os.DirFS(dir)); err != nil { // as a kill leaves it
					t.Fatal(err)
				}
				told, killed := slices.Clone(e.heard), time.Now()
				n.Close(time.Second) // which may take a moment
				if !slices.Equal(told, tt.told) {
					t.Errorf("told %q before, want %q", told, tt.told)
				}
				if time.Sleep(time.Until(killed.Add(tt.down))); tt.change != nil {
					tt.change(h)
				}
				n, e = listenIn(t, left, tt.hold, h)
				time.Sleep(time.Hour)
				n.Close(time.Second)
				if !slices.Equal(e.heard, tt.want) {
					t.Errorf("told %q behind the start, want %q", e.heard, tt.want)
				}
			})
		})
	}
}

// The first sinks are not told of all that was before them, those that are taken out and come
// back neither.
func TestFirstSinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &house{}
		h.put(plug, nil)
		start := func(sinks bool) []string {
			for range 3 {
				seq := uint64(len(h.events) + 1)
				h.events = append(h.events, v1.Event{Seq: seq, Event: v1.EventNew, Device: ptr(plug)})
			}
			if !sinks {
				n, err := New(dir, Config{}, h, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				n.Close(0)
				return nil
			}
			n, e := listenIn(t, dir, 0, h)
			time.Sleep(time.Minute)
			n.Close(time.Second)
			return e.heard
		}
		for i, want := range []struct {
			sinks bool
			heard int
		}{{true, 0}, {true, 1}, {false, 0}, {true, 0}} {
			if heard := start(want.sinks); len(heard) != want.heard {
				t.Errorf("start %d: told %q", i, heard)
			}
		}
	})
}

// A shorter time holds at once for who waits already, and a shorter digest.
func TestShorterTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		h.put(phone, nil)
		n, e := listenIn(t, t.TempDir(), 10*time.Minute, h)
		set := func(hold, digest time.Duration) {
			cfg := n.cfg
			cfg.Hold, cfg.Digest = hold, digest
			if err := n.Set(cfg); err != nil {
				t.Fatal(err)
			}
		}
		n.Event(event(plug, "new"))
		time.Sleep(3 * time.Minute)
		set(4*time.Minute, time.Hour)
		time.Sleep(3 * time.Minute) // told in its 4th
		n.Event(event(phone, "changed"))
		time.Sleep(time.Minute)
		set(4*time.Minute, 10*time.Minute)
		time.Sleep(10 * time.Minute) // told 10 minutes behind the first
		n.Event(event(phone, "new"))
		time.Sleep(time.Minute)
		set(0, 0)
		time.Sleep(time.Second)
		n.Close(time.Second)
		if want := fmt.Sprint([]string{"4m0s: 1 plug new", "14m0s: 1 phone changed", "18m0s: 1 phone new"}); fmt.Sprint(e.heard) != want {
			t.Errorf("told %q, want %s", e.heard, want)
		}
	})
}

// How long a stranger waits is not of the wall's clock, which may be set: also not of one whose
// event is of before the start.
func TestHeldByNoWallClock(t *testing.T) {
	h := &house{}
	h.put(plug, nil)
	n, _ := listenIn(t, "", time.Hour, h)
	defer n.Close(0)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, since := range []time.Time{time.Now().Round(0).Add(-time.Minute), time.Now().Round(0).Add(time.Minute), time.Unix(0, 0)} {
		n.held = nil
		n.hold(&v1.Event{Event: v1.EventNew, Device: ptr(plug)}, since)
		if got := n.held[0].since; got == got.Round(0) || time.Since(got) < 0 {
			t.Errorf("since %v: holds since %v", since, got)
		}
	}
}
