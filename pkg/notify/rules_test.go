package notify

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const plug, phone = "50:c7:bf:00:00:01", "52:c7:bf:00:00:01"

func ptr[T any](v T) *T { return &v }

// house is a Source.
type house struct {
	mu      sync.Mutex
	devices map[string]v1.DeviceVerdict
	events  []v1.Event
}

func (h *house) Events() []v1.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

func (h *house) Device(name string) (v1.DeviceVerdict, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.devices[name]
	return d, ok
}

func (h *house) Devices() (list []v1.DeviceVerdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		list = append(list, d)
	}
	return list
}

// put has a device in the house, with what change makes of it.
func (h *house) put(name string, change func(*v1.DeviceVerdict)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.devices == nil {
		h.devices = map[string]v1.DeviceVerdict{}
	}
	d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: name, State: v1.Unknown}, MACs: []string{name}, FirstSeen: v1.UnixMicro(1e6), LastSeen: v1.UnixMicro(2e6)}
	if change != nil {
		change(&d)
	}
	h.devices[name] = d
}

// ear is an outlet that notes what comes, and when since its beginning.
type ear struct {
	begun time.Time
	heard []string
	texts []string
}

func (e *ear) run(ctx context.Context, s *spool) {
	for {
		b, number, ok := s.next(ctx)
		if !ok {
			return
		}
		n := b.notice()
		var what []string
		for _, one := range b.Notices {
			device := "sensor"
			if one.Device != nil {
				device = map[string]string{plug: "plug", phone: "phone"}[*one.Device]
			}
			what = append(what, device+" "+one.Event.Event)
		}
		if len(what) > 3 {
			what = append(what[:3], "...")
		}
		e.heard = append(e.heard, fmt.Sprintf("%v: %d %s", time.Since(e.begun), n.Count, strings.Join(what, ", ")))
		e.texts = append(e.texts, n.Text)
		s.done(number)
	}
}

// listen makes a notifier with an ear in place of a webhook.
func listen(t *testing.T, cfg Config, h *house) (*Notifier, *ear) {
	t.Helper()
	if cfg.Hold == 0 {
		cfg.Hold = DefaultHold
	}
	if cfg.Digest == 0 {
		cfg.Digest = DefaultDigest
	}
	n, err := New("", cfg, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSpool("", &n.counts.lost, n.log)
	if err != nil {
		t.Fatal(err)
	}
	e := &ear{begun: time.Now()}
	n.sinks[webhookKind] = &sink{door: door{events: Events, out: e}, spool: s}
	n.sinks[webhookKind].start()
	return n, e
}

func event(device, what string) v1.Event { return v1.Event{Event: what, Device: &device} }

// What is told, when, after events at their times.
func TestRules(t *testing.T) {
	type at struct {
		after time.Duration
		event v1.Event
	}
	const second, minute = time.Second, time.Minute
	in := func(after time.Duration, device, what string) at { return at{after, event(device, what)} }
	phones := func(other string) func(*v1.DeviceVerdict) {
		return func(d *v1.DeviceVerdict) {
			d.RandomMAC, d.FirstSeen, d.SameAs = true, v1.UnixMicro(9e6), []string{other}
		}
	}
	both := func(d *v1.DeviceVerdict) { d.Device, d.MACs = plug, []string{plug, phone} }
	for _, tt := range []struct {
		name   string
		cfg    Config
		house  map[string]func(*v1.DeviceVerdict)
		events []at
		want   []string
		quiet  uint64
	}{
		{"a new device that gets its name", Config{}, nil,
			[]at{in(0, plug, "new"), in(minute, plug, "unknown"), in(minute, plug, "known")}, []string{"2m0s: 2 plug new, plug known"}, 1},
		{"one that gets none", Config{}, nil, []at{in(0, plug, "new"), in(minute, plug, "unknown"), in(15*minute, plug, "gone")},
			[]string{"10m0s: 1 plug new", "16m0s: 1 plug gone"}, 1},
		{"one that imitates", Config{}, nil, []at{in(0, plug, "new"), in(minute, plug, "conflict")}, []string{"1m0s: 2 plug new, plug conflict"}, 0},
		{"one that its operator names", Config{}, nil, []at{in(0, plug, "new"), in(minute, plug, "labelled")}, []string{"1m0s: 2 plug new, plug labelled"}, 0},
		{"two, one after the other", Config{}, nil, []at{in(0, plug, "new"), in(5*minute, phone, "new"), in(20*minute, plug, "known")},
			[]string{"10m0s: 1 plug new", "15m0s: 1 phone new", "25m0s: 1 plug known"}, 0},
		{"states that are not told", Config{}, nil, []at{in(0, plug, "likely"), in(0, plug, "gateway"), in(0, plug, "gathering")}, nil, 0},
		{"the sensor's own", Config{}, nil, []at{{0, v1.Event{Event: "drops_began", New: ptr("samples.ring_full")}}}, []string{"0s: 1 sensor drops_began"}, 0},
		{"many at once", Config{}, nil, []at{in(0, plug, "known"), in(second, plug, "unknown"), in(second, plug, "known"), in(2*minute, plug, "changed")},
			[]string{"0s: 1 plug known", "1m0s: 2 plug unknown, plug known", "2m2s: 1 plug changed"}, 0},
		{"an allowed MAC", Config{Allow: []string{strings.ToUpper(plug)}}, nil, []at{in(0, plug, "new"), in(minute, plug, "known"), in(minute, plug, "gone"), in(0, phone, "gone")},
			[]string{"2m0s: 1 phone gone"}, 3},
		{"an allowed label", Config{Allow: []string{"TP-Link/plug"}}, map[string]func(*v1.DeviceVerdict){
			plug: func(d *v1.DeviceVerdict) { d.UserLabel = ptr("TP-Link/plug/HS110") },
		}, []at{in(0, plug, "changed")}, nil, 1},
		{"the begin of another label", Config{Allow: []string{"TP-Link/plug"}}, map[string]func(*v1.DeviceVerdict){
			plug: func(d *v1.DeviceVerdict) { d.UserLabel, d.Label = ptr("TP-Link/plugs"), ptr("TP-Link/plug") },
		}, []at{in(0, plug, "changed")}, []string{"0s: 1 plug changed"}, 0},
		{"another MAC of a phone", Config{}, map[string]func(*v1.DeviceVerdict){phone: phones(plug)}, []at{in(0, phone, "new"), in(20*minute, phone, "gone")}, nil, 2},
		{"another MAC of one that is gone", Config{}, map[string]func(*v1.DeviceVerdict){
			phone: phones(plug), plug: func(d *v1.DeviceVerdict) { d.Gone = true },
		}, []at{in(0, phone, "gone")}, []string{"0s: 1 phone gone"}, 0},
		{"a random MAC that nothing is said of", Config{}, map[string]func(*v1.DeviceVerdict){phone: func(d *v1.DeviceVerdict) { d.RandomMAC = true }},
			[]at{in(0, phone, "new")}, []string{"10m0s: 1 phone new"}, 0},
		{"one that is ignored meanwhile", Config{}, map[string]func(*v1.DeviceVerdict){plug: func(d *v1.DeviceVerdict) { d.State = v1.Ignored }},
			[]at{in(0, plug, "new"), in(minute, plug, "ignored"), in(15*minute, plug, "gone")}, []string{"16m0s: 1 plug gone"}, 2},
		{"two that are one", Config{}, map[string]func(*v1.DeviceVerdict){plug: both, phone: both},
			[]at{in(0, phone, "new"), in(minute, plug, "new"), in(minute, plug, "known")}, []string{"2m0s: 2 phone new, plug known"}, 0},
		{"two that are one without a name", Config{}, map[string]func(*v1.DeviceVerdict){plug: both, phone: both},
			[]at{in(0, phone, "new"), in(minute, plug, "new")}, []string{"10m0s: 1 phone new"}, 0},
		{"two that are one, at once", Config{}, map[string]func(*v1.DeviceVerdict){plug: both, phone: both},
			[]at{in(0, phone, "new"), in(0, plug, "new")}, []string{"10m0s: 1 phone new"}, 1},
		{"one that is forgotten before its time", Config{}, nil, []at{in(0, "00:00:00:00:00:09", "new"), in(minute, "00:00:00:00:00:08", "gone")}, nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &house{}
				h.put(plug, tt.house[plug])
				h.put(phone, tt.house[phone])
				n, e := listen(t, tt.cfg, h)
				for _, in := range tt.events {
					time.Sleep(in.after)
					n.Event(in.event)
					synctest.Wait()
				}
				time.Sleep(time.Hour)
				n.Close(time.Second)
				if !slices.Equal(e.heard, tt.want) {
					t.Errorf("told %q, want %q", e.heard, tt.want)
				}
				if s := n.Stats(); s.Quiet != tt.quiet || s.Events != uint64(len(tt.events)) || s.Held != 0 {
					t.Errorf("%+v, want %d quiet", s, tt.quiet)
				}
			})
		})
	}
}

// A flood of new devices is one message, and bounded in memory.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		n, e := listen(t, Config{}, h)
		const devices = mostHeld + 1000
		for i := range devices {
			name := fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)
			h.put(name, nil)
			n.Event(event(name, "new"))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if s := n.Stats(); s.Held != mostHeld || s.Dropped != 1000 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		n.Close(time.Second)
		if len(e.heard) != 1 || !strings.HasPrefix(e.heard[0], fmt.Sprintf("10m0s: %d ", mostHeld)) || strings.Count(e.texts[0], "\n") != mostListed {
			t.Errorf("told %q", e.heard)
		}
	})
}

// Nobody waits for who listens: what he cannot take is counted.
func TestEventNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		n, _ := listen(t, Config{}, h)
		h.mu.Lock() // whoever asks for a device stands still
		for range 3 * mostEvents {
			n.Event(event(plug, "known"))
		}
		h.mu.Unlock()
		synctest.Wait()
		n.Close(time.Second)
		if s := n.Stats(); s.Events != 3*mostEvents || s.Dropped < mostEvents || s.Dropped > 2*mostEvents {
			t.Errorf("%+v", s)
		}
	})
}

// What is held back at the end is told then; of a device that is forgotten nothing is.
func TestCloseAndForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		h.put(phone, nil)
		n, e := listen(t, Config{}, h)
		for _, what := range []string{"gone", "back"} {
			n.Event(event(plug, what))
			n.Event(event(phone, what))
		}
		n.Event(event(phone, "new"))
		n.Event(event(plug, "new"))
		synctest.Wait()
		n.Forget([]string{phone})
		n.Close(time.Second)
		if want := []string{"0s: 1 plug gone", "0s: 2 plug back, plug new"}; !slices.Equal(e.heard, want) {
			t.Errorf("told %q, want %q", e.heard, want)
		}
		n.Close(time.Second)
		if err := n.Set(Config{}); err == nil {
			t.Error("it takes sinks after its end")
		}
	})
}

// A new device is told of that came when all had just been asked for, by a look that is still
// good enough for the others.
func TestNewBehindALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		n, e := listen(t, Config{Hold: time.Second}, h)
		n.Event(event(plug, "gone")) // looks whether it goes by another MAC
		synctest.Wait()
		h.put(phone, nil)
		n.Event(event(phone, "new"))
		synctest.Wait()
		n.Close(time.Second)
		if want := []string{"0s: 1 plug gone", "0s: 1 phone new"}; !slices.Equal(e.heard, want) {
			t.Errorf("told %q, want %q", e.heard, want)
		}
	})
}
