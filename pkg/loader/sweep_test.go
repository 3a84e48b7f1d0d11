package loader

import (
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/clock"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// sweep does all of a sweep at once.
func (k *Kernel) sweep(firstBefore uint64) error {
	for k.sweeping = true; k.sweeping || len(k.ended) > 0; {
		if err := k.sweepPart(firstBefore, closeBatch); err != nil {
			return err
		}
	}
	return nil
}

// fill puts n lives that have long been over into the flow table.
func (k *kernel) fill(n int) {
	k.t.Helper()
	places, lives := make([]uint64, n), make([]gen.IotsenseFlow, n)
	for i := range places {
		places[i] = uint64(i+1) * uint64(gen.IotsensePlacePLACES)
		lives[i].Key.Version, lives[i].Key.Proto = 4, 17
		lives[i].Key.A.Addr = [16]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		lives[i].Life = uint64(i+1) << gen.IotsenseLifeWordLIFE_FIRST_SHIFT
		lives[i].Packets[0] = 1
	}
	_, err := k.maps[gen.IotsenseMapFlows].BatchUpdate(places, lives, nil)
	k.must(err)
	k.must(k.variables["flows_used"].Set(uint64(n)))
	k.must(k.maps[gen.IotsenseMapMacs].Put(uint64(0), gen.IotsenseMacShare{Word: uint32(n)})) // it pays for all of them
}

// batches is a sink that counts the closes between two samples and two calls of step.
type batches struct{ closes, most, now int }

func (b *batches) Sample(*flows.Sample) { b.now = 0 }

func (b *batches) Close(*flows.Close) {
	b.closes++
	b.now++
	b.most = max(b.most, b.now)
}

// walks is how often the sweep program has run since.
func (k *kernel) walks() (since func() uint64) {
	k.t.Helper()
	on, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	k.must(err)
	k.t.Cleanup(func() { on.Close() })
	count := func() uint64 {
		stats, err := k.programs[gen.IotsenseProgIotsenseSweep].Stats()
		k.must(err)
		return stats.RunCount
	}
	before := count()
	return func() uint64 { return count() - before }
}

// The table is not walked through before a life can have ended, and is as soon as one can.
func TestNoWalkBeforeALifeCanHaveEnded(t *testing.T) {
	const ticks = 100
	k := newKernel(t, Config{})
	walks := k.walks()
	for i := range ticks {
		if i == ticks/2 {
			k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 10))
		}
		next := time.Now()
		k.ring.Wake()
		k.must(k.step(&next))
	}
	if got := walks(); got > ticks/10 { // some of them to look up the time
		t.Errorf("%d walks in %d ticks of much less than a lifetime", got, ticks)
	}
	k = newKernel(t, Config{Lifetime: 50 * time.Millisecond})
	for round := range 3 {
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(round, 10))
		next := time.Now()
		for deadline := time.Now().Add(10 * time.Second); len(k.closes) == round; {
			if time.Now().After(deadline) {
				t.Fatalf("life %d does not end", round)
			}
			k.must(k.step(&next))
		}
	}
}

// Run sleeps until the next look, or until a life can have ended, unless somebody asks how it
// gets on.
func TestDue(t *testing.T) {
	for _, tt := range []struct {
		name    string
		life    time.Duration
		pending int
		want    time.Duration // from now
	}{
		{"at rest", time.Minute, 0, lookLinks},
		{"a short life", 3 * time.Second, 0, 3 * time.Second},
		{"a life that packets have ended", time.Minute, 1, sweepEvery},
	} {
		k := newKernel(t, Config{Lifetime: tt.life})
		begun := time.Now()
		k.looked, k.unswept = begun, uint64(clock.Now(unix.CLOCK_BOOTTIME)/1000) // and nothing was found
		k.pending = make([]flows.Close, tt.pending)
		if got := k.due(begun.Add(sweepEvery)).Sub(begun).Round(time.Second); got != tt.want {
			t.Errorf("%s: due in %v, want %v", tt.name, got, tt.want)
		}
		k.Progress()
		if k.must(k.ring.Wait(begun.Add(10*time.Second), 0)); time.Since(begun) >= 10*time.Second {
			t.Errorf("%s: who asks for progress does not wake it", tt.name)
		}
	}
}

// Events wake who waits, all of one time once: of new flows and of known ones, on each hook.
func TestEventsWakeTheReader(t *testing.T) {
	never := time.Now().Add(time.Hour)
	for hook, program := range map[attach.Hook]string{attach.HookTC: gen.IotsenseProgIotsenseIn, attach.HookXDP: gen.IotsenseProgIotsenseXdp} {
		k := newKernel(t, Config{Hook: hook})
		packet := func() { k.run(program, udpFrame(1, 10)) }
		for i, flow := range []string{"new", "known"} {
			begun := time.Now()
			packet()
			packet()
			together := time.Since(begun) < object.WakeAfter
			k.must(k.ring.Wait(never, time.Hour))
			if waited := time.Since(begun); waited < object.WakeAfter {
				t.Errorf("%s, %s flow: woken after %v", program, flow, waited)
			}
			k.must(k.read())
			if want := 2 * (i + 1); len(k.samples) != want {
				t.Errorf("%s, %s flow: %d samples, want %d", program, flow, len(k.samples), want)
			}
			until := time.Now().Add(2 * object.WakeAfter)
			k.must(k.ring.Wait(until, time.Hour))
			if together && time.Now().Before(until) {
				t.Errorf("%s, %s flow: woken twice", program, flow)
			}
		}
		packet()
		k.awake()
		k.must(k.ring.Wait(never, time.Millisecond)) // who waits only now finds it all the same
		k.ring.Wake()
		k.must(k.ring.Wait(never, time.Hour))
	}
}

// The end of a life wakes the reader where there are no samples.
func TestEndsWakeTheReader(t *testing.T) {
	k := newKernel(t, Config{Packets: -1, Lifetime: 50 * time.Millisecond})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 10))
	time.Sleep(2 * k.cfg.Lifetime)
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 10))
	k.must(k.ring.Wait(time.Now().Add(time.Hour), time.Hour))
	if k.must(k.read()); len(k.pending) != 1 {
		t.Errorf("%d ends, want 1", len(k.pending))
	}
}

// awake returns when the programs have woken the reader.
func (k *kernel) awake() {
	k.t.Helper()
	for begun, waking := time.Now(), uint32(1); waking != 0; {
		k.must(k.variables["waking"].Get(&waking))
		if time.Since(begun) > 10*time.Second {
			k.t.Fatal("the programs have not woken the reader")
		}
	}
}

// Every event is read, whole, however often the ring has been filled, and wherever one lies
// in it and in the part of it that is mapped.
func TestRingIsReadAllAround(t *testing.T) {
	for _, size := range []int{object.MinRingSize, 1 << 20} {
		k := newKernel(t, Config{RingSize: size, Prefix: object.MaxPrefix, MaxFlows: 1 << 16})
		bytes, n := 0, 0
		for ; bytes < 5*size/2; n++ {
			payload := 1 + n*7%(object.MaxPrefix+100)
			k.run(gen.IotsenseProgIotsenseIn, udpFrame(n, payload))
			bytes += payload
			if n%20 == 0 {
				k.must(k.read())
			}
		}
		k.settle()
		if len(k.samples) != n {
			t.Fatalf("ring of %d: %d samples of %d", size, len(k.samples), n)
		}
		for i, s := range k.samples {
			payload := 1 + i*7%(object.MaxPrefix+100)
			if want := packet.Payload(payload)[:min(payload, object.MaxPrefix)]; !slices.Equal(s.Payload, want) {
				t.Fatalf("ring of %d: sample %d has %d bytes of payload that are not the packet's %d", size, i, len(s.Payload), len(want))
			}
		}
		if got := k.count().Samples; got.RingFull != 0 || got.Sent != uint64(n) {
			t.Errorf("ring of %d: %+v", size, got)
		}
	}
}

// However many lives end at once, the table is walked through a few times, and the
// ring is read after each few lives.
func TestManyLivesEndAtOnce(t *testing.T) {
	const n = 1 << 18
	k := newKernel(t, Config{MaxFlows: n})
	sink := &batches{}
	k.Kernel.sink = sink
	k.fill(n)
	walks, next, steps := k.walks(), time.Now(), 0
	for sink.closes < n && steps < 2*n {
		sink.now = 0
		k.must(k.step(&next))
		steps++
		if steps == 600 { // the first lives have left their entries
			k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 10))
		}
	}
	if sink.closes != n || sink.most > closeBatch {
		t.Errorf("%d of %d lives closed in %d steps, %d at once, want at most %d", sink.closes, n, steps, sink.most, closeBatch)
	}
	// One walk more finds the table empty; the tick can begin others.
	if got := walks(); got > object.SweepWalks+8 {
		t.Errorf("%d walks through the table for all its lives, want %d or a few more", got, object.SweepWalks)
	}
	stats := k.count()
	if stats.Packets.Counted != 1 || stats.Flows.Open != 1 || stats.Packets.InClosed != n {
		t.Errorf("%+v", stats)
	}
}

// Who asks while lives are being closed finds each packet in one place.
func TestStatsWhileLivesAreClosed(t *testing.T) {
	const n = 3000
	k := newKernel(t, Config{})
	for i := range uint32(n) {
		k.run(gen.IotsenseProgIotsenseIn, flowOf(1+i%7, i))
	}
	for k.sweeping = true; k.sweeping || len(k.ended) > 0; {
		k.must(k.sweepPart(math.MaxUint64, 100))
		if got := k.count(); !identities(got.Packets) || got.Flows.Open+got.Flows.Closed != n {
			t.Fatalf("%+v", got)
		}
	}
	if len(k.closes) != n {
		t.Errorf("%d lives closed, want %d", len(k.closes), n)
	}
}

func BenchmarkManyLivesEnd(b *testing.B) {
	const n = 1 << 18
	k := newKernel(b, Config{MaxFlows: n})
	k.Kernel.sink = &batches{}
	for b.Loop() {
		b.StopTimer()
		k.fill(n)
		b.StartTimer()
		k.must(k.sweep(math.MaxUint64))
	}
}

// Lives that the kernel does not delete hold up neither the sensor nor its end, and
// are closed as soon as it does.
func TestLivesThatAreNotDeleted(t *testing.T) {
	n := object.DefaultMaxFlows / 4 // more than are listed at once
	log := &logged{}
	k := newKernel(t, Config{MaxFlows: n, Log: slog.New(slog.NewTextHandler(log, nil))})
	k.fill(n)
	collect := k.programs[gen.IotsenseProgIotsenseCollect]
	idle, err := loadOther(ebpf.Syscall, unix.BPF_F_SLEEPABLE)
	k.must(err)
	defer idle.Close()
	k.programs[gen.IotsenseProgIotsenseCollect] = idle
	for range 3 { // sweeps
		k.sweeping = true
		for rounds := 0; k.sweeping; rounds++ {
			if rounds > maxStuck {
				t.Fatal("the sweep does not end")
			}
			k.must(k.sweepPart(math.MaxUint64, closeBatch))
		}
	}
	if err := k.flush(); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("%v, want an error that says what is lost", err)
	}
	if got := log.lines("could not delete"); got != 1 || len(k.closes) != 0 {
		t.Errorf("%d warnings and %d lives closed, want 1 and none", got, len(k.closes))
	}
	k.programs[gen.IotsenseProgIotsenseCollect] = collect
	k.must(k.flush())
	if len(k.closes) != n {
		t.Errorf("%d lives closed, want %d", len(k.closes), n)
	}
}
