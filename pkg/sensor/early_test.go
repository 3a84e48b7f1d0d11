package sensor

// This file tests verdicts on flows that are open, with the flow table of capture files in
// the kernel's place.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/replay"
)

// house is what a sensor is but for the kernel.
type house struct {
	*early
	t         testing.TB
	table     *flows.Table
	collector *facts.Collector
	final     []string // verdicts as lines of JSON
	closes    map[flows.Life]*flows.Close
	due       []flows.Close // of the lives that there will be, the earliest first: each ends when its minute is over
}

// Sample implements flows.Sink.
func (h *house) Sample(s *flows.Sample) { h.assembler.Sample(s) }

// Close implements flows.Sink.
func (h *house) Close(c *flows.Close) {
	if h.closes[c.Life] != nil {
		return // its minute was over before
	}
	own := *c
	h.closes[c.Life] = &own
	h.assembler.Close(c)
}

func newHouse(t testing.TB, bundle model.Bundle, most int) *house {
	h := &house{t: t, collector: facts.NewCollector(most), closes: map[flows.Life]*flows.Close{}}
	classifier, err := classify.New(bundle, classify.Options{
		MaxDevices: most, Facts: h.collector.Of,
		Verdict: func(v v1.Verdict) { h.final = append(h.final, line(t, v)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := bundle.Record()
	if err != nil {
		t.Fatal(err)
	}
	locals := flows.NewLocals(nil)
	assembler := flows.NewAssembler(flows.AssemblerConfig{
		Spec: spec, Locals: locals, Observe: h.collector.Sample,
		Emit: func(r *flows.Record) {
			if err := classifier.Record(r); err != nil {
				t.Fatal(err)
			}
		},
	})
	h.early = (&early{
		lock: &sync.Mutex{}, assembler: assembler, classifier: classifier, facts: h.collector.Of,
		lifetime: spec.Lifetime, most: most, counted: func(map[flows.Life]*flows.Close) error { return nil },
	}).begin()
	h.table = flows.NewTable(spec, locals, h)
	return h
}

func (h *house) add(frames []lab.Frame) {
	for _, f := range frames {
		for len(h.due) > 0 && f.Time.UnixMicro()-h.due[0].First >= h.lifetime.Microseconds() {
			h.Close(&h.due[0])
			h.due = h.due[1:]
		}
		var p flows.Packet
		if flows.Parse(&p, flows.LinkEthernet, f.Data, len(f.Data)) == flows.Counted {
			h.table.Add(&p, f.Time.UnixMicro())
		}
	}
}

// ask gives the verdicts of a round.
func (h *house) ask() (told []v1.Verdict) {
	h.look(h.t.Context(), func(v v1.Verdict) { told = append(told, v) }, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return told
}

func line(t testing.TB, v v1.Verdict) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A provisional verdict is, to the bit, what would be the last if all flows ended now; what
// is said of flows that have ended is the same whether or not anybody asked for one.
func TestProvisional(t *testing.T) {
	var lists [][]lab.Frame
	for _, kind := range lab.Kinds()[:6] {
		c, err := lab.Generate(kind, 3, 7, 150*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, c.Frames)
	}
	frames := replay.Merge(4*time.Second, lists...)
	until := func(after time.Duration) []lab.Frame {
		i := slices.IndexFunc(frames, func(f lab.Frame) bool { return f.Time.Sub(frames[0].Time) > after })
		return frames[:i]
	}
	for name, read := range map[string]func() (model.Bundle, error){"stream": embedded.Lab, "facts": embedded.Default, "paper": embedded.Paper} {
		t.Run(name, func(t *testing.T) {
			bundle, err := read()
			if err != nil {
				t.Fatal(err)
			}
			all := newHouse(t, bundle, 100)
			all.add(frames)
			all.table.Flush()
			var due []flows.Close
			for _, c := range all.closes {
				due = append(due, *c)
			}
			slices.SortFunc(due, func(x, y flows.Close) int { return int(x.Order - y.Order) })
			begin := func() *house {
				h := newHouse(t, bundle, 100)
				h.due = due
				return h
			}
			asked, never := begin(), begin()
			told, named, done := 0, 0, 0
			for _, after := range []time.Duration{3, 8, 20, 50, 62, 75, 90, 100, 140} {
				part := until(after * time.Second)
				asked.add(part[done:])
				done = len(part)
				flushed := begin()
				flushed.add(part)
				flushed.table.Flush()
				asked.counted = func(lives map[flows.Life]*flows.Close) error {
					for life := range lives {
						lives[life] = flushed.closes[life]
					}
					return nil
				}
				for _, v := range asked.ask() {
					told++
					if v.Known {
						named++
					}
					if !v.Provisional {
						t.Errorf("after %d s %s is said not to be provisional", after, v.Device)
					}
					v.Provisional = false
					if got, want := line(t, v), line(t, flushed.classifier.Registry().Verdict(v.Device)); got != want {
						t.Errorf("after %d s\n%s, but with all flows ended\n%s", after, got, want)
					}
				}
				if extra := len(asked.copies.Registry().Devices()); extra > 0 {
					t.Errorf("%d devices are left among the copies", extra)
				}
			}
			asked.add(frames[done:])
			never.add(frames)
			asked.table.Flush()
			never.table.Flush()
			if !slices.Equal(asked.final, never.final) || asked.assembler.Stats() != never.assembler.Stats() ||
				asked.classifier.Inferences() != never.classifier.Inferences() || asked.collector.Stats() != never.collector.Stats() {
				t.Error("asking changes what is said or counted later")
			}
			if told < 30 || name == "stream" && named < 10 || len(never.final) < 100 {
				t.Errorf("%d provisional verdicts, %d of them known, and %d others: too few", told, named, len(never.final))
			}
			if again := asked.ask(); again != nil || len(asked.said) > 0 {
				t.Errorf("%d verdicts, %d kept after the last flow has ended", len(again), len(asked.said))
			}
		})
	}
}

// sample is the n-th flow's first packet of a device.
func sample(device, flow int, stamp int64) *flows.Sample {
	mac := flows.MAC{0x50, 0xc7, 0xbf, 0, byte(device >> 8), byte(device)}
	return &flows.Sample{
		Life: flows.Life{Key: flows.Key{
			A:     flows.End{Addr: netip.AddrFrom4([4]byte{10, 0, byte(device >> 8), byte(device)}), MAC: mac, Port: uint16(flow)},
			B:     flows.End{Addr: netip.AddrFrom4([4]byte{8, 8, 8, 8}), Port: 53},
			Proto: 17, HasPorts: true,
		}, Generation: 1},
		Order: stamp, Stamp: stamp, FromA: true, Size: 60, Payload: []byte("asks"),
	}
}

// What is split off is not said to be what it was a part of.
func TestProvisionalAfterSplit(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, bundle, 100)
	s := &Sensor{classifier: h.classifier, early: h.early}
	const whole, part = "50:c7:bf:00:00:01", "50:c7:bf:00:00:02"
	r := h.classifier.Registry()
	if err := errors.Join(r.Label(whole, "x", 1), r.Label(part, "y", 1), r.Merge(whole, part)); err != nil {
		t.Fatal(err)
	}
	h.assembler.Sample(sample(2, 1, 1e15))
	if told := h.ask(); len(told) != 1 || told[0].Device != whole {
		t.Fatalf("before it is split: %+v", told)
	}
	if _, err := s.say(part, v1.DoSplit, v1.Correction{}); err != nil {
		t.Fatal(err)
	}
	v := r.Verdict(part)
	if h.overlay(&v); v.Device != part {
		t.Errorf("said of %s: %+v", part, v)
	}
}

// What is being judged when the operator says something is neither shown nor told of after that.
func TestProvisionalWhileWordIsTaken(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	const device, other = "50:c7:bf:00:00:02", "50:c7:bf:00:00:03"
	for _, do := range []string{v1.DoIgnore, v1.DoForget, v1.DoMerge} {
		t.Run(do, func(t *testing.T) {
			h := newHouse(t, bundle, 100)
			s := &Sensor{classifier: h.classifier, assembler: h.assembler, early: h.early}
			h.lock = &s.mu
			r := h.classifier.Registry()
			if err := errors.Join(r.Label(device, "x", 1), r.Label(other, "y", 1)); err != nil {
				t.Fatal(err)
			}
			h.assembler.Sample(sample(2, 1, 1e15))
			var taken atomic.Bool
			var saying sync.WaitGroup
			h.copies = h.classifier.Apart(func(string) *facts.Set { // its record is being judged
				done := make(chan struct{})
				saying.Go(func() {
					if _, err := s.say(device, do, v1.Correction{With: other}); err != nil {
						t.Error(err)
					}
					taken.Store(true)
					close(done)
				})
				select {
				case <-done:
				case <-time.After(100 * time.Millisecond): // it waits for the end of that
				}
				return h.known
			})
			told := 0
			h.look(t.Context(), func(v1.Verdict) {
				if told++; taken.Load() {
					t.Error("told of what is not so any more")
				}
			}, slog.New(slog.DiscardHandler))
			saying.Wait()
			v := r.Verdict(device)
			if h.overlay(&v); told != 1 || do != v1.DoMerge && v.Provisional {
				t.Errorf("told %d times, shown %+v", told, v)
			}
		})
	}
}

// A device that has but asked for a router is said to be of its MAC's maker, until there is a window.
func TestProvisionalMaker(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		mac   flows.MAC
		to    string
		level int // 0: nothing is told
	}{
		{"a known maker's", flows.MAC{0x1c, 0x5f, 0x2b, 0, 0, 1}, "ff02::2", 1},
		{"which tells that it listens alone", flows.MAC{0x1c, 0x5f, 0x2b, 0, 0, 1}, "ff02::16", 0},
		{"another maker's", flows.MAC{0x00, 0x1b, 0x21, 0, 0, 1}, "ff02::2", 0},
		{"random", flows.MAC{0x02, 0x5f, 0x2b, 0, 0, 1}, "ff02::2", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, bundle, 10)
			s := sample(0, 0, time.Second.Microseconds())
			s.Payload, s.Size = nil, 56
			s.Life.Key = flows.Key{
				A: flows.End{Addr: netip.MustParseAddr("fe80::1"), MAC: tt.mac}, B: flows.End{Addr: netip.MustParseAddr(tt.to)}, Proto: 58,
			}
			h.assembler.Sample(s)
			told := h.ask()
			if len(told) != tt.level {
				t.Fatalf("%d verdicts: %+v", len(told), told)
			}
			shown := h.classifier.Registry().Verdict(tt.mac.String())
			if h.overlay(&shown); shown.Level != tt.level || shown.Provisional != (tt.level > 0) {
				t.Errorf("shown: %+v", shown)
			}
			serves := shown // says the registry meanwhile
			serves.State, serves.Level, serves.Path, serves.Provisional = v1.Gateway, 0, nil, false
			if h.overlay(&serves); serves.State != v1.Gateway || serves.Path != nil {
				t.Errorf("a gateway is shown as %+v", serves)
			}
			for _, v := range told {
				if *v.Path != "D-Link" || v.State != v1.Likely || v.Known || v.Windows != 0 || v.Label != nil || v.Confidence != nil || !v.Provisional {
					t.Errorf("%s", line(t, v))
				}
				first := v // the first window's verdict on flows that have ended
				first.Windows, first.Provisional, first.News = 1, false, true
				if h.ended(&first); first.News {
					t.Error("a window that says the same is news")
				}
			}
		})
	}
}

// However many devices there are, a round is no more than so much work, each comes in its
// turn, none again without new samples, and nothing is kept of those whose flows are over.
func TestProvisionalIsBounded(t *testing.T) {
	const devices, flowsOfEach = 4096, 2
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, bundle, devices)
	stamp := int64(1e15)
	for d := range devices + 100 { // more than are kept
		for f := range flowsOfEach {
			stamp++
			h.assembler.Sample(sample(d, f, stamp))
		}
	}
	judged, rounds := map[string]int{}, 0
	for told := h.ask(); len(told) > 0; told = h.ask() {
		rounds++
		select {
		case <-h.news:
		default:
			if rounds*earlyWork < devices*flowsOfEach {
				t.Fatalf("no look is to come after round %d", rounds)
			}
		}
		work := 0
		for _, v := range told {
			judged[v.Device]++
			work += v.Windows
		}
		if work > earlyWork {
			t.Fatalf("%d flows were judged in a round, want %d at most", work, earlyWork)
		}
	}
	if want := devices * flowsOfEach / earlyWork; len(judged) != devices || rounds != want || len(h.said) != devices {
		t.Errorf("%d devices in %d rounds, %d kept, want %d, %d, %d", len(judged), rounds, len(h.said), devices, want, devices)
	}
	for device, times := range judged {
		if times != 1 {
			t.Fatalf("%s was judged %d times by the same samples", device, times)
		}
	}
	var one string
	for one = range judged {
		break
	}
	mac, err := flows.ParseMAC(one)
	if err != nil {
		t.Fatal(err)
	}
	for f := range 1000 {
		stamp++
		h.assembler.Sample(sample(int(mac[4])<<8|int(mac[5]), flowsOfEach+f, stamp))
	}
	if told := h.ask(); len(told) != 1 || told[0].Device != one || told[0].Windows != earlyFlows {
		t.Errorf("%d verdicts after new samples of one device, want one of %d flows", len(told), earlyFlows)
	}
	var lives []flows.Life
	for d := range devices + 100 {
		for f := range flowsOfEach + 1000 {
			if f < flowsOfEach || fmt.Sprint(flows.MAC{0x50, 0xc7, 0xbf, 0, byte(d >> 8), byte(d)}) == one {
				lives = append(lives, sample(d, f, 0).Life)
			}
		}
	}
	for _, l := range lives {
		h.assembler.Close(&flows.Close{Life: l, Order: stamp, First: stamp, Last: stamp, Packets: [2]uint64{1}, Samples: 1})
	}
	if told := h.ask(); told != nil || len(h.said) != 0 {
		t.Errorf("%d verdicts, %d kept with no flow open", len(told), len(h.said))
	}
}

// BenchmarkProvisional is a round of the most work that there may be, in devices with two open
// flows each.
func BenchmarkProvisional(b *testing.B) {
	bundle, err := embedded.Default()
	if err != nil {
		b.Fatal(err)
	}
	h := newHouse(b, bundle, 4096)
	for d := range earlyWork / 2 {
		for f := range 2 {
			h.assembler.Sample(sample(d, f, int64(1e15+d)))
		}
	}
	for b.Loop() {
		clear(h.said)
		if n := len(h.ask()); n != earlyWork/2 {
			b.Fatalf("%d verdicts", n)
		}
	}
}

// It looks when there is a sample or a flow has ended, and not for flows that are merely open.
func TestProvisionalRests(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, bundle, 100)
	due := func() bool {
		select {
		case <-h.news:
			return true
		default:
			return false
		}
	}
	k := &sink{sensor: &Sensor{cfg: Config{Speed: 1}, assembler: h.assembler, early: h.early}}
	for _, tt := range []struct {
		what string
		do   func()
		want bool
	}{
		{"nothing", func() {}, false},
		{"a sample", func() { k.Sample(sample(1, 1, 1e15)) }, true},
		{"two samples", func() { k.Sample(sample(1, 2, 1e15)); k.Sample(sample(2, 1, 1e15)) }, true},
		{"a look", func() { h.ask() }, false},
		{"a flow's end", func() { k.Close(&flows.Close{Life: sample(2, 1, 1e15).Life, First: 1e15, Last: 1e15}) }, true},
		{"another model", h.end, true},
		{"a device forgotten", func() { h.forget("50:c7:bf:00:00:01") }, true},
	} {
		if tt.do(); due() != tt.want {
			t.Errorf("after %s there is a look to come: %v", tt.what, !tt.want)
		}
	}
}

// What comes while a look is waited for is looked at then, and there is no other for it.
func TestProvisionalLooksOnce(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, bundle, 100)
		ctx, stop := context.WithCancel(t.Context())
		var looking sync.WaitGroup
		looking.Go(func() { h.early.run(ctx, earlyEvery, func(v1.Verdict) {}, slog.New(slog.DiscardHandler)) })
		for want := range uint64(3) {
			for range want { // for nothing, once and twice
				h.stir()
				synctest.Wait()
			}
			time.Sleep(3 * earlyEvery)
			synctest.Wait()
			if looks := h.round; looks != want {
				t.Errorf("%d looks, want %d", looks, want)
			}
		}
		stop()
		looking.Wait()
	})
}

// A verdict on fewer flows than another was on before is no news, and is not shown in its
// place; the one that has caught up is compared with what was said.
func TestProvisionalGivesWay(t *testing.T) {
	label, other := "a", "b"
	verdict := func(windows int, label *string) v1.Verdict {
		return v1.Verdict{Device: "d", State: v1.Known, Known: true, Label: label, Windows: windows, News: true}
	}
	h := &early{said: map[string]*provisional{}}
	first := verdict(3, &label)
	first.Provisional = true
	h.keep(flows.OpenDevice{Name: "d"}, &first)
	for i, tt := range []struct {
		windows int
		label   *string
		news    bool
		shown   int // windows of what is shown when this is the registry's
	}{
		{1, &other, false, 3}, {2, &label, false, 3}, {3, &label, false, 3}, {4, &other, true, 4}, {5, &other, false, 5}, {6, &label, true, 6},
	} {
		v := verdict(tt.windows, tt.label)
		if h.ended(&v); v.News != tt.news {
			t.Errorf("verdict %d: news %v, want %v", i, v.News, tt.news)
		}
		if h.overlay(&v); v.Windows != tt.shown || v.Provisional != (tt.shown > tt.windows) {
			t.Errorf("verdict %d: %d windows are shown, provisional %v, want %d", i, v.Windows, v.Provisional, tt.shown)
		}
	}
	h.end()
	if v := verdict(1, &other); true {
		if h.ended(&v); !v.News {
			t.Error("what was said before the end still counts")
		}
	}
	var none *early
	v := verdict(1, &label)
	none.ended(&v)
	none.overlay(&v)
	if none.end(); !v.News || v.Windows != 1 {
		t.Error("without a model a verdict is another")
	}
}
