package loader

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/clock"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/replay"
)

// udpFrame is a datagram of the device's flow number n.
func udpFrame(n, payload int) []byte {
	dst := netip.AddrFrom4([4]byte{198, 51, byte(n >> 16), byte(n >> 8)})
	return packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: 17, Dst: dst},
		packet.UDP(5000, uint16(n), packet.Payload(payload))))
}

// reply is udpFrame the other way round.
func reply(n, payload int) []byte {
	src := netip.AddrFrom4([4]byte{198, 51, byte(n >> 16), byte(n >> 8)})
	return packet.EthernetFrom(packet.RouterMAC, packet.DeviceMAC, packet.IPv4Type, packet.IPv4(
		packet.IP{Proto: 17, Src: src, Dst: packet.DeviceIP}, packet.UDP(uint16(n), 5000, packet.Payload(payload))))
}

// mark marks every open life, as the first half of a sweep does.
func (k *kernel) markAll() {
	k.t.Helper()
	_, err := k.Kernel.mark(math.MaxUint64, 100)
	k.must(err)
}

// collectMarked is the second half.
func (k *kernel) collectMarked() {
	k.t.Helper()
	k.must(k.sweep(0))
}

func TestBothDirectionsAreOneLife(t *testing.T) {
	for _, tt := range []struct {
		direction flows.Direction
		lives     int
	}{{flows.Bi, 1}, {flows.Uni, 2}} {
		t.Run(tt.direction.String(), func(t *testing.T) {
			k := newKernel(t, Config{Direction: tt.direction, Prefix: 10})
			k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 50))
			k.run(gen.IotsenseProgIotsenseOut, reply(1, 60))
			k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 70))
			k.must(k.flush())
			if len(k.closes) != tt.lives || len(k.samples) != 3 {
				t.Fatalf("%d lives, %d samples, want %d and 3", len(k.closes), len(k.samples), tt.lives)
			}
			if packets, bytes := k.total(); packets != 3 || bytes != 50+60+70+3*28 {
				t.Errorf("%d packets of %d bytes", packets, bytes)
			}
		})
	}
}

func TestSamplesStopAtTheLimit(t *testing.T) {
	k := newKernel(t, Config{Packets: 4, Prefix: 100})
	for i := range 9 {
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, i))
	}
	k.must(k.flush())
	if len(k.samples) != 4 || len(k.closes) != 1 || k.closes[0].Samples != 4 || k.closes[0].Packets[0] != 9 {
		t.Fatalf("%d samples, %+v", len(k.samples), k.closes)
	}
	for i, s := range k.samples {
		if int(s.Index) != i || len(s.Payload) != i || s.Stamp < k.closes[0].First || s.Life != k.closes[0].Life {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
}

// The first packet past the lifetime begins the next life, in the packet path.
func TestRollover(t *testing.T) {
	const lifetime = time.Second // long beside what a busy machine adds to a pause
	k := newKernel(t, Config{Lifetime: lifetime, Packets: 3})
	for i := range 5 {
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 100))
		k.run(gen.IotsenseProgIotsenseOut, reply(1, 200))
		if i < 4 {
			time.Sleep(lifetime * 3 / 5) // the third round is 1.2 lifetimes after the first
		}
	}
	k.settle()
	if got := k.count(); !identities(got.Packets) || got.Flows.Closed != 2 || got.Flows.Open != 1 || got.Packets.Late != 0 {
		t.Errorf("after two rollovers: %+v", got)
	}
	k.must(k.flush())
	if len(k.closes) != 3 {
		t.Fatalf("%d lives, want 3", len(k.closes))
	}
	for i, c := range k.closes {
		want := [2]uint64{2, 2}
		if i == 2 {
			want = [2]uint64{1, 1}
		}
		samples := 0
		for _, s := range k.samples {
			if s.Life == c.Life {
				samples++
			}
		}
		if c.Interface.Index == 0 { // of lives that packets have ended, and others
			t.Errorf("life %d: nobody knows what carried it", i)
		}
		if c.Packets != want || samples != int(c.Samples) || samples != min(3, int(2*want[0])) {
			t.Errorf("life %d: %+v with %d samples", i, c, samples)
		}
		if i > 0 && c.First-k.closes[i-1].First < lifetime.Microseconds() {
			t.Errorf("life %d began %d us after the one before", i, c.First-k.closes[i-1].First)
		}
	}
}

// A packet that meets a marked life begins the flow's next one.
func TestLatePacket(t *testing.T) {
	k := newKernel(t, Config{Packets: 10, Prefix: 100})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 100))
	k.markAll()
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 101)) // late, begins the next life
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 102)) // late, in that life
	if got := k.count().Packets; got.Late != 2 || got.Counted != 3 || got.InOpen != 3 || !identities(got) {
		t.Errorf("while marked: %+v", got)
	}
	k.collectMarked()
	if len(k.closes) != 1 || k.closes[0].Packets[0] != 1 {
		t.Fatalf("closed %+v, want the first packet's life", k.closes)
	}
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 103)) // joins the late life, no third one
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(2, 1))   // another flow
	k.must(k.flush())
	if got := k.count(); !identities(got.Packets) || got.Packets.Late != 2 || got.Packets.InClosed != 5 || got.Flows.Closed != 3 {
		t.Errorf("at the end: %+v", got)
	}
	late := k.samples[1].Life
	if late == k.samples[0].Life || k.samples[2].Life != late || k.samples[3].Life != late {
		t.Errorf("lives of the samples: %v", k.samples)
	}
	for i, index := range []uint8{0, 0, 1, 2, 0} {
		if k.samples[i].Index != index {
			t.Errorf("sample %d has index %d, want %d", i, k.samples[i].Index, index)
		}
	}
	var created, deleted uint64
	_, err := k.mark(0, 0) // tells the programs what was deleted
	k.must(err)
	k.must(k.variables["alt_created"].Get(&created))
	k.must(k.variables["alt_deleted"].Get(&deleted))
	if created != 1 || deleted != 1 {
		t.Errorf("second entries: %d created, %d deleted, want 1 and 1", created, deleted)
	}
}

// The other way round: the second entry is marked, the first one is free again.
func TestLatePacketOfTheSecondEntry(t *testing.T) {
	k := newKernel(t, Config{})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1))
	k.markAll()
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1)) // opens the second entry
	k.collectMarked()
	k.markAll()                                       // marks the second
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1)) // opens the first anew
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1))
	k.collectMarked()
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1))
	k.must(k.flush())
	got := k.count()
	if len(k.closes) != 3 || !identities(got.Packets) || got.Packets.Late != 2 || got.Packets.InClosed != 5 {
		t.Errorf("%d lives, %+v", len(k.closes), got)
	}
}

// Of a flow's two lives the sweep ends one after the other: packets that come in
// between have one to go to.
func TestTwoLivesAtOnce(t *testing.T) {
	k := newKernel(t, Config{})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1))
	k.markAll()
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1)) // opens the second entry
	var key uint64
	var first gen.IotsenseFlow
	for entries := k.maps[gen.IotsenseMapFlows].Iterate(); entries.Next(&key, &first) && first.Key.Alt != 0; {
	}
	first.Life &^= uint64(gen.IotsenseLifeWordLIFE_MARKED) // as a race would leave it
	k.must(k.maps[gen.IotsenseMapFlows].Put(key, first))

	found, err := k.mark(math.MaxUint64, 100)
	k.must(err)
	if found.Marked != 1 || found.Left != 1 || found.Open != 1 {
		t.Errorf("the sweep says %+v, want one life marked and one left", found)
	}
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 1))
	k.must(k.flush())
	got := k.count()
	if len(k.closes) != 2 || !identities(got.Packets) || got.Packets.TableFull != 0 || got.Packets.InClosed != 3 {
		t.Errorf("%d lives, %+v", len(k.closes), got)
	}
}

// A full ring at rollover time loses nothing: the sweep closes the life.
func TestFullRing(t *testing.T) {
	const lifetime = 100 * time.Millisecond
	k := newKernel(t, Config{Lifetime: lifetime, Packets: 10, Prefix: 1000, RingSize: object.MinRingSize})
	const others = 200
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(0, 10))
	for i := range others { // large samples until none fits, then small ones
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(1+i, 1000*((others-i)/(others/2))))
	}
	time.Sleep(lifetime)
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(0, 20)) // past its lifetime, no room for the close
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(0, 30))
	c, err := k.counters() // Stats would read the ring
	k.must(err)
	if c.RingFull == 0 || c.Sent+c.RingFull != others+3 || c.Late != 2 {
		t.Errorf("%+v, want %d samples, sent or not, and 2 late packets", c, others+3)
	}
	k.must(k.flush())
	stats := k.count()
	if !identities(stats.Packets) || stats.Packets.InClosed != others+3 || len(k.closes) != others+2 {
		t.Errorf("%d lives, %+v", len(k.closes), stats)
	}
	if uint64(len(k.samples)) != stats.Samples.Sent {
		t.Errorf("%d samples, %d sent", len(k.samples), stats.Samples.Sent)
	}
	var lost uint64
	delivered := map[flows.Life]int{}
	for _, s := range k.samples {
		delivered[s.Life]++
	}
	for _, c := range k.closes {
		lost += uint64(int(c.Samples) - delivered[c.Life])
	}
	if lost != stats.Samples.RingFull {
		t.Errorf("lives miss %d samples, %d were lost", lost, stats.Samples.RingFull)
	}
}

// A packet that two attachments see is counted at the one that saw the direction
// first; the other direction has its own owner.
func TestDuplicates(t *testing.T) {
	k := newKernel(t, Config{})
	for range 3 {
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 10))
		k.run(gen.IotsenseProgIotsenseOut, udpFrame(1, 10))
		k.run(gen.IotsenseProgIotsenseOut, reply(1, 20))
		k.run(gen.IotsenseProgIotsenseIn, reply(1, 20))
	}
	got := k.count()
	if got.Packets.Duplicate != 6 || got.Packets.Counted != 6 || !identities(got.Packets) {
		t.Errorf("%+v, want 6 counted, 6 duplicates", got.Packets)
	}
	k.markAll()
	k.run(gen.IotsenseProgIotsenseOut, udpFrame(1, 10)) // second sight of a packet counted before the mark
	if got := k.count().Packets; got.Duplicate != 7 || got.Late != 0 {
		t.Errorf("second sight after the mark: %+v", got)
	}
}

// A direction whose owner falls silent for a life goes to whoever carries it.
func TestOwnerMoves(t *testing.T) {
	const lifetime = 30 * time.Millisecond
	k := newKernel(t, Config{Lifetime: lifetime})
	k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 10))
	k.run(gen.IotsenseProgIotsenseIn, reply(1, 10))
	for range 3 { // from now on the device is seen elsewhere
		time.Sleep(lifetime)
		k.run(gen.IotsenseProgIotsenseOut, udpFrame(1, 10))
		k.run(gen.IotsenseProgIotsenseIn, reply(1, 10))
		k.run(gen.IotsenseProgIotsenseOut, udpFrame(1, 10))
	}
	if got := k.count().Packets; got.Duplicate != 3 || got.Counted != 8 {
		t.Errorf("%+v, want the first packets elsewhere to be duplicates until a life has gone by without the owner", got)
	}
}

// The identities do find a counter that was skipped.
func TestIdentitiesFindAFault(t *testing.T) {
	k := newKernel(t, Config{})
	for i := range 5 {
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(i, 10))
	}
	k.run(gen.IotsenseProgIotsenseIn, packet.Ethernet(packet.ARPType, make([]byte, 46)))
	if got := k.count().Packets; !identities(got) {
		t.Fatalf("identities do not hold: %+v", got)
	}
	for name, field := range map[string]func(*gen.IotsenseCounters) *uint64{
		"seen":    func(c *gen.IotsenseCounters) *uint64 { return &c.Seen },
		"counted": func(c *gen.IotsenseCounters) *uint64 { return &c.Counted },
		"not_ip":  func(c *gen.IotsenseCounters) *uint64 { return &c.NotIp },
	} {
		t.Run(name, func(t *testing.T) {
			var cpus []gen.IotsenseCounters
			k.must(k.maps[gen.IotsenseMapPacketCounters].Lookup(uint32(0), &cpus))
			*field(&cpus[0])--
			k.must(k.maps[gen.IotsenseMapPacketCounters].Put(uint32(0), cpus))
			if got := k.count().Packets; identities(got) {
				t.Errorf("%s is one short, the identities hold: %+v", name, got)
			}
			*field(&cpus[0])++
			k.must(k.maps[gen.IotsenseMapPacketCounters].Put(uint32(0), cpus))
		})
	}
}

// stayOn keeps the calling goroutine on one CPU, for as long as it lives.
func stayOn(t *testing.T, cpu int) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Error(err)
	}
}

// Packets of the same flows on two CPUs, both directions, while lives roll over
// and are swept: every packet is in one life, every sample in its place.
func TestConcurrentPackets(t *testing.T) {
	// The fast path counts packets of lives that last longer than ticks can tell.
	for _, lifetime := range []time.Duration{3 * time.Millisecond, clock.CoarseLate + 10*time.Millisecond} {
		t.Run(lifetime.String(), func(t *testing.T) { testConcurrentPackets(t, lifetime) })
	}
}

func testConcurrentPackets(t *testing.T, lifetime time.Duration) {
	packets := long(400_000, 26_000_000) // on each CPU
	if testing.Short() {
		packets = 20_000
	}
	k := newKernel(t, Config{Lifetime: lifetime, Packets: 10, RingSize: 32 << 20, Prefix: 64})
	cpus := min(2, runtime.NumCPU())
	var wg sync.WaitGroup
	for cpu := range cpus {
		wg.Go(func() {
			stayOn(t, cpu)
			frames := [][]byte{udpFrame(1, 40), reply(1, 40), udpFrame(2, 40)}
			const round = 500
			for i := range packets / round {
				frame := frames[(i+cpu)%len(frames)]
				if _, err := k.programs[gen.IotsenseProgIotsenseIn].Run(&ebpf.RunOptions{Data: frame, Repeat: round}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	next := time.Now()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			k.must(k.step(&next))
		}
	}
	k.must(k.flush())
	stats := k.count()
	want := stats.Packets.Seen // a run that a signal interrupts is run again
	if p := stats.Packets; want < uint64(packets*cpus) || p.Counted != want || p.InClosed != want || !identities(p) {
		t.Errorf("%+v, want them all in closed lives", p)
	}
	if n, bytes := k.total(); n != want || bytes != want*68 {
		t.Errorf("%d packets of %d bytes in the closes, want %d of %d", n, bytes, want, want*68)
	}
	k.checkLives(t, stats)
	t.Logf("%d packets, %d lives, %d late packets", want, len(k.closes), stats.Packets.Late)
}

// The kernel of these tests counts no packet but theirs, whatever goes over lo.
func TestKernelUnderTestIsOnNoInterface(t *testing.T) {
	k := newKernel(t, Config{})
	next := time.Now()
	k.must(k.step(&next))
	conn, err := net.Dial("udp", "127.0.0.1:9")
	k.must(err)
	_, err = conn.Write([]byte("seen?"))
	k.must(errors.Join(err, conn.Close()))
	if got := k.count().Packets.Seen; got != 0 {
		t.Errorf("%d packets were seen on lo", got)
	}
}

// Two CPUs open the same flows at the same time, with packets that take all samples:
// the loser's packet joins the winner's life and invents no samples.
func TestRacedOpens(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	const segment, samples = 100, 10
	flowCount := 2000 // all of one MAC
	if testing.Short() {
		flowCount = 200
	}
	k := newKernel(t, Config{Packets: samples, RingSize: 64 << 20})
	var arrived [2]atomic.Int64
	var wg sync.WaitGroup
	for cpu := range arrived {
		wg.Go(func() {
			stayOn(t, cpu)
			for i := range int64(flowCount) {
				arrived[cpu].Store(i + 1)
				for arrived[1-cpu].Load() < i+1 {
				}
				opts := ebpf.RunOptions{Data: udpFrame(int(i), 10*segment), Context: skb{gsoSize: segment}.bytes()}
				if _, err := k.programs[gen.IotsenseProgIotsenseIn].Run(&opts); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	k.must(k.flush())
	stats := k.count()
	if len(k.closes) != flowCount || stats.Samples.Sent != uint64(flowCount*samples) || stats.Packets.TableFull != 0 || !identities(stats.Packets) {
		t.Errorf("%d lives, %+v, %+v", len(k.closes), stats.Samples, stats.Packets)
	}
	k.checkLives(t, stats)
}

// The same over a pair of interfaces: what one thread sends comes in, what the
// other sends goes out, and the interface itself counts.
func TestConcurrentPacketsOnAnInterface(t *testing.T) {
	const (
		lifetime = 5 * time.Millisecond
		round    = 10_000
	)
	rounds := long(10, 300) // of each thread
	n := newNetwork(t, "concurrent")
	var s *Kernel
	err := n.Do(func() (err error) {
		s, err = Open(Config{
			Interfaces: []string{replay.Interface}, Hook: attach.HookTC, Lifetime: lifetime, Prefix: 64,
			MaxFlows: 4096, RingSize: 32 << 20,
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stop := start(t, s)
	var sending sync.WaitGroup
	for _, fromDevice := range []bool{true, false} {
		frames := make([]lab.Frame, round)
		for i := range frames {
			frames[i] = lab.Frame{Data: udpFrame(i/100%3, 40), FromDevice: true}
			if !fromDevice {
				frames[i] = lab.Frame{Data: reply(i/100%3, 40)}
			}
		}
		sending.Go(func() {
			for range rounds {
				if _, err := n.Play(t.Context(), frames, replay.PlayOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	seen := stop()
	stats, err := s.Stats(nil)
	if err != nil {
		t.Fatal(err)
	}
	received, sent, dropped, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(2 * rounds * round)
	if received+sent+dropped != want || stats.Packets.Seen != want || stats.Packets.InClosed != want || !identities(stats.Packets) {
		t.Errorf("%d packets sent, the interface counted %d, the sensor %+v", want, received+sent+dropped, stats.Packets)
	}
	if packets, bytes := seen.total(); packets != want || bytes != 68*want {
		t.Errorf("%d packets of %d bytes in the closes, want %d of %d", packets, bytes, want, 68*want)
	}
	seen.checkLives(t, stats)
	t.Logf("%d packets, %d lives, %d late packets", want, len(seen.closes), stats.Packets.Late)
}

// checkLives compares samples with what the closes say of them.
func (e *events) checkLives(t *testing.T, stats Stats) {
	t.Helper()
	if stats.Samples.RingFull != 0 {
		t.Fatalf("%d samples lost: make the ring of this test larger", stats.Samples.RingFull)
	}
	indices := map[flows.Life]map[uint8]bool{}
	for _, s := range e.samples {
		if indices[s.Life] == nil {
			indices[s.Life] = map[uint8]bool{}
		}
		if indices[s.Life][s.Index] {
			t.Errorf("two samples with index %d of one life", s.Index)
		}
		indices[s.Life][s.Index] = true
	}
	lives := map[flows.Life]bool{}
	for _, c := range e.closes {
		if lives[c.Life] {
			t.Errorf("life %v closed twice", c.Life)
		}
		lives[c.Life] = true
		got := indices[c.Life]
		for i := range c.Samples {
			if !got[i] {
				t.Errorf("life %v: sample %d of %d is missing", c.Life, i, c.Samples)
			}
		}
		if len(got) != int(c.Samples) {
			t.Errorf("life %v: %d samples, closed with %d", c.Life, len(got), c.Samples)
		}
		delete(indices, c.Life)
	}
	for life := range indices {
		t.Errorf("life %v was never closed", life)
	}
}

// Where no sample is asked for none is sent, and packets are counted as ever.
func TestNoSamples(t *testing.T) {
	k := newKernel(t, Config{Packets: -1})
	for range 3 {
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 40))
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(2, 40))
	}
	if waiting := k.ring.Waiting(); waiting != 0 {
		t.Errorf("%d bytes are in the ring", waiting)
	}
	if got := k.count(); got.Packets.Counted != 6 || got.Flows.Open != 2 || got.Samples.Sent != 0 {
		t.Errorf("%+v, want 6 packets of 2 flows and no sample", got)
	}
	k.must(k.flush())
	if len(k.closes) != 2 || k.closes[0].Packets[0]+k.closes[0].Packets[1] != 3 || k.closes[0].Samples != 0 {
		t.Errorf("closed %+v, want two lives of 3 packets", k.closes)
	}
}
