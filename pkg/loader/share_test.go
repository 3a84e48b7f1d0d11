package loader

// This file tests how the flow table is shared out, and floods it.

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/replay"
)

// flowOf is a datagram that belongs to flow n of the device with MAC number mac;
// number 0 is a remote end, whose MAC does not count.
func flowOf(mac, n uint32) []byte {
	src := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	if mac == 0 {
		src = netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)})
	}
	return packet.EthernetFrom(macNumber(mac), packet.RouterMAC, packet.IPv4Type,
		packet.IPv4(packet.IP{Proto: packet.UDPProto, Src: src}, packet.UDP(5000, 53, []byte{1})))
}

// answerTo is the reply to flowOf.
func answerTo(mac, n uint32) []byte {
	dst := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return packet.EthernetFrom(packet.RouterMAC, macNumber(mac), packet.IPv4Type,
		packet.IPv4(packet.IP{Proto: packet.UDPProto, Src: packet.ServerIP, Dst: dst}, packet.UDP(53, 5000, []byte{1})))
}

func macNumber(n uint32) [6]byte {
	mac := [6]byte{2}
	binary.BigEndian.PutUint32(mac[2:], n)
	return mac
}

// open sends the first packet of flows [from, to) of a MAC.
func (k *kernel) openFlows(mac, from, to uint32) {
	k.t.Helper()
	for n := from; n < to; n++ {
		k.run(gen.IotsenseProgIotsenseIn, flowOf(mac, n))
	}
}

// checkFlows compares how many lives are open and were refused, and why.
func (k *kernel) checkFlows(what string, open, overShare, overReserve uint64) {
	k.t.Helper()
	got := k.count()
	want := v1.FlowStats{Open: open, Closed: got.Flows.Closed, Refused: overShare + overReserve, OverShare: overShare, OverReserve: overReserve}
	if got.Flows != want || !identities(got.Packets) || got.Packets.TableFull != want.Refused {
		k.t.Errorf("%s: %+v, want %+v; packets %+v", what, got.Flows, want, got.Packets)
	}
}

// checkUsed compares the numbers that packets and the collect program keep.
func (k *kernel) checkUsed(what string, flows, macs uint64) {
	k.t.Helper()
	var gotFlows, gotMACs uint64
	k.must(k.variables["flows_used"].Get(&gotFlows))
	k.must(k.variables["macs_used"].Get(&gotMACs))
	if gotFlows != flows || gotMACs != macs {
		k.t.Errorf("%s: %d entries and %d MACs in use, want %d and %d", what, gotFlows, gotMACs, flows, macs)
	}
}

// clear ends every life; the second sweep forgets the MACs that the first one's
// lives had held.
func (k *kernel) clear() {
	k.t.Helper()
	k.must(k.sweep(math.MaxUint64))
	k.must(k.sweep(math.MaxUint64))
}

// A table of 256 entries: a MAC may hold 32, the last 64 are reserved, 64 MACs
// are told apart.
const tinyTable = 256

func TestOneMACHoldsAnEighth(t *testing.T) {
	for _, tt := range []struct {
		name   string
		frame  func(n uint32) []byte
		direct flows.Direction
	}{
		{"sender", func(n uint32) []byte { return flowOf(1, n) }, flows.Bi},
		{"receiver, the sender being remote", func(n uint32) []byte { return answerTo(1, n) }, flows.Bi},
		{"uni", func(n uint32) []byte { return flowOf(1, n) }, flows.Uni},
		{"no MAC at all", func(n uint32) []byte { return flowOf(0, n) }, flows.Bi},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKernel(t, Config{MaxFlows: tinyTable, Direction: tt.direct})
			for n := range uint32(40) {
				k.run(gen.IotsenseProgIotsenseIn, tt.frame(n))
			}
			k.checkFlows("40 flows of one MAC", 32, 8, 0)
			k.run(gen.IotsenseProgIotsenseIn, tt.frame(0))
			k.checkFlows("a packet of an open flow", 32, 8, 0)
			k.run(gen.IotsenseProgIotsenseIn, flowOf(2, 100))
			k.checkFlows("another MAC", 33, 8, 0)
			k.must(k.sweep(math.MaxUint64))
			k.checkUsed("after the sweep", 0, btoi(true)+btoi(tt.name != "no MAC at all"))
			k.run(gen.IotsenseProgIotsenseIn, tt.frame(39))
			k.checkFlows("after the sweep", 1, 8, 0)
		})
	}
}

// The device that opens a flow pays for it, not the one that it is opened to.
func TestVictimDoesNotPay(t *testing.T) {
	const attacker, victim = 1, 2
	k := newKernel(t, Config{MaxFlows: tinyTable})
	address := netip.MustParseAddr("10.0.0.1") // before the attacker's in a key
	for n := range uint32(40) {
		k.run(gen.IotsenseProgIotsenseIn, packet.EthernetFrom(macNumber(attacker), macNumber(victim), packet.IPv4Type, packet.IPv4(
			packet.IP{Proto: packet.UDPProto, Src: netip.MustParseAddr("10.9.9.9"), Dst: address}, packet.UDP(uint16(n), 80, nil))))
	}
	k.checkFlows("scan", 32, 8, 0)
	k.openFlows(victim, 0, 32)
	k.checkFlows("the victim's own flows", 64, 8, 0)
}

// MACs that find no place in the list of MACs count as one.
func TestMACsBeyondTheListCountAsOne(t *testing.T) {
	k := newKernel(t, Config{MaxFlows: tinyTable})
	for mac := range uint32(200) {
		k.openFlows(1+mac, mac, mac+1)
	}
	k.checkFlows("200 MACs", object.MinMACs+32, 200-object.MinMACs-32, 0)
	k.checkUsed("200 MACs", object.MinMACs+32, object.MinMACs)
	k.clear()
	// Those of the first half are remembered, and leave the rest to others.
	k.checkUsed("after the sweep", 0, object.MinMACs/2)
	_, err := k.Kernel.mark(0, 0)
	k.must(err)
	k.checkUsed("after a look at the table", 0, object.MinMACs/2)
}

// fillTo opens flows of unknown MACs until n are open.
func (k *kernel) fillTo(n uint32) {
	k.t.Helper()
	for open := uint32(k.count().Flows.Open); open < n; open++ {
		k.openFlows(1000+open/32, open, open+1)
	}
}

func TestReserveIsForKnownMACs(t *testing.T) {
	const early, late, newcomer = 1, 2, 3
	for _, tt := range []struct {
		name  string
		end   func(k *kernel) // of early's first life
		known bool
	}{
		{"swept", func(k *kernel) { k.must(k.sweep(math.MaxUint64)) }, true},
		{"rolled", func(k *kernel) {
			time.Sleep(k.cfg.Lifetime)
			k.run(gen.IotsenseProgIotsenseIn, flowOf(early, 0))
			k.settle()
		}, true},
		{"no record yet", func(*kernel) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKernel(t, Config{MaxFlows: tinyTable, Lifetime: 50 * time.Millisecond})
			k.openFlows(early, 0, 1)
			tt.end(k)
			k.fillTo(128)
			k.openFlows(late, 300, 301) // first seen at one half
			k.fillTo(192)
			k.openFlows(newcomer, 400, 403)
			k.checkFlows("newcomer", 192, 0, 3)
			k.openFlows(late, 301, 302)
			k.checkFlows("first seen when half was taken", 192, 0, 4)
			k.openFlows(early, 500, 520)
			if !tt.known {
				k.checkFlows("no record", 192, 0, 24)
				return
			}
			k.checkFlows("known", 212, 0, 4)
			k.must(k.sweep(math.MaxUint64))
			k.openFlows(newcomer, 400, 403)
			k.checkFlows("cleared", 3, 0, 4)
		})
	}
}

// A MAC first seen when half of the table is taken has no claim to the reserve,
// records or not; once it holds nothing it is forgotten and can start anew.
func TestLateMACIsForgotten(t *testing.T) {
	k := newKernel(t, Config{MaxFlows: tinyTable})
	k.fillTo(128)
	k.openFlows(1, 600, 601)
	k.must(k.sweep(math.MaxUint64))
	k.fillTo(192)
	k.openFlows(1, 600, 601)
	k.checkFlows("late MAC with a record", 192, 0, 1)
}

// A known MAC keeps its claim for an hour.
func TestKnownMACIsForgotten(t *testing.T) {
	k := newKernel(t, Config{MaxFlows: tinyTable})
	k.openFlows(1, 0, 1)
	k.must(k.sweep(math.MaxUint64))
	k.checkUsed("known", 0, 1)
	limit := k.maps[gen.IotsenseMapMarked].MaxEntries()
	found, err := k.runSweep(gen.IotsenseSweepArgs{FreedBeforeUs: math.MaxUint64, Limit: limit})
	k.must(err)
	if found.Gone != 1 || found.Marked != 0 {
		t.Errorf("an hour later: %+v, want one MAC to go", found)
	}
	k.openFlows(1, 1, 2) // the MAC is on its way out: this flow has none of its own
	k.must(k.grace.wait())
	k.must(k.collect(0))
	k.checkUsed("forgotten", 1, 0)
	k.openFlows(1, 2, 3)
	k.checkUsed("back", 2, 1)
	k.must(k.sweep(math.MaxUint64))
	k.checkUsed("swept", 0, 1)
}

// Refused flows are logged at once, once a minute while it goes on, and at the end.
func TestRefusalsAreLogged(t *testing.T) {
	var log bytes.Buffer
	k := newKernel(t, Config{MaxFlows: tinyTable, Log: slog.New(slog.NewTextHandler(&log, nil))})
	start := time.Now()
	for _, step := range []struct {
		after   time.Duration
		refused uint32
		want    string // in the line; empty: no line
	}{
		{0, 0, ""},
		{time.Second, 5, "refused=5"},
		{2 * time.Second, 7, ""},
		{62 * time.Second, 1, "refused=8"},
		{90 * time.Second, 0, ""},
		{123 * time.Second, 0, "taken again"},
		{200 * time.Second, 0, ""},
		{201 * time.Second, 2, "refused=2"},
	} {
		k.openFlows(1, 0, 32)
		k.openFlows(1, 1000, 1000+step.refused)
		log.Reset()
		k.must(k.watchRefusals(start.Add(step.after)))
		if got := log.String(); (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("after %v: %q, want %q", step.after, got, step.want)
		}
	}
}

// The flood, and a million flows with make exact.
const (
	floodFlows     = 100_000
	floodFlowsLong = 1_000_000
)

// flood is n frames of random five-tuples, each from a MAC of its own.
func flood(seed uint64, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		for range n {
			a, b := rng.Uint64(), rng.Uint64()
			src := netip.AddrFrom4([4]byte{10, byte(a), byte(a >> 8), byte(a >> 16)})
			dst := netip.AddrFrom4([4]byte{198, byte(b), byte(b >> 8), byte(b >> 16)})
			frame := packet.EthernetFrom(macNumber(1<<31|uint32(a>>24)), packet.RouterMAC, packet.IPv4Type, packet.IPv4(
				packet.IP{Proto: packet.UDPProto, Src: src, Dst: dst}, packet.UDP(uint16(b>>24), uint16(b>>40), []byte{1})))
			if !yield(frame) {
				return
			}
		}
	}
}

// household is what known devices do: packets of flows that are open, and new flows.
const household = 20 // devices

func (k *kernel) live(from, to uint32) {
	k.t.Helper()
	for mac := range uint32(household) {
		k.openFlows(1+mac, 1000*mac+from, 1000*mac+to)
	}
}

// A flood of random five-tuples from spoofed MACs, or from a few MACs: devices
// already known lose no packet, the table keeps its size, and a minute after the
// flood everything is as before.
func TestFlood(t *testing.T) {
	for _, tt := range []struct {
		name string
		macs uint32 // spoofed; 0: one for each flow
	}{
		{"a MAC for each flow", 0},
		{"ten MACs", 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKernel(t, Config{MaxFlows: object.DefaultMaxFlows, RingSize: object.DefaultRingSize, Packets: 1, Lifetime: time.Hour}) // however long the flood takes
			k.live(0, 2)
			k.must(k.sweep(math.MaxUint64)) // now they are known
			k.live(0, 2)
			before := k.count()
			n := uint32(0)
			for frame := range flood(1, long(floodFlows, floodFlowsLong)) {
				if tt.macs > 0 {
					mac := macNumber(1<<31 | n%tt.macs)
					copy(frame[6:], mac[:])
				}
				k.run(gen.IotsenseProgIotsenseIn, frame)
				n++
			}
			during := k.count()
			if refused := during.Flows.Refused; refused == 0 || refused != uint64(n)-(during.Flows.Open-before.Flows.Open) {
				t.Errorf("%d flows of %d refused, %d were opened", refused, n, during.Flows.Open-before.Flows.Open)
			}
			if limit := uint64(object.DefaultMaxFlows * 3 / 4); during.Flows.Open > limit {
				t.Errorf("%d flows open, want at most %d", during.Flows.Open, limit)
			}
			k.live(0, 6) // packets of open flows, and 4 new flows each
			after := k.count()
			if after.Flows.Refused != during.Flows.Refused || after.Flows.Open != during.Flows.Open+4*household {
				t.Errorf("known devices: %d of their flows refused, %d opened, want none and %d",
					after.Flows.Refused-during.Flows.Refused, after.Flows.Open-during.Flows.Open, 4*household)
			}
			if !identities(after.Packets) {
				t.Errorf("identities do not hold: %+v", after.Packets)
			}
			k.clear()
			k.openFlows(7777, 0, 1) // a device nobody knows
			if got := k.count().Flows; got.Open != 1 || got.Refused != after.Flows.Refused {
				t.Errorf("after the flood: %+v, want one open flow", got)
			}
			k.checkUsed("after the flood", 1, k.macsListed())
			if k.macsListed() > object.DefaultMaxFlows/16+household+1 {
				t.Errorf("%d MACs are still listed, want half of the list to be free", k.macsListed())
			}
		})
	}
}

// macsListed counts the entries of the map of MACs, 0 left out.
func (k *kernel) macsListed() uint64 {
	k.t.Helper()
	var n uint64
	var mac uint64
	var s [16]byte
	for it := k.maps[gen.IotsenseMapMacs].Iterate(); it.Next(&mac, &s); {
		n += btoi(mac != 0)
	}
	return n
}

// The same over a pair of interfaces, with the sensor at work.
func TestFloodOnAnInterface(t *testing.T) {
	n := newNetwork(t, "flood")
	var log bytes.Buffer
	var s *Kernel
	const lifetime = 2 * time.Second
	err := n.Do(func() (err error) {
		s, err = Open(Config{
			Interfaces: []string{replay.Interface}, Hook: attach.HookTC, Lifetime: lifetime, Packets: 1, MaxFlows: 8192,
			Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stop := start(t, s)
	home := func(from, to uint32) (frames []lab.Frame) {
		for mac := range uint32(household) {
			for flow := from; flow < to; flow++ {
				frames = append(frames, lab.Frame{Data: flowOf(1+mac, 1000*mac+flow), FromDevice: true})
			}
		}
		return frames
	}
	play := func(frames []lab.Frame) {
		t.Helper()
		if _, err := n.Play(t.Context(), frames, replay.PlayOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	stats := func() Stats {
		t.Helper()
		got, err := s.Stats(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	closed := func(want uint64) Stats { // waits until so many lives have ended
		t.Helper()
		for deadline := time.Now().Add(20 * lifetime); time.Now().Before(deadline); time.Sleep(lifetime / 10) {
			if got := stats(); got.Flows.Open == 0 && got.Flows.Closed >= want {
				return got
			}
		}
		t.Fatalf("lives do not end: %+v", stats().Flows)
		return Stats{}
	}
	play(home(0, 2))
	closed(2 * household)
	var storm []lab.Frame
	for frame := range flood(2, long(floodFlows/10, floodFlowsLong)) {
		storm = append(storm, lab.Frame{Data: frame, FromDevice: true})
	}
	play(storm)
	during := stats()
	play(home(2, 6))
	if got := stats().Flows; during.Flows.Refused == 0 || got.Refused != during.Flows.Refused {
		t.Errorf("%d flows of the flood refused, then %d of known devices", during.Flows.Refused, got.Refused-during.Flows.Refused)
	}
	after := closed(during.Flows.Closed)
	play(home(6, 7))
	play([]lab.Frame{{Data: flowOf(7777, 0), FromDevice: true}})
	if got := stats(); got.Flows.Refused != after.Flows.Refused || !identities(got.Packets) {
		t.Errorf("after the flood: %+v, want nothing more refused than %+v", got, after.Flows)
	}
	stop()
	if lines := strings.Count(log.String(), "refused"); strings.Count(log.String(), "\n") != 1 || lines == 0 {
		t.Errorf("log, want one line about the refused flows:\n%s", log.String())
	}
}
